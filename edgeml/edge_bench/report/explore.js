// Looking closer: what the marks of a plot stand for, by pointer and by keyboard, and which contenders are shown.
(() => {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.setAttribute("role", "tooltip");
  tip.hidden = true;
  document.body.append(tip);

  let spotOfTip = () => [0, 0];
  const hide = () => { tip.hidden = true; };
  const place = () => {
    const [x, y] = spotOfTip();
    const { width, height } = tip.getBoundingClientRect();
    const edge = document.documentElement.clientWidth - width - 8;
    tip.style.left = `${Math.max(8, Math.min(x - width / 2, edge))}px`;
    tip.style.top = `${y - height - 12 > 8 ? y - height - 12 : y + 16}px`;
  };
  const show = (lines, spot) => {
    spotOfTip = spot;
    tip.replaceChildren(...lines.map((line, index) => {
      const element = document.createElement(index ? "span" : "strong");
      element.textContent = line;
      return element;
    }));
    tip.hidden = false;
    place();
  };
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", place, { passive: true });  // focus by keyboard may scroll the page

  // Marks: one stop of the Tab key a plot, arrows from mark to mark.
  const tellOf = (spot) => {
    show(spot.lines, () => {
      const box = (spot.querySelector(".mark, .segment, .bubble") || spot).getBoundingClientRect();
      return [box.left + box.width / 2, box.top];
    });
  };
  for (const plot of document.querySelectorAll("svg.plot")) {
    const spots = [...plot.querySelectorAll(".spot")];
    if (!spots.length) continue;
    plot.setAttribute("role", "group");
    const stop = (chosen) => spots.forEach((spot) => spot.setAttribute("tabindex", spot === chosen ? "0" : "-1"));
    plot.restoreStop = () => stop(spots.find((spot) => !spot.closest("[data-off]")));
    spots.forEach((spot) => {
      const title = spot.querySelector("title");
      spot.lines = title.textContent.split("\n").map((line) => line.trim()).filter(Boolean);
      title.remove();
      spot.setAttribute("role", "img");
      spot.setAttribute("aria-label", spot.lines.join(", "));
      spot.addEventListener("pointerenter", () => tellOf(spot));
      spot.addEventListener("pointerleave", hide);
      spot.addEventListener("click", () => tellOf(spot));
      spot.addEventListener("focus", () => { stop(spot); if (spot.matches(":focus-visible")) tellOf(spot); });
      spot.addEventListener("blur", hide);
      spot.addEventListener("keydown", (event) => {
        const visible = spots.filter((other) => !other.closest("[data-off]"));
        const at = visible.indexOf(spot);
        const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: visible.length - 1 }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        visible[(to + visible.length) % visible.length].focus();
        tellOf(document.activeElement);
      });
    });
    plot.restoreStop();
  }

  // Plots over time: a line follows the pointer or the arrow keys and tells of the point under it.
  for (const plot of document.querySelectorAll("svg.timeline")) {
    const table = document.getElementById(plot.dataset.table);
    const names = [...table.tHead.rows[0].cells].map((cell) => cell.firstChild.textContent);
    const units = [...table.tHead.rows[0].cells].map((cell) => cell.querySelector("small")?.textContent || "");
    const points = [...table.tBodies[0].rows].map((row) => ({
      time: Number(row.cells[0].dataset.value),
      lines: [...row.cells].map((cell) => cell.textContent)
        .map((text, index) => (index && text !== "–" ? `${names[index]} ${text} ${units[index]}`.trim() : index ? "" : text))
        .filter(Boolean),
    }));
    const [start, end, seconds] = ["start", "end", "seconds"].map((name) => Number(plot.dataset[name]));
    const across = (point) => start + (end - start) * Math.min(1, point.time / seconds);
    const rails = [...plot.querySelectorAll(".panel")].map((panel) => panel.querySelector("line.rail"));
    const cross = document.createElementNS("http://www.w3.org/2000/svg", "line");
    cross.setAttribute("class", "cross");
    cross.setAttribute("y1", "18");
    cross.setAttribute("y2", rails.at(-1).getAttribute("y1"));
    let at = 0;
    const tell = (index) => {
      at = index;
      const x = across(points[at]);
      cross.setAttribute("x1", x);
      cross.setAttribute("x2", x);
      plot.append(cross);
      show(points[at].lines, () => {
        const box = plot.getBoundingClientRect();
        return [box.left + (x * box.width) / plot.viewBox.baseVal.width, box.top + 24];
      });
      plot.setAttribute("aria-valuenow", at);
      plot.setAttribute("aria-valuetext", points[at].lines.join(", "));
    };
    const leave = () => { cross.remove(); hide(); };
    plot.setAttribute("role", "slider");
    plot.setAttribute("tabindex", "0");
    plot.setAttribute("aria-valuemin", "0");
    plot.setAttribute("aria-valuemax", points.length - 1);
    plot.setAttribute("aria-valuenow", "0");
    plot.setAttribute("aria-valuetext", points[0].lines.join(", "));
    const follow = (event) => {
      const box = plot.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * plot.viewBox.baseVal.width;
      const distances = points.map((point) => Math.abs(across(point) - x));
      tell(distances.indexOf(Math.min(...distances)));
    };
    plot.addEventListener("pointermove", follow);
    plot.addEventListener("pointerdown", follow);
    plot.addEventListener("pointerleave", leave);
    plot.addEventListener("focus", () => { if (plot.matches(":focus-visible")) tell(at); });
    plot.addEventListener("blur", leave);
    plot.addEventListener("keydown", (event) => {
      const far = Math.max(1, Math.round(points.length / 10));
      const to = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, PageUp: at + far, PageDown: at - far, Home: 0, End: points.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      tell(Math.max(0, Math.min(points.length - 1, to)));
    });
  }

  // The choice of contenders: by what differs between them, or one by one.
  const { facets, rows } = JSON.parse(document.getElementById("choices").textContent);
  if (rows.length < 2) return;
  const off = {};  // facet -> its values that are switched off
  const status = document.getElementById("chosen");
  const buttons = [];

  const isOff = (row) => off.Contender.has(row.label) || Object.keys(facets).some((name) => off[name].has(row.facets[name]));
  const drawFronts = () => {
    for (const plot of document.querySelectorAll("svg.tradeoff")) {
      const { floor, right } = plot.dataset;
      for (const front of plot.querySelectorAll(".front")) {
        const marks = [...plot.querySelectorAll(".spot")]
          .filter((spot) => spot.dataset.front === front.dataset.front && !("off" in spot.dataset))
          .map((spot) => [Number(spot.dataset.x), Number(spot.dataset.y)])
          .sort((a, b) => a[0] - b[0] || a[1] - b[1]);
        let path = "", height = Number(floor);
        for (const [x, y] of marks) {
          if (path && y >= height) continue;
          path += `${path ? "L" : "M"}${x},${height}L${x},${y}`;
          height = y;
        }
        front.setAttribute("d", path ? `${path}L${right},${height}` : "");
      }
    }
  };
  const apply = () => {
    const hidden = rows.map(isOff);
    for (const element of document.querySelectorAll("[data-row]")) element.toggleAttribute("data-off", hidden[Number(element.dataset.row)]);
    for (const section of document.querySelectorAll(".filtered")) {
      const own = [...section.querySelectorAll("[data-row]")];
      section.toggleAttribute("data-off", own.length > 0 && own.every((element) => "off" in element.dataset));
    }
    for (const plot of document.querySelectorAll("svg.plot")) plot.restoreStop?.();
    drawFronts();
    for (const [button, name, value] of buttons) button.setAttribute("aria-pressed", !off[name].has(value));
    const count = hidden.filter((each) => !each).length;
    all.hidden = count === rows.length && Object.values(off).every((values) => values.size === 0);
    status.textContent = count === rows.length ? "" : count ? `${count} of ${rows.length} contenders are shown.` : "No contender is left to show.";
  };

  const all = document.createElement("button");
  const group = (name, values, swatches) => {
    off[name] = new Set();
    const box = document.createElement("div");
    box.className = "facet";
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", name);
    const heading = document.createElement("span");
    heading.textContent = name;
    box.append(heading);
    values.forEach((value, index) => {
      const button = document.createElement("button");
      button.type = "button";
      if (swatches?.[index]) button.append(swatches[index].cloneNode(true));
      button.append(value);
      button.addEventListener("click", () => {
        if (!off[name].delete(value)) off[name].add(value);
        apply();
      });
      buttons.push([button, name, value]);
      box.append(button);
    });
    return box;
  };
  const choices = document.getElementById("facets");
  for (const [name, values] of Object.entries(facets)) if (rows.length > 5) choices.append(group(name, values)); else off[name] = new Set();
  const swatches = rows.map((_, index) => document.querySelector(`#figures tr[data-row="${index}"] .swatch`));
  const singly = group("Contender", rows.map((row) => row.label), swatches);
  if (rows.length > 8) {
    const fold = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = "One by one";
    fold.append(summary, singly);
    choices.append(fold);
  } else choices.append(singly);
  all.type = "button";
  all.textContent = "Show all";
  all.className = "all";
  all.addEventListener("click", () => { Object.values(off).forEach((values) => values.clear()); apply(); });
  choices.append(all);
  document.getElementById("choose").hidden = false;
  apply();
})();

"use strict";
// The page reads whole without this: it adds sorting, the choice of light or dark, and saving the JSON.
(() => {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (systemDark.matches ? "dark" : "light")) === "dark";
  const label = () => { theme.textContent = isDark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`); };
  // Storage may be refused (a page opened from a file in a strict browser); the choice then lasts as long as the page.
  const remembered = () => { try { return localStorage.getItem("edgeml-theme"); } catch { return null; } };
  const remember = (value) => { try { localStorage.setItem("edgeml-theme", value); } catch { /* not kept */ } };
  if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; remember(root.dataset.theme); label(); });
  systemDark.addEventListener("change", label);
  label();
  theme.hidden = false;

  const download = document.getElementById("download");
  download.addEventListener("click", () => {
    const blob = new Blob([document.getElementById("results").textContent], { type: "application/json" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = "results.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  download.hidden = false;

  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      if (!heading.dataset.sort) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      const numeric = heading.dataset.sort === "number";
      button.addEventListener("click", () => {
        const descending = heading.getAttribute("aria-sort") === "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
        const value = (row) => row.children[column].dataset.value;
        const compare = (a, b) => {
          const x = value(a), y = value(b);
          if (x === "" || y === "") return (x === "") - (y === "");  // what was not measured stays last
          return (descending ? -1 : 1) * (numeric ? x - y : x.localeCompare(y, "en", { numeric: true }));
        };
        body.append(...[...body.rows].sort(compare));
      });
    });
  }
})();

"""The files in examples/serving/, as far as they can be tried without the systems that they are for."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgeml.cli.serve import command

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "serving"


def options(text: str) -> set[str]:
    """The long options in a command line."""
    return set(re.findall(r"--[a-z-]+", text))


OURS = {option for parameter in command.params for option in parameter.opts}


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    text = (EXAMPLES / "edgeml.service").read_text(encoding="utf-8")
    unit = tmp_path / "edgeml.service"
    unit.write_text(text.replace("/opt/edgeml/bin/edgeml", "/bin/true"), encoding="utf-8")
    completed = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stderr) == (0, "")


def test_the_unit_and_the_image_give_options_that_there_are() -> None:
    unit = (EXAMPLES / "edgeml.service").read_text(encoding="utf-8")
    (start,) = re.findall("^ExecStart=.*", unit, re.MULTILINE)
    image = (EXAMPLES / "Containerfile").read_text(encoding="utf-8")
    lines = re.findall("^(?:ENTRYPOINT|CMD) .*", image, re.MULTILINE)
    assert len(lines) == 2
    for line in (start, *lines):
        assert options(line)
        assert options(line) <= OURS


def test_the_unit_waits_for_answers_longer_than_the_server_takes() -> None:
    from edgeml.serving.server import DRAIN_S

    unit = (EXAMPLES / "edgeml.service").read_text(encoding="utf-8")
    assert float(re.findall("^TimeoutStopSec=(.*)", unit, re.MULTILINE)[0]) > DRAIN_S


def test_the_yaml_files_are_what_their_readers_take() -> None:
    yaml = pytest.importorskip("yaml")
    service: dict[str, Any] = yaml.safe_load((EXAMPLES / "inference-service.yaml").read_text(encoding="utf-8"))
    assert (service["apiVersion"], service["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert service["spec"]["predictor"]["model"]["modelFormat"] == {"name": "triton"}
    page = (ROOT / "docs" / "serve-from-triton.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert yaml.safe_load(shown) == service
    scrape = yaml.safe_load((EXAMPLES / "prometheus.yml").read_text(encoding="utf-8"))
    assert scrape["scrape_configs"][0]["metrics_path"] == "/metrics"


@pytest.mark.parametrize("page", ["serve-a-model.md", "serve-from-triton.md"])
def test_the_pages_show_options_that_there_are(page: str) -> None:
    from edgeml.cli.export import command as export

    known = OURS | {option for parameter in export.params for option in parameter.opts}
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip().startswith(("edgeml serve", "edgeml export"))]
    assert lines
    for line in lines:
        assert options(line) <= known, line
    # What stands in a table of options.
    assert set(re.findall(r"^\| `(--[a-z-]+)", text, re.MULTILINE)) <= known

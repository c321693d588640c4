"""Writes what a benchmark found, with the conditions it was found under, to benchmarks/results."""

import json
import sys
from pathlib import Path
from typing import Any

from edgeml.core.atomic import atomic_write_text
from edgeml.core.host import HostInfo

RESULTS = Path(__file__).parent / "results"


def record(host: HostInfo, figures: dict[str, Any]) -> None:
    """Write the figures of the running script and print them; `host` is the machine as it was at the start."""
    RESULTS.mkdir(exist_ok=True)
    name = Path(sys.argv[0]).stem
    command = " ".join(["python", f"benchmarks/{name}.py", *sys.argv[1:]])
    value = {"command": command, "figures": figures, "host": host.to_json()}
    atomic_write_text(RESULTS / f"{name}.json", json.dumps(value, indent=2) + "\n")
    print(json.dumps(figures, indent=2))

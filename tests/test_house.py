"""The rules of the house that no other tool holds."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import tomllib

from edgeml.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "edgeml").rglob("*.py"))
HEAVY = ("torch", "tvm", "onnxruntime", "onnx", "scipy", "sklearn", "PIL", "jinja2")


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("room", ["export", "runtime", "edge_bench", "models"])
def test_the_links_at_the_root_lead_into_the_package(room: str) -> None:
    link = ROOT / room
    assert link.is_symlink()
    assert link.readlink() == Path("edgeml") / room


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_shown_before_a_command_is_imported_is_the_commands_own(name: str) -> None:
    module, line = COMMANDS[name]
    command = importlib.import_module(module).command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.get_short_help_str(limit=200) == line


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["bench", "--help"], ["compile", "--help"], ["export", "--help"]]
)
def test_help_loads_no_heavy_package(arguments: list[str]) -> None:
    code = (
        "import sys, json\n"
        f"sys.argv = ['edgeml', *{arguments!r}]\n"
        "import edgeml\n"
        "from edgeml.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('LOADED', sorted(set(sys.modules) & set(" + repr(HEAVY) + ")))\n"
    )
    completed = run_python(code)
    assert completed.stdout.splitlines()[-1] == "LOADED []", completed.stdout + completed.stderr


@pytest.mark.parametrize(
    "module",
    [
        "edgeml.runtime.onnxruntime_session",
        "edgeml.runtime.registry",
        "edgeml.runtime.tvm.session",
        "edgeml.edge_bench.bench",
        "edgeml.edge_bench.worker",
        "edgeml.models.datasets",
        "edgeml.cli.bench",
        "edgeml.cli.report",
    ],
)
def test_what_a_board_runs_imports_without_the_train_extra(module: str) -> None:
    absent = ("torch", "onnxscript", "sklearn", "PIL", "safetensors", "jinja2", "timm")
    code = f"import sys\nfor name in {absent!r}: sys.modules[name] = None\nimport {module}\n"
    completed = run_python(code)
    assert completed.returncode == 0, completed.stderr


def test_onnxruntimes_telemetry_is_off_as_soon_as_edgeml_is_imported() -> None:
    completed = run_python("import edgeml, os; print(os.environ['ORT_DISABLE_TELEMETRY'])")
    assert completed.stdout.strip() == "1"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_opens_with_a_sentence_and_holds_one_idea(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "a module opens with a docstring"
    assert len(text.splitlines()) <= 450


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [path for path in MODULES if drawers & set(path.relative_to(ROOT).with_suffix("").parts)]


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[\[<>=~!; ]", requirement)[0] for group in groups for requirement in group} - {"edgeml"}
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert not [name for name in sorted(names) if not re.search(rf"\b{re.escape(name)}\b", page)]


def test_every_pinned_version_is_allowed_by_the_projects_ranges() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for group in (project["dependencies"], *project["optional-dependencies"].values()):
        for requirement in map(Requirement, group):
            version = pinned.get(canonicalize_name(requirement.name))
            assert version is None or version in requirement.specifier, f"{requirement} against {version}"

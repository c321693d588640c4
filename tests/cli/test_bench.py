import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgeml.cli.main import COMMANDS
from edgeml.edge_bench.results import from_json, read_results, read_runs, runs_from_json
from edgeml.edge_bench.store.store import Store

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schemas/bench.schema.json").read_text(encoding="utf-8"))
QUICK = ("--samples", "70", "--launches", "2", "--seconds", "0.1", "--threads", "1")

WriteConvNet = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's is read or written."""
    for variable in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))


def edgeml(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeml.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 or done.stderr.startswith("Usage:")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_json_is_one_object_of_the_schema_and_a_report_can_be_made_from_it(write_conv_net: WriteConvNet) -> None:
    path = write_conv_net()
    done = edgeml("bench", path, path, *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(value, SCHEMA)
    result = from_json(value)
    assert len(result.contenders) == 2
    assert (result.comparisons[0].a, result.comparisons[0].b) == (1, 0)


def test_results_are_kept_in_the_store_unless_the_user_does_not_want_it(
    write_conv_net: WriteConvNet, tmp_path: Path
) -> None:
    path, file = write_conv_net(), tmp_path / "own.sqlite"
    done = edgeml("bench", path, *QUICK, "--store", file, "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    with Store.open(file) as store:
        assert [store.result(run.id) for run in store.runs()] == [from_json(value)]
    assert edgeml("bench", path, *QUICK, "--no-store").returncode == 0
    assert not Store.default_path().exists()


def test_a_device_that_fails_costs_the_others_nothing(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    output = tmp_path / "runs.json"
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"rpc://127.0.0.1:{free.getsockname()[1]}"
    arguments = (write_conv_net(), *QUICK, "--device", nobody, "--device", "local", "--no-store", "--runtime")
    done = edgeml("bench", *arguments, "onnxruntime", "--json", "--output", output)
    assert done.returncode == 3, done.stderr
    assert f"device {nobody} does not answer" in done.stderr
    value = json.loads(done.stdout)
    jsonschema.validate(value, SCHEMA)
    assert [[each["device"] for each in run["contenders"]] for run in value["runs"]] == [["local"]]
    assert runs_from_json(value) == read_runs(output)


def test_people_get_a_table_and_the_files_are_written(write_conv_net: WriteConvNet, tmp_path: Path) -> None:
    path = write_conv_net()
    output = tmp_path / "results.json"
    done = edgeml("bench", path, *QUICK, "--data", "digits:test", "--limit", "40", "--output", output)
    assert done.returncode == 0, done.stderr
    assert "p99 needs 662 samples, 70 taken" in done.stdout
    assert "does not say how images become its input; assumed 1x8x8" in done.stderr
    result = read_results(output)
    assert result.contenders[0].accuracy is not None
    assert result.contenders[0].accuracy.samples == 40
    assert result.contenders[0].accuracy.data == "digits:test"
    assert any("assumed 1x8x8" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Missing argument"),
        (("missing.onnx",), 2, "there is no model file missing.onnx"),
        (("NET", "--device", "moon"), 2, "unknown device 'moon'"),
        (("NET", "--device", "moon://pi"), 2, "unknown device 'moon://pi'"),
        (("NET", "--device", "local", "--device", "local"), 2, "given twice"),
        (("NET", "--device", "rpc://127.0.0.1:9"), 2, "give the number of threads"),
        (("NET", "--sustain", "soon"), 2, "is no length of time"),
        (("NET", "--sustain", "2s"), 2, "must be from 10 to 86400 s"),
        (("NET", "--target-qps", "5"), 2, "--target-qps is for a load scenario"),
        (("NET", "--scenario", "server", "--target-qps", "5"), 2, "target_latency_ms is not given"),
        (("NET", "--scenario", "offline", "--min-duration", "90d"), 2, "is no length of time"),
        (("NET", "--reference", "NET"), 2, "give --data too"),
        (("NET", "--store", "a.sqlite", "--no-store"), 2, "give one of them"),
        (("NET", "--store", "no/such/place.sqlite"), 2, "no/such/place.sqlite"),
        (("NET", "--data", "video:clip.mp4", "--energy"), 2, "--energy: networks for video"),
        (("NET", "--runtime", "abacus"), 2, "unknown runtime 'abacus'"),
        (("NET", "--limit", "5"), 2, "give --data too"),
        (("NET", "--output", "no/such/place.json"), 2, "cannot write no/such/place.json"),
        (("NET", "--launches", "1"), 2, "--launches"),
        (("NET", "--seconds", "-1"), 2, "seconds is -1.0"),
        (("NET", "--data", "nonsense"), 2, "nonsense"),
    ],
)
def test_mistakes_give_one_line_and_their_exit_code(
    write_conv_net: WriteConvNet, arguments: tuple[str, ...], code: int, message: str
) -> None:
    path = str(write_conv_net())
    done = edgeml("bench", *(path if argument == "NET" else argument for argument in arguments))
    assert done.returncode == code
    assert message in one_line(done)


def test_the_help_line_is_the_one_in_the_list_of_commands() -> None:
    from edgeml.cli.bench import command

    assert command.get_short_help_str(200) == COMMANDS["bench"][1]


def test_help_loads_no_runtime() -> None:
    program = (
        "import sys\n"
        "from edgeml.cli.main import cli\n"
        "cli.main(['bench', '--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'onnxruntime', 'onnx', 'scipy', 'numpy', 'rich'} & sys.modules.keys()\n"
        "print(sorted(heavy), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"

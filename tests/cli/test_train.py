"""`edgeml train` as users call it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgeml.cli.main import main

pytestmark = pytest.mark.torch

_NETWORK = "tinynet-r28-w0.1-d0.1-small"


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and what it printed."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def edgeml(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run `edgeml train` in this process, through the entry point that users start, on one thread."""

    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["edgeml", "train", *map(str, arguments), "--threads", "1"])
        with pytest.raises(SystemExit) as left:
            main()
        told = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Done(left.value.code, told.out, told.err)

    return run


Edgeml = Callable[..., Done]


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Forty grey images of two classes that differ in brightness."""
    labels = np.arange(40) % 2
    images = np.random.default_rng(0).integers(0, 100, (40, 28, 28)) + 150 * labels[:, None, None]
    np.savez(tmp_path / "data.npz", images=images.astype(np.uint8), labels=labels, classes=np.array(["dim", "bright"]))
    return f"npz:{tmp_path / 'data.npz'}"


def test_a_network_is_trained_resumed_and_described_in_json(edgeml: Edgeml, tmp_path: Path, data: str) -> None:
    command = [_NETWORK, "--data", data, "--recipe", "quick", "--epochs", "2", "--batch-size", "8", "--json"]
    done = edgeml(*command, "--output", tmp_path / "run")
    assert done.code == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["schema_version"] == 1
    assert value["epochs"] == len(value["history"]) == 2
    assert Path(value["weights"]) == tmp_path / "run" / "model.safetensors"
    again = edgeml(*command, "--output", tmp_path / "run", "--resume")
    assert json.loads(again.stdout)["sha256"] == value["sha256"]

    refused = edgeml(*command, "--output", tmp_path / "run")
    assert refused.code == 2
    assert refused.stdout == ""
    assert "go on with --resume" in refused.stderr


def test_the_weights_build_the_same_network_without_being_told_its_classes(
    edgeml: Edgeml, tmp_path: Path, data: str
) -> None:
    from edgeml.models.source import load_source

    done = edgeml(_NETWORK, "--data", data, "--recipe", "quick", "--epochs", "1", "--output", tmp_path / "run")
    assert done.code == 0, done.stderr
    assert "top-1" in done.stdout
    network = load_source(_NETWORK, weights=tmp_path / "run" / "model.safetensors")
    assert network.classes == ("dim", "bright")
    assert network.input_shape == (1, 28, 28)
    assert network.preprocessing.mean == (0.5,)


def test_training_starts_from_given_weights(edgeml: Edgeml, tmp_path: Path, data: str) -> None:
    command = [_NETWORK, "--data", data, "--recipe", "quick", "--epochs", "1"]
    assert edgeml(*command, "--output", tmp_path / "first").code == 0
    weights = tmp_path / "first" / "model.safetensors"
    done = edgeml(*command, "--output", tmp_path / "second", "--init-weights", weights)
    assert done.code == 0, done.stderr
    wrong = edgeml(
        "tinynet-r28-w0.5-d0.1-small", *command[1:], "--output", tmp_path / "third", "--init-weights", weights
    )
    assert wrong.code == 2
    assert "do not fit the network" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["tinynet-z", "--data", "digits"], 2, "unknown network 'tinynet-z'"),
        ([_NETWORK, "--data", "mnist"], 2, "unknown data 'mnist'"),
        ([_NETWORK, "--data", "digits:test"], 2, "would spoil the test split"),
        ([_NETWORK, "--data", "digits", "--recipe", "slow"], 2, "unknown recipe 'slow'"),
        ([_NETWORK, "--data", "digits", "--epochs", "0"], 2, "epochs 0 is not possible"),
        ([_NETWORK, "--data", "digits", "--tree-weight", "-1"], 2, "Invalid value for '--tree-weight'"),
        ([_NETWORK, "--data", "digits", "--device", "tpu"], 2, "tpu"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_leaves_nothing(
    edgeml: Edgeml, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = edgeml(*arguments, "--output", tmp_path / "run")
    assert done.code == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_ctrl_c_leaves_a_checkpoint_and_one_line(tmp_path: Path, data: str) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "edgeml.cli.main", "train", _NETWORK, "--data", data, "--recipe", "quick"]
    command += ["--epochs", "100000", "--batch-size", "8", "--threads", "1", "--output", str(run)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # A shell's background job ignores SIGINT and hands that on; a user at a terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        while not (run / "metrics.jsonl").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert told.count("\n") == 1
    assert "--resume" in told
    assert sorted(path.name for path in run.iterdir()) == ["checkpoint.pth", "metrics.jsonl"]

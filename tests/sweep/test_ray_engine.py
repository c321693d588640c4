"""Tasks on a Ray cluster of this machine: files travel there and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeml.core.errors import MissingError
from edgeml.sweep.cache import TaskCache
from edgeml.sweep.ray_engine import RayEngine, Request, pack, perform
from edgeml.sweep.run import task_keys
from tests.sweep.conftest import FAKE, FakeSweep

SWEEP = """
data = "digits"
precisions = ["fp32", "int8"]
runtimes = ["onnxruntime", "tvm"]
[[models]]
source = "nets.py:make"
name = "mine"
train = { data = "digits" }
"""


@pytest.fixture
def ray_sweep(fake_sweep: FakeSweep) -> FakeSweep:
    (fake_sweep.directory / "nets.py").write_text("a network")
    (fake_sweep.directory / "parts.py").write_text("a part of it")
    return fake_sweep


def test_a_task_is_packed_with_its_files(ray_sweep: FakeSweep, write_conv_net: Callable[..., Path]) -> None:
    cache, planned = TaskCache.open(ray_sweep.cache), ray_sweep.plan(SWEEP)
    keys = task_keys(planned)
    train, export, *_ = planned.tasks
    request = pack(train, keys, cache, ray_sweep.directory, FAKE)
    assert request.words[:2] == ("train", "nets.py:make")
    assert request.files == {"nets.py": b"a network", "parts.py": b"a part of it"}
    weights = cache.entry(keys["train mine"]) / "train/model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    request = pack(export, keys, cache, ray_sweep.directory, FAKE)
    place = request.words[request.words.index("--weights") + 1]
    assert request.files[place] == b"weights"
    outside = write_conv_net("net.onnx")
    (ray_sweep.directory / "inner").mkdir()
    ray_sweep.file = ray_sweep.directory / "inner/sweep.toml"
    planned = ray_sweep.plan('models = ["../net.onnx"]\nprecisions = ["fp16"]')
    request = pack(planned.tasks[0], task_keys(planned), cache, ray_sweep.file.parent, FAKE)
    assert request.words[1] == "given/0/net.onnx"
    assert request.files["given/0/net.onnx"] == outside.read_bytes()


def test_a_node_performs_in_a_directory_that_it_removes(ray_sweep: FakeSweep, tmp_path: Path) -> None:
    request = Request(
        words=("export", "nets.py", "--output", "output/a.onnx"), files={"nets.py": b"a network"}, module=FAKE
    )
    reply = perform(request)
    assert reply.finished.reason is None
    assert reply.files == {"a.onnx": b"export of (a network)"}
    (began,) = ray_sweep.journal()
    assert not Path(f"/proc/{began['pid']}").exists()
    other = perform(Request(words=(), files={}, module=FAKE, version="0.0.1"))
    assert other.finished.reason is not None
    assert "install the same version" in other.finished.reason


def test_without_ray_the_extra_is_named(ray_sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingError, match=r"edgeml\[ray\]"):
        RayEngine(TaskCache.open(ray_sweep.cache), ray_sweep.directory, jobs=None)


RUNNER = """
import json, sys
from pathlib import Path
from edgeml.edge_bench.store.store import Store
from edgeml.sweep.cache import TaskCache
from edgeml.sweep.ray_engine import RayEngine
from edgeml.sweep.run import run_sweep
from tests.sweep.conftest import FAKE, FakeSweep
sweep = FakeSweep(Path(sys.argv[1]))
cache = TaskCache.open(sweep.cache)
with Store.open(sweep.store) as store:
    engine = RayEngine(cache, sweep.directory, jobs=None, module=FAKE)
    print(json.dumps(run_sweep(sweep.plan(), engine, cache, store, module=FAKE).to_json()))
"""


@pytest.mark.slow
def test_a_sweep_on_a_cluster_finds_what_a_local_one_finds(
    ray_sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("FAKE_FAIL", "mine-int8-host.so")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray_sweep.file.write_text(SWEEP)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{os.environ['PYTHONPATH']}{os.pathsep}{root}"}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, ray_sweep.directory],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    states = [(cell["precision"], cell["runtime"], cell["state"]) for cell in outcome["cells"]]
    assert states == [
        ("fp32", "onnxruntime", "done"),
        ("fp32", "tvm", "done"),
        ("int8", "onnxruntime", "done"),
        ("int8", "tvm", "not run"),
    ]
    assert "mine-int8-host.so cannot be made" in outcome["cells"][3]["reason"]
    int8 = Path(outcome["cells"][2]["artifact"])
    assert int8.read_text() == "export of (export of (nets.py:make))"
    # The tasks ran in directories of Ray's workers, the measurement here.
    words = {line["words"][0]: line["words"] for line in ray_sweep.journal()}
    assert words["train"][-1] == "output/train"
    assert str(ray_sweep.cache) in words["bench"][1]

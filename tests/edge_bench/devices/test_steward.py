import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import edgeml
from edgeml.edge_bench.devices import steward
from edgeml.edge_bench.devices.steward import UNUSED_S, Steward
from edgeml.edge_bench.devices.worker_bundle import worker_bundle, worker_digest
from edgeml.runtime.onnx_file import open_artifact


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "device" / "run-own"
    path.mkdir(parents=True)
    return path


@pytest.fixture(autouse=True)
def sources_at_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A copy of edgeml's sources, which nobody works on meanwhile."""
    package = Path(edgeml.__file__).parent
    copy = tmp_path / "sources" / "edgeml"
    for name in steward.sources(package):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((package / name).read_bytes())
    monkeypatch.setattr("edgeml.edge_bench.devices.worker_bundle._PACKAGE", copy)
    for cached in (worker_bundle, worker_digest):
        cached.cache_clear()
    yield
    for cached in (worker_bundle, worker_digest):
        cached.cache_clear()


def unpacked(directory: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(worker_bundle())) as archive:
        archive.extractall(directory)
    return directory


def test_the_bundle_is_the_same_bytes_for_the_same_sources() -> None:
    first = worker_bundle()
    worker_bundle.cache_clear()
    assert worker_bundle() == first
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        names = archive.getnames()
    assert "edgeml/edge_bench/worker.py" in names
    assert not [name for name in names if "/models/" in name or "/cli/" in name or "__pycache__" in name]
    assert len(first) < 1 << 20


def test_the_bundle_is_what_runs_beside_an_installed_edgeml(tmp_path: Path) -> None:
    directory = unpacked(tmp_path / "bundle")
    assert steward.digest(directory / "edgeml") == worker_digest()
    worker = directory / "edgeml" / "edge_bench" / "worker.py"
    said = "import edgeml, importlib.metadata as m; print(edgeml.__file__, m.version('edgeml'), __name__)"
    worker.write_text(worker.read_text().replace("def main() -> None:", f"def main() -> None:\n    {said}; return"))
    done = subprocess.run(
        [sys.executable, directory], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": ""}
    )
    file, version, module = done.stdout.split()
    assert Path(file) == directory / "edgeml" / "__init__.py"
    assert (version, module) == (edgeml.__version__, "edgeml.edge_bench.worker")
    assert steward.digest(directory / "edgeml") != worker_digest()


def test_a_worker_of_a_bundle_needs_numpy_and_a_runtime_only(
    tmp_path: Path, write_conv_net: Callable[..., Path]
) -> None:
    directory = unpacked(tmp_path / "bundle")
    absent = tmp_path / "absent"
    absent.mkdir()
    for package in ("onnx", "torch", "asyncssh", "scipy", "msgspec", "tomlkit", "rich", "click"):
        (absent / f"{package}.py").write_text(f"raise ModuleNotFoundError('no {package}', name='{package}')")
    path = write_conv_net()
    settings = {"runtime": "onnxruntime", "threads": 1, "batch": 1, "seed": 0, "samples": None}
    request = {"command": "open", "artifact": open_artifact(path).to_json(), "path": str(path), **settings}
    done = subprocess.run(
        [sys.executable, directory],
        input=f"{json.dumps(request)}\n",
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(absent)},
    )
    assert json.loads(done.stdout)["ok"]["batch"] == 1


def test_what_no_run_has_used_for_long_is_removed(run: Path) -> None:
    directory = run.parent
    old = [directory / "worker-old", directory / "files" / "old", directory / "run-old"]
    new = [directory / "worker-new", directory / "files" / "new", directory / "own-notes"]
    for path in (*old, *new):
        path.mkdir(parents=True)
        (path / "content").write_text("")
    for path in (*old, directory / "own-notes"):
        os.utime(path, (time.time() - UNUSED_S - 60,) * 2)
    Steward(run).tidy()
    assert not [path for path in old if path.exists()]
    assert all(path.exists() for path in new)


def test_using_a_file_marks_it(run: Path) -> None:
    file = run.parent / "files" / "0" / "net.onnx"
    file.parent.mkdir(parents=True)
    file.write_text("")
    os.utime(file.parent, (1, 1))
    assert Steward(run).has("files/0/net.onnx")["has"]
    assert time.time() - file.parent.stat().st_mtime < 60
    assert not Steward(run).has("files/1/net.onnx")["has"]


def test_the_run_of_a_steward_that_lives_is_left_alone(run: Path) -> None:
    other = run.parent / "run-other"
    other.mkdir()
    program = f"import time\nfrom pathlib import Path\nPath('steward.pid').write_text('{os.getpid()}')\n"
    # A number that another program has by now does not count.
    subprocess.run([sys.executable, "-c", program], cwd=other, check=True)
    Steward(run).tidy()
    assert not other.exists()
    other.mkdir()
    waiting = "import os, sys\nopen('steward.pid', 'w').write(str(os.getpid()))\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", waiting], cwd=other, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        Steward(run).tidy()
        assert other.exists()
        child.kill()
    Steward(run).tidy()
    assert not other.exists()


@pytest.mark.parametrize("way", ["silence", "SIGTERM", "SIGHUP", "end"])
def test_a_steward_that_ends_takes_all_of_its_run_with_it(run: Path, way: str) -> None:
    import signal

    (run / "steward.py").write_bytes(Path(steward.__file__).read_bytes())
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], cwd=run)
    silence_s = "0.3" if way == "silence" else "60"
    with subprocess.Popen(
        [sys.executable, "steward.py", silence_s], cwd=run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["packages"]["numpy"]
        if way == "end":
            child.stdin.write('{"command": "end"}\n')
            child.stdin.flush()
            assert json.loads(child.stdout.readline()) == {"ok": {}}
        elif way != "silence":
            child.send_signal(getattr(signal, way))
        assert child.wait(30) == 0
    assert sleeper.wait(30) == -9
    assert not run.exists()

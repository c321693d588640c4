import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeml.core.onnx_guard import OnnxLimits, check_onnx_file

# What onnx.load really takes, each file in its own process so that freed memory of one is not reused by the next.
MEASURE = """
import ctypes, json, os, sys, onnx
PR_SET_THP_DISABLE = 41  # a huge page would count 2 MiB for the first byte in it
ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
def resident():
    # Exact, where /proc/self/statm is a sum that the kernel brings up to date in steps.
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Rss:")) * 1024
taken = {}
for path in sys.argv[1:]:
    read, write = os.pipe()
    if os.fork() == 0:
        with open(path, "rb") as file:
            data = file.read()
        before = resident()
        model = onnx.ModelProto.FromString(data)
        os.write(write, str(resident() - before).encode())
        os._exit(0)
    os.close(write)
    taken[path] = int(os.read(read, 100))
    os.wait()
print(json.dumps(taken))
"""
# One more than a power of two: the worst moment for arrays that double.
COUNT = (1 << 16) + 1


def length_delimited(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def nested(*numbers: int, payload: bytes) -> bytes:
    for number in reversed(numbers):
        payload = length_delimited(number, payload)
    return payload


EMPTY = nested(7, payload=b"")
AMPLIFIERS = {
    "nodes": nested(7, payload=length_delimited(1, b"") * COUNT),
    "values": nested(7, payload=length_delimited(11, b"") * COUNT),
    "value types": nested(7, payload=nested(11, 2, 1, 2, payload=b"") * COUNT),
    "axes": nested(7, payload=nested(11, 2, 1, 2, payload=length_delimited(1, b"") * 100) * (COUNT // 100)),
    "tensors": nested(7, payload=nested(5, payload=b"\x08\x00\x10\x01") * COUNT),
    "attributes": nested(7, 1, payload=length_delimited(5, b"") * COUNT),
    "graphs": nested(7, 1, 5, payload=length_delimited(11, b"") * COUNT),
    "attribute graphs": nested(7, 1, payload=nested(5, 6, payload=b"") * COUNT),
    "annotations": nested(7, payload=length_delimited(14, b"") * COUNT),
    "functions": EMPTY + b"".join(nested(25, payload=length_delimited(1, b"%05x" % i)) for i in range(COUNT)),
    "training": EMPTY + length_delimited(20, b"") * COUNT,
    "configurations": EMPTY + length_delimited(26, b"") * COUNT,
    "metadata": EMPTY + length_delimited(14, b"") * COUNT,
    "inputs": nested(7, 1, payload=length_delimited(1, b"") * COUNT),
    "long inputs": nested(7, 1, payload=length_delimited(1, b"n" * 41) * COUNT),
    "strings": nested(7, 1, 5, payload=length_delimited(9, b"") * COUNT),
    "packed ints": nested(7, 1, 5, 8, payload=b"\x01" * COUNT),
    "ints": nested(7, 1, 5, payload=b"\x40\x01" * COUNT),
    "floats": nested(7, 1, 5, payload=b"\x3d\x00\x00\x00\x00" * COUNT),
    "packed floats": nested(7, 1, 5, payload=length_delimited(7, b"\x00" * 4) * COUNT),
    "int64 data": nested(7, 5, payload=b"\x10\x07\x08" + varint(COUNT) + nested(7, payload=b"\x01" * COUNT)),
    "raw data": nested(7, 5, payload=b"\x10\x03\x08" + varint(COUNT) + nested(9, payload=b"\x01" * COUNT)),
    "unknown": EMPTY + (varint(99 << 3) + b"\x01") * COUNT,
}


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int]]:
    """For each amplifier its file and the bytes onnx.load takes for it."""
    directory = tmp_path_factory.mktemp("amplifiers")
    paths = {name: directory / f"{name}.onnx" for name in AMPLIFIERS}
    for name, path in paths.items():
        path.write_bytes(AMPLIFIERS[name])
    command = [sys.executable, "-c", MEASURE, *map(str, paths.values())]
    measured = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {name: (path, measured[str(path)]) for name, path in paths.items()}


@pytest.mark.skipif(sys.platform != "linux", reason="reads resident memory from /proc")
@pytest.mark.parametrize("name", AMPLIFIERS)
def test_the_estimate_is_an_upper_bound_of_what_onnx_takes(taken: dict[str, tuple[Path, int]], name: str) -> None:
    path, actual_bytes = taken[name]
    limits = OnnxLimits(functions=COUNT)
    estimate = check_onnx_file(path, limits).parsed_bytes
    # Pages and arena blocks round up.
    assert actual_bytes < estimate + (512 << 10)
    assert actual_bytes > estimate / 16 or estimate < 2 << 20

import subprocess
import sys

import pytest

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and sets a Linux limit")


def output_of(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@linux_only
def test_the_peak_is_the_process_own_and_not_its_parents() -> None:
    program = (
        "import subprocess, sys\n"
        "ballast = b'x' * (200 << 20)\n"
        "child = 'from edgeml.edge_bench.memory import peak_memory_bytes; print(peak_memory_bytes())'\n"
        "print(subprocess.run([sys.executable, '-c', child], capture_output=True, text=True, check=True).stdout)\n"
    )
    assert 1 << 20 < int(output_of(program)) < 150 << 20


@linux_only
def test_the_peak_stays_after_memory_is_given_back() -> None:
    program = (
        "from edgeml.edge_bench.memory import peak_memory_bytes\n"
        "before = peak_memory_bytes(); ballast = b'x' * (100 << 20); del ballast\n"
        "print(peak_memory_bytes() - before)\n"
    )
    assert int(output_of(program)) >= 90 << 20


@linux_only
def test_a_bounded_process_gets_an_error_instead_of_the_machines_memory() -> None:
    program = (
        "from edgeml.edge_bench import memory\n"
        "memory.available_memory_bytes = lambda: 100 << 20\n"
        "print(memory.bound_memory() is not None)\n"
        "small = b'x' * (50 << 20)\n"
        "try:\n"
        "    large = b'x' * (200 << 20)\n"
        "except MemoryError:\n"
        "    print('refused')\n"
    )
    assert output_of(program).split() == ["True", "refused"]

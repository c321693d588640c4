import os
from pathlib import Path

import pytest

from edgeml.runtime.threads import affinity_cores, available_threads, cgroup_cpu_quota

V2_MOUNT = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1_MOUNTS = (
    "31 20 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)


def machine(root: Path, *, membership: str, mounts: str, files: dict[str, str]) -> Path:
    """A file system with this process's control groups."""
    for name, text in {"proc/self/cgroup": membership, "proc/self/mountinfo": mounts, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)), raising=False)


def test_without_a_quota_the_affinity_decides(tmp_path: Path) -> None:
    assert available_threads(tmp_path) == 8 == affinity_cores()
    assert cgroup_cpu_quota(tmp_path) is None


@pytest.mark.parametrize(("quota", "threads"), [("150000 100000", 2), ("20000 100000", 1), ("max 100000", 8)])
def test_a_v2_quota_is_rounded_up_to_whole_threads(tmp_path: Path, quota: str, threads: int) -> None:
    files = {"sys/fs/cgroup/app/cpu.max": quota}
    root = machine(tmp_path, membership="0::/app\n", mounts=V2_MOUNT, files=files)
    assert available_threads(root) == threads


def test_the_tightest_quota_on_the_way_up_holds(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/a/b/c/cpu.max": "400000 100000",
        "sys/fs/cgroup/a/b/cpu.max": "max 100000",
        "sys/fs/cgroup/a/cpu.max": "250000 100000",
    }
    root = machine(tmp_path, membership="0::/a/b/c\n", mounts=V2_MOUNT, files=files)
    assert cgroup_cpu_quota(root) == 2.5
    assert available_threads(root) == 3


def test_a_v1_quota_is_found_by_the_mount_of_its_controller(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "300000\n",
        "sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    root = machine(tmp_path, membership="4:cpu,cpuacct:/box\n", mounts=V1_MOUNTS.format(root="/"), files=files)
    assert available_threads(root) == 3


def test_a_container_that_sees_only_its_own_v1_group_is_read_at_the_mount(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    mounts = V1_MOUNTS.format(root="/docker/abc")
    root = machine(tmp_path, membership="4:cpu,cpuacct:/docker/abc\n", mounts=mounts, files=files)
    assert available_threads(root) == 2


def test_a_group_that_the_namespace_hides_falls_back_to_the_mount(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/cpu.max": "100000 100000"}
    mounts = V2_MOUNT.replace(" / /sys", " /pod /sys")
    root = machine(tmp_path, membership="0::/elsewhere\n", mounts=mounts, files=files)
    assert available_threads(root) == 1


def test_this_machine_gives_at_least_one_thread() -> None:
    assert available_threads() >= 1

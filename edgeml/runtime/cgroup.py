"""Where Linux keeps this process's resource limits: the control-group directories from its own up to the root."""

from __future__ import annotations

from pathlib import Path


def cgroup_directories(controller: str, root: Path = Path("/")) -> tuple[Path, ...]:
    """Directories whose limits of `controller` hold for this process, its own first, then each parent.

    Both hierarchies are looked at, cgroup v1 (one mount a controller) and v2 (one for all), since a machine may use the
    two side by side. Empty where there is no /proc (macOS, Windows).

    Args:
        controller: "cpu" or "memory".
        root: the file system's root; tests give another.
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ()
    directories: list[Path] = []
    for line in memberships:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or controller in controllers.split(","):
            directories += _upwards(path, controllers, mounts, root)
    return tuple(directories)


def _upwards(path: str, controllers: str, mounts: list[str], root: Path) -> list[Path]:
    """The directories of one membership, by the mount that shows it."""
    for line in mounts:
        fields, _, rest = line.partition(" - ")
        mount_root, mount_point = fields.split()[3:5]
        kind, _, options = rest.split(maxsplit=2)
        if controllers == "":
            shows_it = kind == "cgroup2"
        else:
            shows_it = kind == "cgroup" and set(controllers.split(",")) <= set(options.split(","))
        if not shows_it:
            continue
        # Inside a container the mount may show only a part of the hierarchy: take what lies below that part.
        below = path.removeprefix(mount_root.rstrip("/")) if path.startswith(mount_root.rstrip("/") + "/") else ""
        top = root / mount_point.lstrip("/")
        own = top / below.strip("/")
        return [own, *(parent for parent in own.parents if parent.is_relative_to(top))]
    return []


def read_number(path: Path) -> int | None:
    """The integer in a one-line file; None where there is no such file or it says "max"."""
    try:
        return int(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None

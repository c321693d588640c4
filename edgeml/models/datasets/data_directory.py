"""Where data sets are kept on this machine."""

import os
from pathlib import Path


def data_directory() -> Path:
    """EDGEML_DATA where it is set, else `edgeml` in the user's data directory (XDG base directory specification)."""
    if own := os.environ.get("EDGEML_DATA"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_DATA_HOME", "")
    # The specification says to ignore relative paths.
    home = Path(base) if Path(base).is_absolute() else Path("~/.local/share").expanduser()
    return home / "edgeml"

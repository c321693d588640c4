"""config.pbtxt, which describes a model in a repository, as a ModelConfig message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgeml.core.errors import UsageError
from edgeml.runtime.inference_protocol.messages import message_class

FILE = "config.pbtxt"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}")
"""What a model in a repository may be called: one part of a path, and of a URL."""

_SIZE_LIMIT = 1 << 20
# A string, a comment, or a field whose list follows without a colon.
_LISTS = re.compile(r"""("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|#[^\n]*)|(\b[A-Za-z_]\w*)(\s*)\[""")


def read_config(directory: Path) -> Any | None:
    """The ModelConfig message of the model in a directory; None where there is no config.pbtxt.

    Fields that edgeml does not know are passed over.

    Raises:
        UsageError: the file cannot be read.
    """
    from google.protobuf import text_format

    path = directory / FILE
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > _SIZE_LIMIT:
            raise UsageError(f"{path} is larger than {_SIZE_LIMIT} bytes, so it is no model configuration")
        # protobuf passes over an unknown list only behind a colon, which the format lets one leave out.
        text = _LISTS.sub(lambda found: found[1] or f"{found[2]}:{found[3]}[", path.read_text(encoding="utf-8"))
        return text_format.Parse(text, message_class("ModelConfig")(), allow_unknown_field=True)
    except RecursionError as error:
        raise UsageError(f"{path} cannot be read: it nests too deeply") from error
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error


def config_text(config: Any) -> str:
    """A ModelConfig message as config.pbtxt; `max_batch_size` is always told, since 0 has a meaning."""
    from google.protobuf import text_format

    rest = message_class("ModelConfig")()
    rest.CopyFrom(config)
    for field in ("name", "backend", "max_batch_size"):
        rest.ClearField(field)
    head = message_class("ModelConfig")(name=config.name, backend=config.backend)
    return "".join(
        (
            text_format.MessageToString(head),
            f"max_batch_size: {config.max_batch_size}\n",
            text_format.MessageToString(rest, use_short_repeated_primitives=True),
        )
    )

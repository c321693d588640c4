"""Fetching: whole, checked and bounded, or not at all."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from edgeml.core.errors import CheckFailedError, EdgeMLError, MissingError
from edgeml.models.datasets.download import download

_CONTENT = b"pictures" * 1000
_MD5 = hashlib.md5(_CONTENT).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        # "cut" promises more than is sent.
        self.send_header("Content-Length", str(len(_CONTENT) + (10 if self.path == "/cut" else 0)))
        self.end_headers()
        self.wfile.write(_CONTENT)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def home() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_arrives_in_a_directory_that_is_created(home: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    download(f"{home}/file", path, md5=_MD5, limit_bytes=10_000)
    assert path.read_bytes() == _CONTENT


@pytest.mark.parametrize(
    ("name", "md5", "limit", "kind"),
    [
        ("file", "0" * 32, 10_000, CheckFailedError),
        ("file", _MD5, 100, MissingError),
        ("gone", _MD5, 10_000, MissingError),
        ("cut", _MD5, 10_000, MissingError),
    ],
)
def test_anything_else_leaves_no_file(
    home: str, tmp_path: Path, name: str, md5: str, limit: int, kind: type[EdgeMLError]
) -> None:
    with pytest.raises(kind):
        download(f"{home}/{name}", tmp_path / "file", md5=md5, limit_bytes=limit)
    assert list(tmp_path.iterdir()) == []


def test_other_schemes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="only http"):
        download("file:///etc/passwd", tmp_path / "file", md5=_MD5, limit_bytes=10)

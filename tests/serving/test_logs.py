"""The log: its lines, and disks and pipes that take none."""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgeml.core.errors import UsageError
from edgeml.serving import logs
from edgeml.serving.logs import logging_to

FIELDS = {"model": "m", "reason": 'two words and a "quote"'}


def test_lines_of_text_are_for_people(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log", "text") as log:
        log.info("loaded", extra={"fields": FIELDS})
        log.error("failed", extra={"fields": {"path": "a\nb"}})
    first, second = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert first.split(" ", 1)[1] == r'info    loaded model=m reason="two words and a \"quote\""'
    assert second.endswith(r'error   failed path="a\nb"')


def test_lines_of_json_are_for_programs(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log", "json") as log:
        log.info("loaded", extra={"fields": FIELDS})
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            log.exception("failed")
    first, second = map(json.loads, (tmp_path / "log").read_text(encoding="utf-8").splitlines())
    assert first | FIELDS == first
    assert (first["level"], first["event"], second["level"]) == ("info", "loaded", "error")
    assert "ZeroDivisionError" in second["traceback"]


def test_a_name_that_is_no_text_does_not_end_the_log(tmp_path: Path) -> None:
    for line_format in ("text", "json"):
        with logging_to(tmp_path / line_format, line_format) as log:
            log.info("loaded", extra={"fields": {"model": os.fsdecode(b"\xff")}})
            log.info("loaded", extra={"fields": {"model": "m"}})
        assert len((tmp_path / line_format).read_bytes().splitlines()) == 2


def test_a_file_that_is_moved_away_is_opened_anew(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log", "text") as log:
        log.info("one")
        while not (tmp_path / "log").stat().st_size:
            time.sleep(0.001)
        (tmp_path / "log").rename(tmp_path / "log.1")
        log.info("two")
    assert (tmp_path / "log.1").read_text(encoding="utf-8").endswith("one\n")
    assert (tmp_path / "log").read_text(encoding="utf-8").endswith("two\n")


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write the log"), logging_to(tmp_path / "none" / "log", "text"):
        pass


def test_a_full_disk_loses_lines_and_says_how_many(tmp_path: Path) -> None:
    code = f"""
import resource, signal, time
from pathlib import Path
from edgeml.serving.logs import logging_to
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path({str(tmp_path / "log")!r})
with logging_to(path, "json") as log:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, resource.RLIM_INFINITY))
    for k in range(20):
        log.info("a line", extra={{"fields": {{"k": k}}}})
    time.sleep(0.2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    log.info("there is room again")
    log.info("and still")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    *_, cut, room, still = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    whole = [line for line in (tmp_path / "log").read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    assert not cut.endswith("}") or len(whole) > 2
    assert json.loads(room)["event"] == "there is room again"
    assert json.loads(room)["lost_lines"] == 20 - (len(whole) - 2)
    assert "lost_lines" not in json.loads(still)


def test_a_pipe_that_nobody_reads_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_WAITING_LINES", 10)
    monkeypatch.setattr(logs, "_LAST_LINES_S", 0.1)
    reader, writer = os.pipe()
    lost = logs._Lost()
    monkeypatch.setattr(logs, "_open", lambda path, lost: logs._Lines(writer, lost))
    ended = threading.Event()

    def run() -> None:
        with logging_to(None, "text") as log:
            for _ in range(2000):
                log.info("x" * 100)
        ended.set()

    threading.Thread(target=run, daemon=True).start()
    assert ended.wait(20)
    os.close(reader)  # the thread's write ends with EPIPE
    assert lost.count == 0


def test_what_the_queue_cannot_take_is_counted() -> None:
    lost = logs._Lost()
    lines: queue.Queue[logging.LogRecord | None] = queue.Queue(1)
    entrance = logs._Entrance(lines, lost)
    for _ in range(3):
        entrance.handle(logging.makeLogRecord({"msg": "line"}))
    assert (lines.qsize(), lost.count) == (1, 2)

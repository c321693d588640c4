"""Stands in for the command line in tests of sweeps: writes what it was asked for, and a journal of what it did.

FAKE_JOURNAL: the journal, JSON lines. FAKE_RESULT: a benchmark result. The others concern commands whose words contain
a text. FAKE_FAIL: they fail. FAKE_LOSE: they write nothing. FAKE_HANG: they do not end. FAKE_MEET, texts with "|"
between them: each waits until all have begun. FAKE_CHILD: every command leaves a child that sleeps so many seconds.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path


def journal(event: str, words: list[str]) -> None:
    line = json.dumps({"event": event, "words": words, "pid": os.getpid(), "time": time.monotonic()})
    with Path(os.environ["FAKE_JOURNAL"]).open("a") as file:
        file.write(line + "\n")


def bench(words: list[str], output: Path) -> None:
    """Writes the result in FAKE_RESULT with its contender once for each file and thread count."""
    result = json.loads(Path(os.environ["FAKE_RESULT"]).read_text())
    (contender,) = result["contenders"]
    counts = [int(after) for word, after in itertools.pairwise(words) if word == "--threads"] or [2]
    result["contenders"] = [
        contender | {"artifact": word, "threads": threads, "device": words[words.index("--device") + 1]}
        for word in words[1:]
        if word.endswith((".onnx", ".so"))
        for threads in counts
    ]
    result["host"]["time"] = f"2026-01-02T03:04:05.{time.monotonic_ns() % 1_000_000:06d}+00:00"
    output.write_text(json.dumps(result))


def concerns(text: str | None, words: list[str]) -> bool:
    return bool(text) and any(str(text) in word for word in words)


def meet(texts: list[str]) -> None:
    deadline = time.monotonic() + 60
    while True:
        lines = Path(os.environ["FAKE_JOURNAL"]).read_text().splitlines()
        begun = [json.loads(line)["words"] for line in lines if line.endswith("}")]
        if all(any(concerns(text, words) for words in begun) for text in texts):
            return
        if time.monotonic() > deadline:
            sys.exit(f"edgeml: {texts} did not run at the same time")
        time.sleep(0.02)


def main() -> None:
    words = sys.argv[1:]
    journal("start", words)
    lingering = os.environ.get("FAKE_CHILD")
    if lingering:
        subprocess.Popen(["sleep", lingering])
    fail, lose = os.environ.get("FAKE_FAIL"), os.environ.get("FAKE_LOSE")
    meeting = [text for text in os.environ.get("FAKE_MEET", "").split("|") if text]
    if any(concerns(text, words) for text in meeting):
        meet(meeting)
    if concerns(os.environ.get("FAKE_HANG"), words):
        time.sleep(600)
    if concerns(fail, words):
        print("edgeml: warning: it is about to fail", file=sys.stderr)
        print(f"edgeml: {fail} cannot be made", file=sys.stderr)
        sys.exit(4)
    output = Path(words[words.index("--output") + 1])
    if concerns(lose, words):
        return
    if words[0] == "train":
        output.mkdir(exist_ok=True)
        (output / "model.safetensors").write_text("weights")
    elif words[0] == "bench":
        bench(words, output)
    else:
        source = Path(words[1])
        content = source.read_text() if source.is_file() else words[1]
        output.write_text(f"{words[0]} of ({content})")
    journal("end", words)


if __name__ == "__main__":
    main()

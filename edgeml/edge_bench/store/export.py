"""Stored runs as files that other programs read: Parquet, CSV and JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from edgeml.core.atomic import atomic_write
from edgeml.core.bench_result import Contender
from edgeml.core.errors import needs_extra
from edgeml.edge_bench.store.query import StoredContender, StoredRun
from edgeml.edge_bench.store.store import Store

ExportFormat = Literal["parquet", "csv", "json"]
SCHEMA_VERSION = 1


def export_runs(store: Store, runs: Sequence[StoredRun], path: Path, file_format: ExportFormat) -> int:
    """Write runs to a file, whole or not at all.

    Parquet and CSV have a row for each contender in `runs`: the columns "run", "time", "machine", "cpu_model" and
    those of `StoredContender`. Parquet has the samples besides, as lists of one length: "latency_ms" (float64),
    "launch" and "block" (int32). JSON has the whole runs, whatever contenders were asked for, as
    {"schema_version": 1, "runs": [...]} with what `edgeml bench --json` prints in the list.

    Args:
        store: where the runs are.
        runs: which, from `Store.runs`.
        path: the file to write.
        file_format: its format.

    Returns:
        How many rows (Parquet, CSV) or runs (JSON) were written.

    Raises:
        MissingError: pyarrow is not installed.
        UsageError: the directory does not exist, or a stored run cannot be read.
        EdgeMLError: the file system refused.
    """
    writers: dict[ExportFormat, Callable[[Store, Sequence[StoredRun], Path], int]] = {
        "parquet": _write_parquet,
        "csv": _write_csv,
        "json": _write_json,
    }
    return writers[file_format](store, runs, path)


def _write_csv(store: Store, runs: Sequence[StoredRun], path: Path) -> int:  # noqa: ARG001
    rows = list(_rows(runs))
    names = ("run", "time", "machine", "cpu_model", *StoredContender.__dataclass_fields__)
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for row in rows:
            writer.writerow(row | {"time": row["time"].isoformat(), "binary": str(row["binary"]).lower()})
    return len(rows)


def _write_json(store: Store, runs: Sequence[StoredRun], path: Path) -> int:
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        # One run at a time: together they may be larger than memory.
        file.write(f'{{"schema_version": {SCHEMA_VERSION}, "runs": [')
        for index, run in enumerate(runs):
            file.write(", " if index else "")
            file.write(json.dumps(store.document(run.id), allow_nan=False))
        file.write("]}\n")
    return len(runs)


def _write_parquet(store: Store, runs: Sequence[StoredRun], path: Path) -> int:
    with needs_extra("results"):
        import pyarrow
        from pyarrow import parquet
    text, real, whole, flag = pyarrow.string(), pyarrow.float64(), pyarrow.int64(), pyarrow.bool_()
    types = {"str": text, "str | None": text, "int": whole, "bool": flag, "float | None": real}
    schema = pyarrow.schema(
        [
            ("run", whole),
            ("time", pyarrow.timestamp("s", tz="UTC")),
            ("machine", text),
            ("cpu_model", text),
            *((name, types[str(field.type)]) for name, field in StoredContender.__dataclass_fields__.items()),
            ("latency_ms", pyarrow.list_(real)),
            ("launch", pyarrow.list_(pyarrow.int32())),
            ("block", pyarrow.list_(pyarrow.int32())),
        ]
    )
    count = 0
    with atomic_write(path) as temporary, parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for run in runs:
            result = store.result(run.id)
            rows = [
                row | _samples(result.contenders[contender.position])
                for row, contender in zip(_rows([run]), run.contenders, strict=True)
            ]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
            count += len(rows)
    return count


def _rows(runs: Sequence[StoredRun]) -> Iterator[dict[str, Any]]:
    for run in runs:
        head = {"run": run.id, "time": run.time, "machine": run.machine, "cpu_model": run.cpu_model}
        for contender in run.contenders:
            yield head | asdict(contender)


def _samples(contender: Contender) -> dict[str, list[float] | list[int]]:
    launches = contender.launches
    return {
        "latency_ms": list(contender.latency_ms),
        "launch": [index for index, launch in enumerate(launches) for _ in launch.latency_ms],
        "block": [block for launch in launches for block in launch.block],
    }

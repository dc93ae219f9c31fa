"""Finished trials on disk: one SQLite file, one transaction a batch, looked up by digest."""

from __future__ import annotations

import contextlib
import io
import json
import math
import sqlite3
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout

from adaptive_lr.errors import StoreError
from adaptive_lr.spec import canonical_json
from adaptive_lr.training.trial import RunResult, Status

VERSION = 1
"""Version of the layout below."""

_SCHEMA = """
CREATE TABLE batches (id INTEGER PRIMARY KEY, provenance TEXT NOT NULL, curves BLOB NOT NULL);
CREATE TABLE trials (
    digest TEXT PRIMARY KEY, batch INTEGER NOT NULL REFERENCES batches, place INTEGER NOT NULL, spec TEXT NOT NULL,
    status TEXT NOT NULL, stopped_at INTEGER, initial TEXT NOT NULL, metrics TEXT NOT NULL, seconds REAL NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Record:
    """A stored trial without its curves; the metrics of a trial that diverged are NaN."""

    digest: str
    status: Status
    stopped_at: int | None
    initial: dict[str, float]
    metrics: dict[str, float]
    seconds: float


class Store:
    """Finished trials in one file. Batches appear in it whole or not at all, whatever happens to the process.

    Args:
        path: the file; made with its folder when ``write`` and it does not exist.
        write: whether batches will be added. One process at a time may do that.

    Raises:
        StoreError: the file is absent, corrupt, of another version, or another process is writing to it.
    """

    def __init__(self, path: Path, *, write: bool = False) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(path.name + ".lock")) if write else None
        with self._explained():
            if self._lock is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self._lock.acquire(timeout=0)
                except Timeout:
                    raise StoreError(f"another process is writing to {path}: wait for it, or stop it") from None
            elif not path.exists():
                raise StoreError(f"there is no store at {path}: run an experiment first")
            try:
                self._connection = sqlite3.connect(path, isolation_level=None)
            except BaseException:
                self._release()
                raise
            try:
                self._prepare(write)
            except BaseException:
                self.close()
                raise

    def _prepare(self, write: bool) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        empty = not self._connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        if version != VERSION and not empty:
            raise StoreError(
                f"{self.path} was written with layout {version}, this version of adaptive_lr reads layout {VERSION}: "
                "move the file away, or use the version that wrote it"
            )
        if empty and not write:
            raise StoreError(f"{self.path} holds no trials: run an experiment first")
        if write:
            # Not a write-ahead log: that could be read only where its folder can be written to.
            self._connection.execute("PRAGMA journal_mode=DELETE")
            self._connection.execute("PRAGMA synchronous=FULL")
        if empty:
            self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={VERSION}; COMMIT;")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let other processes write to it."""
        self._connection.close()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def __len__(self) -> int:
        with self._explained():
            return int(self._connection.execute("SELECT count(*) FROM trials").fetchone()[0])

    def finished(self, digests: Iterable[str]) -> set[str]:
        """Those of the digests that are stored."""
        return {row[0] for row in self._select("digest", digests)}

    def read(self, digests: Iterable[str]) -> dict[str, Record]:
        """The stored ones of the trials asked for, by digest, without curves."""
        columns = "digest, status, stopped_at, initial, metrics, seconds"
        found = {}
        for digest, status, stopped_at, initial, metrics, seconds in self._select(columns, digests):
            found[digest] = Record(
                digest, Status(status), stopped_at, _from_json(initial), _from_json(metrics), seconds
            )
        return found

    def curves(self, digest: str) -> dict[str, np.ndarray]:
        """The curves of one trial.

        Raises:
            KeyError: the trial is not stored.
            StoreError: the curves are damaged.
        """
        with self._explained():
            query = "SELECT place, curves FROM trials JOIN batches ON batch = id WHERE digest = ?"
            row = self._connection.execute(query, (digest,)).fetchone()
        if row is None:
            raise KeyError(f"trial {digest} is not in {self.path}")
        try:
            with np.load(io.BytesIO(row[1])) as arrays:
                return {name: arrays[name][row[0]] for name in arrays.files}
        except (ValueError, OSError, EOFError, LookupError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise StoreError(f"the curves of trial {digest} in {self.path} are damaged ({error})") from error

    def add(self, results: Sequence[RunResult], provenance: Mapping[str, Any]) -> None:
        """Store a finished batch in one transaction; a trial that is already there is kept as it is.

        If that cannot be done, for instance because the disk is full, a `StoreError` says so and nothing is lost.
        """
        if not results:
            return
        stacked = {
            name: np.stack([result.curves[name] for result in results]).astype(
                np.int32 if name == "step" else np.float64
            )
            for name in results[0].curves
        }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **stacked)  # type: ignore[arg-type]
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                batch = self._connection.execute(
                    "INSERT INTO batches (provenance, curves) VALUES (?, ?)",
                    (json.dumps(provenance), buffer.getvalue()),
                ).lastrowid
                self._connection.executemany(
                    "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
                    [_row(result, batch, place) for place, result in enumerate(results)],
                )
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def provenance(self) -> list[dict[str, Any]]:
        """The distinct provenances of all batches: commit, versions, device."""
        with self._explained():
            rows = self._connection.execute("SELECT DISTINCT provenance FROM batches ORDER BY id").fetchall()
        return [json.loads(row[0]) for row in rows]

    def _select(self, columns: str, digests: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        remaining = iter(digests)
        while part := list(islice(remaining, 500)):
            marks = ",".join("?" * len(part))
            with self._explained():
                yield from self._connection.execute(
                    f"SELECT {columns} FROM trials WHERE digest IN ({marks})",  # noqa: S608  # no user text
                    part,
                ).fetchall()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(_explanation(self.path, error)) from error
        except OSError as error:
            raise StoreError(f"cannot use {self.path}: {error.strerror or error}") from error


def _explanation(path: Path, error: sqlite3.Error) -> str:
    text = str(error)
    if "full" in text or "disk I/O" in text:
        return f"cannot write to {path} ({text}): make room and run again; what is stored is safe"
    if "not a database" in text or "malformed" in text:
        return f"{path} is damaged ({text}): move it away and run again"
    return f"cannot use {path}: {text}"


def _row(result: RunResult, batch: int | None, place: int) -> tuple[Any, ...]:
    return (
        result.trial.digest(),
        batch,
        place,
        canonical_json(result.trial),
        str(result.status),
        result.stopped_at,
        _to_json(result.initial),
        _to_json(result.metrics),
        result.seconds,
    )


def _to_json(values: Mapping[str, float]) -> str:
    return json.dumps({name: value if math.isfinite(value) else None for name, value in values.items()})


def _from_json(text: str) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in json.loads(text).items()}

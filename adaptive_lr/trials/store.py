"""Finished trials on disk: one SQLite file, one transaction a batch, looked up by digest, with a checksum in every row."""

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
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout

from adaptive_lr.errors import StoreError
from adaptive_lr.spec import canonical_json
from adaptive_lr.training.trial import RunResult, Status

VERSION = 2
"""Version of the layout below; layout 1 had no checksums."""

_SCHEMA = """
CREATE TABLE batches (id INTEGER PRIMARY KEY, provenance TEXT NOT NULL, curves BLOB NOT NULL, checksum INTEGER);
CREATE TABLE trials (
    digest TEXT PRIMARY KEY, batch INTEGER NOT NULL REFERENCES batches, place INTEGER NOT NULL, spec TEXT NOT NULL,
    status TEXT NOT NULL, stopped_at INTEGER, initial TEXT NOT NULL, metrics TEXT NOT NULL, seconds REAL NOT NULL,
    checksum INTEGER
) WITHOUT ROWID;
"""

_TRIAL = "digest, batch, place, spec, status, stopped_at, initial, metrics, seconds"
_BATCH = "id, provenance, curves"

_SHOWN = 3
"""Damaged trials that a message names."""


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

    A row that is not what was written, because a disk forgot a bit, is never read as a result: it counts as not finished, and
    ``add`` replaces it. A file of layout 1 is read unchecked; opened for writing, its rows get checksums as they are then.

    Args:
        path: the file; made with its folder when ``write`` and it does not exist.
        write: whether batches will be added. One process at a time may do that.

    Attributes:
        path: the file.
        damaged: the trials that `finished` was asked for and found damaged, until ``add`` replaces them.

    Raises:
        StoreError: the file is absent, corrupt, of another version, or another process is writing to it.
    """

    def __init__(self, path: Path, *, write: bool = False) -> None:
        self.path = path
        self.damaged: set[str] = set()
        self._sound: set[str] = set()
        self._damaged_batches: set[int] | None = None
        self._last: tuple[Any, dict[str, np.ndarray]] | None = None
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
                if path.exists() and not path.is_file():
                    raise StoreError(f"{path} is no file: give another folder for results")
                self._connection = sqlite3.connect(path, isolation_level=None)
                self._connection.text_factory = bytes  # bytes that are no text are damage, not an error of the query
            except BaseException:
                self._release()
                raise
            try:
                self._prepare(write)
            except BaseException:
                self.close()
                raise

    def _prepare(self, write: bool) -> None:
        self._layout = self._connection.execute("PRAGMA user_version").fetchone()[0]
        empty = not self._connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        if not 1 <= self._layout <= VERSION and not empty:
            raise StoreError(
                f"{self.path} was written with layout {self._layout}, this version of adaptive_lr reads layouts 1 to {VERSION}: "
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
            self._layout = VERSION
        elif write and self._layout == 1:
            self._add_checksums()

    def _add_checksums(self) -> None:
        """Layout 2 from layout 1, in one transaction; what cannot be read even now counts as damaged from then on."""
        with self._transaction():
            for table, columns, key in (("trials", _TRIAL, "digest"), ("batches", _BATCH, "id")):
                self._connection.execute(f"ALTER TABLE {table} ADD COLUMN checksum INTEGER")
                for (name,) in self._connection.execute(f"SELECT {key} FROM {table}").fetchall():  # noqa: S608  # no user text
                    where = f"WHERE {key} = {'CAST(? AS TEXT)' if key == 'digest' else '?'}"
                    query = f"SELECT {columns} FROM {table} {where}"  # noqa: S608
                    row = self._connection.execute(query, (name,)).fetchone()
                    if row is not None and (table == "batches" or _record(row) is not None):
                        query = f"UPDATE {table} SET checksum = ? {where}"  # noqa: S608
                        self._connection.execute(query, (_checksum(row), name))
            self._connection.execute(f"PRAGMA user_version={VERSION}")
        self._layout = VERSION

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
        """Those of the digests that are stored and undamaged, their curves included; see ``damaged`` for those that are not."""
        requested = set(digests)
        unknown = requested - self._sound
        damaged_batches = self._find_damaged_batches() if unknown else set()
        for digest, row, sound in self._select(unknown):
            known = self._sound if sound and row[1] not in damaged_batches else self.damaged
            known.add(digest)
        return requested & self._sound

    def read(self, digests: Iterable[str]) -> dict[str, Record]:
        """The stored ones of the trials asked for, by digest, without curves.

        Raises:
            StoreError: some of them are damaged; the line names them.
        """
        records, damaged = {}, []
        for digest, row, sound in self._select(digests):
            if sound and (record := _record(row)) is not None:
                records[digest] = record
            else:
                damaged.append(digest)
        if damaged:
            raise StoreError(self._damage(damaged, "damaged"))
        return records

    def _damage(self, digests: Sequence[str], what: str) -> str:
        named = ", ".join(digests[:_SHOWN]) + (", …" if len(digests) > _SHOWN else "")
        trials = "1 trial" if len(digests) == 1 else f"{len(digests)} trials"
        return (
            f"{trials} in {self.path} {'is' if len(digests) == 1 else 'are'} {what} ({named}): run the experiment again, which trains "
            "them anew and keeps the rest"
        )

    def _find_damaged_batches(self) -> set[int]:
        """The numbers of the batches whose curves are not those that were written; looked for once."""
        if self._damaged_batches is None:
            with self._explained():
                numbers = self._connection.execute("SELECT id FROM batches").fetchall() if self._layout > 1 else []
                self._damaged_batches = {number for (number,) in numbers if self._batch(number) is None}
        return self._damaged_batches

    def _batch(self, number: Any) -> tuple[bytes, bytes] | None:
        """Provenance and curves of a batch; None if it is damaged or not there."""
        checksum = "checksum" if self._layout > 1 else "NULL"
        query = f"SELECT {_BATCH}, {checksum} FROM batches WHERE id = ?"  # noqa: S608  # no user text
        row = self._connection.execute(query, (number,)).fetchone()
        if row is None or (self._layout > 1 and _checksum(row[:-1]) != row[-1]):
            return None
        return row[1], row[2]

    def curves(self, digest: str) -> dict[str, np.ndarray]:
        """The curves of one trial.

        Raises:
            KeyError: the trial is not stored.
            StoreError: the curves are damaged.
        """
        stored = next(self._select([digest]), None)
        if stored is None:
            raise KeyError(f"trial {digest} is not in {self.path}")
        _, row, sound = stored
        damage = self._damage([digest], "damaged in its curves")
        if not sound:
            raise StoreError(damage)
        try:
            arrays = self._arrays(row[1])
            if arrays is not None:
                return {name: array[row[2]].copy() for name, array in arrays.items()}
        except (ValueError, OSError, EOFError, LookupError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise StoreError(f"{damage} [{error}]") from error
        raise StoreError(damage)

    def _arrays(self, number: Any) -> dict[str, np.ndarray] | None:
        """The curves of a batch, None if it is damaged; kept until another one is read, as trials of a batch follow each other."""
        if self._last is None or self._last[0] != number:
            with self._explained():
                batch = self._batch(number)
            if batch is None:
                return None
            with np.load(io.BytesIO(batch[1])) as arrays:
                self._last = number, {name: arrays[name] for name in arrays.files}
        return self._last[1]

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
        with self._explained(), self._transaction():
            self._remove_damaged([result.trial.digest() for result in results])
            last = self._connection.execute("SELECT coalesce(max(id), 0) FROM batches").fetchone()[0]
            number = 1 + max(last, *(self._damaged_batches or ()), 0)
            batch = (number, json.dumps(provenance), buffer.getvalue())
            self._connection.execute("INSERT INTO batches VALUES (?, ?, ?, ?)", (*batch, _checksum(batch)))
            rows = [_row(result, number, index) for index, result in enumerate(results)]
            self._connection.executemany(
                "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
                [(*row, _checksum(row)) for row in rows],
            )

    def _remove_damaged(self, digests: Sequence[str]) -> None:
        replaced = [(digest,) for digest in digests if digest in self.damaged]
        if replaced:
            self._connection.executemany("DELETE FROM trials WHERE digest = ?", replaced)
            self._connection.execute("DELETE FROM batches WHERE id NOT IN (SELECT batch FROM trials)")
            self.damaged.difference_update(digest for (digest,) in replaced)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def provenance(self) -> list[dict[str, Any]]:
        """The distinct provenances of all undamaged batches: commit, versions, device."""
        sound: list[dict[str, Any]] = []
        known: set[bytes] = set()
        with self._explained():
            for number, provenance in self._connection.execute(
                "SELECT id, provenance FROM batches ORDER BY id"
            ).fetchall():
                if provenance not in known and self._batch(number) is not None:
                    known.add(provenance)
                    sound.append(json.loads(provenance))
        return sound

    def _select(self, digests: Iterable[str]) -> Iterator[tuple[str, tuple[Any, ...], bool]]:
        """Read what is stored of the trials asked for.

        Yields:
            Digest, row, and whether it is as it was written.
        """
        checksum = "checksum" if self._layout > 1 else "NULL"
        remaining = iter(digests)
        while part := list(islice(remaining, 500)):
            marks = ",".join("?" * len(part))
            with self._explained():
                rows = self._connection.execute(
                    f"SELECT {_TRIAL}, {checksum} FROM trials WHERE digest IN ({marks})",  # noqa: S608  # no user text
                    part,
                ).fetchall()
            for stored in rows:
                row = stored[:-1]
                sound = _checksum(row) == stored[-1] if self._layout > 1 else _record(row) is not None
                yield row[0].decode(), row, sound

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(_explanation(self.path, error)) from error
        except (UnicodeDecodeError, MemoryError) as error:  # from names in a damaged schema, and sizes in a damaged row
            raise StoreError(f"{self.path} is damaged ({type(error).__name__}): move it away and run again") from error
        except OSError as error:
            raise StoreError(f"cannot use {self.path}: {error.strerror or error}") from error


def _explanation(path: Path, error: sqlite3.Error) -> str:
    text = " ".join(str(error).split())
    if not path.exists():
        return f"{path} was deleted or moved while it was in use: run again, what was in it is gone"
    if "full" in text or "disk I/O" in text:
        return f"cannot write to {path} ({text}): make room and run again; what is stored is safe"
    if "readonly" in text:
        return f"cannot write to {path}: it, or its folder, may only be read"
    if any(word in text for word in ("not a database", "malformed", "no such", "too big")):
        return f"{path} is damaged ({text}): move it away and run again"
    return f"cannot use {path}: {text}"


def _row(result: RunResult, batch: int | None, index: int) -> tuple[Any, ...]:
    return (
        result.trial.digest(),
        batch,
        index,
        canonical_json(result.trial),
        str(result.status),
        result.stopped_at,
        _to_json(result.initial),
        _to_json(result.metrics),
        result.seconds,
    )


def _record(row: Sequence[Any]) -> Record | None:
    """What a row says; None if it says nothing, which without a checksum is all that tells damage."""
    digest, _, _, _, status, stopped_at, initial, metrics, seconds = row
    try:
        return Record(
            digest.decode(),
            Status(status.decode()),
            stopped_at,
            dict(_initial(initial)),
            _from_json(metrics),
            float(seconds),
        )
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _checksum(row: Iterable[Any]) -> int:
    """CRC-32 of the columns, text as UTF-8: no flipped byte, nor four side by side, gives the same."""
    return zlib.crc32(b"\0".join([value if type(value) is bytes else str(value).encode() for value in row]))


def _to_json(values: Mapping[str, float]) -> str:
    return json.dumps({name: value if math.isfinite(value) else None for name, value in values.items()})


def _from_json(text: bytes) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in json.loads(text.decode()).items()}


_initial = lru_cache(maxsize=4096)(_from_json)
"""Kept, since the trials of a seed begin alike."""

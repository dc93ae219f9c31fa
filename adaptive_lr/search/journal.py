"""The journal of a search: every point that was asked for and every run that is finished, each row with a checksum."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptive_lr.errors import StoreError
from adaptive_lr.search.task import Outcome

if TYPE_CHECKING:
    from adaptive_lr.search.space import Point

VERSION = 1
"""Of the tables below. Version 0 had runs alone, without checksum and source."""

_RUNS = "key TEXT PRIMARY KEY, number INTEGER NOT NULL, outcome TEXT NOT NULL, checksum TEXT, source TEXT"
_POINTS = "number INTEGER PRIMARY KEY, point TEXT NOT NULL, checksum TEXT NOT NULL"


@dataclass(frozen=True)
class Run:
    """A finished run: the number of the trial that it was done for, what it gave, and a digest of the function's source."""

    number: int
    outcome: Outcome
    source: str | None = None


@dataclass(frozen=True)
class Content:
    """What a journal holds: points by number, runs by key, and a line for every row that is not as it was written."""

    points: dict[int, Point] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()


class Journal:
    """One SQLite file. What is written is on disk when a method returns, or nothing of it is.

    A row whose checksum does not fit is left out, and named in ``content``; the file is then written anew without it, and a copy
    of the damaged one kept under ``.damaged``.

    Args:
        path: of the file; made if it does not exist.

    Raises:
        StoreError: it cannot be used, it is no journal, or a later version of this package wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained("cannot be used"):
            self._connection = _opened(path)
            self.content = self._read()
        if self.content.damaged:
            self._write_anew()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def add_point(self, number: int, point: Point) -> None:
        """Write down what was asked for; a `StoreError` says why it cannot be written."""
        text = json.dumps(point)
        row = (number, text, _checksum(number, text))
        with self._written():
            self._connection.execute("INSERT OR REPLACE INTO points VALUES (?, ?, ?)", row)

    def add_runs(self, runs: Iterable[tuple[str, Run]]) -> None:
        """Write down finished runs; all are on disk when this returns, or none, and a `StoreError` says why."""
        rows = [_run_row(key, run) for key, run in runs]
        with self._written():
            self._connection.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", rows)

    def _read(self) -> Content:
        points: dict[int, Point] = {}
        runs: dict[str, Run] = {}
        damaged: list[str] = []
        for number, text, checksum in _rows(self._connection, "points", "number, point, checksum"):
            try:
                _verify(checksum, number, text)
                points[number] = json.loads(text)
            except (ValueError, TypeError):
                damaged.append(f"the point of {_trial(number)}")
        for key, number, text, checksum, source in _rows(
            self._connection, "runs", "key, number, outcome, checksum, source"
        ):
            try:
                _verify(checksum, key, number, text, source)
                runs[key] = Run(number, Outcome.decoded(text), source)
            except (ValueError, TypeError, LookupError):
                damaged.append(f"the run of {_trial(number)}")
        if not damaged and self._connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
            damaged.append("its table of contents")
        return Content(points, runs, tuple(damaged))

    def _write_anew(self) -> None:
        """Keep a copy of the damaged file, and write what is sound over it, in one transaction."""
        with self._explained("cannot be written anew"), contextlib.closing(_opened(Path(":memory:"))) as sound:
            texts = {number: json.dumps(point) for number, point in self.content.points.items()}
            sound.executemany(
                "INSERT INTO points VALUES (?, ?, ?)",
                [(number, text, _checksum(number, text)) for number, text in texts.items()],
            )
            sound.executemany(
                "INSERT INTO runs VALUES (?, ?, ?, ?, ?)",
                [_run_row(key, run) for key, run in self.content.runs.items()],
            )
            self._connection.close()
            for ending in ("", "-wal"):
                part = self.path.with_name(self.path.name + ending)
                copy = self.path.with_name(f"{self.path.name}.damaged{ending}")
                copy.unlink(missing_ok=True)
                if part.exists():
                    shutil.copyfile(part, copy)
            self._connection = _opened(self.path)
            sound.backup(self._connection)  # no renaming, between two of which a kill would leave no journal

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self.path} {what} ({error}): use another directory") from error

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        if not self.path.exists():  # its connection would go on writing to what nobody will ever read
            raise StoreError(f"{self.path} was deleted while the search was running: its finished runs are lost")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise StoreError(
                f"cannot write to {self.path} ({error}): make room and run again; nothing is lost"
            ) from error


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=60.0)
    try:
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")  # what is damaged need not be text
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StoreError(
                f"{path} was written by a later version of adaptive_lr: use that one, or another directory"
            )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        if version < VERSION:
            _brought_up(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _brought_up(connection: sqlite3.Connection) -> None:
    """Make the tables, or those of version 0 into those of version 1."""
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"CREATE TABLE IF NOT EXISTS points ({_POINTS})")
    connection.execute(f"CREATE TABLE IF NOT EXISTS runs ({_RUNS})")
    if "checksum" not in [column[1] for column in connection.execute("PRAGMA table_info(runs)")]:
        for name in ("checksum", "source"):
            connection.execute(f"ALTER TABLE runs ADD COLUMN {name} TEXT")
        rows = connection.execute("SELECT key, number, outcome FROM runs").fetchall()
        connection.executemany(
            "UPDATE runs SET checksum = ? WHERE key = ?",
            [(_checksum(key, number, text, None), key) for key, number, text in rows],
        )
    connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")


def _rows(connection: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """Read a table.

    Yields:
        Its rows; where a page is damaged those that can be read, and a row of None for each that cannot.
    """
    query = f"SELECT {columns} FROM {table} NOT INDEXED"  # noqa: S608  # no user text
    try:
        yield from connection.execute(query).fetchall()
    except sqlite3.DatabaseError:
        last = connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0  # noqa: S608
        for rowid in range(min(last, 10_000_000) + 1):
            try:
                yield from connection.execute(f"{query} WHERE rowid = ?", (rowid,)).fetchall()
            except sqlite3.DatabaseError:
                yield (None,) * len(columns.split(","))


def _run_row(key: str, run: Run) -> tuple[Any, ...]:
    text = run.outcome.encoded()
    return key, run.number, text, _checksum(key, run.number, text, run.source), run.source


def _checksum(*cells: object) -> str:
    return hashlib.sha256(repr(cells).encode()).hexdigest()[:16]


def _verify(checksum: object, *cells: object) -> None:
    if checksum != _checksum(*cells):
        raise ValueError("the checksum does not fit")


def _trial(number: object) -> str:
    return f"trial {number}" if isinstance(number, int) and 0 <= number < math.inf else "some trial"


def same(point: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two points are equal and of the same types, in which 1, 1.0 and True differ."""
    return json.dumps(dict(point), sort_keys=True) == json.dumps(dict(other), sort_keys=True)

"""The folder of a search: who holds it, what it searches, and the runs that are finished."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from adaptive_lr.errors import SpecError, StoreError
from adaptive_lr.search.task import Outcome

_SCHEMA = "CREATE TABLE IF NOT EXISTS runs (key TEXT PRIMARY KEY, number INTEGER NOT NULL, outcome TEXT NOT NULL)"


class Directory:
    """An open folder; one process at a time has it open.

    Finished runs are written to its journal before anything else is done with them, those that came together in one transaction:
    from then on they are never run again.

    Args:
        path: made if it does not exist.
        identity: what makes this search another one than others; compared with what the folder holds.

    Raises:
        StoreError: another process has it open, or it cannot be written to.
        SpecError: it holds another search.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self.path / "lock")
            self._lock.acquire(timeout=0)
        except Timeout:
            raise StoreError(f"{path} is held by {self._holder()}: wait for it, or stop it") from None
        except OSError as error:
            raise StoreError(f"cannot use {path}: {error.strerror or error}") from error
        try:
            _write(self.path / "holder.json", {"pid": os.getpid(), "host": socket.gethostname(), "since": _now()})
            self.identity = self._identified(dict(identity))
            self._journal = sqlite3.connect(self.path / "runs.sqlite", isolation_level=None, timeout=60.0)
            self._journal.execute("PRAGMA journal_mode=WAL")
            self._journal.execute("PRAGMA synchronous=FULL")
            self._journal.execute(_SCHEMA)
        except sqlite3.Error as error:
            self._lock.release()
            raise StoreError(f"{path / 'runs.sqlite'} cannot be used: {error}") from error
        except OSError as error:
            self._lock.release()
            raise StoreError(f"cannot use {path}: {error.strerror or error}") from error
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()
        self._lock.release()

    def finished(self) -> dict[str, Outcome]:
        """Every finished run by its key.

        Raises:
            StoreError: the journal is damaged.
        """
        try:
            rows = self._journal.execute("SELECT key, outcome FROM runs").fetchall()
            return {key: Outcome.decoded(text) for key, text in rows}
        except (sqlite3.Error, ValueError, LookupError, TypeError) as error:
            raise StoreError(f"{self.path / 'runs.sqlite'} is damaged ({error}): use another directory") from error

    def keep(self, runs: Iterable[tuple[str, int, Outcome]]) -> None:
        """Write down finished runs, each with its key and the number of its trial; all are on disk when this returns, or none.

        Raises:
            StoreError: they cannot be written.
        """
        rows = [(key, number, outcome.encoded()) for key, number, outcome in runs]
        try:
            self._journal.execute("BEGIN IMMEDIATE")
            self._journal.executemany("INSERT INTO runs VALUES (?, ?, ?)", rows)
            self._journal.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._journal.execute("ROLLBACK")
            raise StoreError(
                f"cannot write to {self.path} ({error}): make room and run again; nothing is lost"
            ) from error

    def _holder(self) -> str:
        try:
            holder = json.loads((self.path / "holder.json").read_text())
            return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
        except (OSError, ValueError, LookupError, TypeError):  # it is just starting
            return "another process"

    def _identified(self, wanted: dict[str, Any]) -> str:
        file = self.path / "search.json"
        if not file.exists():
            _write(file, {"id": uuid.uuid4().hex, **wanted})
        try:
            found = json.loads(file.read_text())
            name: str = found.pop("id")
        except (ValueError, LookupError, TypeError, AttributeError):
            raise StoreError(f"{file} is damaged: use another directory") from None
        for key, value in wanted.items():
            if found.get(key) != json.loads(json.dumps(value)):
                raise SpecError(
                    f"{self.path} holds a search with {key} {json.dumps(found.get(key))}, not {json.dumps(value)}: "
                    "use another directory, or ask for the same"
                )
        return name


def _now() -> str:
    return datetime.now(UTC).isoformat(sep=" ", timespec="seconds")


def _write(file: Path, content: Mapping[str, Any]) -> None:
    """Write the file whole or not at all."""
    new = file.with_name(file.name + ".new")
    with new.open("w") as stream:
        json.dump(content, stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)

"""Optuna storages: a file of one's own, or whatever an address names."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from optuna.storages import RDBStorage
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import QueuePool

from adaptive_lr.errors import StoreError
from adaptive_lr.search.address import safe, without_secrets

TROUBLE = (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError, OSError)
"""What is raised when a storage does not do what it is asked for."""

_LASTING = (
    sqlalchemy.exc.ArgumentError,
    sqlalchemy.exc.NoSuchModuleError,
    sqlalchemy.exc.NotSupportedError,
    sqlalchemy.exc.ProgrammingError,
)
_REFUSED = re.compile(
    r"authentication|password|pg_hba|permission denied|(role|database|user) .* does not exist"
    r"|Access denied|Unknown database|certificate",
    re.IGNORECASE,
)


def sqlite_address(path: Path) -> str:
    """The address of a file, whatever its name holds."""
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def open_storage(where: Path | str) -> RDBStorage:
    """The storage in a file or at an address; a `StoreError` says that there is none, or that another Optuna made it."""
    if isinstance(where, Path):
        return _explained(lambda: _opened(where), sqlite_address(where))
    if where.startswith("sqlite:///"):
        return _explained(lambda: _opened_file(where), where)
    driver = re.sub(r"^postgresql://", "postgresql+psycopg://", where)
    template = driver.replace("{", "{{").replace("}", "}}")  # Optuna fills in a template
    return _explained(lambda: RDBStorage(template, engine_kwargs={"pool_pre_ping": True}), where)


def _opened(path: Path) -> RDBStorage:
    """The storage in that file; first made under another name, so that no half of it is ever found.

    With a write-ahead log, so that a dashboard may read.
    """
    if path.exists():
        return _connected(_File(path))
    new = path.with_name(path.name + ".new")
    for leftover in (new, path):  # SQLite would take the log of a file that was deleted for that of this one
        for ending in ("", "-wal", "-shm", "-journal"):
            leftover.with_name(leftover.name + ending).unlink(missing_ok=True)
    file = _File(new, new=True)
    made = _connected(file)
    with new.open("r+b") as written:
        os.fsync(written.fileno())
    new.replace(path)
    file.path, file.new = path, False  # nothing is connected to it now; to begin anew would take as long as all of this
    return made


def refused(error: BaseException) -> bool:
    """Whether asking again is of no use: a wrong password, a database that is not there, a command that is not understood."""
    cause = error.__cause__ or error
    return isinstance(cause, _LASTING) or _REFUSED.search(str(getattr(cause, "orig", cause))) is not None


def reason(error: BaseException, url: str) -> str:
    """What a driver says went wrong, without what is secret in the address."""
    cause = error.__cause__ or error
    return without_secrets(str(getattr(cause, "orig", cause)), url)


def _opened_file(url: str) -> RDBStorage:
    database = make_url(url).database
    return _opened(Path(database)) if database else RDBStorage(url)


@dataclass
class _File:
    """Where the connections of a storage lead; not its address, in which a ? or a % means something."""

    path: Path
    new: bool = False

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60, check_same_thread=False)
        if self.new:  # nobody knows it yet, so none of its tables need be on disk before the last
            connection.execute("PRAGMA synchronous=OFF")
        return connection


def _connected(file: _File) -> RDBStorage:
    """The storage in a file, without a connection so far; whether its tables fit this Optuna is not asked if they are new."""
    storage = RDBStorage(
        "sqlite:///study.db",
        engine_kwargs={"creator": file.connect, "poolclass": QueuePool},
        skip_compatibility_check=file.new,
    )

    @event.listens_for(storage.engine, "connect")
    def pragmas(connection: Any, record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    storage.remove_session()
    storage.engine.dispose()
    return storage


def _explained(attempt: Callable[[], RDBStorage], url: str) -> RDBStorage:
    """What ``attempt`` opens; errors in a line, and without the chain that holds the address as it was given.

    Raises:
        StoreError: there is no such kind of storage, its driver is not installed, or another Optuna made it.
    """
    try:
        return attempt()
    except TROUBLE as error:
        if not isinstance(error, sqlalchemy.exc.ArgumentError | sqlalchemy.exc.NoSuchModuleError):
            raise
        message = f"{_quoted(url)} is no address of a storage: sqlite:///…, postgresql://…, mysql://…"
    except ImportError as error:
        extra = ": pip install 'adaptive-lr[postgresql]'" if "psycopg" in str(error) else ""
        message = f"{safe(url)} needs a driver that is not installed ({without_secrets(str(error), url)}){extra}"
    except RuntimeError:  # of its version of the tables
        message = (
            f"{safe(url)} was written by another version of Optuna than {optuna.__version__}: move it away, or name another "
            "storage, and run again; finished runs are kept"
        )
    except ValueError:  # a port that is no number, a bracket that is not closed
        message = f"{_quoted(url)} is no address of a storage: sqlite:///…, postgresql://…, mysql://…"
    raise StoreError(message)


def _quoted(url: str) -> str:
    return repr(safe(url))

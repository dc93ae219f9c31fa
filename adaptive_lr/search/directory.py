"""The folder of a search: who holds it, what it searches, and the runs that are finished."""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from filelock import FileLock, Timeout

from adaptive_lr.errors import SpecError, StoreError
from adaptive_lr.files import replace_file
from adaptive_lr.search.journal import Journal, Run

if TYPE_CHECKING:
    from adaptive_lr.search.space import Point

_LATER: dict[str, Any] = {"rounds": False, "pruner": None, "in_flight": 8, "function": None}
"""What earlier versions did not write down, and what it was."""


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
            self.journal = Journal(self.path / "runs.sqlite")
        except OSError as error:
            self._lock.release()
            raise StoreError(f"cannot use {error.filename or path}: {error.strerror or error}") from error
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()
        self._lock.release()

    def plan(self, number: int, point: Point) -> None:
        """Write down the point of a trial, before anything is done with it."""
        self.journal.add_point(number, point)

    def keep(self, runs: Iterable[tuple[str, Run]]) -> None:
        """Write down finished runs by their keys; all are on disk when this returns, or none."""
        self.journal.add_runs(runs)

    def _holder(self) -> str:
        try:
            holder = json.loads((self.path / "holder.json").read_text())
            return f"process {holder['pid']} on {holder['host']} since {holder['since']}"
        except (OSError, ValueError, LookupError, TypeError):  # it is just starting
            return "another process"

    def _identified(self, identity: dict[str, Any]) -> str:
        file = self.path / "search.json"
        if not file.exists():
            _write(file, {"id": uuid.uuid4().hex, **identity})
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
            name: str = held["id"]
            held = _LATER | held
        except (ValueError, LookupError, TypeError, AttributeError):
            raise StoreError(f"{file} is damaged: use another directory") from None
        for key, value in identity.items():
            if held.get(key) != json.loads(json.dumps(value)) and (key, held.get(key)) != ("function", None):
                raise SpecError(
                    f"{self.path} holds a search with {key} {json.dumps(held.get(key))}, not {json.dumps(value)}: "
                    "use another directory, or ask for the same"
                )
        if held["function"] is None and identity.get("function") is not None:
            _write(file, held | {"function": identity["function"]})
        return name


def _now() -> str:
    return datetime.now(UTC).isoformat(sep=" ", timespec="seconds")


def _write(file: Path, content: Mapping[str, Any]) -> None:
    replace_file(file, json.dumps(content, indent=2).encode())

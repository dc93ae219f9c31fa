"""Functions to search, in a module that worker processes import at once: it needs nothing heavy."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adaptive_lr import SearchResult, SearchTrial


def parabola(trial: SearchTrial) -> float:
    offset: float = {"a": 0.0, "b": 0.1}[trial["kind"]]
    return float((trial["x"] - 0.3) ** 2 + offset)


def descent(trial: SearchTrial) -> Iterator[float]:
    for step in range(1, 28):
        yield parabola(trial) + 1.0 / step


def wavering(trial: SearchTrial) -> Iterator[float]:
    """Trials of different length, so that several workers finish them out of order."""
    time.sleep(0.001 * (trial.number * 7919 % 17))
    for step in range(1, 10):
        yield parabola(trial) + 0.01 * math.sin(trial.seed) + 1.0 / step


def raising(trial: SearchTrial) -> float:
    raise ValueError(f"no luck with {trial['kind']}")


def fatal(trial: SearchTrial) -> float:
    if trial.number == 1:
        os._exit(3)
    return float(trial["x"])


def changed(before: Any, after: Any) -> Any:
    """The function ``before`` once somebody has written ``after`` in its place."""

    def function(trial: SearchTrial) -> Any:
        return after(trial)

    function.__module__, function.__qualname__ = before.__module__, before.__qualname__
    return function


def negated(trial: SearchTrial) -> Iterator[float]:
    for value in descent(trial):
        yield -value


def history(found: SearchResult) -> list[Any]:
    return [(one.number, one.point, one.values, one.state, one.curve, one.by_seed) for one in found.trials]


def states(path: Path) -> list[str]:
    """The states of all trials as they stand in the file."""
    connection = sqlite3.connect(path / "study.db")
    try:
        return [row[0] for row in connection.execute("SELECT state FROM trials ORDER BY number")]
    finally:
        connection.close()


@contextmanager
def edited(file: Path) -> Iterator[sqlite3.Connection]:
    """A file of SQLite, for somebody who has no business there."""
    connection = sqlite3.connect(file)
    try:
        yield connection
        connection.commit()
    finally:
        connection.close()


def journaled(path: Path) -> int:
    connection = sqlite3.connect(path / "runs.sqlite")
    try:
        return int(connection.execute("SELECT count(*) FROM runs").fetchone()[0])
    finally:
        connection.close()


def interrupted(folder: Path, *arguments: str) -> None:
    """Start the command in another process, interrupt it once it has begun, and look at how it ends."""
    root = str(Path(__file__).resolve().parents[1])
    command = [sys.executable, "-m", "adaptive_lr", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": root})
    deadline = time.monotonic() + 60.0
    while not (folder / "search/runs.sqlite-wal").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; finished trials are stored: run again to go on" in said
    assert "Traceback" not in said

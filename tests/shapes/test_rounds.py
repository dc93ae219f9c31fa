"""Batches of a round on several processes."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adaptive_lr.errors import RunError
from adaptive_lr.shapes.rounds import WholeRounds

DEADLINE = 300.0


def wait_until(claim: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.01)


@dataclass(frozen=True)
class Waiting:
    """Says in a file that it has begun, ends once there is another, and gives ``result``."""

    key: str
    folder: Path
    result: Any
    function: bytes = b""

    def run(self) -> Any:
        (self.folder / f"{self.key} begun").touch()
        wait_until((self.folder / f"end {self.key}").exists)
        return self.result


def test_a_batch_that_has_ended_is_kept_when_another_failed_just_before(tmp_path: Path) -> None:
    results = {"a": "first", "b": RunError("no luck"), "c": "second"}
    unused: Any = None
    rounds = WholeRounds(unused, unused, len(results))
    done = rounds._done([Waiting(key, tmp_path, result) for key, result in results.items()])

    def end_a_once_all_have_begun() -> None:
        wait_until(lambda: all((tmp_path / f"{key} begun").exists() for key in results))
        (tmp_path / "end a").touch()

    try:
        threading.Thread(target=end_a_once_all_have_begun).start()
        assert next(done) == "first"
        assert rounds._pool is not None
        events = rounds._pool._events
        (tmp_path / "end b").touch()
        wait_until(lambda: events.qsize() == 1)
        (tmp_path / "end c").touch()
        wait_until(lambda: events.qsize() == 2)
        assert next(done) == "second"
        with pytest.raises(RunError, match="no luck"):
            next(done)
    finally:
        rounds.close()

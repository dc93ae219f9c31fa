"""What a worker process answers, where that cannot be sent or read."""

import contextlib
import os
import pickle
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adaptive_lr.search.executor import ProcessPool
from adaptive_lr.search.task import Outcome

PATIENCE = 300.0


def refuse(kind: type[Exception]) -> None:
    raise kind("made elsewhere")


@dataclass
class Unreadable:
    """Can be sent to another process, and not be read there."""

    kind: type[Exception]

    def __reduce__(self) -> Any:
        return refuse, (self.kind,)


@dataclass(frozen=True)
class Answering:
    """A job that gives an `Unreadable`, or what cannot even be sent."""

    kind: type[Exception] | None
    key: str = "answering"
    function: bytes = b""

    def run(self) -> Any:
        return threading.Lock() if self.kind is None else Unreadable(self.kind)


def collected(job: Any, say: Callable[[str], None]) -> tuple[Any, Any]:
    """The job with what a pool says that it gave."""
    pool: ProcessPool[Any] = ProcessPool(1, say)
    done: list[tuple[Any, Any]] = []
    try:
        pool.submit(job)
        thread = threading.Thread(target=lambda: done.extend(pool.collect()), daemon=True)
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive(), "waits for ever"
    finally:
        pool.close()
    (pair,) = done
    return pair


def answer(job: Answering) -> str:
    """What is wrong with the job, as its pool says, which says nothing of a worker that died."""
    messages: list[str] = []
    same, outcome = collected(job, messages.append)
    assert same == job
    assert isinstance(outcome, Outcome)
    assert not messages
    return str(outcome.error)


@pytest.mark.parametrize("kind", [AttributeError, ImportError, pickle.UnpicklingError])
def test_an_answer_that_cannot_be_read_is_an_error_with_its_reason(kind: type[Exception]) -> None:
    assert (
        answer(Answering(kind)) == f"returned what cannot be read in another process ({kind.__name__}: made elsewhere)"
    )


def test_an_answer_that_cannot_be_sent_is_an_error_with_its_reason() -> None:
    assert answer(Answering(None)) == (
        "returned what cannot be sent to another process (TypeError: cannot pickle '_thread.lock' object)"
    )


@dataclass(frozen=True)
class Babbling:
    """A job that writes where only answers should stand, the first time that it is run."""

    file: Path
    key: str = "babbling"
    function: bytes = b""

    def run(self) -> str:
        if not self.file.exists():
            self.file.touch()
            for descriptor in range(3, 20):
                with contextlib.suppress(OSError):
                    os.write(descriptor, b"nonsense\n")
        return "an answer"


@pytest.mark.skipif(os.name != "posix", reason="writes to descriptors by number")
def test_a_worker_whose_answers_are_garbled_is_replaced_and_its_job_done_again(tmp_path: Path) -> None:
    messages: list[str] = []
    job = Babbling(tmp_path / "file")
    assert collected(job, messages.append) == (job, "an answer")
    assert messages == ["a worker process died (signal 9); its run is done again"]

"""A worker process, started by a `ProcessPool`. Tasks come in by its standard input, outcomes go out by its output.

It ends with the process that started it, whatever that died of: Linux is told to kill it, and elsewhere it ends when its input
does. Both are set up before anything slow is imported.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from dataclasses import replace
from queue import SimpleQueue
from typing import IO, Any

from adaptive_lr.errors import in_a_line
from adaptive_lr.processes import end_with_parent
from adaptive_lr.search.sent import received
from adaptive_lr.search.task import Outcome


def _read(source: IO[bytes], tasks: SimpleQueue[Any]) -> None:
    while True:
        try:
            tasks.put(pickle.load(source))
        except (EOFError, OSError, pickle.UnpicklingError):
            os._exit(0)


def main() -> None:
    """Do tasks until the input ends."""
    end_with_parent(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it decides
    answers, source = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)  # what the function prints must not get between the answers
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # nor must what it reads, or a process that it starts, take tasks away or wait for more
    os.close(nothing)
    sys.argv = pickle.load(source)
    tasks: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_read, args=(source, tasks), daemon=True).start()
    _answer(answers, None)
    function = b""
    while True:
        task = received(tasks.get())
        function = task.function or function
        _answer(answers, _pickled(replace(task, function=function).run()))


def _pickled(result: Any) -> bytes:
    """The result as bytes, or an `Outcome` that says why it cannot be sent."""
    try:
        return pickle.dumps(result)
    except Exception as error:
        return pickle.dumps(Outcome(error=f"returned what cannot be sent to another process ({in_a_line(error)})"))


def _answer(answers: IO[bytes], content: bytes | None) -> None:
    try:
        pickle.dump(content, answers)
        answers.flush()
    except BrokenPipeError:
        os._exit(0)

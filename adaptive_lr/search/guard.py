"""A process that ends worker processes, and all that these have started, when the process that they work for is gone.

It holds nothing but the reading end of a pipe. That ends when the other process does, whatever it died of.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

_PROGRAM = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
groups = set()
for line in sys.stdin:
    word, group = line.split()
    (groups.add if word == "watch" else groups.discard)(int(group))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
"""


class Guard:
    """Watches process groups, each by the number of its leader; does nothing where there are none."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def watch(self, group: int) -> None:
        """End that group when this process is gone."""
        self._groups.add(group)
        self._tell(f"watch {group}")

    def forget(self, group: int) -> None:
        """That group has ended, so its number may come to mean another one."""
        self._groups.discard(group)
        self._tell(f"forget {group}")

    def close(self) -> None:
        """End it; the groups that are still watched end with it."""
        if self._process is not None:
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.wait()

    def _tell(self, line: str) -> None:
        if os.name != "posix":
            return
        if self._process is None or self._process.poll() is not None:  # not yet, or killed by somebody
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                process_group=0,
            )
            line = "\n".join(f"watch {group}" for group in self._groups)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # killed just now: the next call makes a new one
            self._process.stdin.write(f"{line}\n".encode() if line else b"")
            self._process.stdin.flush()


def end_group(leader: int) -> None:
    """Kill a process and all that it has started, unless that has left its group."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)

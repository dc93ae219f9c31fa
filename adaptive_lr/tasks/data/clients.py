"""The ordinary clients of package registries, run as a person would run them, and what their complaints come down to."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from adaptive_lr.errors import DataError
from adaptive_lr.tasks.data.declaration import Progress

LIMIT_SECONDS = 3600.0
"""After which a client that is still busy is ended; each of them gives up by itself on a connection that says nothing."""

_PAUSE_SECONDS = 0.1

_NO_NETWORK = (
    "could not resolve", "temporary failure", "name or service not known", "name resolution", "could not connect", "unable to connect",
    "connection refused", "connection timed out", "connection failed", "connection reset", "connection broken", "network is unreachable",
    "no route to host", "connecttimeout", "readtimeout", "read timed out", "proxyerror", "newconnectionerror", "enotfound", "eai_again",
    "econnrefused", "econnreset", "etimedout", "enetunreach", "ehostunreach", "network timeout",
)  # fmt: skip
_UNKNOWN = (
    "unable to locate package",
    "no packages found",
    "e404",
    "etarget",
    "no matching distribution",
    "can't select candidate",
)
_FULL = ("no space left", "enospc", "not enough free space", "don't have enough free space")


class UnknownPackageError(DataError):
    """The registry, or the client's list of what is in it, has no such package."""


def run(
    command: Sequence[str], folder: Path, *, progress: Progress, environment: Mapping[str, str] | None = None
) -> str:
    """Run a client in ``folder``, whose size tells the progress; nothing is read from the terminal.

    Args:
        command: the client and its arguments.
        folder: where it runs, and writes its temporary files to.
        progress: told the bytes in the folder.
        environment: variables besides those of this process.

    Returns:
        What it said.

    Raises:
        DataError: it cannot be run, or failed; in one clause.
        UnknownPackageError: it does not know what it was asked for.
    """
    name = client_name(command)
    variables = {**os.environ, "LC_ALL": "C", "TMPDIR": str(folder), **(environment or {})}
    words = folder / ".client"
    with words.open("wb") as said:
        try:
            process = subprocess.Popen(
                command, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise DataError(f"{name} cannot be run: {error.strerror or error}") from error
        _wait(process, name, folder, progress)
    complaint = words.read_text(encoding="utf-8", errors="replace")
    words.unlink()
    if process.returncode == 0:
        return complaint
    if not has_no_network(complaint) and _has(complaint, _UNKNOWN):
        raise UnknownPackageError(f"{name} does not know the package")
    raise DataError(f"{name} {_reason(complaint, process.returncode)}")


def client_name(command: Sequence[str]) -> str:
    """What a person calls it: ``python -m pip`` is pip."""
    return command[2] if command[1:2] == ["-m"] else Path(command[0]).name


def installed(program: str, belongs_to: str) -> str:
    """The path of a program.

    Raises:
        DataError: it is not on the PATH.
    """
    path = shutil.which(program)
    if path is None:
        raise DataError(f"{program} is not installed here (it comes with {belongs_to})")
    return path


def size(folder: Path) -> int:
    """The bytes of all files in a folder, some of which may be disappearing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118  # a hundred times a second
    return total


def _wait(process: subprocess.Popen[bytes], name: str, folder: Path, progress: Progress) -> None:
    """Until the client has ended, or has to because of an error here or of Ctrl-C.

    Raises:
        DataError: it takes longer than LIMIT_SECONDS.
    """
    end = time.monotonic() + LIMIT_SECONDS
    try:
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_PAUSE_SECONDS)
            progress(size(folder))
            if time.monotonic() > end:
                raise DataError(f"{name} is not done after {LIMIT_SECONDS:.0f} s")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def has_no_network(complaint: str) -> bool:
    """Whether a client says that it reaches nobody."""
    return _has(complaint, _NO_NETWORK)


def _has(complaint: str, words: Sequence[str]) -> bool:
    lower = complaint.lower()
    return any(word in lower for word in words)


def _reason(complaint: str, code: int) -> str:
    """Why a client failed: in our words where it is one of the usual reasons, else in its own."""
    if _has(complaint, _FULL):
        return "failed: the disk is full"
    if has_no_network(complaint):
        return "has no network"
    if match := re.search(r"Expected sha256 (\w+)\s+Got\s+(\w+)", complaint):
        return f"was sent a file with SHA-256 {match[2]}, expected {match[1]}"
    lines = [" ".join(line.split()) for line in complaint.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("e:", "error", "npm err", "fatal"))]
    last = (errors or lines or ["without a word"])[-1]
    return f"failed with exit code {code}: {last[:300]}"

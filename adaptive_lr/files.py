"""Files that are replaced whole: whoever reads one meanwhile, or after a kill or a power loss, finds the old or the new one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from adaptive_lr.errors import OutputError


def replace_file(path: Path, content: bytes) -> None:
    """Write ``content`` beside ``path`` and rename it to ``path``; a link that stands at either name is not followed.

    Raises:
        OutputError: it cannot be written, for instance because the disk is full; the line names the file, which is as it was.
    """
    part = path.with_name(path.name + ".part")
    try:
        # Never through what somebody else put there: a link would have us write elsewhere, a named pipe would wait.
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)  # 3 ms; else a power loss could leave the name to a file without its content
        part.replace(path)
    except BaseException as error:  # Ctrl-C, too, leaves nothing half written behind
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        raise


def make_folder(path: Path) -> None:
    """Make a folder with those above it, if it is not there.

    Raises:
        OutputError: that cannot be done.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path}: {error.strerror or error}") from error

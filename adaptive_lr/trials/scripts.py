"""A person's file as a module: loaded by its path, and again in worker processes, so that what it defines can be sent there."""

from __future__ import annotations

import re
import sys
import traceback
import zlib
from pathlib import Path
from types import ModuleType

from adaptive_lr.errors import ExperimentError, in_a_line
from adaptive_lr.processes import load_module

_LOADED: dict[str, Path] = {}


def load_script(path: Path) -> ModuleType:
    """Execute a file and return it as a module; modules beside it can be imported, after those that are installed.

    If it raises an error or ends the program, an `ExperimentError` says so, with the traceback as a note.
    """
    path = path.resolve()
    stem = re.sub(r"\W", "_", path.stem)
    name = f"script_{zlib.crc32(str(path).encode('utf-8', 'surrogateescape')):08x}_{stem}"
    _execute(name, path)
    _LOADED[name] = path
    return sys.modules[name]


def loaded_scripts() -> dict[str, Path]:
    """The files that this process has loaded and that are still there, by the names of their modules."""
    return {name: path for name, path in _LOADED.items() if path.exists()}


def load_again(scripts: dict[str, Path]) -> None:
    """Load in this process what `loaded_scripts` said in another one."""
    for name, path in scripts.items():
        _execute(name, path)


def _execute(name: str, path: Path) -> None:
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        load_module(name, path)
    except (Exception, SystemExit) as error:
        refusal = ExperimentError(f"{path} cannot be imported: {_reason(error)}")
        refusal.add_note(_traceback(error, path))
        raise refusal from error


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it ended the program with exit({error.code!r})"
    return in_a_line(error)


def _traceback(error: BaseException, path: Path) -> str:
    """From the first line of the file on; what lies before is this package and Python's importing."""
    lines = traceback.TracebackException.from_exception(error, limit=40)
    while lines.stack and lines.stack[0].filename != str(path):
        del lines.stack[0]
    return "".join(lines.format()).rstrip()

"""What all processes that work for another one need: to load its files, to end with it, and a word for why they ended."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import signal
import sys
from pathlib import Path
from types import ModuleType

_PR_SET_PDEATHSIG = 1


def load_module(name: str, file: Path) -> ModuleType:
    """Execute a file as the module of that name, whatever else has the name; if it raises, that has it again.

    Raises:
        ImportError: it is no Python file.
    """
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # before it is executed, as dataclasses and pickle want it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before
        raise
    return module


def end_with_parent(parent: int) -> None:
    """Let Linux kill this process as soon as the one that started it is gone, whatever that died of; elsewhere do nothing."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before that
            os._exit(1)


def cause_of_death(code: int | None) -> str:
    """Why a process ended, from its exit code; None if it has not.

    >>> cause_of_death(7), cause_of_death(-9), cause_of_death(-11), cause_of_death(None)
    ('code 7', 'signal 9', 'signal 11, SIGSEGV', 'it closed its pipe')
    """
    if code is None:
        return "it closed its pipe"
    if code >= 0:
        return f"code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    return "signal 9" if name == "SIGKILL" else f"signal {-code}, {name}"


def perhaps_memory(code: int | None) -> str:
    """To be added to the cause of a death, where that may be that there was no memory left."""
    return ", perhaps for want of memory" if code == -9 else ""

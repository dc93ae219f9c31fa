"""Ctrl-C that comes where Python cannot raise."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

SCRIPT = """
import sys, time, weakref
import adaptive_lr.__main__ as command

class Thing:
    pass

def interrupted(_):
    raise {error}

def app(prog_name):
    thing = Thing()
    reference = weakref.ref(thing, interrupted)
    del thing
    time.sleep(30)

import adaptive_lr.cli
adaptive_lr.cli.app = command.app = app
command.main()
"""


def ended(error: str, seconds: float) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(error=error).replace("sleep(30)", f"sleep({seconds})")
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=25, check=False
    )


def test_an_interrupt_in_the_callback_of_a_weak_reference_comes_again() -> None:
    result = ended("KeyboardInterrupt", 30)  # it would not end in time if the interrupt were lost
    assert (result.returncode, result.stderr) == (130, "")


def test_any_other_error_there_is_told_as_python_does() -> None:
    result = ended("ValueError('other')", 0)
    assert result.returncode == 0
    assert "Exception ignored" in result.stderr

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adaptive_lr.trials.interrupts import heeded

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import re, signal, time
from multiprocessing import get_context
from pathlib import Path
from adaptive_lr.trials.interrupts import unheard_by_children

for _ in range(2):
    with unheard_by_children():
        process = get_context("spawn").Process(target=time.sleep, args=(60,))
        process.start()
    blocked = int(re.search(r"SigBlk:\\s*(\\w+)", Path(f"/proc/{process.pid}/status").read_text())[1], 16)
    process.kill()
    process.join()
    print(bool(blocked >> (signal.SIGINT - 1) & 1), signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_no_process_hears_ctrl_c_from_its_first_moment_on_and_this_one_does() -> None:
    """The first one too, before which multiprocessing starts a process of its own."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split("\n") == ["True False", "True False", ""]


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1.0)


def interrupted_into_an_error() -> None:
    try:
        interrupt()
    except BaseException as error:
        raise ValueError("cannot be compiled") from error


def test_ctrl_c_that_is_swallowed_ends_the_block_after_all() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), heeded(), contextlib.suppress(BaseException):
        interrupt()
    with pytest.raises(KeyboardInterrupt), heeded():
        interrupted_into_an_error()
    assert signal.getsignal(signal.SIGINT) is before


def test_errors_and_results_pass_as_they_are_where_nobody_interrupts() -> None:
    with pytest.raises(ValueError, match="mine"), heeded():
        raise ValueError("mine")
    with heeded():
        pass

import subprocess
import sys
from pathlib import Path

import pytest

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

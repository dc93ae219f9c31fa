"""What processes that work for another one do when they begin and when they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adaptive_lr.processes import load_module
from tests.processes import living, processes

ROOT = Path(__file__).resolve().parents[1]

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""

CHILD = """
import os, re
from adaptive_lr.processes import end_with_parent
end_with_parent(os.getppid())
print("ready", flush=True)
re.match("(a*)*b", 60 * "a")  # holds the interpreter, so that no other thread could end this process
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux kills processes with their parent")
def test_a_process_that_holds_the_interpreter_ends_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        child = int(parent.stdout.readline())
        born = {child: processes()[child][2]}
        assert living(born)
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 60.0
    while living(born) and time.monotonic() < deadline:
        time.sleep(0.01)
    orphans = living(born)
    for orphan in orphans:
        os.kill(orphan, signal.SIGKILL)
    assert not orphans


def test_a_module_that_raises_leaves_the_one_that_had_its_name(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text("value = 1")
    before = load_module("has_a_name_of_its_own", file)
    file.write_text("import has_a_name_of_its_own\nraise KeyError")
    with pytest.raises(KeyError):
        load_module("has_a_name_of_its_own", file)
    assert sys.modules.pop("has_a_name_of_its_own") is before
    with pytest.raises(KeyError):
        load_module("has_a_name_of_its_own", file)
    assert "has_a_name_of_its_own" not in sys.modules


def test_what_is_no_python_file_is_no_module(tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("value = 1")
    with pytest.raises(ImportError, match=r"file\.txt is no Python file"):
        load_module("file", tmp_path / "file.txt")

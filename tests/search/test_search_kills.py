"""What a process that was killed, or somebody who deletes files, leaves beside a journal and a study."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from adaptive_lr import Range, search
from adaptive_lr.search.journal import Journal, Run
from adaptive_lr.search.task import Outcome
from tests.searched import edited, history, parabola, states

SPACE = {"x": Range(0.001, 1.0, log=True), "kind": ["a", "b"]}
ROWS = 3
DAMAGED = 1

KILLED_AT_EVERY_LINE = """
import json, os, shutil, signal, sys
from pathlib import Path
from adaptive_lr.search import journal

def die_at(line):
    def look(frame, event, argument):
        nonlocal line
        if frame.f_code.co_filename != journal.__file__:
            return None
        if event == "line":
            line -= 1
            if line < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return look
    sys.settrace(look)

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
found, died = [], True
while died:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    child = os.fork()
    if not child:
        die_at(len(found))
        journal.Journal(folder / "runs.sqlite")
        os._exit(0)
    died = os.waitpid(child, 0)[1] == signal.SIGKILL
    opened = journal.Journal(folder / "runs.sqlite")
    content = opened.content
    opened.close()
    found.append((died, sorted(content.points), sorted(content.runs), content.damaged))
print(json.dumps(found))
"""


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A folder with a journal of which one run is damaged."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    journal = Journal(folder / "runs.sqlite")
    for number in range(ROWS):
        journal.add_point(number, {"lr": 0.1 * number})
        journal.add_runs([(f"run {number}", Run(number, Outcome(values=(float(number),))))])
    journal.close()
    with edited(folder / "runs.sqlite") as rows:
        rows.execute(f"UPDATE runs SET outcome = 'x' WHERE number = {DAMAGED}")
    return folder


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills copies of a process")
def test_a_process_killed_at_any_line_while_it_mends_a_journal_loses_nothing(damaged: Path, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EVERY_LINE, str(damaged), str(tmp_path / "copy")],
        stdout=subprocess.PIPE,
        check=True,
        timeout=300,
    )
    *killed, (died, *_) = json.loads(result.stdout)
    assert not died
    assert len(killed) > 50
    sound = [f"run {number}" for number in range(ROWS) if number != DAMAGED]
    assert [(points, runs) for _, points, runs, _ in killed] == [(list(range(ROWS)), sound)] * len(killed)
    notes = [damage for *_, damage in killed]
    mended = notes.index([])
    assert notes == [[f"the run of trial {DAMAGED}"]] * mended + [[]] * (len(killed) - mended)


def test_the_damaged_journal_stays_as_it_was_beside_the_mended_one(damaged: Path) -> None:
    file = damaged / "runs.sqlite"
    before = file.read_bytes()
    (damaged / "runs.sqlite.damaged-wal").write_bytes(b"of another one")
    Journal(file).close()
    assert {path.name for path in damaged.iterdir()} == {"runs.sqlite", "runs.sqlite.damaged"}
    assert (damaged / "runs.sqlite.damaged").read_bytes() == before


def test_the_log_of_a_study_that_was_deleted_does_not_get_into_the_new_one(tmp_path: Path) -> None:
    first = search(parabola, SPACE, trials=5, directory=tmp_path, workers=0)
    with edited(tmp_path / "study.db") as study:
        study.execute("UPDATE trials SET state = 'FAIL' WHERE number = 3")
        study.commit()
        shutil.copyfile(tmp_path / "study.db-wal", tmp_path / "log")
    (tmp_path / "study.db").unlink()
    (tmp_path / "log").rename(tmp_path / "study.db-wal")
    again = search(parabola, SPACE, trials=5, directory=tmp_path, workers=0)
    assert history(again) == history(first)
    assert states(tmp_path) == ["COMPLETE"] * 5
    with edited(tmp_path / "study.db") as study:
        assert study.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_the_log_of_a_study_that_was_put_aside_does_not_get_into_the_next_one(tmp_path: Path) -> None:
    search(parabola, SPACE, trials=5, directory=tmp_path, workers=0)
    with edited(tmp_path / "study.db") as study:
        study.execute("UPDATE trials SET state = 'FAIL' WHERE number = 3")
        study.commit()
        shutil.copyfile(tmp_path / "study.db-wal", tmp_path / "study.db.changed-wal")
    with edited(tmp_path / "study.db") as study:
        study.execute("UPDATE trials SET state = 'COMPLETE' WHERE number = 3")
        study.execute("DELETE FROM trial_params WHERE trial_id = 1")
    search(parabola, SPACE, trials=5, directory=tmp_path, workers=0)
    with edited(tmp_path / "study.db.changed") as study:
        assert study.execute("SELECT DISTINCT state FROM trials").fetchall() == [("COMPLETE",)]

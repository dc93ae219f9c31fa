"""What goes wrong: functions, arguments, files."""

import math
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from adaptive_lr import Range, SearchTrial, search
from adaptive_lr.errors import RunError, SpecError, StoreError
from adaptive_lr.search.task import Outcome
from tests.searched import changed, edited, history, journaled, parabola, raising, states

SPACE = {"x": Range(0.001, 1.0, log=True), "kind": ["a", "b"]}


def test_a_damaged_study_is_named_and_can_be_moved_away(tmp_path: Path) -> None:
    first = search(parabola, SPACE, trials=12, directory=tmp_path, workers=0)
    (tmp_path / "study.db").write_bytes(b"nonsense" * 1000)
    with pytest.raises(StoreError, match=r"cannot use sqlite.*not a database; finished runs are kept"):
        search(parabola, SPACE, trials=12, directory=tmp_path, workers=0)
    (tmp_path / "study.db").unlink()
    again = search(changed(parabola, raising), SPACE, trials=12, directory=tmp_path, workers=0)
    assert history(again) == history(first)


def test_a_journal_that_is_none_is_named(tmp_path: Path) -> None:
    search(parabola, SPACE, trials=2, directory=tmp_path, workers=0)
    (tmp_path / "runs.sqlite").write_bytes(b"nonsense" * 1000)
    with pytest.raises(StoreError, match=r"runs\.sqlite cannot be used .*not a database.*: use another directory"):
        search(parabola, SPACE, trials=2, directory=tmp_path, workers=0)


def test_rows_of_the_journal_that_are_damaged_are_named_and_their_runs_are_done_again(tmp_path: Path) -> None:
    whole = search(parabola, SPACE, trials=12, directory=tmp_path, workers=0)
    with edited(tmp_path / "runs.sqlite") as journal:
        journal.execute("UPDATE runs SET outcome = '{' WHERE number = 3")
        journal.execute("UPDATE runs SET outcome = replace(outcome, '0.', '1.') WHERE number = 5")
        journal.execute("UPDATE runs SET key = 'x' WHERE number = 7")
        journal.execute("UPDATE points SET point = replace(point, '0.', '1.') WHERE number = 8")
        journal.execute("DELETE FROM points WHERE number = 9")
    said: list[str] = []
    again = search(parabola, SPACE, trials=12, directory=tmp_path, workers=0, say=said.append)
    assert again.ran == 3
    assert history(again) == history(whole)
    assert again.notes == tuple(said)
    damage = "the point of trial 8, the run of trial 3, the run of trial 5, the run of trial 7"
    assert said == [
        f"{tmp_path}/runs.sqlite is damaged: {damage}; what is lost is done again, the rest is kept, and so is the file, as "
        "runs.sqlite.damaged"
    ]
    assert search(parabola, SPACE, trials=12, directory=tmp_path, workers=0, say=said.append).ran == 0
    assert len(said) == 1


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(progress: Any) -> None:
        if progress.finished == 5:
            monkeypatch.setattr(Outcome, "encoded", lambda outcome: "x" * 10_000_000)

    connect = sqlite3.connect

    def limited(*arguments: Any, **options: Any) -> sqlite3.Connection:
        opened: sqlite3.Connection = connect(*arguments, **options)
        if str(arguments[0]).endswith("runs.sqlite"):
            opened.execute("PRAGMA max_page_count = 100")
        return opened

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", limited)
        with pytest.raises(StoreError, match=r"cannot write to .*full\): make room and run again; nothing is lost"):
            search(parabola, SPACE, trials=20, directory=tmp_path, workers=0, advance=fill)
    monkeypatch.undo()
    assert 5 <= journaled(tmp_path) < 8
    found = search(parabola, SPACE, trials=20, directory=tmp_path, workers=0)
    assert len(found.trials) == 20
    assert found.ran < 16


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("train", "message"),
    [
        (raising, r"trial 0 at \{x: 0\.\d+, kind: '\w'\} failed: the function raised ValueError: no luck with"),
        (lambda trial: math.nan, "returned nan: return math.inf for a run that diverged"),
        (lambda trial: None, "returned None: it must return the loss as a number, or yield it"),
        (lambda trial: "good", "returned 'good', which is no number"),
        (lambda trial: [1.0, 2.0], r"returned \[1.0, 2.0\], which is no number"),
        (lambda trial: (yield from ()), "ended without a value: yield the loss at least once"),
        (lambda trial: (yield None), "yielded None"),
        (lambda trial: (yield from (1.0, math.nan)), "yielded nan"),
        (lambda trial: trial["lr"], "raised KeyError: \"the search space has no 'lr'; it has x, kind\""),
        (lambda trial: sys.exit("enough"), "raised SystemExit: enough"),
    ],
)
def test_a_function_that_goes_wrong_is_named_with_its_point(train: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=message):
        search(train, SPACE, trials=3, directory=tmp_path, workers=0)
    assert set(states(tmp_path)) == {"WAITING"}


def test_an_error_comes_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        search(raising, SPACE, trials=3, directory=tmp_path)
    assert 'raise ValueError(f"no luck with' in caught.value.__notes__[0]


def test_what_is_finished_when_a_run_fails_is_kept_and_the_run_is_repeated(tmp_path: Path) -> None:
    def broken(trial: SearchTrial) -> float:
        return 1.0 / (trial.number - 7)

    with pytest.raises(RunError, match=r"trial 7 .* ZeroDivisionError: .*; 7 finished runs are kept: mend it"):
        search(broken, SPACE, trials=12, directory=tmp_path, workers=0)
    assert states(tmp_path)[:7] == ["COMPLETE"] * 7
    found = search(changed(broken, parabola), SPACE, trials=12, directory=tmp_path, workers=0)
    assert found.ran == 5
    assert states(tmp_path) == ["COMPLETE"] * 12


def test_skipped_trials_are_counted_apart(tmp_path: Path) -> None:
    def fickle(trial: SearchTrial) -> float:
        if trial["kind"] == "b":
            raise ValueError("no b")
        return parabola(trial)

    found = search(fickle, SPACE, trials=15, directory=tmp_path, workers=0, on_error="skip")
    assert found.skipped > 0
    assert len(found.trials) - found.skipped == 15
    assert sorted(states(tmp_path)) == ["COMPLETE"] * 15 + ["FAIL"] * found.skipped
    assert {one.error for one in found.trials if one.state == "failed"} == {"ValueError: no b"}
    assert search(fickle, SPACE, trials=15, directory=tmp_path, workers=0, on_error="skip").ran == 0


def test_a_search_in_which_everything_fails_ends(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"20 trials failed and 0 finished, so the search is stopped; .* no luck"):
        search(raising, SPACE, trials=1000, directory=tmp_path, workers=0, on_error="skip")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "random"}, 'holds a search with sampler "tpe", not "random"'),
        ({"seed": 1}, "with seed 0, not 1"),
        ({"seeds": 2}, "with seeds 1, not 2"),
        ({"space": {"x": Range(0, 1)}}, "holds a search with space"),
        ({"in_flight": 2}, "with in_flight 8, not 2"),
        ({"direction": "maximize"}, r'with directions \["minimize"\], not \["maximize"\]'),
    ],
)
def test_another_search_in_the_same_directory_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"space": SPACE, "trials": 2, "directory": tmp_path, "workers": 0}
    search(parabola, **options)
    with pytest.raises(SpecError, match=message):
        search(parabola, **options | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "trials must be a whole number of at least 1, got 0"),
        ({"seeds": True}, "seeds must be a whole number of at least 1, got True"),
        ({"sampler": "tpee"}, "unknown sampler 'tpee'; did you mean 'tpe'"),
        ({"direction": "min"}, "unknown direction 'min'"),
        ({"direction": ()}, "directions must hold at least one"),
        ({"pruner": "median"}, "unknown pruner 'median'"),
        ({"pruner": "wilcoxon"}, "needs at least 6, got 1"),
        ({"pruner": "halving", "seeds": 2}, "with several use 'wilcoxon'"),
        ({"pruner": "halving", "direction": ("minimize", "minimize")}, "needs a single objective, got 2"),
        ({"on_error": "ignore"}, "unknown on_error 'ignore'"),
        ({"sampler": "grid"}, "a grid needs the values of 'x'"),
        ({"sampler": "grid", "space": {"x": [1, 2]}, "trials": 3}, "the grid has 2 points, so trials must not be 3"),
        ({"sampler": "cmaes", "direction": ("minimize", "minimize")}, "CMA-ES has one objective"),
        ({"sampler": "cmaes", "space": {"x": ["a", "b"]}}, "CMA-ES searches numbers"),
        ({"space": {}}, "the search space is empty"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"space": SPACE, "trials": 2, "directory": tmp_path / "new", "workers": 0}
    with pytest.raises(SpecError, match=message):
        search(parabola, **options | changes)
    assert not (tmp_path / "new").exists()


def test_what_is_no_function_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="train must be a function of a trial, got 3"):
        search(3, SPACE, trials=1, directory=tmp_path)  # type: ignore[arg-type]


def test_a_function_that_cannot_be_sent_is_refused(tmp_path: Path) -> None:
    lock = threading.Lock()
    with pytest.raises(RunError, match="train cannot be sent to another process"):
        search(lambda trial: lock and 1.0, SPACE, trials=1, directory=tmp_path)


def test_workers_below_zero_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="workers must be at least 1, got -1"):
        search(parabola, SPACE, trials=1, directory=tmp_path, workers=-1)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "'nonsense' is no address of a storage"),
        ("oracle9://x", "is no address of a storage"),
        ("sqlite:////nowhere/at/all.db", "cannot"),
    ],
)
def test_a_storage_that_cannot_be_used_is_named(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=message):
        search(parabola, SPACE, trials=1, directory=tmp_path, workers=0, storage=url)


def test_a_study_of_another_search_is_left_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    search(parabola, SPACE, trials=2, directory=tmp_path / "a", workers=0, storage=url, name="mine")
    with pytest.raises(SpecError, match=r"the study 'mine' in .* belongs to another search: give a name of your own"):
        search(parabola, SPACE, trials=2, directory=tmp_path / "b", workers=0, storage=url, name="mine")
    search(parabola, SPACE, trials=2, directory=tmp_path / "c", workers=0, storage=url)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot use .*file"):
        search(parabola, SPACE, trials=1, directory=tmp_path / "file", workers=0)


def test_a_damaged_description_is_named(tmp_path: Path) -> None:
    search(parabola, SPACE, trials=1, directory=tmp_path, workers=0)
    (tmp_path / "search.json").write_text("{")
    with pytest.raises(StoreError, match=r"search.json is damaged: use another directory"):
        search(parabola, SPACE, trials=1, directory=tmp_path, workers=0)

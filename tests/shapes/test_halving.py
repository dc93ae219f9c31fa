import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_lr import DampedCosine, Range, Warmup
from adaptive_lr.errors import SpecError
from adaptive_lr.search.directory import Directory
from adaptive_lr.search.ledger import Ledger
from adaptive_lr.search.result import SearchResult
from adaptive_lr.shapes import rounds
from adaptive_lr.shapes.batched import search_shapes
from adaptive_lr.shapes.judge import judge
from adaptive_lr.shapes.losses import read_losses, score
from adaptive_lr.shapes.rounds import HalvedRounds
from adaptive_lr.shapes.shape_search import ShapeSearch
from adaptive_lr.tasks import Perceptron
from adaptive_lr.training import SGD, BatchRun, Paused, Trial
from adaptive_lr.trials.runner import run_batch, run_trials
from adaptive_lr.trials.store import Store
from tests.searched import history, journaled, states
from tests.shapes.test_batched import GRID, found_in, shapes


class KilledError(BaseException):
    """Stands for the end of the process."""


def halved(**changes: Any) -> ShapeSearch:
    return shapes(pruner="halving", **{"together": 7} | changes)


def intermediate(path: Path) -> list[tuple[int, int, float]]:
    """Trial number, step and value as they stand in the file of the study."""
    connection = sqlite3.connect(path / "study.db")
    try:
        query = (
            "SELECT number, step, intermediate_value FROM trial_intermediate_values "
            "JOIN trials USING (trial_id) ORDER BY number"
        )
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_of_every_round_a_third_goes_on_at_each_rung(tmp_path: Path) -> None:
    found, stored = found_in(tmp_path, halved(), 14)
    path = tmp_path / "search"
    for begin in (0, 7):
        assert sorted(len(one.curve) for one in found.trials[begin : begin + 7]) == [1, 1, 1, 1, 2, 2, 3]
    pruned = [one for one in found.trials if len(one.curve) < 3]
    assert [one.state for one in found.trials] == ["pruned" if one in pruned else "complete" for one in found.trials]
    assert (found.pruned, found.ran, stored) == (12, 14, 2 * (7 + 3 + 1) * len(GRID) * 3)
    assert states(path) == ["PRUNED" if one in pruned else "COMPLETE" for one in found.trials]
    assert intermediate(path) == [(one.number, len(one.curve), one.values[0]) for one in pruned]
    assert all(one.values == one.curve[-1:] for one in found.trials)
    assert found.best_trial.state == "complete"


def test_who_goes_on_is_best_by_the_objective_at_the_rung(tmp_path: Path) -> None:
    found, _ = found_in(tmp_path, halved(objective="mean"), 7)
    by_number = [one.curve for one in found.trials]
    first = sorted(range(7), key=lambda place: by_number[place][0])
    assert {place for place in range(7) if len(by_number[place]) > 1} == set(first[:3])
    second = sorted(first[:3], key=lambda place: by_number[place][1])
    assert [place for place in range(7) if len(by_number[place]) > 2] == second[:1]


def test_what_is_compared_are_whole_runs_of_a_ninth_and_a_third_of_the_steps(tmp_path: Path) -> None:
    searched = halved(objective="worst", steps=90)
    result, _ = found_in(tmp_path, searched, 7)
    with Store(tmp_path / "store.sqlite") as store:
        for trial in result.trials:
            schedule = searched.shape(trial.point)
            for value, steps in zip(trial.curve, (10, 30, 90), strict=False):
                rows = shapes(steps=steps).trials(schedule, searched.selection_seeds)
                assert {run.steps for row in rows for run in row} == {steps}
                losses, initial, _ = read_losses(store, rows, "excess")
                assert (value,) == score(losses.mean(0), "worst", reach=2, outside=initial)


def test_survivors_end_where_they_would_have_without_a_pruner(tmp_path: Path) -> None:
    result, _ = found_in(tmp_path / "halved", halved(dtype="float64"), 14)
    full, _ = found_in(tmp_path / "full", shapes(dtype="float64", together=7), 7)
    assert [trial.point for trial in result.trials[:7]] == [trial.point for trial in full.trials]
    survivors = [pair for pair in zip(result.trials[:7], full.trials, strict=True) if pair[0].state == "complete"]
    assert len(survivors) == 1
    for survivor, other in survivors:
        np.testing.assert_allclose(survivor.values, other.values, rtol=0, atol=1e-10)


def test_shapes_that_are_behind_are_trained_in_short_runs_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[int, int]] = []
    run = run_batch

    def watched(batch: list[Trial]) -> Any:
        trained.append((batch[0].steps, len(batch)))
        return run(batch)

    monkeypatch.setattr(rounds, "run_batch", watched)
    found_in(tmp_path, halved(steps=90), 7)
    row = len(GRID) * 3  # runs of a shape, over rates and seeds
    assert trained == [(10, 7 * row), (30, 3 * row), (90, row)]


def test_a_shape_that_decays_late_is_not_ended_for_it(tmp_path: Path) -> None:
    """On the way it is behind one that has decayed already; in a run of a third of the steps both have ended."""
    late, early = DampedCosine(), DampedCosine(k=0.5, exponent=2.0)
    searched = halved(steps=900, rates=(0.15,), together=2)
    rows = [row for schedule in (late, early) for row in searched.trials(schedule, searched.selection_seeds)]
    run = BatchRun(Paused.begun([trial for row in rows for trial in row]))
    run.advance(300)
    on_the_way = run.metric().view(2, -1).mean(1)
    with Store(tmp_path / "store.sqlite", write=True) as store:
        ends = []
        for steps in (300, 900):
            planned = [searched.trials(schedule, searched.selection_seeds, None, steps) for schedule in (late, early)]
            run_trials([trial for rows in planned for row in rows for trial in row], store, workers=1)
            ends.append([float(read_losses(store, rows, "excess")[0].mean()) for rows in planned])
    assert on_the_way[0] > on_the_way[1]
    assert ends[1][0] < ends[1][1]
    assert ends[0][0] < ends[0][1]


@pytest.mark.slow  # two processes that import torch
def test_two_workers_find_what_one_does(tmp_path: Path) -> None:
    searched = halved(task=Perceptron(), optimizer=SGD(momentum=0.9), steps=30)
    single, stored = found_in(tmp_path / "1", searched, 14)
    double, also = found_in(tmp_path / "2", searched, 14, workers=2)
    assert history(single) == history(double)
    assert stored == also == 2 * (7 + 3 + 1) * len(GRID) * 3


def killed_at(place: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that is written on the way, of which the write at this place is the last or fails to happen."""
    written: list[str] = []

    def ends(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def write(self: Any, *arguments: Any) -> Any:
            if len(written) == 2 * place:
                raise KilledError
            written.append(f"before {name}")
            found = real(self, *arguments)
            if len(written) == 2 * place + 1:
                raise KilledError
            written.append(f"after {name}")
            return found

        monkeypatch.setattr(owner, name, write)

    for owner, name in ((Directory, "keep"), (Ledger, "add"), (Ledger, "finish"), (Store, "add")):
        ends(owner, name)
    monkeypatch.setattr(Ledger, "pause", lambda self, numbers: None)  # which a process that is killed does not do
    return written


def test_whatever_was_the_last_to_be_written_the_search_goes_on_as_if_nothing_had_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = halved(together=3, selection_seeds=range(100, 101))
    with monkeypatch.context() as patch:
        written = killed_at(10_000, patch)
        whole, stored = found_in(tmp_path / "whole", searched, 6)
    writes = len(written) // 2
    assert (
        writes == 6 + 2 + 6 + 2 * 3
    )  # points, rounds in the journal, results, and of every round three lengths in the store
    assert stored == 2 * (3 + 1 + 1) * len(GRID)
    for place in range(writes):
        folder = tmp_path / str(place)
        with monkeypatch.context() as patch:
            killed_at(place, patch)
            with pytest.raises(KilledError):
                found_in(folder, searched, 6)
        assert journaled(folder / "search") % 3 == 0
        again, _ = found_in(folder, searched, 6)
        assert history(again) == history(whole), written[place]
        assert states(folder / "search") == states(tmp_path / "whole/search")
        assert intermediate(folder / "search") == intermediate(tmp_path / "whole/search")


def test_a_round_is_in_the_journal_whole_and_after_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched, seen = halved(together=4), []
    keep = Directory.keep

    def watched(directory: Directory, runs: Any) -> None:
        with Store(tmp_path / "store.sqlite") as store:
            seen.append((journaled(tmp_path / "search"), len(store)))
        keep(directory, runs)

    monkeypatch.setattr(Directory, "keep", watched)
    found_in(tmp_path, searched, 12)
    each = (4 + 2 + 1) * len(GRID) * 3
    assert seen == [(0, each), (4, 2 * each), (8, 3 * each)]


def test_a_journal_that_was_cut_after_any_round_gives_the_same_search(tmp_path: Path) -> None:
    searched = halved(together=3)
    whole, _ = found_in(tmp_path / "whole", searched, 9)
    for count in range(4):
        folder = tmp_path / str(count)
        shutil.copytree(tmp_path / "whole", folder)
        connection = sqlite3.connect(folder / "search/runs.sqlite")
        connection.execute("DELETE FROM runs WHERE number >= ?", (3 * count,))
        connection.commit()
        connection.close()
        (folder / "search/study.db").unlink()
        again, _ = found_in(folder, searched, 9)
        assert again.ran == 9 - 3 * count
        assert history(again) == history(whole)


def test_more_rounds_continue_a_search(tmp_path: Path) -> None:
    at_once, _ = found_in(tmp_path / "a", halved(), 21)
    found_in(tmp_path / "b", halved(), 7)
    longer, _ = found_in(tmp_path / "b", halved(), 21)
    assert longer.ran == 14
    assert history(longer) == history(at_once)
    fewer, _ = found_in(tmp_path / "b", halved(), 14)
    assert (fewer.ran, len(fewer.trials)) == (0, 21)


def test_points_that_come_again_are_trained_once(tmp_path: Path) -> None:
    searched = halved(space={"exponent": [1.0, 2.0]}, together=4)
    found, stored = found_in(tmp_path, searched, 8, sampler="random")
    assert found.ran == 2
    assert {(one.point["exponent"], one.state, one.values) for one in found.trials} == {
        (one.point["exponent"], one.state, one.values) for one in found.trials[:4]
    }
    assert stored == (2 + 1 + 1) * len(GRID) * 3


def test_the_base_rate_may_be_searched_too(tmp_path: Path) -> None:
    searched = halved(space={"base_lr": Range(0.01, 1.0, log=True), "exponent": Range(0.5, 4.0)})
    found, stored = found_in(tmp_path, searched, 7)
    assert (found.pruned, stored) == (6, (7 + 3 + 1) * 3)


def test_the_winner_is_one_that_came_to_the_end(tmp_path: Path) -> None:
    searched = halved()
    with Store(tmp_path / "store.sqlite", write=True) as store:
        found: SearchResult = search_shapes(searched, trials=14, directory=tmp_path / "search", store=store)
        verdict = judge(searched, found, store)
    assert verdict.winner.schedule == searched.shape(found.best)
    assert found.best_trial.curve[2:] == found.best_trial.values


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9])
def test_runs_too_short_for_rungs_are_not_compared_there(steps: int, tmp_path: Path) -> None:
    found, _ = found_in(tmp_path, halved(steps=steps), 7)
    assert max(len(one.curve) for one in found.trials) == {1: 1, 2: 2, 3: 2, 4: 2, 9: 3}[steps]


def test_a_rate_that_diverges_everywhere_leaves_nothing_to_choose_by(tmp_path: Path) -> None:
    found, _ = found_in(tmp_path, halved(rates=(1e30,)), 7)
    assert [len(one.curve) for one in found.trials] == [3, 2, 2, 1, 1, 1, 1]


def test_processes_begin_with_the_first_round(tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite", write=True) as store:
        HalvedRounds(halved(), store, workers=2).close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pruner": "wilcoxon"}, "unknown pruner 'wilcoxon'; known: halving"),
        ({"objective": "best and worst"}, "pruner 'halving' needs a single objective, got 'best and worst'"),
        (
            {"schedule": Warmup(steps=10, then=DampedCosine()), "space": {"then.exponent": Range(0.5, 4.0)}},
            "pruner 'halving' compares whole runs of 7 steps, but Warmup.steps must be below total_steps=7, got 10",
        ),
    ],
)
def test_a_pruner_that_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        shapes(**{"pruner": "halving"} | changes)


def test_rounds_must_be_whole(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="with a pruner trials must be a multiple of together, 7, got 10"):
        found_in(tmp_path, halved(), 10)
    assert not (tmp_path / "search").exists()


def test_a_search_that_compared_losses_on_the_way_is_another_one(tmp_path: Path) -> None:
    found_in(tmp_path, halved(), 7)
    file = tmp_path / "search/search.json"
    held = json.loads(file.read_text())
    del held["halving"]
    file.write_text(json.dumps(held))
    with pytest.raises(SpecError, match='holds a search with halving null, not "whole short runs"'):
        found_in(tmp_path, halved(), 7)


def test_with_a_pruner_it_is_another_search(tmp_path: Path) -> None:
    found_in(tmp_path, shapes(together=7), 7)
    with pytest.raises(
        SpecError, match=r'holds a search with (pruner null, not "halving"|halving null, not "whole short runs")'
    ):
        found_in(tmp_path, halved(), 7)

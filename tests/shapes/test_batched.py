import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_lr import Constant, DampedCosine, Range
from adaptive_lr.errors import SpecError
from adaptive_lr.search.result import SearchResult
from adaptive_lr.shapes.batched import search_shapes
from adaptive_lr.shapes.judge import BASELINES, Judged, Verdict, judge
from adaptive_lr.shapes.losses import OBJECTIVES, Objective, score
from adaptive_lr.shapes.shape_search import ShapeSearch
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.training import SGD
from adaptive_lr.trials.runner import run_trials
from adaptive_lr.trials.store import Store
from tests.processes import descendants, living

ROOT = Path(__file__).resolve().parents[2]
GRID = tuple(float(f"{rate:.12g}") for rate in np.logspace(-2, 1, 7))


def shapes(**changes: Any) -> ShapeSearch:
    options: dict[str, Any] = {
        "task": StreamingLeastSquares(dimension=20),
        "optimizer": SGD(),
        "schedule": DampedCosine(),
        "steps": 60,
        "rates": GRID,
        "selection_seeds": range(100, 103),
        "report_seeds": range(5),
        "together": 4,
    }
    return ShapeSearch(**options | changes)


def found_in(folder: Path, searched: ShapeSearch, trials: int, **options: Any) -> tuple[SearchResult, int]:
    with Store(folder / "store.sqlite", write=True) as store:
        return search_shapes(searched, trials=trials, directory=folder / "search", store=store, **options), len(store)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_shape_is_judged_by_what_its_trials_gave(objective: Objective, tmp_path: Path) -> None:
    searched = shapes(objective=objective)
    found, stored = found_in(tmp_path, searched, 8)
    assert stored == 8 * 7 * 3
    with Store(tmp_path / "store.sqlite") as store:
        for one in found.trials:
            rows = searched.trials(searched.shape(one.point), searched.selection_seeds)
            records = [[store.read([trial.digest()])[trial.digest()] for trial in row] for row in rows]
            initial = [row[0].initial["excess"] for row in records]
            losses = [
                np.mean(
                    [
                        min(row[place].metrics["excess"], first)
                        if row[place].metrics["excess"] == row[place].metrics["excess"]
                        else first
                        for row, first in zip(records, initial, strict=True)
                    ]
                )
                for place in range(7)
            ]
            best = int(np.argmin(losses))
            around = [losses[place] if 0 <= place < 7 else np.mean(initial) for place in range(best - 2, best + 3)]
            expected = {
                "best": (losses[best],),
                "worst": (max(around),),
                "mean": (np.mean(around),),
                "best and worst": (losses[best], max(around)),
            }
            np.testing.assert_allclose(one.values, expected[objective], rtol=1e-12)


def test_nothing_is_trained_twice_and_a_search_goes_on(tmp_path: Path) -> None:
    first, stored = found_in(tmp_path / "a", shapes(), 6)
    again, still = found_in(tmp_path / "a", shapes(), 6)
    assert (again.ran, still) == (0, stored)
    assert again.trials == first.trials
    longer, _ = found_in(tmp_path / "a", shapes(), 12)
    at_once, _ = found_in(tmp_path / "b", shapes(), 12)
    assert longer.ran == 6
    assert [one.point for one in longer.trials] == [one.point for one in at_once.trials]
    np.testing.assert_allclose([one.values for one in longer.trials], [one.values for one in at_once.trials], rtol=1e-4)


def test_what_the_store_has_is_not_trained_for_another_search(tmp_path: Path) -> None:
    searched = shapes(space={"exponent": [1.0, 2.0]})
    with Store(tmp_path / "store.sqlite", write=True) as store:
        run_trials(
            [trial for row in searched.trials(DampedCosine(exponent=2.0), range(100, 103)) for trial in row],
            store,
            workers=1,
        )
        assert len(store) == 21
        search_shapes(searched, trials=2, directory=tmp_path / "search", store=store, sampler="grid")
        assert len(store) == 42


@pytest.mark.slow  # two processes that import torch
def test_two_workers_find_what_one_does(tmp_path: Path) -> None:
    one, _ = found_in(tmp_path / "1", shapes(), 8)
    two, _ = found_in(tmp_path / "2", shapes(), 8, workers=2)
    assert [(trial.point, trial.values) for trial in one.trials] == [
        (trial.point, trial.values) for trial in two.trials
    ]


def test_the_base_rate_may_be_searched_instead(tmp_path: Path) -> None:
    searched = shapes(space={"base_lr": Range(0.01, 1.0, log=True), "exponent": Range(0.5, 4.0)})
    found, stored = found_in(tmp_path, searched, 8)
    assert stored == 8 * 3
    assert set(found.best) == {"base_lr", "exponent"}
    with pytest.raises(SpecError, match="with base_lr in the space there is one rate"):
        shapes(space={"base_lr": Range(0.01, 1.0)}, objective="worst")


def test_the_winner_is_judged_on_other_seeds(tmp_path: Path) -> None:
    searched = shapes(task=StreamingLeastSquares(dimension=20, noise=1.0), steps=200)
    with Store(tmp_path / "store.sqlite", write=True) as store:
        found = search_shapes(searched, trials=8, directory=tmp_path / "search", store=store)
        verdict = judge(searched, found, store)
        before = len(store)
        assert judge(searched, found, store) == verdict
        assert len(store) == before
    labels = [one.label for one in (verdict.winner, *verdict.baselines)]
    assert labels == ["tuned", "cosine", "linear", "constant"]
    assert verdict.seeds == 4  # three seeds choose, five report: the last of these chooses, too
    for one in (verdict.winner, *verdict.baselines):
        low, high = one.difference_interval
        assert (one.better, one.worse) == (high < 0.0, low > 0.0)
        assert low <= one.difference <= high
    assert verdict.winner.schedule == searched.shape(found.best)
    low, high = verdict.winner.interval
    assert low <= verdict.winner.value <= high
    assert verdict.winner.rate in GRID


@pytest.mark.parametrize("objective", ["best", "mean", "worst"])
def test_each_repetition_chooses_rates_and_the_baseline_on_one_seed_and_reports_on_another(
    tmp_path: Path, objective: Objective
) -> None:
    searched = shapes(task=StreamingLeastSquares(dimension=20, noise=1.0), steps=50, objective=objective)
    with Store(tmp_path / "store.sqlite", write=True) as store:
        found = search_shapes(searched, trials=3, directory=tmp_path / "search", store=store)
        verdict = judge(searched, found, store)
        differences = []
        for choosing, reporting in ((100, 0), (101, 1), (102, 2), (4, 3)):
            reported, promised = {}, {}
            for label, schedule in {"tuned": verdict.winner.schedule, **BASELINES}.items():
                curves = []
                for seed in (choosing, reporting):
                    (row,) = searched.trials(schedule, [seed])
                    records = [store.read([trial.digest()])[trial.digest()] for trial in row]
                    curves.append(
                        [float(np.fmin(record.metrics["excess"], record.initial["excess"])) for record in records]
                    )
                initial = records[0].initial["excess"]
                best = int(np.argmin(curves[0]))
                reach = {"best": 0, "mean": 2, "worst": 2}[objective]
                near = [
                    [curve[place] if 0 <= place < 7 else initial for place in range(best - reach, best + reach + 1)]
                    for curve in curves
                ]
                worst = int(np.argmax(near[0]))
                reported[label] = float(np.mean(near[1])) if objective == "mean" else near[1][worst]
                promised[label] = float(np.mean(near[0])) if objective == "mean" else near[0][worst]
            best_baseline = min(BASELINES, key=promised.__getitem__)
            differences.append(reported["tuned"] - reported[best_baseline])
    assert verdict.winner.difference == pytest.approx(np.mean(differences))
    half = 3.182446 * np.std(differences, ddof=1) / 2.0  # Student's, three degrees of freedom
    low, high = verdict.winner.difference_interval
    assert (low, high) == pytest.approx((np.mean(differences) - half, np.mean(differences) + half), rel=1e-5)


@pytest.mark.parametrize(
    ("interval", "words"),
    [((-0.2, 0.01), "not better than"), ((-0.2, -0.1), "better than"), ((0.1, 0.2), "worse than")],
)
def test_a_winner_that_is_not_better_beyond_the_interval_is_said_not_to_be(
    interval: tuple[float, float], words: str
) -> None:
    def judged(label: str, difference: tuple[float, float], *, at_boundary: bool = False) -> Judged:
        return Judged(
            label=label,
            schedule=DampedCosine(exponent=2.0),
            rate=0.1,
            at_boundary=at_boundary,
            value=1.0,
            interval=(0.9, 1.1),
            difference=sum(difference) / 2,
            difference_interval=difference,
            p=0.2 if difference[0] <= 0.0 <= difference[1] else 0.01,
        )

    verdict = Verdict(winner=judged("tuned", interval), baselines=(judged("cosine", (0.0, 0.0)),), seeds=8)
    assert f"The tuned DampedCosine(exponent=2) is {words} cosine: the difference is" in verdict.sentence()
    assert "n = 8 repetitions, each on a seed that the search did not see" in verdict.sentence()
    assert "paired t-test, p = 0." in verdict.sentence()
    assert "edge" not in verdict.sentence()
    edge = Verdict(winner=judged("tuned", interval, at_boundary=True), baselines=verdict.baselines, seeds=8)
    assert "its best rate is at the edge of the grid" in edge.sentence()


def test_a_shape_gains_nothing_at_the_edge_of_the_grid() -> None:
    falling = np.array([4.0, 2.0, 1.0])
    assert score(falling, "worst", reach=1, outside=8.0) == (8.0,)
    assert score(falling, "mean", reach=1, outside=8.0) == ((2.0 + 1.0 + 8.0) / 3,)
    assert score(falling, "best and worst", reach=0, outside=8.0) == (1.0, 1.0)


def test_the_window_reaches_so_many_rates() -> None:
    assert shapes().reach == 2
    assert shapes(window=3.0).reach == 0
    assert shapes(window=10**0.5).reach == 1
    assert shapes(rates=(0.1,)).reach == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "least"}, "unknown objective 'least'"),
        ({"report_seeds": range(102, 104)}, "must be disjoint"),
        ({"selection_seeds": range(0)}, "must not be empty"),
        ({"rates": (0.1, 0.2, 0.3)}, "ascend by a constant factor"),
        ({"rates": (0.2, 0.1)}, "ascend by a constant factor"),
        ({"rates": (0.0, 0.1)}, "rates must be above 0"),
        ({"rates": ()}, "rates must be above 0"),
        ({"window": 0.5}, "window must be a factor of at least 1, got 0.5"),
        ({"space": {"exponnet": Range(1, 2)}}, "has no number 'exponnet'; it has k, exponent"),
        ({"schedule": Constant(), "space": {"x": [1]}}, "has no number 'x'"),
    ],
)
def test_a_search_of_shapes_that_is_declared_wrongly_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        shapes(**changes)


def test_another_task_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    found_in(tmp_path, shapes(), 1)
    with pytest.raises(SpecError, match="holds a search with steps 60, not 70"):
        found_in(tmp_path, shapes(steps=70), 1)


def test_a_shape_that_diverges_everywhere_counts_as_no_training(tmp_path: Path) -> None:
    found, _ = found_in(tmp_path, shapes(rates=(1e30,)), 2)
    assert all(math.isfinite(one.values[0]) for one in found.trials)


PROGRAM = """
import sys
from pathlib import Path
from adaptive_lr.shapes.batched import search_shapes
from adaptive_lr.trials.store import Store
from tests.shapes.test_batched import shapes

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with Store(folder / "store.sqlite", write=True) as store:
        searched = shapes(steps=int(sys.argv[2]), pruner=sys.argv[3] or None)
        search_shapes(searched, trials=24, directory=folder / "search", store=store, workers=2)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(("steps", "pruner"), [(600, ""), (2000, "halving")])
def test_a_killed_search_of_shapes_goes_on_to_the_last_bit(steps: int, pruner: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py", str(tmp_path), str(steps), pruner]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    searched = shapes(steps=steps, pruner=pruner or None)
    kills, code, seconds = 0, None, 3.0
    while code is None:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment)
        try:
            code = process.wait(timeout=seconds if kills < 5 else 120.0)
        except subprocess.TimeoutExpired:
            orphans = descendants(process.pid)
            process.kill()
            process.wait()
            kills, seconds = kills + 1, seconds + 1.0
            time.sleep(2.0)
            assert not living(orphans)
    assert (code, kills > 1) == (0, True)
    whole, _ = found_in(tmp_path / "whole", searched, 24)
    parts, stored = found_in(tmp_path, searched, 24)
    assert parts.ran == 0
    if not pruner:
        assert stored == 24 * 7 * 3
    assert [(one.point, one.values) for one in parts.trials] == [(one.point, one.values) for one in whole.trials]

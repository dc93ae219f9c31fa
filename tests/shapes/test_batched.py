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
from adaptive_lr.analysis.baselines import ANY_GRID, expected
from adaptive_lr.errors import SpecError
from adaptive_lr.search.result import SearchResult
from adaptive_lr.shapes.batched import search_shapes
from adaptive_lr.shapes.losses import OBJECTIVES, Objective, read_losses, score
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


@pytest.mark.parametrize("objective", [objective for objective in OBJECTIVES if objective != "grids"])
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
            worth = {
                "best": (losses[best],),
                "worst": (max(around),),
                "mean": (np.mean(around),),
                "best and worst": (losses[best], max(around)),
            }
            np.testing.assert_allclose(one.values, worth[objective], rtol=1e-12)


def test_a_shape_may_be_worth_its_expected_loss_on_grids_of_all_ratios(tmp_path: Path) -> None:
    rates = tuple(float(f"{rate:.12g}") for rate in np.logspace(-2, 1, 19))
    searched = shapes(objective="grids", rates=rates)
    result, stored = found_in(tmp_path, searched, 4)
    assert (stored, searched.per_decade) == (4 * 19 * 3, 6)
    with Store(tmp_path / "store.sqlite") as store:
        for trial in result.trials:
            rows = searched.trials(searched.shape(trial.point), searched.selection_seeds)
            losses, _, _ = read_losses(store, rows, "excess")
            assert trial.values == (expected(losses.mean(0), 6)[ANY_GRID],)


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

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import adaptive_lr
from adaptive_lr import DampedCosine, Range, SearchTrial, search
from adaptive_lr.errors import RunError, SpecError, StoreError
from adaptive_lr.search.executor import ProcessPool
from adaptive_lr.search.plan import Direction
from adaptive_lr.search.samplers import SAMPLERS
from adaptive_lr.search.sent import sent
from adaptive_lr.search.task import Outcome, Task
from tests.searched import changed, descent, fatal, history, journaled, negated, parabola, raising, states, wavering

SPACE = {"x": Range(0.001, 1.0, log=True), "kind": ["a", "b"]}
ROOT = Path(__file__).resolve().parents[2]


class StoppedError(Exception):
    """Ends a search from within."""


def stop_after(count: int) -> Any:
    def advance(progress: Any) -> None:
        if progress.finished == count:
            raise StoppedError

    return advance


def test_search_finds_the_optimum(tmp_path: Path) -> None:
    found = search(parabola, SPACE, trials=40, directory=tmp_path, workers=0)
    assert len(found.trials) == found.ran == 40
    assert found.best["kind"] == "a"
    assert found.best_value == min(one.values[0] for one in found.trials) < 1e-3
    assert found.skipped == found.pruned == 0
    assert states(tmp_path) == ["COMPLETE"] * 40


@pytest.mark.parametrize(
    "sampler", [pytest.param(name, marks=[] if name in {"tpe", "grid"} else pytest.mark.slow) for name in SAMPLERS]
)
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(sampler: Any, tmp_path: Path) -> None:
    trials = {"grid": 24, "gp": 18}.get(sampler, 30)
    space = {"x": {"low": 0.01, "high": 1.0, "log": True, "points": 12}, "kind": ["a", "b"]}
    whole = search(parabola, space, trials=trials, directory=tmp_path / "whole", workers=0, sampler=sampler)
    for count in (1, 9, 17):
        with pytest.raises(StoppedError):
            search(
                parabola,
                space,
                trials=trials,
                directory=tmp_path / "parts",
                workers=0,
                sampler=sampler,
                advance=stop_after(count),
            )
        assert states(tmp_path / "parts")[:count] == ["COMPLETE"] * count
        assert set(states(tmp_path / "parts")[count:]) <= {"WAITING"}
    parts = search(parabola, space, trials=trials, directory=tmp_path / "parts", workers=0, sampler=sampler)
    assert history(parts) == history(whole)
    assert parts.ran < trials
    assert journaled(tmp_path / "parts") == trials


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"pruner": "halving"},
        pytest.param({"pruner": "wilcoxon", "seeds": 8}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_history_does_not_depend_on_the_number_of_workers(options: dict[str, Any], tmp_path: Path) -> None:
    found = []
    for workers in (1, 2, 4):
        result = search(
            wavering, SPACE, trials=24, directory=tmp_path / str(workers), workers=workers, seed=3, **options
        )
        found.append(history(result))
    assert found[0] == found[1] == found[2]


def test_seeds_give_different_searches(tmp_path: Path) -> None:
    one, other = (
        search(parabola, SPACE, trials=5, directory=tmp_path / str(seed), workers=0, seed=seed) for seed in (0, 1)
    )
    assert history(one) != history(other)


def test_a_finished_search_runs_nothing_and_more_trials_continue_it(tmp_path: Path) -> None:
    first = search(parabola, SPACE, trials=13, directory=tmp_path / "a", workers=0)
    again = search(changed(parabola, raising), SPACE, trials=13, directory=tmp_path / "a", workers=0)
    assert again.ran == 0
    assert history(again) == history(first)
    longer = search(parabola, SPACE, trials=30, directory=tmp_path / "a", workers=0)
    assert longer.ran == 17
    at_once = search(parabola, SPACE, trials=30, directory=tmp_path / "b", workers=0)
    assert history(longer) == history(at_once)
    fewer = search(parabola, SPACE, trials=5, directory=tmp_path / "a", workers=0)
    assert fewer.ran == 0
    assert len(fewer.trials) == 30


def test_a_lost_study_is_made_again_from_the_finished_runs(tmp_path: Path) -> None:
    first = search(parabola, SPACE, trials=20, directory=tmp_path, workers=0)
    (tmp_path / "study.db").unlink()
    again = search(changed(parabola, raising), SPACE, trials=20, directory=tmp_path, workers=0)
    assert again.ran == 0
    assert history(again) == history(first)


def test_a_point_that_comes_again_is_not_run_again(tmp_path: Path) -> None:
    found = search(
        parabola, {"x": [0.1, 0.2], "kind": ["a"]}, trials=12, directory=tmp_path, workers=0, sampler="random"
    )
    assert len(found.trials) == 12
    assert found.ran == journaled(tmp_path) == 2


def test_workers_die_and_their_runs_are_done_again(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    said: list[str] = []

    def deadly(trial: SearchTrial) -> float:
        if trial.number == 3 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), 9)
        return float(trial["x"])

    found = search(deadly, {"x": Range(0, 1)}, trials=6, directory=tmp_path / "a", workers=2, say=said.append)
    assert len(found.trials) == found.ran == 6
    assert said == ["a worker process died (signal 9); its run is done again"]


def test_a_run_that_always_kills_its_process_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"trial 1 at \{x: .*\} failed: the function ended its process 5 times \(code 3\)"
    ):
        search(fatal, {"x": Range(0, 1)}, trials=6, directory=tmp_path, workers=2)
    found = search(fatal, {"x": Range(0, 1)}, trials=6, directory=tmp_path, workers=2, on_error="skip")
    assert [one.number for one in found.trials if one.state == "failed"] == [1]
    assert len(found.trials) == 7


def test_what_a_function_prints_does_not_get_between(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def talkative(trial: SearchTrial) -> float:
        print(f"trial {trial.number}")  # noqa: T201
        return float(trial["x"])

    search(talkative, {"x": Range(0, 1)}, trials=3, directory=tmp_path)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert sorted(printed.err.splitlines()) == ["trial 0", "trial 1", "trial 2"]


def test_a_run_that_diverged_may_be_infinite(tmp_path: Path) -> None:
    found = search(
        lambda trial: math.inf if trial["x"] > 0.5 else trial["x"], {"x": Range(0, 1)}, trials=30, directory=tmp_path
    )
    assert found.best_value < 0.1
    assert any(math.isinf(one.values[0]) for one in found.trials)


def test_halving_ends_runs_that_are_behind(tmp_path: Path) -> None:
    found = search(descent, SPACE, trials=40, directory=tmp_path / "a", workers=0, pruner="halving")
    assert found.pruned > 10
    assert {len(one.curve) for one in found.trials if one.state == "pruned"} <= {1, 3, 9}
    assert all(len(one.curve) == 27 for one in found.trials if one.state == "complete")
    assert len(found.best_trial.curve) == 27
    assert sorted(states(tmp_path / "a")) == ["COMPLETE"] * (40 - found.pruned) + ["PRUNED"] * found.pruned
    maximised = search(
        negated, SPACE, trials=40, directory=tmp_path / "b", workers=0, pruner="halving", direction="maximize"
    )
    assert maximised.pruned > 10
    assert maximised.best_value > -0.1


def test_the_value_of_a_point_is_the_mean_over_its_seeds(tmp_path: Path) -> None:
    found = search(
        lambda trial: trial["x"] + trial.seed, {"x": Range(0, 1)}, trials=4, directory=tmp_path, seeds=3, seed=5
    )
    for one in found.trials:
        assert one.by_seed == tuple(one.point["x"] + seed for seed in (5, 6, 7))  # type: ignore[operator]
        assert one.values[0] == pytest.approx(sum(one.by_seed) / 3)
    assert found.ran == 12


def test_wilcoxon_spares_the_seeds_of_points_that_are_worse(tmp_path: Path) -> None:
    def noisy(trial: SearchTrial) -> float:
        return float(parabola(trial) + 1e-3 * math.sin(100 * trial.seed))

    found = search(noisy, SPACE, trials=30, directory=tmp_path, workers=0, seeds=8, pruner="wilcoxon")
    assert found.pruned > 5
    assert all(4 <= len(one.by_seed) < 8 for one in found.trials if one.state == "pruned")
    assert len(found.best_trial.by_seed) == 8
    assert found.ran < 30 * 8


def test_several_objectives_give_a_front(tmp_path: Path) -> None:
    found = search(
        lambda trial: (trial["x"] ** 2, -((trial["x"] - 1) ** 2)),
        {"x": Range(-1, 2)},
        trials=30,
        directory=tmp_path,
        workers=0,
        direction=("minimize", "maximize"),
    )
    front = found.pareto()
    assert 1 < len(front) <= 30
    assert all(-0.05 < one.point["x"] < 1.05 for one in front)  # type: ignore[operator]
    with pytest.raises(SpecError, match=r"no best trial: see pareto\(\)"):
        _ = found.best
    with pytest.raises(RunError, match=r"returned 0.5: with 2 objectives it must return a tuple of 2"):
        search(lambda trial: 0.5, {"x": Range(0, 1)}, trials=1, directory=tmp_path / "b", direction=("minimize",) * 2)


def test_the_result_tells_what_matters(tmp_path: Path) -> None:
    found = search(
        lambda trial: trial["x"] + 0.01 * trial["y"],
        {"x": Range(0, 1), "y": Range(0, 1)},
        trials=60,
        directory=tmp_path,
        workers=0,
        sampler="qmc",
    )
    importance = found.importance()
    assert list(importance) == ["x", "y"]
    assert importance["x"] > 0.9
    assert sum(importance.values()) == pytest.approx(1.0)
    best = found.history()
    assert best == sorted(best, reverse=True)
    assert best[-1] == found.best_value
    rows = found.table()
    assert list(rows[0]) == ["number", "state", "value", "x", "y", "seconds"]
    with pytest.raises(RunError, match="importance needs ten complete trials"):
        search(parabola, SPACE, trials=3, directory=tmp_path / "b", workers=0).importance()


@pytest.mark.parametrize("direction", [pytest.param("minimize", marks=pytest.mark.slow), "maximize"])
def test_importance_is_for_being_among_the_best_in_the_direction_of_the_search(
    direction: Direction, tmp_path: Path
) -> None:
    sign = 1.0 if direction == "minimize" else -1.0

    def train(trial: SearchTrial) -> float:  # only among the best does y matter, only among the worst x
        return sign * float(trial["y"] if trial["x"] < 0.8 else 1.0 + trial["x"])

    space = {"x": Range(0, 1), "y": Range(0, 1)}
    found = search(train, space, trials=100, directory=tmp_path, workers=0, sampler="qmc", direction=direction)
    assert next(iter(found.importance())) == "y"


def test_a_trial_applies_its_point_to_a_spec(tmp_path: Path) -> None:
    seen: list[DampedCosine] = []

    def train(trial: SearchTrial) -> float:
        seen.append(trial.apply(DampedCosine(floor=0.1)))
        assert trial.apply(DampedCosine(), prefix="schedule") == DampedCosine()
        return float(trial["lr"] + trial["exponent"])

    # In one process, so that what it appends to is this list.
    from adaptive_lr.search import task

    point: dict[str, Any] = {"lr": 0.1, "exponent": 2.0, "k": 0.5}
    assert train(task.SearchTrial(point, 0, 0)) == 2.1
    assert seen == [DampedCosine(floor=0.1, exponent=2.0, k=0.5)]
    assert dict(**task.SearchTrial(point, 0, 0)) == point


def test_a_second_start_says_who_holds_the_directory(tmp_path: Path) -> None:
    refused: list[str] = []

    def once(progress: Any) -> None:
        if not refused:
            with pytest.raises(StoreError) as caught:
                search(parabola, SPACE, trials=5, directory=tmp_path, workers=0)
            refused.append(str(caught.value))

    search(parabola, SPACE, trials=5, directory=tmp_path, workers=0, advance=once)
    assert f"{tmp_path} is held by process {os.getpid()} on " in refused[0]
    assert " since 2" in refused[0]


def test_a_function_sees_one_thread_whatever_the_number_of_workers(tmp_path: Path) -> None:
    found = search(lambda trial: float(os.environ["OMP_NUM_THREADS"]), {"x": Range(0, 1)}, trials=2, directory=tmp_path)
    assert [one.values for one in found.trials] == [(1.0,), (1.0,)]


def test_workers_end_with_the_pool() -> None:
    pool: ProcessPool[Task] = ProcessPool(2)
    pool.submit(Task(function=sent(parabola), trial=SearchTrial({"x": 0.3, "kind": "a"}, 0, 0)))
    ((_, outcome),) = pool.collect()
    assert outcome.values == (0.0,)
    running = pool.processes
    pool.close()
    assert all(not Path(f"/proc/{pid}").exists() for pid in running)


def test_a_worker_that_leaves_a_process_behind_is_replaced_all_the_same(tmp_path: Path) -> None:
    def forking(trial: SearchTrial) -> float:
        if trial.number == 1 and not (tmp_path / "mark").exists():
            (tmp_path / "mark").touch()
            if os.fork() == 0:
                time.sleep(20)
                os._exit(0)
            os._exit(1)
        return float(trial["x"])

    started = time.monotonic()
    found = search(forking, {"x": Range(0, 1)}, trials=3, directory=tmp_path / "a", workers=1)
    assert len(found.trials) == 3
    assert time.monotonic() - started < 15


def test_an_outcome_survives_the_journal() -> None:
    outcome = Outcome(
        values=(math.inf, 1.5), curve=(0.1, -math.inf), pruned=True, seconds=0.25, error="é", traceback="x"
    )
    assert Outcome.decoded(outcome.encoded()) == outcome


def test_the_name_is_a_function_however_it_is_imported() -> None:
    program = "import adaptive_lr.search.space, adaptive_lr; print(callable(adaptive_lr.search))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "True"
    assert adaptive_lr.search is search


def test_a_worker_needs_nothing_heavy() -> None:
    program = (
        "import sys, adaptive_lr.search.worker, adaptive_lr.search.task; "
        "print([name for name in ('torch', 'numpy', 'optuna', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_folder_says_what_is_searched(tmp_path: Path) -> None:
    search(parabola, SPACE, trials=1, directory=tmp_path, workers=0)
    written = json.loads((tmp_path / "search.json").read_text())
    assert written["sampler"] == "tpe"
    assert written["space"]["kind"]["choices"] == ["a", "b"]

"""What learning minimises, by hand."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptive_lr import Constant, DampedCosine
from adaptive_lr.analysis.held_out import WORST
from adaptive_lr.errors import InputError
from adaptive_lr.meta.objective import (
    LEAST_STEPS,
    MOST_STEPS,
    MOST_WORK,
    Objective,
    random_trials,
    situation,
    tuning_trials,
)
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.training.trial import Trial
from adaptive_lr.trials.runner import run_trials
from adaptive_lr.trials.store import Store
from tests.meta.learned import SITUATIONS

KNOWN = replace(SITUATIONS[0], tuned=0.1, initial=2.0)
OPTIMUM = KNOWN.trial.task.optimum or 0.0
UNKNOWN = replace(KNOWN, known=False)


def test_a_tolerance_is_a_fifth_of_the_tuned_excess_where_the_optimum_is_known() -> None:
    losses = OPTIMUM + np.array([0.1, 0.12, 0.1 * 1.2**3, 0.1 / 1.2, 2.0, math.nan, math.inf, 1e9])
    worst = min(WORST, math.log(20.0) / math.log(1.2))
    assert KNOWN.penalty(losses) == pytest.approx([0.0, 1.0, 3.0, -1.0, worst, worst, worst, worst])
    assert replace(KNOWN, tuned=1e-3).penalty(losses)[-1] == WORST


def test_a_tolerance_is_a_twentieth_of_what_there_is_to_gain_elsewhere() -> None:
    losses = OPTIMUM + np.array([[0.1, 0.1 + 0.05 * 1.9], [2.0, math.nan]])
    assert UNKNOWN.penalty(losses) == pytest.approx(np.array([[0.0, 1.0], [20.0, 20.0]]))
    assert UNKNOWN.penalty(losses).max() <= WORST


def test_lanes_are_a_function_of_their_arguments() -> None:
    objective = Objective(SITUATIONS, at_once=2, rates=4)
    lanes = objective.lanes(3, 7)
    assert lanes == objective.lanes(3, 7) == Objective(list(SITUATIONS), at_once=2, rates=4).lanes(3, 7)
    assert lanes != objective.lanes(3, 8)
    assert lanes != objective.lanes(4, 7)
    assert len(lanes) == 8
    assert len({lane.situation.name for lane in lanes}) == 2
    everything = Objective(SITUATIONS).lanes(0, 0)
    assert [lane.situation for lane in everything[::4]] == SITUATIONS


def test_wrong_rates_come_in_pairs_and_reach_two_decades() -> None:
    wrong = np.array([lane.wrong for step in range(200) for lane in Objective(SITUATIONS, rates=2).lanes(1, step)])
    np.testing.assert_allclose(wrong[::2] * wrong[1::2], 1.0, rtol=1e-12)
    logs = np.log10(wrong[::2])
    assert (logs >= 0.0).all()
    assert 1.9 < logs.max() <= 2.0
    assert logs.mean() == pytest.approx(1.0, abs=0.1)  # uniform in the logarithm: 600 of them, standard error 0.024


def test_j_is_half_the_mean_and_half_the_worst_fifth() -> None:
    penalties = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0], [0.0] * 9 + [20.0]])
    assert Objective.value(penalties) == pytest.approx([0.5 * 5.5 + 0.5 * 9.5, 0.5 * 2.0 + 0.5 * 10.0])
    assert Objective.value(penalties[:, ::-1]) == pytest.approx(Objective.value(penalties))
    assert Objective.value(np.array([[3.0, 1.0]])) == pytest.approx([0.5 * 2.0 + 0.5 * 3.0])


@pytest.mark.parametrize("rates", [0, 1, 3])
def test_an_odd_number_of_rates_is_refused(rates: int) -> None:
    with pytest.raises(InputError, match=f"an even number of rates, at least 2, got {rates}"):
        Objective(SITUATIONS, rates=rates)


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(InputError, match="at least one situation"):
        Objective([])


def tuned(trial: Trial, folder: Path) -> Store:
    store = Store(folder / "store.sqlite", write=True)
    run_trials(tuning_trials(trial), store, workers=1)
    return store


def test_a_situation_is_the_best_of_a_cosine(tmp_path: Path) -> None:
    trial = replace(SITUATIONS[0].trial, schedule=Constant(), base_lr=0.02)
    trials = tuning_trials(trial)
    assert [one.base_lr for one in trials[::3]] == pytest.approx([0.0002, 0.002, 0.02, 0.2, 2.0])
    assert {one.schedule for one in trials} == {DampedCosine()}
    with tuned(trial, tmp_path) as store:
        result = situation(trial, "squares", store)
        losses = [store.read([one.digest()])[one.digest()].metrics["excess"] for one in trials]
    assert result is not None
    best = int(np.argmin(losses))
    assert (result.trial, result.tuned, result.known, result.name) == (trials[best], losses[best], True, "squares")
    assert result.initial > 2 * result.tuned


def test_what_cannot_be_tuned_or_trained_is_no_situation(tmp_path: Path) -> None:
    low = replace(SITUATIONS[0].trial, base_lr=1e-4)  # the best of its rates is the largest
    still = replace(SITUATIONS[0].trial, base_lr=1e-9)  # none of them trains
    for number, trial in enumerate((low, still)):
        with tuned(trial, tmp_path / str(number)) as store:
            assert situation(trial, "squares", store) is None


def test_random_trials_are_neither_short_nor_dear_and_take_the_seeds_in_turn() -> None:
    trials = list(random_trials("convex", range(8), (0.25, 1.0, 4.0), (100, 101, 102)))
    assert trials == list(random_trials("convex", range(8), (0.25, 1.0, 4.0), (100, 101, 102)))
    assert len({name for name, _ in trials}) == len(trials) > 5
    for name, trial in trials:
        assert LEAST_STEPS <= trial.steps <= MOST_STEPS
        assert name.endswith(f"T={trial.steps}")
        assert trial.dtype == "float64"
        assert trial.steps * sum(value.numel() for value in trial.task.initial(0).values()) <= MOST_WORK
    assert {trial.seed for _, trial in trials} == {100, 101, 102}
    (network, *_) = random_trials("network", range(4), (1.0,), (100,))
    assert network[1].dtype == "float32"
    assert not isinstance(network[1].task, StreamingLeastSquares)

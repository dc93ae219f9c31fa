"""What candidates lose is what their trials lose, trained one at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from adaptive_lr import Anchor, DampedCosine, LearnedDamping, Static
from adaptive_lr.meta.evaluation import Losses, Work, cost, do, penalties, planned
from adaptive_lr.meta.learners import Recipe, learner
from adaptive_lr.meta.objective import Lane, Objective
from adaptive_lr.training import train
from adaptive_lr.trials.processes import Processes
from tests.learned import WEIGHTS
from tests.meta.learned import SITUATIONS

LANES = Objective(SITUATIONS, rates=2).lanes(0, 0)
RECIPES: list[Recipe] = [
    (DampedCosine(), Static()),
    (DampedCosine(exponent=2.0), Static()),
    (DampedCosine(), LearnedDamping(weights=WEIGHTS)),
    (DampedCosine(), LearnedDamping(weights=tuple(-weight for weight in WEIGHTS))),
    (DampedCosine(), Anchor(least_steps=8)),
    learner("policy").recipe(learner("policy").start()),
]


def alone(recipe: Recipe, lane: Lane) -> float:
    trial = lane.situation.trial
    rate = float(f"{trial.base_lr * lane.wrong:.6g}")
    result = train(replace(trial, schedule=recipe[0], controller=recipe[1], base_lr=rate))
    return float(lane.situation.penalty(np.array(result.metrics[trial.task.report_metric])))


def test_penalties_are_those_of_the_trials_one_at_a_time() -> None:
    recipes, lanes = RECIPES[1:5], LANES[::2]
    expected = [[alone(recipe, lane) for lane in lanes] for recipe in recipes]
    values = penalties(recipes, lanes)
    assert values.shape == (4, 3)
    np.testing.assert_allclose(values, expected, rtol=1e-7, atol=1e-7)
    assert len(np.unique(values)) > 8


def test_candidates_and_lanes_that_are_the_same_lose_the_same() -> None:
    recipes, lanes = [RECIPES[2], RECIPES[0], RECIPES[2]], [*LANES[:2], LANES[0]]
    values = penalties(recipes, lanes)
    np.testing.assert_array_equal(values[0], values[2])
    np.testing.assert_array_equal(values[:, 0], values[:, 2])
    np.testing.assert_allclose(values[:2, :2], penalties(recipes[:2], lanes[:2]), rtol=1e-9)


def test_each_place_is_planned_once_and_the_dearest_work_comes_first() -> None:
    work = planned(RECIPES, LANES)
    assert sorted(place for job in work for place in job.places) == [
        (row, column) for row in range(6) for column in range(6)
    ]
    costs = [len(job.trials) * job.trials[0].steps for job in work]
    assert costs == sorted(costs, reverse=True)
    assert all(len(job.trials) == len(job.places) for job in work)


@pytest.mark.slow
def test_processes_lose_the_same() -> None:
    processes: Processes[Work, Losses]
    with Processes(2, do) as processes:
        np.testing.assert_array_equal(penalties(RECIPES, LANES, processes), penalties(RECIPES, LANES))


def test_what_a_controller_evaluates_is_paid_for() -> None:
    plain = 2 * (40 + 60 + 40)
    assert cost(RECIPES[:1], LANES) == plain
    extra = sum(RECIPES[2][1].extra_steps(lane.situation.trial.steps) for lane in LANES)
    assert cost([RECIPES[0], RECIPES[2]], LANES) == pytest.approx(2 * plain + extra)
    assert extra > 10.0


def test_the_process_is_left_as_it_was() -> None:
    """Training flushes numbers below the smallest normal one to zero, on one thread: nobody else's numbers may change by that."""
    threads = torch.get_num_threads()
    penalties(RECIPES[:1], LANES[:1])
    assert torch.get_num_threads() == threads
    assert float(torch.tensor([1e-310], dtype=torch.float64) * 0.5) > 0.0

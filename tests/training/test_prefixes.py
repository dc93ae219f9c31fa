"""Schedules that begin alike are trained as one, and end as if each had been trained by itself."""

from collections.abc import Sequence

import pytest

from adaptive_lr import WSD, AbstractSchedule, Constant, DampedCosine, Step
from adaptive_lr.controllers import Anchor
from adaptive_lr.training import SGD, AdamW, Backend, BatchRun, Trial, prefixes, train, train_batch
from adaptive_lr.training.prefixes import branches
from tests.reference.tasks import CASES, Case
from tests.training.test_training import ABSURD, assert_agree, trial

pytestmark = pytest.mark.usefixtures("one_thread")

SCHEDULES: tuple[AbstractSchedule, ...] = (
    Constant(),
    WSD(cooldown=0.2),
    DampedCosine(),
    WSD(cooldown=0.5),
    Step(milestones=(0.4, 0.8), factor=0.1),
    Step(milestones=(0.4,), factor=0.1),
)
FEW = ("least_squares", "softmax_breast_cancer", "perceptron_digits_relu", "convolution", "dropout")


def plan(case: Case, rates: Sequence[float], seeds: Sequence[int] = (3, 4), optimizer: object = None) -> list[Trial]:
    return [
        trial(case, schedule=schedule, optimizer=optimizer or SGD(momentum=0.9), base_lr=rate, seed=seed, steps=100)
        for seed in seeds
        for rate in rates
        for schedule in SCHEDULES
    ]


def test_a_trial_branches_off_that_which_it_has_most_in_common_with() -> None:
    branching = branches(plan(CASES["least_squares"], (0.1, 0.2), seeds=(0,)))
    count = len(SCHEDULES)
    assert branching.begins == (0, 80, 0, 51, 40, 80) * 2
    assert branching.sources[:count] == (0, 0, 2, 0, 0, 4)
    assert branching.sources[count:] == tuple(source + count for source in branching.sources[:count])
    assert branching.at(51) == [0, 2, 3, 4, 6, 8, 9, 10]
    assert branching.source(5, 80) == 4
    assert branching.source(4, 40) == 0


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), AdamW()], ids=repr)
@pytest.mark.parametrize("case", [CASES[name] for name in FEW], ids=FEW)
def test_what_is_shared_ends_as_what_is_not(case: Case, optimizer: object) -> None:
    trials = plan(case, (case.rate * 0.05, ABSURD), optimizer=optimizer)
    for shared, alone in zip(train_batch(trials), trials, strict=True):
        assert_agree(shared, train(alone), tolerance=1e-8)


def test_compiled_trials_share_too() -> None:
    trials = plan(CASES["perceptron_digits_relu"], (0.01,))
    for shared, alone in zip(train_batch(trials, Backend.COMPILED), trials, strict=True):
        assert_agree(shared, train(alone), tolerance=1e-8)


def test_what_is_shared_is_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []

    class Counting(BatchRun):
        def advance(self, until: int) -> None:
            trained.append((until - self.step) * len(self.trials))
            super().advance(until)

    monkeypatch.setattr(prefixes, "BatchRun", Counting)
    train_batch(plan(CASES["least_squares"], (0.1,), seeds=(0, 1)))
    assert sum(trained) == 2 * (100 + 20 + 100 + 49 + 60 + 20)


def test_seconds_are_counted_once() -> None:
    trials = plan(CASES["least_squares"], (0.1,), seeds=(0,))
    shared = sum(result.seconds for result in train_batch(trials))
    apart = sum(result.seconds for one in trials for result in train_batch([one]))
    assert 0.0 < shared < apart


def test_under_a_controller_nothing_is_shared() -> None:
    trials = [
        trial(CASES["least_squares"], schedule=schedule, controller=Anchor(), base_lr=0.1)
        for schedule in (Constant(), WSD(cooldown=0.2))
    ]
    for result, alone in zip(train_batch(trials), trials, strict=True):
        assert_agree(result, train(alone), tolerance=1e-8)


def test_seeds_with_other_trials_share_nothing() -> None:
    first, second = plan(CASES["least_squares"], (0.1,)), plan(CASES["least_squares"], (0.2,), seeds=(5,))
    trials = first[: len(SCHEDULES)] + second
    for result, alone in zip(train_batch(trials), trials, strict=True):
        assert_agree(result, train(alone), tolerance=1e-8)

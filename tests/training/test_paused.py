import pickle
from dataclasses import replace

import numpy as np
import pytest

from adaptive_lr import Constant, SpecError
from adaptive_lr.controllers import Anchor
from adaptive_lr.training import (
    SGD,
    AbstractOptimizer,
    BatchRun,
    Paused,
    ProjectedSGD,
    RunResult,
    Status,
    Trial,
    batches,
    train_batch,
)
from tests.reference.tasks import CASES, Case
from tests.training.test_training import ABSURD, RULES, assert_agree, bits, several, trial

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = ("least_squares", "softmax_breast_cancer", "perceptron_breast_cancer_tanh")
every_case = pytest.mark.parametrize("case", [CASES[name] for name in FEW], ids=FEW)

ALL_RULES = RULES | {"projected": (ProjectedSGD(radius=5.0), 1.0)}
every_rule = pytest.mark.parametrize(("optimizer", "factor"), ALL_RULES.values(), ids=list(ALL_RULES))


def of_two_seeds(case: Case, optimizer: AbstractOptimizer, factor: float, steps: int = 200) -> list[Trial]:
    """Three trials of each seed, the second of which diverges."""
    return [one for seed in (3, 4) for one in several(case, optimizer, factor, seed=seed, steps=steps)]


def run_in_parts(trials: list[Trial], stops: tuple[int, ...]) -> list[RunResult]:
    """The results of one batch that is set down, sent and taken up at every stop."""
    paused = Paused.begun(trials)
    for stop in stops:
        run = BatchRun(pickle.loads(pickle.dumps(paused)))
        run.advance(stop)
        paused = run.paused()
    run = BatchRun(paused)
    run.advance(trials[0].steps)
    return run.results()


@pytest.mark.sampled(3)
@every_rule
@every_case
def test_a_batch_that_is_set_down_and_taken_up_is_the_same_to_the_last_bit(
    case: Case, optimizer: AbstractOptimizer, factor: float
) -> None:
    trials = of_two_seeds(case, optimizer, factor, steps=60)
    whole = train_batch(trials)
    assert whole[0].status == whole[3].status == Status.OK
    for stops in ((7, 20), (1, 2, 3, 59)):
        parts = run_in_parts(trials, stops)
        assert [one.trial for one in parts] == trials
        assert list(map(bits, parts)) == list(map(bits, whole))


@pytest.mark.sampled(3)
@every_rule
@every_case
def test_trials_that_go_on_without_the_others_end_where_they_would_have(
    case: Case, optimizer: AbstractOptimizer, factor: float
) -> None:
    trials = of_two_seeds(case, optimizer, factor)
    expected = dict(zip(trials, train_batch(trials), strict=True))
    run = BatchRun(Paused.begun(trials))
    run.advance(22)
    # The middle one of a seed is dead already; it goes on once, and so does its neighbour.
    for places in ([0, 3], [1, 2, 4, 5], [2, 1], [4]):
        left = [trials[place] for place in places]
        rest = BatchRun(run.paused().only(left))
        rest.advance(67)
        last = BatchRun(rest.paused().only(left[-1:]))
        for one in (rest, last):
            one.advance(200)
            for found in one.results():
                assert_agree(found, expected[found.trial])


def test_of_trials_that_are_dropped_nothing_is_left() -> None:
    case = CASES["perceptron_breast_cancer_tanh"]
    trials = of_two_seeds(case, *RULES["adamw"])
    run = BatchRun(Paused.begun(trials))
    run.advance(22)
    alone = BatchRun(run.paused().only([trials[0], trials[3]]))
    size = sum(value.numel() for value in case.task.initial(0).values())
    assert run.state.flat.shape == run.state.flat_gradient.shape == (6 * size,)
    assert alone.state.flat.shape == alone.state.flat_gradient.shape == (2 * size,)
    assert [one.shape for one in alone.update.buffers()] == [(2 * size,)] * 2
    assert alone.rates.shape == (201, 2)
    assert alone.train_curve.shape[1] == alone.alive.shape[0] == len(alone.results()) == 2
    for name, value in alone.paused().rows.items():
        assert value.shape[0] == 2, name
        assert value.untyped_storage().nbytes() == value.numel() * value.element_size(), name


def test_trials_of_several_batches_go_on_in_one() -> None:
    case = CASES["perceptron_breast_cancer_tanh"]
    trials = of_two_seeds(case, *RULES["momentum"])
    runs = [BatchRun(Paused.begun(part)) for part in (trials[:3], trials[3:])]
    for run in runs:
        run.advance(67)
    left = [trials[place] for place in (0, 2, 3, 5)]
    together = BatchRun(Paused.joined([run.paused() for run in runs]).only(left))
    together.advance(200)
    for found, expected in zip(together.results(), train_batch(left), strict=True):
        assert_agree(found, expected)


def test_a_batch_of_dead_trials_can_be_joined_with_others() -> None:
    case = CASES["least_squares"]
    dead, calm = trial(case, base_lr=ABSURD), trial(case)
    runs = [BatchRun(Paused.begun([one])) for one in (dead, calm)]
    for run in runs:
        run.advance(67)
    assert not runs[0].alive.any()
    both = BatchRun(Paused.joined([run.paused() for run in runs]))
    both.advance(200)
    for found, expected in zip(both.results(), train_batch([dead, calm]), strict=True):
        assert_agree(found, expected)


@every_case
def test_the_metric_on_the_way_is_that_of_the_parameters(case: Case) -> None:
    trials = several(case, SGD(), 1.0, steps=40)
    run = BatchRun(Paused.begun(trials))
    run.advance(20)
    metric = run.metric()
    curve = [one.curves[case.task.selection_metric] for one in train_batch(trials)]
    measured = next(index for index in range(19, 40) if np.isfinite(curve[0][index]))
    run.advance(measured + 1)
    now = run.metric().numpy()
    np.testing.assert_allclose(now, [one[measured] for one in curve], rtol=0, atol=1e-12, equal_nan=True)
    assert metric.shape == (3,)
    before = bits(train_batch(trials)[0])
    run.advance(40)
    assert bits(run.results()[0]) == before  # looking changes nothing


def test_time_is_counted_over_all_parts() -> None:
    run = BatchRun(Paused.begun([trial(CASES["least_squares"]), trial(CASES["least_squares"], base_lr=0.01)]))
    run.advance(100)
    before = run.seconds
    rest = BatchRun(run.paused().only([run.trials[0]]))
    rest.advance(200)
    assert 0.0 < float(before[0]) < rest.results()[0].seconds


def test_trials_in_the_order_that_batches_gives_can_be_begun() -> None:
    case = CASES["least_squares"]
    mixed = [replace(trial(case, seed=seed), base_lr=0.01 * (1 + place)) for place in range(3) for seed in (5, 3)]
    (planned,) = batches(mixed)
    run = BatchRun(Paused.begun(planned))
    run.advance(200)
    assert list(map(bits, run.results())) == list(map(bits, train_batch(planned)))


def test_trials_under_a_controller_are_not_set_down() -> None:
    run = BatchRun(Paused.begun([trial(CASES["least_squares"], controller=Anchor(), schedule=Constant())]))
    run.advance(10)
    with pytest.raises(SpecError, match="trials under a controller are trained in one go"):
        run.paused()

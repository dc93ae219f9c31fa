import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptive_lr import WSD, AbstractSchedule, Constant, DampedCosine, Linear, SpecError, Warmup
from adaptive_lr.spec import decode, encode
from adaptive_lr.tasks import StreamingLeastAbsolute, StreamingLeastSquares, StreamingLogistic
from adaptive_lr.training import (
    KINDS,
    SGD,
    AbstractOptimizer,
    AdamW,
    RunResult,
    Status,
    Trial,
    train,
    train_batch,
)
from adaptive_lr.training.trial import MONITOR_EVERY, WINDOWS, monitored, window_ends
from tests.reference.tasks import CASES, Case

pytestmark = pytest.mark.usefixtures("one_thread")

TOGETHER = {name: case for name, case in CASES.items() if case.task.batched}
"""Those whose trials are trained together; the others are trained by the literal loop itself."""

QUICK = (
    "least_squares",
    "softmax_digits",
    "perceptron_digits_relu",
    "perceptron_breast_cancer_tanh",
    "characters",
    "convolution",
    "dropout",
    "bayesian_network",
    "autoencoder",
)
"""One of each kind, which the laws are tried on in the fast suite; on the others they are in the slow one."""

every_case = pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name, marks=[] if name in QUICK else pytest.mark.slow) for name, case in TOGETHER.items()],
)

RULES: dict[str, tuple[AbstractOptimizer, float]] = {
    "sgd": (SGD(), 1.0),
    "momentum": (SGD(momentum=0.9, weight_decay=1e-3), 0.1),
    "adamw": (AdamW(), 0.1),
}
"""Optimizers, and by how much their stable rates are smaller than those of plain SGD."""

every_rule = pytest.mark.parametrize(("optimizer", "factor"), RULES.values(), ids=list(RULES))

ABSURD = 1e150


def trial(case: Case, **changes: Any) -> Trial:
    basic = Trial(
        task=case.task,
        schedule=Constant(),
        optimizer=SGD(),
        base_lr=case.rate,
        steps=case.steps,
        seed=3,
        dtype="float64",
    )
    return replace(basic, **changes)


def several(case: Case, optimizer: AbstractOptimizer, factor: float, **changes: Any) -> list[Trial]:
    """Different schedules at stable rates, and in their midst a trial that diverges."""
    cells: list[tuple[AbstractSchedule, float]] = [
        (DampedCosine(exponent=2), factor * case.rate),
        (Constant(), ABSURD),
        (Warmup(fraction=0.25, then=WSD(cooldown=0.5)), factor * case.rate),
    ]
    return [trial(case, schedule=schedule, optimizer=optimizer, base_lr=rate, **changes) for schedule, rate in cells]


def assert_agree(found: RunResult, expected: RunResult, *, tolerance: float = 1e-10) -> None:
    assert found.trial == expected.trial
    assert (found.status, found.stopped_at) == (expected.status, expected.stopped_at)
    for name in ("initial", "metrics", "curves"):
        values, others = getattr(found, name), getattr(expected, name)
        assert list(values) == list(others)
        for key, value in values.items():
            # Relative only where an absurd rate makes the numbers absurd.
            scale = max(1.0, np.nan_to_num(np.abs(others[key])).max())
            np.testing.assert_allclose(value, others[key], rtol=0, atol=tolerance * scale, equal_nan=True)


def bits(result: RunResult) -> tuple[Any, ...]:
    """Everything but the time, NaN equal to NaN."""
    curves = {name: (str(values.dtype), values.tobytes()) for name, values in result.curves.items()}
    return result.status, result.stopped_at, repr(result.initial), repr(result.metrics), curves


@pytest.mark.sampled(3)
@every_rule
@pytest.mark.parametrize("case", TOGETHER.values(), ids=list(TOGETHER))
def test_a_batch_equals_its_trials_one_by_one(case: Case, optimizer: AbstractOptimizer, factor: float) -> None:
    trials = several(case, optimizer, factor)
    for found, alone in zip(train_batch(trials), trials, strict=True):
        assert_agree(found, train(alone))


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_stable_trials_learn(case: Case) -> None:
    for result in (train_batch([trial(case)])[0], train(trial(case))):
        assert result.status is Status.OK
        metric = case.task.selection_metric
        assert result.metrics[metric] < 0.98 * result.initial[metric]
        assert result.curves[metric][-1] == result.metrics[metric]


@pytest.mark.parametrize("steps", [1, 3, 7, 39, 40, 41, 100])
@pytest.mark.parametrize("name", ["least_squares", "softmax_breast_cancer", "perceptron_breast_cancer_tanh"])
def test_runs_of_any_length_agree(name: str, steps: int) -> None:
    trials = several(CASES[name], SGD(momentum=0.9), 0.1, steps=steps)
    schedules = [DampedCosine(), Constant(), Warmup(steps=1, then=Linear()) if steps > 1 else Linear()]
    trials = [replace(one, schedule=schedule) for one, schedule in zip(trials, schedules, strict=True)]
    for found, alone in zip(train_batch(trials), trials, strict=True):
        assert_agree(found, train(alone))
        assert found.curves["step"].tolist() == sorted(set(found.curves["step"].tolist()))
        assert found.curves["step"][-1] == steps
        assert all(len(curve) == min(WINDOWS, steps) for curve in found.curves.values())
        if found.status is Status.OK:
            assert not any(math.isnan(value) for value in found.metrics.values())


@every_case
def test_single_precision_follows_the_literal_loop_while_rounding_has_not_grown(case: Case) -> None:
    one = trial(case, dtype="float32", steps=40)
    assert_agree(train_batch([one])[0], train(one), tolerance=2e-5)


@every_case
def test_an_absurd_rate_does_not_change_a_bit_of_the_other_trials(case: Case) -> None:
    trials = several(case, SGD(momentum=0.9), 0.1)
    together = train_batch(trials)
    without = train_batch([trials[0], replace(trials[1], base_lr=trials[0].base_lr), *trials[2:]])
    for found, expected in zip([together[0], *together[2:]], [without[0], *without[2:]], strict=True):
        assert found.status is Status.OK
        assert bits(found) == bits(expected)


@every_case
def test_what_the_other_trials_do_does_not_change_a_bit(case: Case) -> None:
    calm = [trial(case, base_lr=case.rate * scale) for scale in (0.5, 1.0, 0.2, 0.1)]
    other = [calm[0], replace(calm[1], schedule=Linear(), base_lr=0.01 * case.rate), *calm[2:]]
    found, expected = train_batch(calm), train_batch(other)
    assert bits(found[1]) != bits(expected[1])
    for place in (0, 2, 3):
        assert bits(found[place]) == bits(expected[place])


@every_case
def test_the_place_in_a_batch_changes_no_more_than_rounding(case: Case) -> None:
    trials = [trial(case, base_lr=case.rate * scale) for scale in (0.1, 0.2, 0.5, 1.0, 0.7)]
    backwards = train_batch(trials[::-1])[::-1]
    for found, expected in zip(backwards, train_batch(trials), strict=True):
        assert_agree(found, expected, tolerance=1e-11)


@every_case
def test_the_same_batch_gives_the_same_bits_whatever_the_global_seed(case: Case) -> None:
    trials = several(case, SGD(momentum=0.9), 0.1, steps=60, dtype="float32")
    first, state = train_batch(trials), torch.get_rng_state()
    torch.manual_seed(int(state[0]) + 1)
    second = train_batch(trials)
    torch.set_rng_state(state)
    assert [bits(one) for one in first] == [bits(one) for one in second]


@every_case
def test_training_a_batch_leaves_the_global_generator_alone(case: Case) -> None:
    before = torch.get_rng_state()
    train_batch([trial(case, steps=5)])
    assert torch.equal(torch.get_rng_state(), before)


@every_case
def test_seeds_give_different_runs(case: Case) -> None:
    results = [train_batch([trial(case, seed=seed, steps=30)])[0] for seed in range(3)]
    assert len({repr(result.metrics) for result in results}) == 3


@every_case
def test_the_same_trial_twice_in_a_batch_gives_the_same_result_twice(case: Case) -> None:
    first, _, second = train_batch([trial(case), trial(case, base_lr=0.5 * case.rate), trial(case)])
    assert_agree(first, second, tolerance=1e-12)


@pytest.mark.parametrize("name", ["least_squares", "softmax_digits", "perceptron_digits_relu"])
def test_a_diverged_trial_has_no_metrics_and_no_curve_from_there_on(name: str) -> None:
    case = CASES[name]
    (result,) = train_batch([trial(case, base_lr=ABSURD)])
    assert result.status is Status.DIVERGED
    assert result.stopped_at is not None
    assert 0 < result.stopped_at < 5  # in the first window, which ends after 5 of the 200 steps
    assert all(math.isnan(value) for value in result.metrics.values())
    assert all(math.isfinite(value) for value in result.initial.values())
    assert np.isnan(result.curves["train_loss"]).all()
    assert np.isnan(result.curves[case.task.selection_metric]).all()
    assert result.curves["step"].tolist() == list(range(5, 201, 5))


def test_a_batch_in_which_all_diverge_ends() -> None:
    case = CASES["softmax_breast_cancer"]
    results = train_batch([trial(case, base_lr=ABSURD * scale) for scale in (1.0, 2.0)])
    assert [result.status for result in results] == [Status.DIVERGED] * 2


@pytest.mark.parametrize("rate", [3.0, 4.0, 6.0, 10.0])
def test_slow_divergence_is_noticed_at_the_same_step(rate: float) -> None:
    # Rates just above the stable ones: the loss overflows only after hundreds of steps, and not in the first window.
    case = Case(StreamingLeastSquares(dimension=20), rate)
    one, calm = trial(case, steps=1000, optimizer=SGD(momentum=0.5)), trial(case, steps=1000, base_lr=0.05)
    calm = replace(calm, optimizer=one.optimizer)
    diverged, steady = train_batch([one, calm])
    assert diverged.status is Status.DIVERGED
    assert diverged.stopped_at is not None
    assert 25 < diverged.stopped_at < 1000
    assert steady.status is Status.OK
    expected = train(one)
    assert diverged.stopped_at == expected.stopped_at
    for name in ("train_loss", "excess"):
        np.testing.assert_allclose(diverged.curves[name], expected.curves[name], rtol=1e-8, equal_nan=True)
    assert np.isfinite(diverged.curves["train_loss"][: diverged.stopped_at // 25]).all()
    assert np.isnan(diverged.curves["train_loss"][diverged.stopped_at // 25 :]).all()


def test_a_metric_that_overflows_before_the_loss_ends_the_trial_with_its_window() -> None:
    case = Case(StreamingLeastAbsolute(dimension=20), 1e200)
    one = trial(case)
    (found,) = train_batch([one])
    assert (found.status, found.stopped_at) == (Status.DIVERGED, MONITOR_EVERY * 5)
    assert np.isfinite(found.curves["train_loss"]).tolist() == [True] * 3 + [False] * 37
    assert_agree(found, train(one))


@pytest.mark.parametrize("steps", [1, 3])
def test_divergence_in_the_last_window_is_noticed(steps: int) -> None:
    one = trial(Case(StreamingLeastSquares(dimension=20), 1e308), steps=steps)
    (found,) = train_batch([one])
    assert found.status is Status.DIVERGED
    assert_agree(found, train(one))


def test_training_uses_the_schedule_from_its_first_to_its_last_update() -> None:
    # On x^2/2 in one dimension without noise, w <- w - eta m(t/T) x (x w - x w*).
    task = StreamingLeastSquares(dimension=1, batch=1, noise=0.0)
    one = Trial(task=task, schedule=Linear(), optimizer=SGD(), base_lr=0.1, steps=4, seed=0, dtype="float64")
    pairs = [(float(x), float(y)) for x, y in task.minibatches(0, 4, torch.float64)]
    target, w, losses = pairs[0][1] / pairs[0][0], 0.0, []
    for (x, y), multiplier in zip(pairs, (1.0, 0.75, 0.5, 0.25), strict=True):
        losses.append(0.5 * (x * w - y) ** 2)
        w -= 0.1 * multiplier * x * (x * w - y)
    for result in (*train_batch([one]), train(one)):
        assert result.initial["excess"] == pytest.approx(0.5 * target**2, rel=1e-12)
        assert result.metrics["excess"] == pytest.approx(0.5 * (w - target) ** 2, rel=1e-12)
        np.testing.assert_allclose(result.curves["train_loss"], losses, rtol=1e-12)


def test_train_loss_is_the_mean_over_a_window() -> None:
    case = CASES["logistic"]
    fine, coarse = train_batch([trial(case, steps=40)])[0], train_batch([trial(case, steps=80)])[0]
    assert len(fine.curves["train_loss"]) == len(coarse.curves["train_loss"]) == 40
    # The first 40 steps are the same ones: two of the short run's windows are one of the long run's.
    pairs = fine.curves["train_loss"].reshape(20, 2).mean(1)
    np.testing.assert_allclose(coarse.curves["train_loss"][:20], pairs, rtol=1e-12)


@given(steps=st.integers(1, 10**6))
def test_windows_cover_every_step_evenly(steps: int) -> None:
    ends = window_ends(steps)
    widths = np.diff([0, *ends])
    assert ends[-1] == steps
    assert len(ends) == min(steps, WINDOWS)
    assert widths.min() >= 1
    assert widths.max() - widths.min() <= 1
    measured = [point for point in range(len(ends)) if monitored(point, len(ends))]
    assert measured[-1] == len(ends) - 1
    assert set(np.diff(measured).tolist()) <= {MONITOR_EVERY}


@pytest.mark.parametrize(
    "change",
    [
        {"task": StreamingLogistic(dimension=21)},
        {"task": StreamingLeastSquares(dimension=20)},
        {"optimizer": SGD(momentum=0.5)},
        {"steps": 199},
        {"dtype": "float32"},
    ],
    ids=str,
)
def test_a_batch_of_unlike_trials_is_refused(change: dict[str, Any]) -> None:
    first = trial(CASES["logistic"])
    with pytest.raises(
        SpecError,
        match="the trials of a batch may differ in schedule, base_lr, seed and some controllers' numbers only",
    ):
        train_batch([first, first, replace(first, **change)])


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", TOGETHER.values(), ids=list(TOGETHER))
@pytest.mark.parametrize("counts", [(2, 2, 2), (1, 3, 2)], ids=["even", "uneven"])
def test_a_batch_of_several_seeds_equals_its_trials_one_by_one(case: Case, counts: tuple[int, ...]) -> None:
    trials = [
        trial(case, seed=seed, steps=30, base_lr=case.rate * 0.5**place)
        for seed, count in enumerate(counts)
        for place in range(count)
    ]
    mixed = trials[::2] + trials[1::2]  # in no order
    for found, alone in zip(train_batch(mixed), mixed, strict=True):
        assert found.trial == alone
        assert_agree(found, train(alone))


def test_the_time_of_a_batch_is_shared_among_its_trials() -> None:
    results = train_batch([trial(CASES["logistic"], base_lr=rate) for rate in (0.1, 0.2)])
    assert results[0].seconds == results[1].seconds > 0.0


def test_digests_tell_trials_apart() -> None:
    first = trial(CASES["logistic"])
    changes: list[dict[str, Any]] = [
        {"task": StreamingLogistic(dimension=21)},
        {"schedule": Linear()},
        {"optimizer": SGD(momentum=0.1)},
        {"base_lr": 0.31},
        {"steps": 199},
        {"dtype": "float32"},
    ]
    digests = {first.digest(), *(replace(first, **change).digest() for change in changes)}
    assert len(digests) == 1 + len(changes)
    decoded = decode(encode(first), KINDS)
    assert isinstance(decoded, Trial)
    assert decoded.digest() == first.digest()

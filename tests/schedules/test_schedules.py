import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    PolynomialLR,
)

from adaptive_lr import (
    SCHEDULES,
    WSD,
    AbstractSchedule,
    Constant,
    DampedCosine,
    Exponential,
    InverseSqrt,
    Linear,
    Plateau,
    Polynomial,
    Scaled,
    SpecError,
    Step,
    Warmup,
    table,
)
from tests.conftest import EXAMPLES, legal_runs
from tests.reference.schedules import REFERENCE, reference_curve
from tests.strategies import JUMPS, first_multiplier

HORIZONS = (1, 2, 3, 7, 10, 64, 101)


def curve(schedule: AbstractSchedule, total_steps: int) -> Tensor:
    return table([schedule], total_steps)[0]


def assert_close(actual: Tensor, expected: list[float], atol: float) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=atol)


def ends_in_square_root(schedule: AbstractSchedule) -> bool:
    if isinstance(schedule, Warmup):
        return ends_in_square_root(schedule.then)
    return isinstance(schedule, WSD) and schedule.shape == "sqrt"


def test_every_schedule_has_an_example_and_a_reference() -> None:
    assert set(EXAMPLES) == set(REFERENCE) == set(SCHEDULES)


@pytest.mark.parametrize("total_steps", HORIZONS)
def test_example_follows_the_reference(example: AbstractSchedule, total_steps: int) -> None:
    if total_steps <= 2 and isinstance(example, Warmup):
        total_steps = 200
    assert_close(curve(example, total_steps), reference_curve(example, total_steps), atol=2e-15)


@given(data=st.data())
def test_any_legal_schedule_follows_the_reference(schedule_class: type[AbstractSchedule], data: st.DataObject) -> None:
    # A jump may fall on either side of a step when a warm-up's fraction ends between two; Step and Staircase after a warm-up
    # that is given in steps have tests of their own.
    continuous = tuple(one for one in SCHEDULES if one not in {Step, *JUMPS})
    schedule, total_steps = data.draw(legal_runs(schedule_class, searched=True, inside=continuous))
    actual = curve(schedule, total_steps)
    expected = torch.tensor(reference_curve(schedule, total_steps), dtype=torch.float64)
    atol = torch.full_like(expected, 1e-12)
    if ends_in_square_root(schedule):
        # 1 - sqrt(x) turns an error of one bit in x into its square root where the cooldown begins.
        atol[expected > 0.99] = 1e-6
    assert ((actual - expected).abs() <= atol).all(), (actual - expected).abs().max()


@pytest.mark.parametrize("warmup_steps", [0, 1, 2, 5, 10])
def test_milestones_after_a_warmup_in_steps_fall_on_the_exact_step(warmup_steps: int) -> None:
    step = Step(milestones=(0.5, 0.75), factor=0.5)
    for rest in range(4, 201, 4):
        multipliers = curve(Warmup(steps=warmup_steps, then=step), warmup_steps + rest)
        after = multipliers[warmup_steps:].tolist()
        assert after == [1.0] * (rest // 2) + [0.5] * (rest // 4) + [0.25] * (rest // 4 + 1), rest


@settings(max_examples=12)
@given(data=st.data())
def test_multipliers_are_finite_and_lie_between_zero_and_one(
    schedule_class: type[AbstractSchedule], data: st.DataObject
) -> None:
    schedule, total_steps = data.draw(legal_runs(schedule_class))
    multipliers = curve(schedule, total_steps)
    assert multipliers.dtype == torch.float64
    assert multipliers.shape == (total_steps + 1,)
    assert multipliers.isfinite().all()
    assert multipliers.min() >= 0.0
    assert multipliers.max() <= 1.0 + 1e-15


@settings(max_examples=12)
@given(data=st.data())
def test_the_first_update_uses_the_full_rate_unless_it_is_warmed_up(
    schedule_class: type[AbstractSchedule], data: st.DataObject
) -> None:
    schedule, total_steps = data.draw(legal_runs(schedule_class))
    expected: object = first_multiplier(schedule)
    if isinstance(schedule, Warmup):
        has_length = bool(schedule.steps or schedule.fraction)
        expected = schedule.start if has_length else curve(schedule.then, total_steps)[0].item()
    elif isinstance(schedule, Scaled):
        expected = schedule.factor
    elif isinstance(schedule, Plateau):
        expected = schedule.damping
    assert curve(schedule, total_steps)[0].item() == expected


@settings(max_examples=12)
@given(data=st.data())
def test_the_last_value_holds_past_the_horizon(schedule_class: type[AbstractSchedule], data: st.DataObject) -> None:
    schedule, total_steps = data.draw(legal_runs(schedule_class))
    last = curve(schedule, total_steps)[-1].item()
    beyond = data.draw(st.integers(total_steps, 10 * total_steps))
    assert schedule.at(beyond, total_steps) == last
    resolved = schedule.resolve(total_steps)
    assert torch.equal(resolved(torch.tensor([1.0, 1.5, math.inf])), resolved(1.0).repeat(3))


@settings(max_examples=8)
@given(data=st.data())
def test_a_batch_equals_a_loop_bit_for_bit(schedule_class: type[AbstractSchedule], data: st.DataObject) -> None:
    runs = data.draw(st.lists(legal_runs(schedule_class), min_size=2, max_size=5))
    schedules, total_steps = [schedule for schedule, _ in runs], max(steps for _, steps in runs)
    assert torch.equal(table(schedules, total_steps), torch.stack([curve(one, total_steps) for one in schedules]))


def test_a_mixed_batch_equals_a_loop_bit_for_bit() -> None:
    schedules = [
        *EXAMPLES.values(),
        *reversed(EXAMPLES.values()),
        DampedCosine(k=0.3),
        WSD(),
        InverseSqrt(fraction=0.1),
    ]
    assert torch.equal(table(schedules, 57), torch.stack([curve(one, 57) for one in schedules]))


def test_a_batch_large_enough_for_many_threads_equals_a_loop_bit_for_bit() -> None:
    schedules = [DampedCosine(k=0.5 + index / 7, exponent=0.3 + index / 5) for index in range(8)]
    assert torch.equal(table(schedules, 10_000), torch.stack([curve(one, 10_000) for one in schedules]))


@settings(max_examples=12)
@given(data=st.data())
def test_at_equals_the_table_bit_for_bit(schedule_class: type[AbstractSchedule], data: st.DataObject) -> None:
    schedule, total_steps = data.draw(legal_runs(schedule_class))
    step = data.draw(st.integers(0, total_steps))
    assert schedule.at(step, total_steps) == curve(schedule, total_steps)[step].item()


@pytest.mark.parametrize(
    "schedule",
    [Polynomial(power=3.19), DampedCosine(k=1.41, exponent=1.6), InverseSqrt(fraction=0.07), WSD(shape="cosine")],
    ids=repr,
)
def test_at_equals_the_table_bit_for_bit_at_every_step(schedule: AbstractSchedule) -> None:
    assert [schedule.at(step, 162) for step in range(163)] == curve(schedule, 162).tolist()


def test_calling_equals_the_table(example: AbstractSchedule) -> None:
    progress = torch.arange(81, dtype=torch.float64) / 80
    called = example.resolve(80)(progress.reshape(9, 9))
    assert called.shape == (9, 9)
    torch.testing.assert_close(called.flatten(), curve(example, 80), rtol=0, atol=1e-15)


def test_progress_is_computed_in_float64_whatever_comes_in(example: AbstractSchedule) -> None:
    resolved = example.resolve(80)
    assert resolved(0.5).dtype == torch.float64
    assert resolved(torch.tensor(0.5, dtype=torch.float32)) == resolved(0.5)
    assert resolved(-0.1) == resolved(0.0)


def test_every_horizon_is_refused_that_is_not_a_whole_number(example: AbstractSchedule) -> None:
    for total_steps in (0, -1, 1.5, True, "10", None):
        message = f"total_steps must be a whole number of at least 1, got {total_steps!r}"
        for attempt in (lambda bad: table([example], bad), lambda bad: example.at(0, bad)):
            with pytest.raises(SpecError) as caught:
                attempt(total_steps)
            assert str(caught.value) == message


def test_table_of_no_schedules_is_empty() -> None:
    assert table([], 5).shape == (0, 6)


def rates(make: Callable[[Optimizer], LRScheduler], total_steps: int) -> list[float]:
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, found = make(optimizer), []
    for _ in range(total_steps + 1):
        found.append(optimizer.param_groups[0]["lr"])  # before step(): the rate that this update uses
        optimizer.step()
        scheduler.step()
    return found


def closed_form(make: Callable[[Optimizer], LRScheduler], total_steps: int) -> list[float]:
    scheduler, found = make(SGD([torch.zeros(1, requires_grad=True)], lr=1.0)), []
    for step in range(total_steps + 1):
        scheduler.last_epoch = step
        found.append(scheduler._get_closed_form_lr()[0])  # type: ignore[attr-defined]
    return found


def test_damped_cosine_without_damping_is_torch_cosine_annealing() -> None:
    expected = rates(lambda optimizer: CosineAnnealingLR(optimizer, T_max=100), 100)
    assert_close(curve(DampedCosine(), 100), expected, atol=1e-15)


def test_damped_cosine_is_the_closed_form_of_cosine_annealing_on_a_long_run() -> None:
    expected = closed_form(lambda optimizer: CosineAnnealingLR(optimizer, T_max=10_000), 10_000)
    assert_close(curve(DampedCosine(), 10_000), expected, atol=1e-15)


@pytest.mark.parametrize("eta_min", [0.0, 0.1])
def test_floor_of_damped_cosine_is_eta_min(eta_min: float) -> None:
    expected = closed_form(lambda optimizer: CosineAnnealingLR(optimizer, T_max=90, eta_min=eta_min), 90)
    assert_close(curve(DampedCosine(floor=eta_min), 90), expected, atol=1e-15)


@pytest.mark.parametrize("k", [0.5, 1.0, 1.5, 3.0])
def test_k_alone_is_k_decay_of_timm(k: float) -> None:
    T = 100
    expected = [0.5 * (1 + math.cos(math.pi * t**k / T**k)) for t in range(T + 1)]
    assert_close(curve(DampedCosine(k=k), T), expected, atol=1e-14)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 4.5])
@pytest.mark.parametrize("alpha", [0.0, 0.2])
def test_exponent_alone_is_cosine_decay_of_optax(exponent: float, alpha: float) -> None:
    T = 100
    cosine = [0.5 * (1 + math.cos(math.pi * t / T)) for t in range(T + 1)]
    expected = [(1 - alpha) * one**exponent + alpha for one in cosine]
    assert_close(curve(DampedCosine(exponent=exponent, floor=alpha), T), expected, atol=1e-15)


def test_tail_degree_of_damped_cosine_is_twice_the_exponent_whatever_k_is() -> None:
    for k, exponent in [(1.0, 1.0), (3.0, 1.0), (0.5, 2.0), (2.0, 0.75)]:
        near, nearer = (DampedCosine(k=k, exponent=exponent)(1 - gap).item() for gap in (2e-4, 1e-4))
        assert math.log2(near / nearer) == pytest.approx(2 * exponent, abs=2e-3)


@pytest.mark.parametrize("milestones", [[30], [30, 80], [1, 2, 3, 99], [7, 58, 100]])
def test_step_is_torch_multi_step(milestones: list[int]) -> None:
    expected = rates(lambda optimizer: MultiStepLR(optimizer, milestones, gamma=0.3), 100)
    schedule = Step(milestones=tuple(one / 100 for one in milestones), factor=0.3)
    assert_close(curve(schedule, 100), expected, atol=1e-15)


def test_step_without_milestones_is_constant() -> None:
    assert torch.equal(curve(Step(milestones=()), 9), curve(Constant(), 9))


@pytest.mark.parametrize("rate", [0.0, 0.5, 5.0, 20.0])
def test_exponential_is_torch_exponential(rate: float) -> None:
    expected = closed_form(lambda optimizer: ExponentialLR(optimizer, gamma=math.exp(-rate / 100)), 100)
    assert_close(curve(Exponential(rate=rate), 100), expected, atol=1e-14)


@pytest.mark.parametrize("floor", [0.0, 0.25])
def test_linear_is_torch_linear(floor: float) -> None:
    expected = closed_form(
        lambda optimizer: LinearLR(optimizer, start_factor=1.0, end_factor=floor, total_iters=100), 100
    )
    assert_close(curve(Linear(floor=floor), 100), expected, atol=1e-15)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.7])
def test_polynomial_is_torch_polynomial(power: float) -> None:
    expected = closed_form(lambda optimizer: PolynomialLR(optimizer, total_iters=100, power=power), 100)
    assert_close(curve(Polynomial(power=power), 100), expected, atol=1e-15)


def test_polynomial_of_power_one_is_linear() -> None:
    assert_close(curve(Polynomial(power=1, floor=0.1), 100), curve(Linear(floor=0.1), 100).tolist(), atol=1e-15)


@pytest.mark.parametrize("warmup_steps", [1, 7, 40])
def test_inverse_sqrt_after_a_warmup_is_that_of_transformers(warmup_steps: int) -> None:
    schedule = Warmup(steps=warmup_steps, then=InverseSqrt(steps=warmup_steps))
    timescale = warmup_steps
    shift = timescale - warmup_steps
    expected = [
        step / max(1, warmup_steps) if step < warmup_steps else 1.0 / math.sqrt((step + shift) / timescale)
        for step in range(201)
    ]
    assert_close(curve(schedule, 200), expected, atol=1e-15)


def test_inverse_sqrt_in_steps_does_not_depend_on_the_horizon() -> None:
    short, long = curve(InverseSqrt(steps=10), 50), curve(InverseSqrt(steps=10), 5000)
    torch.testing.assert_close(short, long[:51], rtol=0, atol=1e-15)
    assert_close(long[[0, 10, 30, 80]], [1.0, 0.5**0.5, 0.5, 1 / 3], atol=1e-15)


THEN = [DampedCosine(floor=0.1), Linear(floor=0.1), Polynomial(floor=0.1), WSD(floor=0.1), WSD(cooldown=1, floor=0.1)]


@pytest.mark.parametrize("then", THEN, ids=repr)
@pytest.mark.parametrize(("steps", "total_steps"), [(500, 10_000), (123, 777), (1, 3), (49, 50)])
def test_warmup_rises_from_start_to_one_and_then_ends_at_its_floor(
    then: AbstractSchedule, steps: int, total_steps: int
) -> None:
    multipliers = curve(Warmup(steps=steps, then=then, start=0.2), total_steps)
    assert multipliers[0].item() == 0.2
    assert multipliers[steps].item() == 1.0
    assert multipliers[-1].item() == 0.1
    line = [0.2 + 0.8 * step / steps for step in range(steps)]
    assert_close(multipliers[:steps], line, atol=1e-15)
    assert_close(
        multipliers[steps:], reference_curve(then, total_steps - steps), atol=1e-6 if "WSD" in repr(then) else 1e-12
    )


def test_warmup_as_a_fraction_equals_warmup_in_steps() -> None:
    in_steps = curve(Warmup(steps=25, then=DampedCosine(exponent=2)), 100)
    assert torch.equal(in_steps, curve(Warmup(fraction=0.25, then=DampedCosine(exponent=2)), 100))


@pytest.mark.parametrize("empty", [Warmup(steps=0, then=WSD(), start=0.5), Warmup(fraction=0, then=WSD(), start=0.5)])
def test_warmup_of_no_length_is_what_follows(empty: Warmup) -> None:
    assert torch.equal(curve(empty, 33), curve(WSD(), 33))


def test_warmup_inside_a_warmup_counts_from_the_end_of_the_outer_one() -> None:
    inner = Warmup(steps=5, then=Linear(), start=0.2)
    multipliers = curve(Warmup(steps=4, then=inner, start=0.5), 19)
    named = {0: 0.5, 2: 0.75, 4: 0.2, 9: 1.0, 14: 0.5, 19: 0.0}
    assert_close(multipliers[list(named)], list(named.values()), atol=1e-15)
    assert_close(multipliers[4:], curve(inner, 15).tolist(), atol=1e-15)


@pytest.mark.parametrize(
    ("shape", "quarter", "third", "half"),
    [("linear", 0.75, 2 / 3, 0.5), ("sqrt", 0.5, 1 - 3**-0.5, 1 - 0.5**0.5), ("cosine", 0.5 + 0.5**1.5, 0.75, 0.5)],
)
def test_wsd_falls_in_the_named_shape(shape: str, quarter: float, third: float, half: float) -> None:
    multipliers = curve(WSD(cooldown=0.5, shape=shape), 24)
    assert multipliers[:13].tolist() == [1.0] * 13
    assert_close(multipliers[[15, 16, 18, 24]], [quarter, third, half, 0.0], atol=1e-15)


@pytest.mark.parametrize("cooldown", [0.1, 0.2, 0.3, 0.7])
def test_wsd_holds_one_to_the_start_of_the_cooldown_and_ends_exactly_at_the_floor(cooldown: float) -> None:
    multipliers = curve(WSD(cooldown=cooldown, shape="linear", floor=0.3), 10)
    flat = round(10 * (1 - cooldown))
    assert_close(multipliers[: flat + 1], [1.0] * (flat + 1), atol=1e-15)
    assert multipliers[flat + 1] < 1.0
    assert multipliers[-1].item() == 0.3


def test_wsd_with_a_cooldown_of_the_whole_run_is_the_shape_itself() -> None:
    assert torch.equal(curve(WSD(cooldown=1, shape="linear"), 64), curve(Linear(), 64))
    assert_close(curve(WSD(cooldown=1, shape="cosine"), 64), curve(DampedCosine(), 64).tolist(), atol=1e-15)


def test_schedule_in_steps_cannot_be_called_before_it_knows_the_horizon() -> None:
    with pytest.raises(SpecError, match="is given in steps: use at"):
        Warmup(steps=3, then=Linear())(0.5)
    with pytest.raises(SpecError, match="is given in steps: use at"):
        InverseSqrt(steps=3)(0.5)

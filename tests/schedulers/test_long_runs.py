"""A run of any length, and one without an end: the same bits as the table, in blocks."""

import pickle
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Optimizer

from adaptive_lr import (
    WSD,
    AbstractSchedule,
    Anchor,
    Constant,
    ControlledLR,
    Cyclic,
    DampedCosine,
    InverseSqrt,
    Linear,
    Plateau,
    Product,
    Restarts,
    ScheduledLR,
    Sequence,
    SpecError,
    Staircase,
    Static,
    Step,
    Warmup,
    from_torch,
    get_inverse_sqrt_schedule,
    table,
)
from adaptive_lr.schedulers.horizon import Horizon
from adaptive_lr.schedulers.tracks import Track
from tests.conftest import EXAMPLES, shortest_run

WARM = Warmup(steps=100, then=DampedCosine())


def sgd(rate: Any = 1.0) -> SGD:
    weights = nn.Parameter(torch.ones(2))
    weights.grad = torch.zeros(2)
    return SGD([weights], lr=rate)


def advance(optimizer: Optimizer, scheduler: ScheduledLR, steps: int = 1) -> float:
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
    return float(optimizer.param_groups[0]["lr"])


def reference(horizon: Horizon) -> torch.Tensor:
    """Progress at every step as one tensor, change by change."""
    u = torch.arange(horizon.total_steps + 1, dtype=torch.float64) / horizon.total_steps
    for step, end, how in horizon.changes:
        later = torch.arange(step + 1, end + 1, dtype=torch.float64)
        if how == "stretch":
            u = torch.cat([u[:step], torch.arange(step, end + 1, dtype=torch.float64) / end])
        elif how == "hold":
            u = torch.cat([u[: step + 1], u[step].expand(end + 1 - len(u)), u[step + 1 :]])
        else:
            rest = u[step] + (1.0 - u[step]) * (later - step) / (end - step)
            rest[-1] = 1.0
            u = torch.cat([u[: step + 1], rest])
    return u


@st.composite
def horizons(draw: st.DrawFn, least: int = 1) -> Horizon:
    horizon = Horizon(draw(st.integers(least, least + 9000)))
    for _ in range(draw(st.integers(0, 3))):
        how = draw(st.sampled_from(["stretch", "hold", "continue"]))
        step = draw(st.integers(0, horizon.end))
        lowest = max(least, step + 1, horizon.end if how == "hold" else 1)
        horizon = horizon.changed(step, draw(st.integers(lowest, lowest + 3000)), how)
    return horizon


@given(horizon=horizons(), start=st.integers(0, 12_000), count=st.integers(1, 200))
def test_progress_of_any_range_is_that_of_the_whole(horizon: Horizon, start: int, count: int) -> None:
    whole = reference(horizon)
    steps = torch.arange(start, start + count).clamp(max=horizon.end)
    assert torch.equal(horizon.progress(start, count), whole[steps])
    assert [horizon.at(int(step)) for step in steps[:5]] == whole[steps[:5]].tolist()


@settings(max_examples=8)
@given(data=st.data())
def test_blocks_hold_the_bits_of_the_table(schedule_class: type[AbstractSchedule], data: st.DataObject) -> None:
    example = EXAMPLES[schedule_class]
    total_steps = data.draw(st.integers(shortest_run(example), 9000 + shortest_run(example)))
    whole = table([example], total_steps)[0]
    horizon = Horizon(total_steps)
    track = Track("lr", example, horizon, horizon.resolved(example))
    for step in data.draw(st.lists(st.integers(0, total_steps + 5000), min_size=1, max_size=4)):
        expected = float(whole[min(step, total_steps)])
        assert track.multiplier(step) == expected
        assert example.at(step, total_steps) == expected
    other = table([Linear(), example, DampedCosine(k=3), example], total_steps)
    assert torch.equal(other[1], whole)
    assert torch.equal(other[3], whole)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("threads", [1, 3])
def test_the_table_depends_on_no_number_of_threads(example: AbstractSchedule, threads: int) -> None:
    before, whole = torch.get_num_threads(), table([example], 70_001)
    torch.set_num_threads(threads)
    try:
        assert torch.equal(table([example], 70_001), whole)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_run_over_several_blocks_follows_the_table(as_tensor: bool) -> None:
    optimizer = sgd(torch.tensor(0.5, dtype=torch.float64) if as_tensor else 0.5)
    scheduler = ScheduledLR(optimizer, WARM, total_steps=9001)
    whole = table([WARM], 9001)[0].tolist()
    for step in range(9020):
        assert float(optimizer.param_groups[0]["lr"]) == 0.5 * whole[min(step, 9001)]
        if step < 9010:
            advance(optimizer, scheduler)
        else:
            break


@pytest.mark.parametrize("total_steps", [10**9, sys.maxsize])
@pytest.mark.parametrize(
    "make", [ScheduledLR, lambda o, s, total_steps: ControlledLR(o, s, Anchor(), total_steps=total_steps)]
)
def test_the_longest_run_takes_no_memory(make: Any, total_steps: int) -> None:
    optimizer = sgd(0.5)
    tracemalloc.start()
    scheduler = make(optimizer, WARM, total_steps=total_steps)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6
    if type(scheduler) is ScheduledLR:
        assert len(pickle.dumps(scheduler)) < 10_000
        assert advance(optimizer, scheduler, 50) == 0.5 * WARM.at(50, total_steps)
        scheduler.last_epoch = total_steps // 2
        assert scheduler.get_lr() == [0.5 * WARM.at(total_steps // 2, total_steps)]


@pytest.mark.parametrize("wrong", [sys.maxsize + 1, 10**30, float("inf"), np.float64(3.0), np.bool_(True)])
def test_a_number_of_steps_that_cannot_be_counted_is_refused(wrong: Any) -> None:
    with pytest.raises(SpecError, match="total_steps must be "):
        ScheduledLR(sgd(), Linear(), total_steps=wrong)


ENDLESS = [
    Constant(),
    Constant(factor=0.5, steps=10),
    Warmup(steps=100, then=InverseSqrt(steps=100)),
    Warmup(steps=7, then=Constant()),
    Staircase(steps=30, factor=0.5),
    Cyclic(up_steps=20, down_steps=10),
    Restarts(then=DampedCosine(), steps=13, decay=0.99),
    Restarts(then=DampedCosine(), steps=13, mult=2),
    Sequence(schedules=(Linear(floor=0.5), Constant()), steps=(50,)),
    Product(schedules=(InverseSqrt(steps=10), Plateau())),
]


@pytest.mark.parametrize("schedule", ENDLESS, ids=repr)
def test_training_without_an_end_is_the_beginning_of_a_long_run(schedule: AbstractSchedule) -> None:
    optimizer = sgd()
    scheduler = ScheduledLR(optimizer, schedule, total_steps=None)
    whole = table([schedule], 50_000)[0].tolist()
    for step in range(600):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(whole[step], abs=1e-6)
        advance(optimizer, scheduler)
    again = sgd()
    resumed = ScheduledLR(again, schedule, total_steps=None)
    resumed.load_state_dict(scheduler.state_dict())
    assert advance(again, resumed, 3) == advance(optimizer, scheduler, 3)


@pytest.mark.parametrize(
    "schedule",
    [
        DampedCosine(),
        WSD(),
        Step(),
        Warmup(fraction=0.1, then=Constant()),
        Warmup(steps=5, then=Linear()),
        InverseSqrt(fraction=0.1),
    ],
    ids=repr,
)
def test_a_schedule_that_ends_needs_a_number_of_steps(schedule: AbstractSchedule) -> None:
    optimizer = sgd()
    with pytest.raises(
        SpecError, match=r"got None: .* needs it; training without an end needs a schedule whose durations"
    ):
        ScheduledLR(optimizer, schedule, total_steps=None)
    assert "initial_lr" not in optimizer.param_groups[0]


def test_a_controller_plans_for_a_number_of_steps() -> None:
    with pytest.raises(SpecError, match="total_steps must be a whole number of at least 1, got None"):
        ControlledLR(sgd(), Constant(), Static(), total_steps=None)  # type: ignore[arg-type]


def test_the_inverse_square_root_of_transformers_needs_no_end() -> None:
    optimizer = sgd()
    scheduler = get_inverse_sqrt_schedule(optimizer, 100)
    assert advance(optimizer, scheduler, 400) == pytest.approx(0.5, abs=1e-9)


def test_very_many_restarts() -> None:
    schedule = from_torch("CosineAnnealingWarmRestarts", T_0=10, total_steps=1_000_000)
    assert schedule.at(123_450, 1_000_000) == pytest.approx(1.0, abs=1e-9)
    assert schedule.at(999_995, 1_000_000) == pytest.approx(0.5, abs=1e-9)
    assert schedule.at(1_000_000, 1_000_000) == pytest.approx(0.0, abs=1e-9)
    few = Restarts(then=DampedCosine(), steps=10).resolve(100_000)
    many = Restarts(then=DampedCosine(), fraction=1e-4, last=1e-4)
    u = torch.arange(100_001, dtype=torch.float64) / 100_000
    assert torch.allclose(few(u), many(u), rtol=0, atol=1e-9)
    with pytest.raises(SpecError, match="makes over 10000 cycles"):
        Restarts(then=DampedCosine(), steps=1, mult=1.0001).resolve(10**9)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    evaluate = Track._evaluate

    def counting(track: Track, step: int) -> None:
        calls.append(step)
        evaluate(track, step)

    monkeypatch.setattr(Track, "_evaluate", counting)
    return calls


@pytest.mark.parametrize(
    "schedule", [Plateau(patience=3, factor=0.5), Product(schedules=(WARM, Plateau(patience=3, factor=0.5)))]
)
def test_a_plateau_that_is_fed_every_step_evaluates_nothing_until_it_falls(schedule: Any, counted: list[int]) -> None:
    optimizer = sgd()
    scheduler = ScheduledLR(optimizer, schedule, total_steps=1_000_000)
    counted.clear()
    for step in range(300):
        optimizer.step()
        scheduler.step(1.0 / (1 + step))
    assert counted == []
    for _ in range(4):
        optimizer.step()
        scheduler.step(1.0)
    assert len(counted) == 1
    factor = WARM.at(304, 1_000_000) if isinstance(schedule, Product) else 1.0
    assert optimizer.param_groups[0]["lr"] == 0.5 * factor


def test_a_metric_leaves_durations_in_steps_as_they_are() -> None:
    schedule = Product(schedules=(Warmup(steps=8, then=Constant()), Plateau()))
    rates = []
    for metric in (None, 1.0):
        optimizer = sgd()
        scheduler = ScheduledLR(optimizer, schedule, total_steps=10)
        optimizer.step()
        scheduler.step(metric)
        scheduler.extend(100, "stretch")
        rates.append(advance(optimizer, scheduler, 3))
    assert rates == [0.5, 0.5]


@pytest.mark.parametrize(
    "make", [ScheduledLR, lambda o, s, total_steps: ControlledLR(o, s, Static(), total_steps=total_steps)]
)
def test_a_refused_extension_leaves_a_state_that_can_be_loaded(make: Any) -> None:
    optimizer = sgd()
    scheduler = make(optimizer, Warmup(steps=50, then=Linear()), total_steps=100)
    before = str(scheduler.state_dict()), scheduler.horizon
    with pytest.raises(SpecError, match=r"Warmup\.steps must be below total_steps=40"):
        scheduler.extend(40)
    assert (str(scheduler.state_dict()), scheduler.horizon) == before
    make(sgd(), Warmup(steps=50, then=Linear()), total_steps=100).load_state_dict(scheduler.state_dict())


def test_numbers_of_numpy_are_numbers() -> None:
    optimizer = sgd(np.float32(0.5))
    steps, exponent, floor = np.int64(4), np.float32(2.0), np.array(0.25)
    schedule = Warmup(steps=steps, then=DampedCosine(exponent=exponent, floor=floor))  # type: ignore[arg-type]
    assert schedule == Warmup(steps=4, then=DampedCosine(exponent=2.0, floor=0.25))
    assert Step(milestones=np.array([0.25, 0.5])) == Step(milestones=(0.25, 0.5))  # type: ignore[arg-type]
    scheduler = ScheduledLR(optimizer, schedule, total_steps=np.int64(10), last_epoch=np.int64(-1))  # type: ignore[arg-type]
    assert advance(optimizer, scheduler, 2) == 0.25
    scheduler.extend(np.int32(20))  # type: ignore[arg-type]
    state = scheduler.state_dict()
    assert all(type(state[name]) is int for name in ("last_epoch", "total_steps"))
    assert all(type(number) in (int, str) for number in state["changes"][0])
    assert schedule.at(np.int64(3), np.int64(10)) == pytest.approx(0.75)  # type: ignore[arg-type]


def test_a_default_device_does_not_matter(example: AbstractSchedule) -> None:
    # https://github.com/pytorch/pytorch/issues/62152
    expected = table([example], 200)[0]
    optimizer = sgd()
    with torch.device("meta"):
        assert table([example], 200).tolist() == [expected.tolist()]
        assert float(example.resolve(200)(0.5)) == pytest.approx(float(expected[100]), abs=1e-12)
        scheduler = ScheduledLR(optimizer, example, total_steps=200)
        assert advance(optimizer, scheduler, 3) == float(expected[3])
        scheduler.load_state_dict(scheduler.state_dict())


def test_multipliers_that_are_no_rates_are_refused() -> None:
    class Wrong(DampedCosine):
        def multiplier(self, u: torch.Tensor) -> torch.Tensor:
            return torch.where(u < 0.5, torch.ones_like(u), torch.nan)

    optimizer = sgd()
    with pytest.raises(SpecError, match="is not finite and >= 0 at step 5"):
        ScheduledLR(optimizer, Wrong(), total_steps=10)
    assert optimizer.param_groups[0]["lr"] == 1.0

import math
from contextlib import nullcontext

import pytest
import torch
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
)

from adaptive_lr import (
    Constant,
    DampedCosine,
    Exponential,
    Linear,
    Plateau,
    Product,
    Restarts,
    Scaled,
    ScheduledLR,
    Sequence,
    SpecError,
    Step,
    Warmup,
    table,
)


def optimizer(rate: float = 1.0) -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)


def driven(made: torch.optim.Optimizer, scheduler: LRScheduler, steps: int) -> list[float]:
    """The rates before each of the first ``steps`` updates."""
    rates = []
    for _ in range(steps):
        rates.append(float(made.param_groups[0]["lr"]))
        made.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(("first", "mult"), [(1, 3), (4, 1), (5, 2), (1, 10)])
def test_restarts_follow_those_of_torch_cycle_by_cycle(first: int, mult: int) -> None:
    steps = 300
    made = optimizer()
    expected = driven(made, CosineAnnealingWarmRestarts(made, T_0=first, T_mult=mult), steps)
    found = table([Restarts(then=DampedCosine(), steps=first, mult=mult)], steps)[0, :steps].tolist()
    # torch keeps T_cur in floating point only where it is told the epoch; step by step it counts, and agrees.
    assert found == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize(("first", "mult", "peak"), [(1, 3, 121), (1, 10, 111), (2, 2, 62), (7, 1, 70)])
def test_every_restart_is_the_peak_exactly(first: int, mult: int, peak: int) -> None:
    schedule = Restarts(then=DampedCosine(), steps=first, mult=mult)
    assert schedule.at(peak, 1000) == 1.0


def test_peaks_decay_and_the_run_ends_at_the_end_of_a_cycle() -> None:
    schedule = Restarts(then=Linear(), steps=10, decay=0.5)
    assert [schedule.at(step, 30) for step in (0, 10, 20, 30)] == [1.0, 0.5, 0.25, 0.0]


def test_cycles_that_do_not_fill_the_run_are_cut_off() -> None:
    schedule = Restarts(then=Linear(), steps=10, mult=2)
    assert schedule.at(30, 50) == 1.0
    assert schedule.at(50, 50) == pytest.approx(0.5, abs=1e-12)


def test_first_cycle_as_a_fraction() -> None:
    a = table([Restarts(then=DampedCosine(), fraction=0.25)], 100)
    b = table([Restarts(then=DampedCosine(), steps=25)], 100)
    assert torch.equal(a, b)


def test_restarts_inside_a_warmup_count_from_its_end() -> None:
    schedule = Warmup(steps=7, then=Restarts(then=DampedCosine(), steps=11, mult=2))
    inner = table([Restarts(then=DampedCosine(), steps=11, mult=2)], 93)[0]
    torch.testing.assert_close(table([schedule], 100)[0, 7:], inner, rtol=0, atol=1e-12)
    assert schedule.at(18, 100) == pytest.approx(1.0, abs=1e-12)


def test_equal_cycles_may_be_any_number_and_growing_ones_are_refused_when_too_many() -> None:
    assert table([Restarts(then=Linear(), steps=1)], 100_000)[0, :100_000].eq(1.0).all()
    with pytest.raises(SpecError, match="over 10000 cycles"):
        table([Restarts(then=Linear(), steps=1, mult=1.00001)], 100_000)


def test_sequence_equals_that_of_torch() -> None:
    made = optimizer()
    parts = [LinearLR(made, start_factor=0.25, total_iters=8), ExponentialLR(made, gamma=0.9)]
    expected = driven(made, SequentialLR(made, parts, milestones=[8]), 30)
    ours = Sequence(
        schedules=(Warmup(steps=8, start=0.25, then=Constant()), Exponential(rate=-22 * math.log(0.9))), steps=(8,)
    )
    # The first part needs a step after its warm-up to be legal on its own, so it is planned one step longer.
    ours = Sequence(schedules=(Warmup(fraction=0.999999, start=0.25, then=Constant()), ours.schedules[1]), steps=(8,))
    assert table([ours], 30)[0, :30].tolist() == pytest.approx(expected, rel=0, abs=1e-6)


def test_nesting_a_sequence_shifts_nothing() -> None:
    flat = Sequence(schedules=(Constant(), Linear(floor=0.5), DampedCosine()), steps=(10, 30))
    nested = Sequence(
        schedules=(Sequence(schedules=(Constant(), Linear(floor=0.5)), steps=(10,)), DampedCosine()), steps=(30,)
    )
    torch.testing.assert_close(table([nested], 50), table([flat], 50), rtol=0, atol=1e-12)


def test_sequence_by_fractions_is_the_one_by_steps() -> None:
    by_steps = Sequence(schedules=(Constant(), Linear()), steps=(30,))
    by_fractions = Sequence(schedules=(Constant(), Linear()), fractions=(0.3,))
    assert torch.equal(table([by_steps], 100), table([by_fractions], 100))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Sequence(schedules=(Linear(), Linear())), "needs 1 boundaries"),
        (lambda: Sequence(schedules=(Linear(),), steps=(3,)), "needs 0 boundaries"),
        (lambda: Sequence(schedules=(Linear(), Linear()), steps=(3,), fractions=(0.5,)), "needs 1 boundaries"),
        (lambda: Sequence(schedules=(Linear(),) * 3, steps=(5, 5)), "must ascend"),
        (lambda: Sequence(schedules=(Linear(),) * 3, fractions=(0.5, 0.25)), "must ascend"),
        (lambda: Sequence(schedules=()), "must be one or more of AbstractSchedule"),
        (lambda: Product(schedules=(Linear(), 3)), "must be one or more of AbstractSchedule"),  # type: ignore[arg-type]
        (lambda: table([Sequence(schedules=(Linear(), Linear()), steps=(9,))], 9), "below total_steps=9"),
        (lambda: Restarts(then=Linear()), "needs exactly one of fraction and steps"),
        (lambda: Restarts(then=Linear(), steps=0), "Restarts.steps must lie in"),
        (lambda: Scaled(then=Linear(), factor=1.5), "Scaled.factor must lie in"),
    ],
)
def test_bad_composition_is_refused_by_name(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(SpecError, match=message):
        make()


def test_product_is_what_chaining_means() -> None:
    made = optimizer()
    parts = [LinearLR(made, start_factor=0.5, total_iters=10), ExponentialLR(made, gamma=0.95)]
    expected = driven(made, ChainedScheduler(parts, optimizer=made), 10)
    ours = Product(
        schedules=(Warmup(fraction=0.999999999, start=0.5, then=Constant()), Exponential(rate=-10 * math.log(0.95)))
    )
    assert table([ours], 10)[0, :10].tolist() == pytest.approx(expected, rel=0, abs=1e-8)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize(("patience", "cooldown"), [(0, 0), (2, 0), (1, 3)])
def test_plateau_is_the_one_of_torch(mode: str, threshold_mode: str, patience: int, cooldown: int) -> None:
    generator = torch.Generator().manual_seed(patience)
    # Above zero, where its relative threshold is that of torch; below it, torch never finds anything worse.
    metrics = (
        2.0 + torch.rand(80, generator=generator).cumsum(0).neg() / 40 + 0.2 * torch.rand(80, generator=generator)
    ).tolist()
    made = optimizer()
    torchs = ReduceLROnPlateau(
        made,
        mode=mode,  # type: ignore[arg-type]
        factor=0.5,
        patience=patience,
        cooldown=cooldown,
        threshold=0.01,
        threshold_mode=threshold_mode,  # type: ignore[arg-type]
        min_lr=0.01,
        eps=0.0,
    )
    ours_optimizer = optimizer()
    ours = ScheduledLR(
        ours_optimizer,
        Plateau(
            mode=mode,
            factor=0.5,
            patience=patience,
            cooldown=cooldown,
            threshold=0.01,
            threshold_mode=threshold_mode,
            floor=0.01,
        ),
        total_steps=80,
    )
    rates = set()
    for metric in metrics:
        ours_optimizer.step()
        torchs.step(metric)
        ours.step(metric)
        rates.add(made.param_groups[0]["lr"])
        assert ours.get_last_lr() == [pytest.approx(made.param_groups[0]["lr"], rel=1e-12)]
    assert len(rates) > 2


@pytest.mark.parametrize("metric", [math.nan, math.inf, -math.inf])
def test_plateau_ignores_metrics_that_are_not_finite(metric: float) -> None:
    schedule = Plateau(patience=0).observed(1.0, 0.0)
    assert schedule.observed(metric, 0.5) == schedule


def test_plateau_inside_a_warmup_and_a_product_is_fed_and_resumed() -> None:
    schedule = Warmup(steps=3, then=Product(schedules=(DampedCosine(), Plateau(patience=1, factor=0.5))))
    made = optimizer()
    scheduler = ScheduledLR(made, schedule, total_steps=20)
    for _ in range(9):
        made.step()
        scheduler.step(1.0)
    plain = Warmup(steps=3, then=DampedCosine()).at(9, 20)
    # Observations from the third step on: one is the best, then every second one without improvement halves the rate.
    assert scheduler.get_last_lr()[0] == pytest.approx(plain * 0.5**3, rel=1e-12)
    again = optimizer()
    resumed = ScheduledLR(again, schedule, total_steps=20)
    resumed.load_state_dict(scheduler.state_dict())
    for _ in range(8):
        for one, its in ((scheduler, made), (resumed, again)):
            its.step()
            one.step(1.0)
        assert resumed.get_last_lr() == scheduler.get_last_lr()


def test_a_metric_can_be_shown_without_a_step() -> None:
    made = optimizer()
    scheduler = ScheduledLR(made, Product(schedules=(Linear(), Plateau(patience=0, factor=0.5))), total_steps=10)
    for _ in range(4):
        made.step()
        scheduler.step()
    for expected in (0.6, 0.3, 0.15):  # the first metric is the best one so far
        scheduler.observe(1.0)
        assert scheduler.get_last_lr() == [pytest.approx(expected, rel=1e-12)]
    made.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [pytest.approx(0.125, rel=1e-12)]
    assert scheduler.last_epoch == 5


def test_metrics_mean_nothing_to_other_schedules_which_say_so_once() -> None:
    made = optimizer()
    scheduler = ScheduledLR(made, DampedCosine(), total_steps=5)
    for step in range(5):
        made.step()
        with (
            pytest.warns(UserWarning, match="no part of the schedule looks at a metric") if step == 0 else nullcontext()
        ):
            scheduler.step(float(step))
    assert scheduler.get_last_lr() == [0.0]


def test_scaled_and_step_in_a_sequence() -> None:
    schedule = Sequence(
        schedules=(Scaled(then=Constant(), factor=0.5), Step(milestones=(0.5,), factor=0.1)), fractions=(0.5,)
    )
    assert [schedule.at(step, 8) for step in range(9)] == pytest.approx([0.5] * 4 + [1.0] * 2 + [0.1] * 3)

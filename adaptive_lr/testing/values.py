"""Checks of the values: which rate an update uses, and where that rate may come from."""

from __future__ import annotations

import math

from torch.optim.lr_scheduler import LRScheduler

from adaptive_lr.testing.case import (
    Case,
    Check,
    build,
    expect,
    expect_same,
    overwrite,
    rates,
    require,
    train,
    uninterrupted,
    update,
)

ROUNDING = 1e-12
"""Relative difference up to which two float64 formulas of the same thing agree."""


def last_rates(scheduler: LRScheduler) -> list[float]:
    """What the scheduler says that the rates are."""
    return [float(rate) for rate in scheduler.get_last_lr()]


def _expect_multiple(case: Case, got: list[float], multiple: float, when: str) -> None:
    for rate, base in zip(got, case.rates, strict=True):
        expect(
            abs(rate - base * multiple) <= ROUNDING * base,
            f"{when}: the rate is {rate:.7g}, {base:.7g} x {multiple:.7g} was promised",
        )


@Check
def check_first_value(case: Case) -> None:
    """The first update uses the promised first value."""
    require(case.first is not None, "no first value is promised")
    _expect_multiple(case, uninterrupted(case)[0], case.first or 0.0, "first update")


@Check
def check_peak(case: Case) -> None:
    """The promised peak is met at the promised update and not exceeded."""
    require(case.peak is not None, "no peak is promised")
    assert case.peak is not None
    at, multiple = case.peak
    values = uninterrupted(case)
    _expect_multiple(case, values[at], multiple, f"update {at}")
    for step, row in enumerate(values):
        highest = max(rate / base for rate, base in zip(row, case.rates, strict=True))
        expect(highest <= multiple + ROUNDING, f"step {step}: {highest:.7g} times the base rate, above the peak")


@Check
def check_last_value(case: Case) -> None:
    """The promised last value is met after the last step."""
    require(case.last is not None, "no last value is promised")
    _expect_multiple(case, uninterrupted(case)[-1], case.last or 0.0, f"after {case.total_steps} steps")


@Check
def check_holds_past_the_horizon(case: Case) -> None:
    """Past the horizon the last value holds; where there is none, rates stay between 0 and the highest one."""
    pair = build(case)
    values = [*train(case, pair, case.total_steps), rates(pair.optimizer)]
    after = []
    for step in range(case.total_steps, 2 * case.total_steps + 3):
        train(case, pair, 1, start=step)
        after.append(rates(pair.optimizer))
    for before, later in zip(zip(*values, strict=True), zip(*after, strict=True), strict=True):
        top, last = max(before), before[-1]
        # The worst comes first: what is told is one thing.
        broken = next((rate for rate in later if not math.isfinite(rate) or rate < 0.0), None)
        expect(broken is None, f"past step {case.total_steps} the rate is {broken}")
        highest, farthest = max(later), max(later, key=lambda rate: abs(rate - last))
        expect(
            highest <= top * (1.0 + ROUNDING),
            f"past step {case.total_steps} the rate reaches {highest:.7g}, it was never above {top:.7g} before",
        )
        expect(
            abs(farthest - last) <= ROUNDING * top or not case.ends,
            f"past step {case.total_steps} the rate goes from {last:.7g} to {farthest:.7g}",
        )


@Check
def check_groups_keep_their_ratio(case: Case) -> None:
    """Parameter groups keep the ratio of their base rates."""
    for step, row in enumerate(uninterrupted(case)):
        ratios = [rate / base for rate, base in zip(row, case.rates, strict=True)]
        expect(
            max(ratios) - min(ratios) <= ROUNDING * max(1.0, *map(abs, ratios)),
            f"step {step}: groups are at {', '.join(f'{ratio:.7g}' for ratio in ratios)} times their base rates",
        )


@Check
def check_last_lr_at_every_step(case: Case) -> None:
    """get_last_lr() is what the optimizer holds, from the construction on."""
    pair = build(case)
    for step in range(case.total_steps + 1):
        if step > 0:
            train(case, pair, 1, start=step - 1)
        reported, held = last_rates(pair.scheduler), rates(pair.optimizer)
        expect(reported == held, f"step {step}: get_last_lr() says {reported}, the optimizer has {held}")


@Check
def check_get_lr_is_pure(case: Case) -> None:
    """get_lr() is a function of last_epoch, so that ignite can drive it: set last_epoch, call get_lr(), never step()."""
    require(case.metric is None, "the schedule is driven by metrics")
    want = uninterrupted(case)
    optimizer, scheduler = build(case)
    got = []
    for step in range(case.total_steps + 1):
        got.append([float(rate) for rate in scheduler.get_lr()])
        for group, rate in zip(optimizer.param_groups, got[-1], strict=True):
            overwrite(group, rate)
        update(optimizer)
        scheduler.last_epoch = step + 1
    expect_same(got, want, "driven like ignite", relative=ROUNDING)
    for step in (case.total_steps // 2, 1, case.total_steps - 1):
        before = rates(optimizer)
        scheduler.last_epoch = step
        for time in ("first", "second"):
            asked = [float(rate) for rate in scheduler.get_lr()]
            expect_same([asked], [want[step]], f"get_lr() asked a {time} time", relative=ROUNDING, start=step)
        expect(rates(optimizer) == before, "get_lr() changes the optimizer")


@Check
def check_manual_change_is_not_kept(case: Case) -> None:
    """A rate written into the optimizer by hand is gone after the next step."""
    require(case.metric is None, "the schedule is driven by metrics")
    want = uninterrupted(case)
    pair = build(case)
    half = case.total_steps // 2
    train(case, pair, half)
    for group, rate in zip(pair.optimizer.param_groups, case.rates, strict=True):
        overwrite(group, 0.375 * rate)
    train(case, pair, 1, start=half)
    got = train(case, pair, case.total_steps - half - 1, start=half + 1)
    expect_same(got, want[half + 1 : -1], f"after a change at step {half}", relative=ROUNDING, start=half + 1)


VALUES = (
    check_first_value,
    check_peak,
    check_last_value,
    check_holds_past_the_horizon,
    check_groups_keep_their_ratio,
    check_last_lr_at_every_step,
    check_get_lr_is_pure,
    check_manual_change_is_not_kept,
)

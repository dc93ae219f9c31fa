"""Checks that a scheduler says what it does with what people write by hand, and what it does when it has ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from adaptive_lr.testing.case import (
    Case,
    Check,
    Pair,
    build,
    expect,
    expect_same,
    number,
    overwrite,
    rates,
    require,
    train,
    uninterrupted,
    warnings_during,
)
from adaptive_lr.testing.resuming import REFUSALS, require_rates_of_the_optimizer, same
from adaptive_lr.testing.values import ROUNDING

SHARE = 0.375


@Check
def check_rate_written_by_hand(case: Case) -> None:
    """A rate that is written into the optimizer by hand scales those after it, or a warning says that it is overwritten.

    A line that sets ``group["lr"]`` and was left in a loop, or a second scheduler on the same optimizer, otherwise changes one
    update or all of them without a word (pytorch/pytorch#29697).
    """
    half = case.total_steps // 2
    want = _damped(uninterrupted(case)[half + 1 : -1])
    pair = build(case)
    train(case, pair, half)
    for group in pair.optimizer.param_groups:
        overwrite(group, SHARE * float(group["lr"]))
    got: list[list[float]] = []
    messages = warnings_during(lambda: got.extend(train(case, pair, case.total_steps - half, start=half)))
    if not messages:
        expect_same(got[1:], want, f"written at step {half}, no warning", relative=ROUNDING, start=half + 1)


@Check
def check_base_rates_set_by_hand(case: Case) -> None:
    """Setting ``base_lrs`` changes the base rates, or it is refused, or a warning says that nothing comes of it.

    It is what people are told to do to lower the rate of a running schedule (pytorch/pytorch#156846).
    """
    half = case.total_steps // 2
    pair = build(case)
    scheduler: Any = pair.scheduler
    require(hasattr(scheduler, "base_lrs"), "it has no base_lrs")
    want = _damped(uninterrupted(case)[half + 1 : -1])
    train(case, pair, half)
    got: list[list[float]] = []

    def change() -> None:
        scheduler.base_lrs = [number(case, SHARE * rate) for rate in case.rates]
        got.extend(train(case, pair, case.total_steps - half, start=half))

    try:
        messages = warnings_during(change)
    except (*REFUSALS, AttributeError):  # a property without a setter refuses with an AttributeError
        return
    if not messages:
        expect_same(got[1:], want, f"set at step {half}, no warning", relative=ROUNDING, start=half + 1)


@Check
def check_second_phase(case: Case) -> None:
    """On an optimizer that had a scheduler, rates set by hand are the new base rates, or a warning says that they are not.

    torch leaves ``initial_lr`` in the groups, and the next scheduler takes it for the base rate
    (pytorch/pytorch#33416, #21965, #78003).
    """
    require_rates_of_the_optimizer(case)
    half = case.total_steps // 2
    pair = build(case)
    train(case, pair, half)
    for group, rate in zip(pair.optimizer.param_groups, case.rates, strict=True):
        group["lr"] = number(case, SHARE * rate)
    got: list[list[float]] = []

    def second() -> None:
        again = Pair(pair.optimizer, case.factory(pair.optimizer))
        got.extend(train(case, again, case.total_steps))

    if not warnings_during(second):
        expect_same(got, _damped(uninterrupted(case)[:-1]), "a second scheduler, no warning", relative=ROUNDING)


def _damped(rows: list[list[float]]) -> list[list[float]]:
    return [[SHARE * rate for rate in row] for row in rows]


PAST_THE_END = 24
"""Updates after the last one: a few are made by loops that round up, so a warning may come late."""


@Check
def check_told_past_the_end(case: Case) -> None:
    """Far past the horizon, at rates of 0, one warning says that nothing is learned any more, and not one at every step."""
    require(case.ends and not any(uninterrupted(case)[-1]), "it does not end at a rate of 0")
    pair = build(case)
    train(case, pair, case.total_steps)
    messages = warnings_during(lambda: train(case, pair, PAST_THE_END, start=case.total_steps))
    expect(bool(messages), f"{PAST_THE_END} updates at a rate of 0, and no warning")
    expect(len(messages) == 1, f"{PAST_THE_END} updates at a rate of 0, and {len(messages)} warnings")


@Check
def check_refused_call(case: Case) -> None:
    """A call that is refused leaves the rates, the state and what follows as they were.

    An extension that was noted before it was found impossible makes a checkpoint that never loads again.
    """
    require(bool(case.refused), "no call is given that it refuses")
    half = case.total_steps // 2
    want = uninterrupted(case)[half:-1]
    for index, call in enumerate(case.refused):
        pair, untouched = build(case), build(case)
        train(case, pair, half)
        train(case, untouched, half)
        try:
            call(pair.scheduler)
        except REFUSALS:
            pass
        else:
            expect(False, f"call {index} is accepted")
        expect(rates(pair.optimizer) == rates(untouched.optimizer), f"call {index} is refused, and the rates change")
        unchanged = same(pair.scheduler.state_dict(), untouched.scheduler.state_dict())
        expect(unchanged, f"call {index} is refused, and the state changes")
        got = train(case, pair, case.total_steps - half, start=half)
        expect_same(got, want, f"after the refused call {index}", start=half)


METRICS: dict[str, Callable[[int], float]] = {
    "a flat metric": lambda step: 100.0,
    "a falling metric": lambda step: 1000.0 - 50.0 * step,
    "a rising metric": lambda step: 100.0 + 50.0 * step,
}


def _changed(metric: Callable[[int], float], factor: float, shift: float) -> Callable[[int], float]:
    return lambda step: factor * metric(step) + shift


@Check
def check_negative_metric(case: Case) -> None:
    """A metric m and m - 1000 give the same rates, whether it stands still, falls or rises.

    Log-likelihoods and rewards are negative; a relative threshold times a negative best is a margin of the wrong sign
    (pytorch/pytorch#38622, #47513).
    """
    require(case.metric is not None, "the schedule is not driven by metrics")
    for name, metric in METRICS.items():
        want, got = (uninterrupted(replace(case, metric=_changed(metric, 1.0, shift))) for shift in (0.0, -1000.0))
        expect_same(got, want, f"{name} below zero")


@Check
def check_maximized_metric(case: Case) -> None:
    """For a metric of which more is better, m gives the rates that -m gives for one of which less is better."""
    require(case.metric is not None and case.maximizing is not None, "it has no metric of which more is better")
    assert case.maximizing is not None
    for name, metric in METRICS.items():
        want = uninterrupted(replace(case, metric=_changed(metric, -1.0, 0.0)))
        got = uninterrupted(replace(case, factory=case.maximizing, metric=metric))
        expect_same(got, want, f"{name}, maximized")


TELLING = (
    check_rate_written_by_hand,
    check_base_rates_set_by_hand,
    check_second_phase,
    check_told_past_the_end,
    check_refused_call,
    check_negative_metric,
    check_maximized_metric,
)

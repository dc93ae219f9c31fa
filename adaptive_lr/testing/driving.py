"""Checks of what else drives a scheduler: torch's composers, trainers, and loops that skip or extend."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ChainedScheduler, ConstantLR, LRScheduler, SequentialLR

from adaptive_lr.testing.case import (
    Case,
    Check,
    Pair,
    advance,
    build,
    expect,
    expect_same,
    new_optimizer,
    rates,
    require,
    stops,
    train,
    uninterrupted,
    update,
)
from adaptive_lr.testing.values import ROUNDING


def _neutral(optimizer: Optimizer) -> LRScheduler:
    """A scheduler that leaves every rate as it is."""
    return ConstantLR(optimizer, factor=1.0, total_iters=0)


@Check
def check_inside_sequential(case: Case) -> None:
    """Inside SequentialLR, alone or after another one, it gives its own values, and the other keeps its own."""
    require(case.metric is None, "SequentialLR passes no metrics on")
    want = uninterrupted(case)
    optimizer = new_optimizer(case)
    alone = Pair(optimizer, SequentialLR(optimizer, [case.factory(optimizer)], []))
    expect_same(train(case, alone, case.total_steps), want[:-1], "SequentialLR([it])", relative=ROUNDING)

    optimizer = new_optimizer(case)
    schedulers = [_neutral(optimizer), case.factory(optimizer)]
    second = Pair(optimizer, SequentialLR(optimizer, schedulers, [3]))
    got = train(case, second, case.total_steps + 3)
    name = "SequentialLR([constant, it], [3])"
    expect_same(got[3:], want[:-1], name, relative=ROUNDING, start=3)
    expect_same(got[:3], [list(case.rates)] * 3, f"{name}, what the constant one gives", relative=ROUNDING)


@Check
def check_inside_chained(case: Case) -> None:
    """Inside ChainedScheduler, before or after a scheduler that does nothing, it gives its own values."""
    require(case.metric is None, "ChainedScheduler passes no metrics on")
    want = uninterrupted(case)
    orders: dict[str, Callable[[Optimizer], list[LRScheduler]]] = {
        "ChainedScheduler([it, constant])": lambda optimizer: [case.factory(optimizer), _neutral(optimizer)],
        "ChainedScheduler([constant, it])": lambda optimizer: [_neutral(optimizer), case.factory(optimizer)],
    }
    for name, make in orders.items():
        optimizer = new_optimizer(case)
        chained = Pair(optimizer, ChainedScheduler(make(optimizer), optimizer))
        expect_same(train(case, chained, case.total_steps), want[:-1], name, relative=ROUNDING)


@Check
def check_wrapped_step(case: Case) -> None:
    """optimizer.step may have been replaced by a plain function before, as torch.compile does, and that one is called."""
    optimizer = new_optimizer(case)
    original, calls = optimizer.step, 0

    def wrapped(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return original(*arguments)

    optimizer.step = wrapped  # type: ignore[assignment]
    pair = Pair(optimizer, case.factory(optimizer))
    expect_same(train(case, pair, case.total_steps), uninterrupted(case)[:-1], "with a wrapped step")
    expect(calls == case.total_steps, f"the wrapper was called {calls} times in {case.total_steps} updates")


def _expect_silent(caught: list[warnings.WarningMessage], when: str) -> None:
    if caught:
        expect(False, f"{when}: {' '.join(str(caught[0].message).split())[:120]}")


@Check
def check_no_false_warnings(case: Case) -> None:
    """No warning in a correct loop, nor when the first update is skipped, as GradScaler does, and step() with it."""
    for skipped in (0, 1):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pair = build(case)
            for _ in range(skipped):
                pair.optimizer.zero_grad()
            got = train(case, pair, case.total_steps)
        _expect_silent(caught, "first update skipped" if skipped else "correct loop")
        expect_same(got, uninterrupted(case)[:-1], "first update skipped" if skipped else "correct loop")


@Check
def check_no_false_warnings_after_resuming(case: Case) -> None:
    """No warning when a state is loaded and training goes on."""
    for stop in stops(case):
        pair = build(case)
        train(case, pair, stop)
        fresh = build(case)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fresh.optimizer.load_state_dict(copy.deepcopy(pair.optimizer.state_dict()))
            fresh.scheduler.load_state_dict(copy.deepcopy(pair.scheduler.state_dict()))
            train(case, fresh, case.total_steps - stop, start=stop)
        _expect_silent(caught, f"resumed at step {stop}")


@Check
def check_driven_like_accelerate(case: Case) -> None:
    """Driven like Accelerate on two processes with gradient accumulation, it advances two steps an update to the end.

    One that wants more than ``step()`` sees the updates themselves, so that it advances one.
    """
    require(case.metric is None or case.step is not None, "the schedule is driven by metrics")
    pace = 2 if case.step is None else 1
    want = uninterrupted(case)
    optimizer, scheduler = build(case)
    frozen = hasattr(scheduler, "total_steps")
    got = []
    for at in range(case.total_steps // pace):
        got.append(rates(optimizer))
        scheduler._step_count += 1  # what Accelerate does for a batch that only accumulates
        update(optimizer)
        for _ in range(2):
            # Accelerate's rule for OneCycleLR, which it applies to whatever has an attribute of this name.
            limit = getattr(scheduler, "total_steps", math.inf)
            if scheduler._step_count <= (math.inf if limit is None else limit):
                advance(case, scheduler, at)
    why = (
        "frozen because of its attribute total_steps"
        if frozen
        else f"{'two steps' if pace == 2 else 'one step'} an update"
    )
    expect_same(got, want[: pace * len(got) : pace], why, relative=ROUNDING)
    expect(not frozen, "it has an attribute total_steps, and Accelerate stops stepping it at that count")


@Check
def check_driven_like_lightning(case: Case) -> None:
    """Lightning takes it: an LRScheduler with a bare step(), and with step(metrics) where it takes metrics."""
    pair = build(case)
    expect(isinstance(pair.scheduler, LRScheduler), f"{type(pair.scheduler).__name__} is not an LRScheduler")
    if case.metric is None:
        update(pair.optimizer)
        pair.scheduler.step()
    if case.takes_metrics or case.metric is not None:
        step: Any = pair.scheduler.step
        for metric in (1.0, math.nan, 0.5):
            step(metric)
            step(metrics=metric)
        expect(all(map(math.isfinite, rates(pair.optimizer))), f"rates {rates(pair.optimizer)} after a metric of nan")


DRIVING = (
    check_inside_sequential,
    check_inside_chained,
    check_wrapped_step,
    check_no_false_warnings,
    check_no_false_warnings_after_resuming,
    check_driven_like_accelerate,
    check_driven_like_lightning,
)

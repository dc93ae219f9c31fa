"""Checks of where numbers come from and what a long run costs."""

from __future__ import annotations

import io
import math
import pickle
import time
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler

from adaptive_lr.testing.case import (
    Case,
    Check,
    Pair,
    advance,
    expect,
    expect_same,
    load,
    new_optimizer,
    new_parameter,
    require,
    require_holds,
    train,
    uninterrupted,
    update,
)
from adaptive_lr.testing.state import check_state_is_plain_data
from adaptive_lr.testing.tensors import FLOAT32

SHORT, LONG = 10**3, 10**7
"""Horizons, in steps, between which the cost may not grow."""

MEBIBYTE = 2**20


@Check
def check_numpy_rates(case: Case) -> None:
    """Base rates that are NumPy numbers are used like floats, and the state still loads with weights_only.

    Rates come from ``np.geomspace`` and from tables.
    """
    plain = replace(case, as_tensor=False)
    require_holds(check_state_is_plain_data, plain)
    want = uninterrupted(plain)
    for kind in (np.float32, np.float64):
        optimizer = case.optimizer([{"params": [new_parameter()], "lr": kind(rate)} for rate in case.rates])
        pair = Pair(optimizer, case.factory(optimizer))
        got = train(plain, pair, case.total_steps)
        expect_same(got, want[:-1], f"rates that are {kind.__name__}", relative=FLOAT32)
        _expect_loadable(pair.scheduler, f"rates that are {kind.__name__}")


@Check
def check_numpy_arguments(case: Case) -> None:
    """Arguments that are NumPy numbers are used like Python's, and the state still loads with weights_only."""
    require(case.numpy is not None, "no arguments that are NumPy numbers are given")
    assert case.numpy is not None
    require_holds(check_state_is_plain_data, case)
    want = uninterrupted(case)
    optimizer = new_optimizer(case)
    pair = Pair(optimizer, case.numpy(optimizer))
    expect_same(train(case, pair, case.total_steps), want[:-1], "NumPy arguments")
    _expect_loadable(pair.scheduler, "NumPy arguments")


def _expect_loadable(scheduler: LRScheduler, when: str) -> None:
    buffer = io.BytesIO()
    torch.save(scheduler.state_dict(), buffer)
    buffer.seek(0)
    try:
        torch.load(buffer, weights_only=True)
    except pickle.UnpicklingError as error:
        raise AssertionError(f"{when}: the state does not load with weights_only") from error


@Check
def check_default_device(case: Case) -> None:
    """Under another default device it is built, steps, saves and loads as without one.

    ``torch.set_default_device`` is how scripts move to an accelerator (huggingface/accelerate#1627, pytorch/pytorch#62152).
    A scheduler has nothing to compute there; ``meta`` stands in for every device.
    """
    plain = replace(case, as_tensor=False)
    want = uninterrupted(plain)
    half = case.total_steps // 2
    optimizer, later = new_optimizer(plain), new_optimizer(plain)
    with torch.device("meta"):
        pair = Pair(optimizer, case.factory(optimizer))
        got = train(plain, pair, half)
        resumed = Pair(later, case.factory(later))
        load(resumed, pair)
        got += train(plain, resumed, case.total_steps - half, start=half)
    expect_same(got, want[:-1], "under another default device")


@Check
def check_cost_of_a_step(case: Case) -> None:
    """A step of a run of ten million costs about what one of a thousand does.

    Measured as the least of many steps, which other work on the machine cannot make longer; a tenfold cost is one that grows.
    """
    require(case.with_horizon is not None, "it cannot be built for another horizon")
    short, long = _Steps(case, SHORT), _Steps(case, LONG)
    deadline = time.perf_counter() + 1.0
    for turn in range(60):
        short.measure()
        long.measure()
        if time.perf_counter() > deadline and turn >= 2:
            break
    ratio = long.least / short.least
    expect(ratio <= 10.0, f"a step of {LONG:.0e} steps takes over 10 times as long as one of {SHORT:.0e}")


class _Steps:
    """Steps of one scheduler, and the least seconds that one took."""

    def __init__(self, case: Case, total_steps: int) -> None:
        assert case.with_horizon is not None
        self.case, self.at, self.least = case, 0, math.inf
        self.optimizer = new_optimizer(case)
        self.scheduler = case.with_horizon(self.optimizer, total_steps)

    def measure(self) -> None:
        update(self.optimizer)
        start = time.perf_counter()
        advance(self.case, self.scheduler, self.at)
        self.least = min(self.least, time.perf_counter() - start)
        self.at += 1


@Check
def check_memory_of_a_long_run(case: Case) -> None:
    """Built for ten million steps it takes about the memory, and makes the checkpoints, of one for a thousand.

    A table with a number for every step takes 80 MB or more of each, in every copy (mittagessen/kraken#792, chemprop#968 run
    with a horizon that is only a bound).
    """
    require(case.with_horizon is not None, "it cannot be built for another horizon")
    (least, small), (most, large) = _memory(case, SHORT), _memory(case, LONG)
    expect(most - least <= MEBIBYTE, f"{LONG:.0e} steps take {(most - least) / MEBIBYTE:.0f} MiB more than {SHORT:.0e}")
    expect(
        large - small <= MEBIBYTE // 16, f"a checkpoint of {LONG:.0e} steps has {large} bytes, of {SHORT:.0e} {small}"
    )


def _memory(case: Case, total_steps: int) -> tuple[int, int]:
    """The most bytes that were held while a scheduler was built and stepped once, and those of its state."""
    assert case.with_horizon is not None
    optimizer = new_optimizer(case)
    tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        scheduler = case.with_horizon(optimizer, total_steps)
        update(optimizer)
        advance(case, scheduler, 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if not tracing:
            tracemalloc.stop()
    state: dict[str, Any] = scheduler.state_dict()
    return peak - before, len(pickle.dumps(state))


COSTS = (
    check_numpy_rates,
    check_numpy_arguments,
    check_default_device,
    check_cost_of_a_step,
    check_memory_of_a_long_run,
)

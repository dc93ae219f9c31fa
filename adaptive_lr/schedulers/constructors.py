"""Schedulers in one line, called as those of transformers are."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
from torch.optim import Optimizer

from adaptive_lr.errors import SpecError
from adaptive_lr.schedulers.scheduled_lr import ScheduledLR
from adaptive_lr.schedules import (
    WSD,
    AbstractSchedule,
    Constant,
    DampedCosine,
    InverseSqrt,
    Linear,
    Polynomial,
    Restarts,
    Warmup,
)
from adaptive_lr.schedules.base import checked_steps


def get_constant_schedule_with_warmup(
    optimizer: Optimizer, num_warmup_steps: int, *, last_epoch: int = -1
) -> ScheduledLR:
    """m(t) = min(1, t / W), with W = num_warmup_steps.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> get_constant_schedule_with_warmup(optimizer, 2).schedule
    Warmup(then=Constant(), steps=2)
    """
    # Past the horizon the last value, 1, holds.
    return _scheduled(optimizer, Constant(), num_warmup_steps, num_warmup_steps + 1, last_epoch)


def get_linear_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    *,
    min_lr_ratio: float = 0.0,
    last_epoch: int = -1,
) -> ScheduledLR:
    """m(t) = t / W for t < W, then r + (1 - r)(1 - u) with u = (t - W) / (N - W), r = min_lr_ratio.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> get_linear_schedule_with_warmup(optimizer, 10, 100).schedule
    Warmup(then=Linear(), steps=10)
    """
    return _scheduled(optimizer, Linear(floor=min_lr_ratio), num_warmup_steps, num_training_steps, last_epoch)


def get_cosine_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    *,
    min_lr_ratio: float = 0.0,
    last_epoch: int = -1,
) -> ScheduledLR:
    """m(t) = t / W for t < W, then r + (1 - r)(1 + cos(pi u))/2 with u = (t - W) / (N - W), r = min_lr_ratio.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> get_cosine_schedule_with_warmup(optimizer, 10, 100, min_lr_ratio=0.1).schedule
    Warmup(then=DampedCosine(floor=0.1), steps=10)
    """
    return _scheduled(optimizer, DampedCosine(floor=min_lr_ratio), num_warmup_steps, num_training_steps, last_epoch)


def get_damped_cosine_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    *,
    k: float = 1.0,
    exponent: float = 1.0,
    min_lr_ratio: float = 0.0,
    last_epoch: int = -1,
) -> ScheduledLR:
    """m(t) = t / W for t < W, then r + (1 - r) [(1 + cos(pi u^k))/2]^exponent with u = (t - W) / (N - W), r = min_lr_ratio.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> get_damped_cosine_schedule_with_warmup(optimizer, 0, 100, exponent=2).schedule
    DampedCosine(exponent=2)
    """
    then = DampedCosine(k=k, exponent=exponent, floor=min_lr_ratio)
    return _scheduled(optimizer, then, num_warmup_steps, num_training_steps, last_epoch)


def get_polynomial_decay_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    *,
    power: float = 1.0,
    min_lr_ratio: float = 0.0,
    last_epoch: int = -1,
) -> ScheduledLR:
    """m(t) = t / W for t < W, then r + (1 - r)(1 - u)^power with u = (t - W) / (N - W), r = min_lr_ratio.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> get_polynomial_decay_schedule_with_warmup(optimizer, 10, 100, power=3).schedule
    Warmup(then=Polynomial(power=3), steps=10)
    """
    then = Polynomial(power=power, floor=min_lr_ratio)
    return _scheduled(optimizer, then, num_warmup_steps, num_training_steps, last_epoch)


def get_inverse_sqrt_schedule(
    optimizer: Optimizer,
    num_warmup_steps: int,
    *,
    num_training_steps: int | None = None,
    timescale: int | None = None,
    last_epoch: int = -1,
) -> ScheduledLR:
    """m(t) = t / W for t < W, then (1 + (t - W) / timescale)^(-1/2), until t = N; there it holds.

    ``timescale`` is W if not given, and 10 000 without a warm-up. ``num_training_steps``, which transformers' function has not, is
    by name only, because there the third argument is the time scale; without it training has no end.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> get_inverse_sqrt_schedule(optimizer, 10, num_training_steps=100).schedule
    Warmup(then=InverseSqrt(steps=10), steps=10)
    """
    then = InverseSqrt(steps=timescale if timescale is not None else num_warmup_steps or 10_000)
    return _scheduled(optimizer, then, num_warmup_steps, num_training_steps, last_epoch)


def get_wsd_schedule(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    *,
    cooldown: float = 0.2,
    shape: str = "sqrt",
    min_lr_ratio: float = 0.0,
    last_epoch: int = -1,
) -> ScheduledLR:
    """m(t) = t / W for t < W, 1 until u = 1 - cooldown, then r + (1 - r) c(x), with u = (t - W) / (N - W), r = min_lr_ratio.

    c(x) is 1 - sqrt(x) (``sqrt``), 1 - x (``linear``), (1 + cos(pi x))/2 (``cosine``) or r^x (``exponential``) with
    x = (u - 1 + cooldown) / cooldown, see `WSD`. The cooldown is a fraction of the steps after the warm-up, where transformers'
    function has a third argument ``num_decay_steps``.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> get_wsd_schedule(optimizer, 10, 100, cooldown=0.1).schedule
    Warmup(then=WSD(cooldown=0.1), steps=10)
    """
    then = WSD(cooldown=cooldown, shape=shape, floor=min_lr_ratio)
    return _scheduled(optimizer, then, num_warmup_steps, num_training_steps, last_epoch)


def get_cosine_restarts_schedule_with_warmup(
    optimizer: Optimizer,
    num_warmup_steps: int,
    num_training_steps: int,
    *,
    num_cycles: int = 1,
    cycle_mult: float = 1.0,
    cycle_decay: float = 1.0,
    min_lr_ratio: float = 0.0,
    last_epoch: int = -1,
) -> ScheduledLR:
    """m(t) = t / W for t < W, then cycle_decay^i (r + (1 - r)(1 + cos(pi x))/2) at x of the way through cycle i.

    The N - W steps after the warm-up are divided into ``num_cycles`` cycles, each ``cycle_mult`` times as long as the one before;
    boundaries are rounded to whole steps, so that each cycle begins at its peak. The last cycle ends where training does.

    Raises:
        SpecError: a number is not allowed, or there are more cycles than steps for them.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> scheduler = get_cosine_restarts_schedule_with_warmup(optimizer, 0, 30, num_cycles=2, cycle_mult=2)
    >>> [round(scheduler.schedule.at(step, 30), 12) for step in (0, 5, 10, 20, 30)]
    [1.0, 0.5, 1.0, 0.5, 0.0]
    """
    if isinstance(num_cycles, bool) or not isinstance(num_cycles, int | np.integer) or not 1 <= num_cycles <= 10_000:
        raise SpecError(f"num_cycles must be a whole number in [1, 10000], got {num_cycles!r}")
    remaining = checked_steps(num_training_steps) - num_warmup_steps
    if num_cycles > max(1, remaining):
        raise SpecError(f"num_cycles must be at most the {remaining} steps after the warm-up, got {num_cycles!r}")
    # Checks cycle_mult and cycle_decay.
    cycle = Restarts(then=DampedCosine(floor=min_lr_ratio), fraction=1.0, mult=cycle_mult, decay=cycle_decay)
    starts_of = [0.0, *accumulate(cycle.mult**index for index in range(num_cycles))]
    edges = [round(remaining * start / starts_of[-1]) for start in starts_of[:-1]] + [remaining]
    if any(a >= b for a, b in pairwise(edges)) and num_cycles > 1:
        raise SpecError(
            f"num_cycles={num_cycles} with cycle_mult={cycle_mult:g} leaves no step of {remaining} for some cycle"
        )
    then: AbstractSchedule = cycle.then
    if num_cycles > 1:
        starts, last = tuple(edge / remaining for edge in edges[:-1]), (remaining - edges[-2]) / remaining
        then = Restarts(then=cycle.then, starts=starts, last=last, decay=cycle_decay)
    return _scheduled(optimizer, then, num_warmup_steps, num_training_steps, last_epoch)


def _scheduled(
    optimizer: Optimizer, then: AbstractSchedule, num_warmup_steps: int, num_training_steps: int | None, last_epoch: int
) -> ScheduledLR:
    schedule = then if num_warmup_steps == 0 else Warmup(steps=num_warmup_steps, then=then)
    return ScheduledLR(optimizer, schedule, total_steps=num_training_steps, last_epoch=last_epoch)

"""What timm's schedulers are here. Each function has the arguments of the class it translates, under the same names."""

from __future__ import annotations

import math
from typing import Any

from adaptive_lr.schedules import (
    AbstractSchedule,
    Constant,
    DampedCosine,
    Plateau,
    Polynomial,
    Restarts,
    Scaled,
    Sequence,
    Staircase,
    Tanh,
)
from adaptive_lr.translate.parts import Part, held, joined, lengths, overlaid, ramp, stairs, warmed
from adaptive_lr.translate.run import Library, Run, is_whole, plateau


def cosine(
    run: Run,
    *,
    t_initial: Any,
    lr_min: Any = 0.0,
    cycle_mul: Any = 1.0,
    cycle_decay: Any = 1.0,
    cycle_limit: Any = 1,
    warmup_t: Any = 0,
    warmup_lr_init: Any = 0.0,
    warmup_prefix: Any = False,
    k_decay: Any = 1.0,
) -> AbstractSchedule:
    """lr_min + (peak - lr_min)(1 + cos(pi (t/t_i)^k))/2 in cycle i."""
    floor, k = run.level("lr_min", lr_min), run.number("k_decay", k_decay, "(0, 64]")
    cycles = _cycles(run, t_initial, cycle_mul, cycle_decay, cycle_limit)
    parts = [(scaled(DampedCosine(k=k, floor=_share(run, floor, peak)), peak), length) for peak, length in cycles]
    return _warmed(run, _merged(parts, k=k), floor, (warmup_t, warmup_lr_init, warmup_prefix))


def poly(
    run: Run,
    *,
    t_initial: Any,
    power: Any = 0.5,
    lr_min: Any = 0.0,
    cycle_mul: Any = 1.0,
    cycle_decay: Any = 1.0,
    cycle_limit: Any = 1,
    warmup_t: Any = 0,
    warmup_lr_init: Any = 0.0,
    warmup_prefix: Any = False,
    k_decay: Any = 1.0,
) -> AbstractSchedule:
    """lr_min + (peak - lr_min)(1 - (t/t_i)^k)^power in cycle i."""
    floor, k = run.level("lr_min", lr_min), run.number("k_decay", k_decay, "(0, 64]")
    degree = run.number("power", power, "(0, 64]")
    cycles = _cycles(run, t_initial, cycle_mul, cycle_decay, cycle_limit)
    parts = [
        (scaled(Polynomial(power=degree, k=k, floor=_share(run, floor, peak)), peak), length) for peak, length in cycles
    ]
    return _warmed(run, _merged(parts, k=k), floor, (warmup_t, warmup_lr_init, warmup_prefix))


def tanh(
    run: Run,
    *,
    t_initial: Any,
    lb: Any = -7.0,
    ub: Any = 3.0,
    lr_min: Any = 0.0,
    cycle_mul: Any = 1.0,
    cycle_decay: Any = 1.0,
    cycle_limit: Any = 1,
    warmup_t: Any = 0,
    warmup_lr_init: Any = 0.0,
    warmup_prefix: Any = False,
) -> AbstractSchedule:
    """From the peak to lr_min like a hyperbolic tangent from lb to ub in every cycle; neither end is met exactly."""
    floor = run.level("lr_min", lr_min)
    low, high = run.number("lb", lb, "[-20, 0]"), run.number("ub", ub, "(0, 20]")
    parts: list[Part] = []
    for peak, length in _cycles(run, t_initial, cycle_mul, cycle_decay, cycle_limit):
        _share(run, floor, peak)
        first, last = (floor + 0.5 * (peak - floor) * (1.0 - math.tanh(angle)) for angle in (low, high))
        parts.append((Scaled(then=Tanh(low=low, high=high, floor=last / first), factor=first), length))
    # Without a prefix timm warms up to where the decay is by then, not to the peak.
    return _warmed(run, _merged(parts), floor, (warmup_t, warmup_lr_init, warmup_prefix), meets=True)


def step(
    run: Run,
    *,
    decay_t: Any,
    decay_rate: Any = 1.0,
    warmup_t: Any = 0,
    warmup_lr_init: Any = 0.0,
    warmup_prefix: Any = True,
) -> AbstractSchedule:
    """decay_rate^floor(t / decay_t)."""
    length, factor = run.number("decay_t", decay_t, "(0, inf)"), run.number("decay_rate", decay_rate, "(0, 1]")
    remaining = _steps_after_warmup(run, warmup_t, warmup_prefix)
    stair = (
        Staircase(steps=int(length), factor=factor)
        if is_whole(length)
        else Staircase(fraction=length / remaining, factor=factor)
    )
    return _warmed(run, [(stair, remaining)], 1.0, (warmup_t, warmup_lr_init, warmup_prefix))


def multi_step(
    run: Run,
    *,
    decay_t: Any,
    decay_rate: Any = 1.0,
    warmup_t: Any = 0,
    warmup_lr_init: Any = 0.0,
    warmup_prefix: Any = True,
) -> AbstractSchedule:
    """decay_rate^(number of decay_t <= t + 1): one step earlier than PyTorch's."""
    remaining = _steps_after_warmup(run, warmup_t, warmup_prefix)
    milestones = [milestone - 1 for milestone in lengths(run, "decay_t", decay_t)]
    fall = stairs(milestones, run.number("decay_rate", decay_rate, "(0, 1]"), remaining)
    return _warmed(run, [(fall, remaining)], 1.0, (warmup_t, warmup_lr_init, warmup_prefix))


def on_plateau(
    run: Run,
    *,
    decay_rate: Any = 0.1,
    patience_t: Any = 10,
    threshold: Any = 1e-4,
    cooldown_t: Any = 0,
    warmup_t: Any = 0,
    warmup_lr_init: Any = 0.0,
    lr_min: Any = 0.0,
    mode: Any = "max",
) -> AbstractSchedule:
    """decay_rate^(times the metric stayed without improvement); metrics count after step warmup_t."""
    rule = {"mode": mode, "factor": decay_rate, "patience": patience_t, "threshold": threshold, "cooldown": cooldown_t}
    reactive: Plateau = plateau(run, min_lr=lr_min, threshold_mode="rel", **rule)
    steps, start = run.integer("warmup_t", warmup_t), run.level("warmup_lr_init", warmup_lr_init)
    total = run.total_steps
    if steps == 0:
        # timm's step(0) is warm-up as well: its metric is not looked at.
        return reactive
    if steps + 1 >= total:
        return joined([(ramp(start, steps, steps), steps)], total, Constant())
    return Sequence(schedules=(ramp(start, steps, steps), Constant(), reactive), steps=(steps, steps + 1))


def _cycles(run: Run, t_initial: Any, cycle_mul: Any, cycle_decay: Any, cycle_limit: Any) -> list[tuple[float, float]]:
    """Peak and length of every cycle that begins within the run."""
    length, limit = run.number("t_initial", t_initial, "[1, inf)"), run.integer("cycle_limit", cycle_limit, 1)
    mult, decay = run.number("cycle_mul", cycle_mul, "[1, 100]"), run.number("cycle_decay", cycle_decay, "(0, 1]")
    cycles: list[tuple[float, float]] = []
    start = 0.0
    while len(cycles) < limit and start < run.total_steps:
        cycles.append((decay ** len(cycles), length * mult ** len(cycles)))
        start += cycles[-1][1]
    return cycles


def _share(run: Run, floor: float, peak: float) -> float:
    """The floor relative to the peak of a cycle."""
    if floor > peak:
        raise run.refuse(
            "cycle_decay", f"the peak of a cycle, {peak:g}, falls below lr_min, {floor:g}, and the cycle would rise"
        )
    return floor / peak


def scaled(schedule: AbstractSchedule, peak: float) -> AbstractSchedule:
    """The schedule times ``peak``."""
    return schedule if peak == 1.0 else Scaled(then=schedule, factor=peak)


def _merged(parts: list[Part], *, k: float = 1.0) -> list[Part]:
    """Cycles that are all alike as restarts of one."""
    # Restarts inside a sequence begin at a rounded place, and below 1 the slope of u^k at u = 0 makes 1e-8 of 1e-16.
    if k >= 1.0 and len(parts) > 1 and all(part == parts[0] for part in parts):
        schedule, length = parts[0]
        if is_whole(length):
            return [(Restarts(then=schedule, steps=int(length)), length * len(parts))]
    return parts


def _steps_after_warmup(run: Run, warmup_t: Any, warmup_prefix: Any) -> int:
    return max(1, run.total_steps - (run.integer("warmup_t", warmup_t) if warmup_prefix else 0))


def _warmed(
    run: Run, parts: list[Part], floor: float, warmup: tuple[Any, Any, Any], *, meets: bool = False
) -> AbstractSchedule:
    """The parts after the warm-up, or with ``warmup_prefix=False`` beneath it."""
    warmup_t, warmup_lr_init, prefix = warmup
    steps, start = run.integer("warmup_t", warmup_t), run.level("warmup_lr_init", warmup_lr_init)
    if prefix or steps == 0:
        return warmed(parts, run.total_steps, held(floor), steps=steps, start=start)
    curve = joined(parts, run.total_steps, held(floor))
    if not meets:
        return overlaid(curve, run, steps=steps, start=start)
    longer = joined(parts, steps + 1, held(floor))  # the run may end within the warm-up
    peak = curve.at(steps, run.total_steps) if steps <= run.total_steps else longer.at(steps, steps + 1)
    return overlaid(curve, run, steps=steps, start=start, peak=peak)


TIMM = Library(
    title="timm.scheduler",
    translators={
        "cosine": cosine,
        "CosineLRScheduler": cosine,
        "poly": poly,
        "PolyLRScheduler": poly,
        "tanh": tanh,
        "TanhLRScheduler": tanh,
        "step": step,
        "StepLRScheduler": step,
        "multistep": multi_step,
        "MultiStepLRScheduler": multi_step,
        "plateau": on_plateau,
        "PlateauLRScheduler": on_plateau,
    },
    refused={
        "wsd": "build it from Warmup and WSD",
        "WSDLRScheduler": "build it from Warmup and WSD",
    },
    inert={
        "initialize": (True,),
        "t_in_epochs": (True, False),
        "noise_range_t": (None,),
        "noise_type": None,
        "noise_pct": None,
        "noise_std": None,
        "noise_seed": None,
    },
)
"""timm. Without a ``noise_range_t`` there is no noise, and the rest of its arguments change nothing."""

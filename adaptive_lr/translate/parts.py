"""Parts of a run by their length in steps, put one after the other and cut off where the run ends."""

from __future__ import annotations

import math
from collections.abc import Sequence as Several
from itertools import accumulate

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import (
    AbstractSchedule,
    Constant,
    DampedCosine,
    OneCycle,
    Points,
    Product,
    Restarts,
    Scaled,
    Sequence,
    Step,
    Warmup,
    table,
)
from adaptive_lr.translate.run import Run, is_whole

Part = tuple[AbstractSchedule, float]
"""A schedule and the number of steps in which it runs from u = 0 to u = 1."""


def held(level: float) -> AbstractSchedule:
    """m(u) = level."""
    return Constant() if level == 1.0 else Scaled(then=Constant(), factor=level)


def stretched(schedule: AbstractSchedule, length: float, steps: float) -> AbstractSchedule:
    """The first ``steps`` of a schedule that takes ``length`` >= ``steps``: m(t / length)."""
    if length == steps:
        return schedule
    if is_whole(length) and is_whole(steps):
        return Restarts(then=schedule, steps=int(length))
    return Restarts(then=schedule, starts=(0.0,), last=length / steps)


def repeated(schedule: AbstractSchedule, length: float, steps: int, decay: float = 1.0) -> AbstractSchedule:
    """The schedule again and again, every ``length`` of ``steps`` steps, cycle i times decay^i."""
    if length >= steps:
        return stretched(schedule, length, steps)
    if is_whole(length):
        return Restarts(then=schedule, steps=int(length), decay=decay)
    if steps > 10_000 * length:  # too many to be listed
        return Restarts(then=schedule, fraction=length / steps, last=length / steps, decay=decay)
    starts = tuple(index * length / steps for index in range(math.ceil(steps / length)))
    return Restarts(then=schedule, starts=starts, last=length / steps, decay=decay)


def wave(half: float, floor: float, steps: int) -> AbstractSchedule:
    """The cosine floor + (1 - floor)(1 + cos(pi t / half))/2 for any t: down for ``half`` steps, up again, and so on."""
    down = DampedCosine(floor=floor)
    if steps <= half:
        return stretched(down, half, steps)
    up = OneCycle(up=1.0, start=floor, end=1.0)
    return repeated(Sequence(schedules=(down, up), fractions=(0.5,)), 2.0 * half, steps)


def joined(parts: Several[Part], total_steps: int, after: AbstractSchedule) -> AbstractSchedule:
    """The parts one after the other, and ``after`` for what is left of the run."""
    schedules: list[AbstractSchedule] = []
    starts: list[float] = []
    nonempty = [(schedule, length) for schedule, length in parts if length > 0]
    for (schedule, length), end in zip(nonempty, accumulate(length for _, length in nonempty), strict=True):
        start = end - length
        if start >= total_steps:
            break
        starts.append(start)
        schedules.append(schedule if end <= total_steps else stretched(schedule, length, total_steps - start))
    end = sum(length for _, length in nonempty)
    if end < total_steps:
        starts.append(end)
        schedules.append(after)
    if len(schedules) == 1:
        return schedules[0]
    if all(is_whole(start) for start in starts):
        return Sequence(schedules=tuple(schedules), steps=tuple(int(start) for start in starts[1:]))
    return Sequence(schedules=tuple(schedules), fractions=tuple(start / total_steps for start in starts[1:]))


def ramp(start: float, length: int, steps: int) -> AbstractSchedule:
    """The first ``steps`` of the straight line from ``start`` to 1 in ``length``."""
    return Points(u=(0.0, 1.0), m=(start, start + (1.0 - start) * min(1.0, steps / length)))


def warmed(
    parts: Several[Part], total_steps: int, after: AbstractSchedule, *, steps: int, start: float = 0.0
) -> AbstractSchedule:
    """`joined` after a linear warm-up of so many steps, or none."""
    if steps == 0:
        return joined(parts, total_steps, after)
    if steps >= total_steps:
        return ramp(start, steps, total_steps)
    then = joined(parts, total_steps - steps, after)
    if not isinstance(then, Sequence):
        return Warmup(steps=steps, start=start, then=then)
    # Side by side, and not a sequence inside a warm-up: there boundaries would be rounded, and the slope of 1 - sqrt(x) at x = 0
    # makes 1e-8 of 1e-16.
    return joined([(ramp(start, steps, steps), steps), *parts], total_steps, after)


def overlaid(curve: AbstractSchedule, run: Run, *, steps: int, start: float, peak: float = 1.0) -> AbstractSchedule:
    """A linear warm-up from ``start`` to ``peak`` laid over the first steps of ``curve``, which runs from the first step on.

    The product of the curve and of what, step by step, makes it the warm-up; refused where that factor would be above 1.
    """
    total = run.total_steps
    if steps >= total:
        return Points(u=(0.0, 1.0), m=(start, start + (peak - start) * total / steps))
    values = table([curve], total)[0, :steps].tolist()
    targets = [start + (peak - start) * step / steps for step in range(steps)]
    if any(value < target for value, target in zip(values, targets, strict=True)):
        raise run.refuse(
            "warmup_prefix",
            "with warmup_prefix=False the decay runs on beneath the warm-up, and this warm-up ends above it, with a drop: "
            f"use warmup_prefix=True, or fewer steps than warmup_t={steps}",
        )
    factors = [target / value if value > 0.0 else 1.0 for value, target in zip(values, targets, strict=True)]
    positions = tuple(step / total for step in range(steps + 1))
    return Product(schedules=(curve, Points(u=positions, m=(*factors, 1.0))))


def stairs(milestones: Several[int], factor: float, total_steps: int) -> AbstractSchedule:
    """factor^(number of milestones <= t), where milestones may repeat, be 0 or lie beyond the run."""
    inside = sorted(milestone for milestone in milestones if milestone <= total_steps)
    if not inside:
        return Constant()
    if len(set(inside)) == len(inside) and inside[0] > 0:
        return Step(milestones=tuple(milestone / total_steps for milestone in inside), factor=factor)
    positions = sorted({0, *(max(milestone, 0) for milestone in inside)})
    levels = tuple(factor ** sum(milestone <= position for milestone in inside) for position in positions)
    return Points(u=tuple(position / total_steps for position in positions), m=levels, interpolation="previous")


def lengths(run: Run, argument: str, milestones: object) -> list[int]:
    """A sequence of whole numbers.

    Raises:
        SpecError: it is none.
    """
    if isinstance(milestones, str) or not isinstance(milestones, Several):
        raise SpecError(f"{run.name}.{argument} must be a sequence of whole numbers, got {milestones!r}")
    return [run.integer(argument, value) for value in milestones]

"""Every schedule's formula as its paper writes it: one step at a time, in plain Python.

A formula takes the spec, the step t and the number of steps T. In `warmup` what follows counts its own steps from the end of
the warm-up, so nothing here goes through the composition of progress that the package uses.
"""

import math
from collections.abc import Callable
from typing import Any

from adaptive_lr import (
    WSD,
    AbstractSchedule,
    Constant,
    DampedCosine,
    Exponential,
    InverseSqrt,
    Linear,
    Polynomial,
    Step,
    Warmup,
)

Formula = Callable[[Any, float, int], float]


def constant(spec: Any, step: float, total_steps: int) -> float:
    until = spec.steps if spec.steps is not None else spec.until * total_steps
    return float(spec.factor) if step < until - 1e-12 * total_steps else 1.0


def linear(spec: Any, step: float, total_steps: int) -> float:
    return float(spec.floor + (1 - spec.floor) * (total_steps - step) / total_steps)


def polynomial(spec: Any, step: float, total_steps: int) -> float:
    remaining = 1 - math.pow(step, spec.k) / math.pow(total_steps, spec.k)
    return float(spec.floor + (1 - spec.floor) * math.pow(max(remaining, 0.0), spec.power))


def stepwise(spec: Any, step: float, total_steps: int) -> float:
    multiplier = 1.0
    for milestone in spec.milestones:
        if step / total_steps >= milestone:
            multiplier *= spec.factor
    return multiplier


def exponential(spec: Any, step: float, total_steps: int) -> float:
    return math.exp(-spec.rate * math.pow(step / total_steps, spec.k))


def inverse_sqrt(spec: Any, step: float, total_steps: int) -> float:
    scale = spec.fraction * total_steps if spec.steps is None else spec.steps
    return 1 / math.sqrt(1 + step / scale)


def damped_cosine(spec: Any, step: float, total_steps: int) -> float:
    angle = math.pi * math.pow(step / total_steps, spec.k)
    return float(spec.floor + (1 - spec.floor) * math.pow((1 + math.cos(angle)) / 2, spec.exponent))


def warmup_stable_decay(spec: Any, step: float, total_steps: int) -> float:
    u = step / total_steps
    if u <= 1 - spec.cooldown:
        return 1.0
    x = min((u - 1 + spec.cooldown) / spec.cooldown, 1.0)
    if spec.shape == "exponential":
        return float(spec.floor**x)
    shapes = {"linear": 1 - x, "sqrt": 1 - math.sqrt(x), "cosine": (1 + math.cos(math.pi * x)) / 2}
    return float(spec.floor + (1 - spec.floor) * shapes[spec.shape])


def warmup(spec: Any, step: float, total_steps: int) -> float:
    if spec.steps is not None:
        if step < spec.steps:
            return float(spec.start + (1 - spec.start) * step / spec.steps)
        return reference(spec.then, step - spec.steps, total_steps - spec.steps)
    if step / total_steps < spec.fraction:
        return float(spec.start + (1 - spec.start) * step / (spec.fraction * total_steps))
    # A fraction may end between two steps; what follows then has a whole number of steps, at least one, that fill the rest.
    rest = max(1, round(total_steps * (1 - spec.fraction)))
    passed = (step - spec.fraction * total_steps) / (total_steps - spec.fraction * total_steps)
    return reference(spec.then, min(max(passed, 0.0), 1.0) * rest, rest)


REFERENCE: dict[type[AbstractSchedule], Formula] = {
    Constant: constant,
    Linear: linear,
    Polynomial: polynomial,
    Step: stepwise,
    Exponential: exponential,
    InverseSqrt: inverse_sqrt,
    DampedCosine: damped_cosine,
    WSD: warmup_stable_decay,
    Warmup: warmup,
}


def reference(spec: AbstractSchedule, step: float, total_steps: int) -> float:
    """The multiplier of ``spec`` before update ``step`` of ``total_steps``."""
    return REFERENCE[type(spec)](spec, step, total_steps)


def reference_curve(spec: AbstractSchedule, total_steps: int) -> list[float]:
    """The multipliers at the steps 0 … T."""
    return [reference(spec, step, total_steps) for step in range(total_steps + 1)]

"""Composed schedules as they are described: each part counts its own whole steps."""

from typing import Any

from adaptive_lr import Plateau, Product, Restarts, Scaled, Sequence
from tests.reference.schedules import REFERENCE, reference


def sequence(spec: Any, step: float, total_steps: int) -> float:
    bounds = list(spec.steps) or [fraction * total_steps for fraction in spec.fractions]
    bounds = [0, *bounds, total_steps]
    place = sum(step >= bound for bound in bounds[1:-1])
    length = bounds[place + 1] - bounds[place]
    return reference(spec.schedules[place], step - bounds[place], length)


def restarts(spec: Any, step: float, total_steps: int) -> float:
    length = spec.steps if spec.steps is not None else max(1, round(spec.fraction * total_steps))
    start, cycle, exact = 0, 0, float(length)
    while step >= start + length and start + length < total_steps:
        start += length
        exact *= spec.mult
        length = max(1, round(exact))
        cycle += 1
    # What is inside is planned for the last cycle's length; the formulas tried here depend on progress alone.
    return float(spec.decay**cycle * reference(spec.then, min(step - start, length), length))


def product(spec: Any, step: float, total_steps: int) -> float:
    value = 1.0
    for one in spec.schedules:
        value *= reference(one, step, total_steps)
    return value


def scaled(spec: Any, step: float, total_steps: int) -> float:
    return float(spec.factor * reference(spec.then, step, total_steps))


def plateau(spec: Any, step: float, total_steps: int) -> float:
    return float(spec.damping)


REFERENCE.update({Sequence: sequence, Restarts: restarts, Product: product, Scaled: scaled, Plateau: plateau})

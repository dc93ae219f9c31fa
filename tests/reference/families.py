"""The schedules after the classics, as their papers and packages write them."""

import math
from itertools import pairwise
from typing import Any

from adaptive_lr import (
    REX,
    AdditiveKDecay,
    Chebyshev,
    Cyclic,
    Eigencurve,
    ElasticStep,
    ExponentialCosine,
    GridAware,
    InverseTime,
    OneCycle,
    Points,
    Staircase,
    Tanh,
    Trapezoid,
)
from tests.reference.schedules import REFERENCE

ROUNDING = 1e-12
"""How far before a boundary a step may lie, as a fraction of the run, and still count as having reached it."""


def inverse_time(spec: Any, step: float, total_steps: int) -> float:
    return float(1 / (1 + spec.rate * step / total_steps))


def staircase(spec: Any, step: float, total_steps: int) -> float:
    length = spec.steps / total_steps if spec.steps is not None else spec.fraction
    multiplier, stairs = 1.0, 0
    while step / total_steps >= (stairs + 1) * length - ROUNDING:
        multiplier *= spec.factor
        stairs += 1
    return multiplier


def elastic_step(spec: Any, step: float, total_steps: int) -> float:
    multiplier, left = 1.0, 1.0
    for _ in range(spec.drops):
        left *= spec.ratio
        if step / total_steps >= 1 - left - ROUNDING:
            multiplier *= spec.factor
    return multiplier


def rex(spec: Any, step: float, total_steps: int) -> float:
    remaining = 1 - step / total_steps
    return float(spec.floor + (1 - spec.floor) * remaining / ((1 - spec.bend) + spec.bend * remaining))


def tanh(spec: Any, step: float, total_steps: int) -> float:
    def timm(u: float) -> float:
        return 0.5 * (1 - math.tanh(spec.low * (1 - u) + spec.high * u))

    normalised = (timm(step / total_steps) - timm(1)) / (timm(0) - timm(1))
    return float(spec.floor + (1 - spec.floor) * normalised)


def exponential_cosine(spec: Any, step: float, total_steps: int) -> float:
    u = step / total_steps
    return float(spec.floor + (1 - spec.floor) * math.exp(-spec.rate * u) * (1 + math.cos(math.pi * u)) / 2)


def additive_k_decay(spec: Any, step: float, total_steps: int) -> float:
    u = step / total_steps
    value = (1 + math.cos(math.pi * u)) / 2
    value += u**spec.k - u if spec.sign == "plus" else u - u**spec.k
    return float(spec.floor + (1 - spec.floor) * min(max(value, 0.0), 1.0))


def eigencurve(spec: Any, step: float, total_steps: int) -> float:
    total = spec.total_steps or total_steps
    least, greatest = min(spec.eigenvalues), max(spec.eigenvalues)
    mass: dict[int, float] = {}
    for place, eigenvalue in enumerate(spec.eigenvalues):
        stage = 0
        while least * spec.beta ** (stage + 1) <= eigenvalue * (1 + ROUNDING):
            stage += 1
        mass[stage] = mass.get(stage, 0.0) + (spec.densities[place] if spec.densities else 1.0)
    norm = sum(math.sqrt(one) for one in mass.values())
    time, inverse_rate, now = 0.0, greatest, step / total_steps * total
    for stage in sorted(mass):
        length = total * math.sqrt(mass[stage]) / norm
        inverse_rate += least * spec.beta**stage * min(max(now - time, 0.0), length)
        time += length
    return float(greatest / inverse_rate)


def chebyshev(spec: Any, step: float, total_steps: int) -> float:
    # The value after the last update is that of the last.
    total = spec.total_steps or total_steps
    index = min(round(step / total_steps * total), total - 1)
    order = [1]
    for _ in range(spec.levels):
        length = 2 * len(order)
        order = [one for node in order for one in (node, length + 1 - node)]
    most, least = spec.condition, 1.0
    gammas = [
        (most + least) / 2 - (most - least) / 2 * math.cos((node - 0.5) * math.pi / len(order))
        for node in range(1, len(order) + 1)
    ]
    return float(min(gammas) / gammas[order[index % len(order)] - 1])


def grid_aware(spec: Any, step: float, total_steps: int) -> float:
    rate = max(4.0, 3.75 + math.log(spec.ratio))
    if step / total_steps < 1 - 4 / rate - ROUNDING:
        return math.exp(-rate * step / total_steps)
    before = math.exp(-rate * (1 - 4 / rate))
    return float(max(0.5, 5 - rate) * before * (1 - step / total_steps) / (4 / rate))


def cyclic(spec: Any, step: float, total_steps: int) -> float:
    up = spec.up_steps if spec.up is None else spec.up * total_steps
    down = spec.down_steps if spec.down_steps is not None else up if spec.down is None else spec.down * total_steps
    cycle, start = 0, 0.0
    while step >= start + up + down:
        cycle += 1
        start = cycle * (up + down)
    height = (step - start) / up if step - start <= up else 1 - (step - start - up) / down
    height = max(height, 0.0)
    if spec.mode == "triangular2":
        height /= 2**cycle
    elif spec.mode == "exp_range":
        height *= spec.gamma ** (step / (up + down))
    return float(spec.low + (1 - spec.low) * height)


def one_cycle(spec: Any, step: float, total_steps: int) -> float:
    peak = spec.up * total_steps
    corners = [(0.0, spec.start), (peak, 1.0)]
    if spec.phases == "three":
        corners.append((2 * peak, spec.start))
    corners.append((total_steps, spec.end))
    for (left, before), (right, after) in pairwise(corners):
        if step < right or (step == right == total_steps > left):
            x = (step - left) / (right - left)
            x = x if spec.anneal == "linear" else (1 - math.cos(math.pi * x)) / 2
            return float(before + (after - before) * x)
    return float(corners[-2][1])


def trapezoid(spec: Any, step: float, total_steps: int) -> float:
    up = spec.up_steps if spec.up is None else spec.up * total_steps
    down = spec.down_steps if spec.down is None else spec.down * total_steps
    rise = step / up if step < up else 1.0
    fall = (total_steps - step) / down if total_steps - step < down else 1.0
    return float(min(rise, spec.floor + (1 - spec.floor) * fall))


def points(spec: Any, step: float, total_steps: int) -> float:
    u = step / total_steps
    value = spec.m[0]
    for place in range(len(spec.u)):
        if spec.interpolation == "previous" and u >= spec.u[place] - ROUNDING:
            value = spec.m[place]
        if spec.interpolation == "linear" and u >= spec.u[place]:
            value = spec.m[place]
            if place + 1 < len(spec.u) and u < spec.u[place + 1]:
                x = (u - spec.u[place]) / (spec.u[place + 1] - spec.u[place])
                value += (spec.m[place + 1] - spec.m[place]) * x
    return float(value)


REFERENCE.update(
    {
        InverseTime: inverse_time,
        Staircase: staircase,
        ElasticStep: elastic_step,
        REX: rex,
        Tanh: tanh,
        ExponentialCosine: exponential_cosine,
        AdditiveKDecay: additive_k_decay,
        Eigencurve: eigencurve,
        Chebyshev: chebyshev,
        GridAware: grid_aware,
        Cyclic: cyclic,
        OneCycle: one_cycle,
        Trapezoid: trapezoid,
        Points: points,
    }
)

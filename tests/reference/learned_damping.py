"""`LearnedDamping` as one literal loop, on the walk of the other controllers' loops."""

import math
from collections.abc import Iterator

import numpy as np

from adaptive_lr import LearnedDamping
from tests.reference.distance_anchor import walk_factor
from tests.reference.probe import ROUNDING
from tests.reference.walk import Walk, cos, dot


def running(old: float | None, new: float, decay: float) -> float:
    """A running mean that begins with its first reading."""
    return new if old is None else decay * old + (1 - decay) * new


def within(value: float, bound: float) -> float:
    return min(max(value, -bound), bound)


def log_step_of(f: float, there: float, promise: float) -> float:
    """ln(p/e), on a parabola."""
    noise = ROUNDING * abs(f)
    ratio = 0.0 if promise <= noise and there - f <= noise else 1 + (there - f) / promise
    return within(math.log(max(ratio, 1e-9)), 4)


def learned_damping(spec: LearnedDamping, walk: Walk) -> Iterator[float]:
    T, beta, theta_0, previous = walk.steps, walk.momentum, walk.theta.copy(), np.zeros_like(walk.theta)
    interval, upcoming, later = max(4, math.ceil(round(spec.every * T, 6))), 0, 0
    s = alignment = path = farthest = 0.0
    e: float | None = None
    slow: float | None = None
    P: float | None = None
    Q: float | None = None
    typical: float | None = None
    first: float | None = None
    smooth: float | None = None
    for t in range(T):
        f, g, D = walk.look(t)
        eta = math.exp(s) * walk.m(t)
        if t == upcoming and t < spec.until * T:
            gap = min(interval, max(1, round(0.35 * t)))
            early, upcoming = gap < interval, t + gap
            descent, there = dot(g, D), walk.loss(t, walk.theta - eta * D)
            x = log_step_of(f, there, eta * descent) if descent > 0 else 0.0
            limit = math.inf if typical is None else 100 * math.exp(typical)
            usual = e is None or 0 < abs(descent) <= limit
            accident = descent > 0 and e is not None and not (usual and there - f <= eta * limit)
            if not early and later % 2 == 0:
                P, Q = running(P, walk.loss(t, theta_0) - f, 0.6), running(Q, descent, 0.6)
            later += not early
            if descent > 0 and usual:
                e, slow = running(e, math.log(eta) - x, 0.6), running(slow, math.log(eta) - x, 0.9)
                path += gap * dot(D, D) * eta**2
            if descent > 0:
                reading = math.log(descent)
                typical = reading if typical is None else typical + 0.1 * within(reading - typical, math.log(100))
            if t > 0:
                alignment = 0.6 * alignment + 0.4 * cos(g, previous)
            farthest = max(farthest, dot(walk.theta - theta_0, walk.theta - theta_0))
            first, smooth = f if first is None else first, running(smooth, f, 0.6)
            straight = math.log(farthest / (walk_factor(max(t, 1), beta) * path)) / 2 if farthest > 0 < path else 0.0
            progress = 0.0
            if P is not None and Q is not None:
                share = math.sqrt(min(max(max(P, 0.0) / max(T * math.exp(e or 0.0) * Q, 1e-300), 1e-12), 1e12))
                progress = (1.5 + math.log(share)) / 2
            readings = (
                1.0,
                x / 2,
                (s - e) / 2 if e is not None else 0.0,
                alignment,
                straight,
                progress,
                t / T,
                math.log(smooth / first) / 4 if smooth > 0 < first else 0.0,
                e - slow if e is not None and slow is not None else 0.0,
                math.log(T / 500) / 2,
            )
            total = 0.0
            for place, reading in enumerate(readings):
                weight = float(spec.weights[place]) + (float(spec.weights[10 + place]) if early else 0.0)
                total += weight * within(reading, 2)
            c = 2.0 if early else 0.7
            change = c * math.tanh(total / c) if descent > 0 else 0.0
            s += change
            eta = 0.0 if accident else eta * math.exp(min(change, 0.0))
        previous, walk.theta = g, walk.theta - eta * D
        yield eta

"""`ProgressAnchor` as one literal loop, on the walk of the other controllers' loops."""

import math
from collections.abc import Iterator

import numpy as np

from adaptive_lr import ProgressAnchor
from tests.reference.probe import Window, says
from tests.reference.walk import Walk, cos, dot


def share(spec: ProgressAnchor, progress: float, promise: float) -> float:
    scale, least, most = (float(number) for number in (spec.scale, spec.least, spec.most))
    return min(max(scale * math.sqrt(max(progress, 0.0) / max(promise, 1e-300)), least), most)


def progress_anchor(spec: ProgressAnchor, walk: Walk) -> Iterator[float]:
    inner, T = spec.probing, walk.steps
    W = min(max(math.floor(inner.window * T), inner.least_steps), T // 2)
    K, begin, last = max(spec.every, round(0.006 * T)), W // 2, max(math.ceil(spec.until * T), W)
    search = Window(inner.fraction, inner.decrease, inner.growth, begin)
    theta_0, previous = walk.theta.copy(), np.zeros_like(walk.theta)
    P = Q = rho = lift = 0.0
    for t in range(T):
        f, g, D = walk.look(t)
        number = (t - begin) // K + 1 if t >= begin and (t - begin) % K == 0 and t < last else 0
        alternates = t >= max(0.1 * T, W + 1) and spec.limit > 1
        doubles = number > 0 and number % 2 == 0 and alternates
        gap = 2 * K if alternates else K
        if (
            t >= W
        ):  # the share by which the step is first made; what is seen in it counts from the next one on, or if it is revised
            edge = search.edge()
            peak = edge * share(spec, P, T * edge * Q)
        measured = t >= begin and (t < W or number > 0)
        descent = dot(g, D)
        counts = descent != 0 and (not search.seen or abs(descent) <= 100 * math.exp(search.typical))
        if measured and counts:
            every = 1 if t < W else K
            Q += 4 * every / (t - begin + 4 * every) * (descent - Q)
        if number > 0 and not doubles and counts:
            weight = 4 * gap / (t - begin + 4 * gap)
            P += weight * (walk.loss(t, theta_0) - f - P)
        if t < W:
            there = walk.loss(t, walk.theta - math.exp(search.le) * D)
            eta = search.probe(t, f, there, descent, walk.m(t))
        else:
            if measured and search.seen:
                search.usual(descent)
            if t < last:
                rho = 0.98 * rho + 0.02 * cos(g, previous)
            if doubles:
                twice = 2 * peak * math.exp(lift) * walk.m(t)
                there = walk.loss(t, walk.theta - twice * D)
                accident = there > f - 0.1 * twice * descent and search.far(f, there, twice, descent)
                if rho > spec.alignment and says(f, there, twice * descent):
                    passed = there <= f - 0.1 * twice * descent
                    lift += math.log(inner.growth) if passed else -math.log(inner.growth)
                    lift = min(max(lift, 0.0), math.log(spec.limit))
                peak = edge * share(spec, P, T * edge * Q)
            eta = 0.0 if doubles and accident else peak * math.exp(lift) * walk.m(t)
        previous, walk.theta = g, walk.theta - eta * D
        yield eta

"""`ProgressAnchor` as one literal loop, on the walk of the other controllers' loops."""

import math
from collections.abc import Iterator

import numpy as np

from adaptive_lr import ProgressAnchor
from tests.reference.walk import Walk, cos, dot


def share(spec: ProgressAnchor, progress: float, promise: float) -> float:
    return min(max(spec.scale * math.sqrt(max(progress, 0.0) / max(promise, 1e-300)), spec.least), spec.most)


def progress_anchor(spec: ProgressAnchor, walk: Walk) -> Iterator[float]:
    inner, T = spec.probing, walk.steps
    W = min(max(math.floor(inner.window * T), inner.least_steps), T // 2)
    K, begin, last = max(spec.every, round(0.006 * T)), W // 2, max(math.ceil(spec.until * T), W)
    le, streak, sign, seen = -math.log(inner.fraction), 0, 0, False
    edges: list[float] = []
    theta_0, previous = walk.theta.copy(), np.zeros_like(walk.theta)
    P = F = Q = rho = lift = 0.0
    for t in range(T):
        f, g, D = walk.look(t)
        number = (t - begin) // K + 1 if t >= begin and (t - begin) % K == 0 and t < last else 0
        alternates = t >= max(0.1 * T, W + 1) and spec.limit > 1
        doubles = number > 0 and number % 2 == 0 and alternates
        gap = 2 * K if alternates else K
        if (
            t >= W
        ):  # the share by which the step is first made; what is seen in it counts from the next one on, or if it is revised
            edge = math.exp(float(np.mean(edges)))
            peak = edge * share(spec, P, T * edge * Q)
        if t >= begin and (t < W or number > 0):
            every = 1 if t < W else K
            Q += 4 * every / (t - begin + 4 * every) * (dot(g, D) - Q)
        if number > 0 and not doubles:
            weight = 4 * gap / (t - begin + 4 * gap)
            P += weight * (walk.loss(t, theta_0) - f - P)
            F += weight * (f - F)
        if t < W:
            p = math.exp(le)
            there = walk.loss(t, walk.theta - p * D)
            s = 1 if there <= f - inner.decrease * p * dot(g, D) else -1
            streak = streak + 1 if s == sign else 0
            le += s * math.log(inner.growth) * min(1 + streak / 2, 6)
            sign, seen = s, seen or s > 0
            eta = inner.fraction * min(p, math.exp(le)) * walk.m(t)
            if not seen or (there > 2 * f + 1 and streak > 0):
                eta = 0.0
            edges += [le] if t >= begin else []
        else:
            if t < last:
                rho = 0.98 * rho + 0.02 * cos(g, previous)
            if doubles:
                twice = 2 * peak * math.exp(lift) * walk.m(t)
                if rho > spec.alignment and P >= F:
                    passed = walk.loss(t, walk.theta - twice * D) <= f - 0.1 * twice * dot(g, D)
                    lift += math.log(inner.growth) if passed else -math.log(inner.growth)
                    lift = min(max(lift, 0.0), math.log(spec.limit))
                peak = edge * share(spec, P, T * edge * Q)
            eta = peak * math.exp(lift) * walk.m(t)
        previous, walk.theta = g, walk.theta - eta * D
        yield eta

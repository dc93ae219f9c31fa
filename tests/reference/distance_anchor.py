"""`DistanceAnchor` as one literal loop, on the walk of the other controllers' loops."""

import math
from collections.abc import Iterator

from adaptive_lr import DistanceAnchor
from tests.reference.probe import Window, says
from tests.reference.walk import Walk, dot


def walk_factor(n: int, beta: float) -> float:
    """F_n, the sum written out."""
    return 1.0 + 2.0 * sum((1 - k / n) * beta**k for k in range(1, n))


def distance_anchor(spec: DistanceAnchor, walk: Walk) -> Iterator[float]:
    inner, T, beta = spec.probing, walk.steps, walk.momentum
    W = min(max(math.floor(inner.window * T), inner.least_steps), T // 2)
    K, last = max(spec.spacing, round(spec.every * T)), max(math.ceil(spec.until * T), W)
    search = Window(inner.fraction, inner.decrease, inner.growth, W // 2)
    share = asked = spec.begin
    path = farthest = 0.0
    for t in range(T):
        f, g, D = walk.look(t)
        descent, n = dot(g, D), t - W
        if t < W:
            there = walk.loss(t, walk.theta - math.exp(search.le) * D)
            eta = search.probe(t, f, there, descent, walk.m(t))
            theta_0 = walk.theta - eta * D
        else:
            edge = search.edge()
            eta = edge * share * walk.m(t)
        if 0 < n < last - W and n % K == 0:
            limit = 100 * math.exp(search.typical)
            if abs(descent) <= limit:
                path += K * dot(D, D) * eta**2
            farthest = max(farthest, dot(walk.theta - theta_0, walk.theta - theta_0))
            F = walk_factor(n, beta)
            R = farthest / (F * path) / spec.target
            p = edge * asked * walk.m(t)
            there = walk.loss(t, walk.theta - p * D)
            heard = says(f, there, p * descent)
            passed = heard and there <= f - spec.decrease * p * descent
            if passed:
                share = asked
            elif heard and asked == share:
                share /= inner.growth
            accident = heard and not passed and search.far(f, there, p, descent)
            eta = 0.0 if accident else edge * share * walk.m(t)
            search.usual(descent)
            if R > 1:
                straight = min(math.log(R) / max(math.log(n / F), 1.0), 1.0)
                asked = share * 2 ** (spec.up * min(1.0, K * (1 - beta) / 2) * straight)
                asked = min(asked, spec.most)
            else:
                share = asked = share * R ** (spec.down * K / n)
        walk.theta = walk.theta - eta * D
        yield eta

"""Every controller as one literal loop over the steps: plain NumPy, one trial, each rule written out where it is used.

A loop yields the multiplier that each update was made with. theta, the velocity and the gradients are vectors here; nothing is kept as
the inner products from which the package works.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.stats import t as student

from adaptive_lr import (
    AbstractController,
    Anchor,
    AnchorLift,
    CurvatureCap,
    DampingWarp,
    DistanceAnchor,
    EvaluatedGreedy,
    GeneralizedNewton,
    Greedy,
    Hypergradient,
    LearnedDamping,
    LossPlateau,
    MomoCap,
    NanRescue,
    NoiseScaleDamping,
    PolyakReanchor,
    ProgressAnchor,
    ShrinkageDamping,
    Static,
    StationarityDrop,
    StochasticPolyak,
)
from tests.reference.distance_anchor import distance_anchor
from tests.reference.learned_damping import learned_damping
from tests.reference.probe import Window, says
from tests.reference.progress_anchor import progress_anchor
from tests.reference.walk import Walk, cos, dot


def static(spec: Static, walk: Walk) -> Iterator[float]:
    for t in range(walk.steps):
        _, _, D = walk.look(t)
        walk.theta = walk.theta - walk.m(t) * D
        yield walk.m(t)


def window(inner: Anchor, steps: int) -> tuple[int, Window]:
    W = min(max(math.floor(inner.window * steps), inner.least_steps), steps // 2)
    return W, Window(inner.fraction, inner.decrease, inner.growth, W // 2)


def anchor(spec: Anchor, walk: Walk) -> Iterator[float]:
    W, search = window(spec, walk.steps)
    for t in range(walk.steps):
        f, g, D = walk.look(t)
        if t < W:
            there = walk.loss(t, walk.theta - math.exp(search.le) * D)
            eta = search.probe(t, f, there, dot(g, D), walk.m(t))
        else:
            eta = spec.fraction * search.edge() * walk.m(t)
        walk.theta = walk.theta - eta * D
        yield eta


def anchor_lift(spec: AnchorLift, walk: Walk) -> Iterator[float]:
    inner, rho, lift, previous = spec.anchor, 0.0, 0.0, np.zeros(1)
    W, search = window(inner, walk.steps)
    for t in range(walk.steps):
        f, g, D = walk.look(t)
        if t < W:
            there = walk.loss(t, walk.theta - math.exp(search.le) * D)
            eta = search.probe(t, f, there, dot(g, D), walk.m(t))
        else:
            eta = inner.fraction * search.edge() * math.exp(lift) * walk.m(t)
            if t < spec.end * walk.steps:
                rho = 0.98 * rho + 0.02 * cos(g, previous)
            if spec.start * walk.steps <= t < spec.end * walk.steps and t % spec.every == 0:
                there = walk.loss(t, walk.theta - 2 * eta * D)
                if says(f, there, 2 * eta * dot(g, D)):
                    if there > f - spec.decrease * 2 * eta * dot(g, D):
                        lift -= math.log(spec.growth)
                    elif rho > spec.alignment:
                        lift += math.log(spec.growth)
                lift = min(max(lift, 0.0), math.log(spec.limit))
                accident = there > f - spec.decrease * 2 * eta * dot(g, D) and search.far(f, there, 2 * eta, dot(g, D))
                eta = 0.0 if accident else inner.fraction * search.edge() * math.exp(lift) * walk.m(t)
        walk.theta, previous = walk.theta - eta * D, g
        yield eta


def hypergradient(spec: Hypergradient, walk: Walk) -> Iterator[float]:
    log_scale, reference = 0.0, None
    for t in range(walk.steps):
        _, g, D = walk.look(t)
        eta = walk.m(t) * math.exp(log_scale)
        if t < spec.until * walk.steps and reference is not None:
            log_scale += spec.gain * cos(g, reference)
        walk.theta = walk.theta - eta * D
        reference = eta * D if spec.reference == "step" else g
        yield eta


def polyak_reanchor(spec: PolyakReanchor, walk: Walk) -> Iterator[float]:
    F, N, s = 0.0, 0.0, 1.0
    for t in range(walk.steps):
        f, g, D = walk.look(t)
        if dot(g, D) != 0:
            F = 0.9 * F + 0.1 * (f - spec.target)
            N = 0.9 * N + 0.1 * max(dot(g, D), 0.0)
        cap = spec.k * F / N
        if t < spec.until * walk.steps:
            s = min(s, cap / walk.m(t))
        eta = min(s * walk.m(t), cap)
        walk.theta = walk.theta - eta * D
        yield eta


def momo_cap(spec: MomoCap, walk: Walk) -> Iterator[float]:
    f_bar, g_bar, gamma, lower = 0.0, np.zeros_like(walk.theta), 0.0, spec.target
    for t in range(walk.steps):
        f, g, D = walk.look(t)
        f_bar, g_bar, gamma = 0.9 * f_bar + 0.1 * f, 0.9 * g_bar + 0.1 * g, 0.9 * gamma + 0.1 * dot(g, walk.theta)
        rho = 1 - 0.9 ** (t + 1)
        h = f_bar + dot(g_bar, walk.theta) - gamma
        if spec.estimate_target == "on" and h < rho * lower:
            lower = max(h / (2 * rho), spec.target)
        eta = walk.m(t)
        if dot(g_bar, D) > 0:
            eta = min(eta, max(h - rho * lower, 0.0) / dot(g_bar, D))
            if spec.estimate_target == "on":
                lower = max((h - eta * dot(g_bar, D) / 2) / rho, spec.target)
        walk.theta = walk.theta - eta * D
        yield eta


def curvature_cap(spec: CurvatureCap, walk: Walk) -> Iterator[float]:
    q, s, cap = None, 1.0, math.inf
    for t in range(walk.steps):
        _, g, D = walk.look(t)
        if t % spec.every == 0:
            epsilon = 0.1 * min(s * walk.m(t), cap)
            h = dot(g - walk.gradient(t, walk.theta - epsilon * D), D) / epsilon
            if h > 0 and dot(g, D) > 0:
                new = math.log(dot(g, D) / h)
                q = new if q is None else 0.7 * q + 0.3 * new
                cap = spec.sigma * math.exp(q)
                if t < spec.until * walk.steps:
                    s = min(s, cap / walk.m(t))
        eta = min(s * walk.m(t), cap)
        walk.theta = walk.theta - eta * D
        yield eta


def generalized_newton(spec: GeneralizedNewton, walk: Walk) -> Iterator[float]:
    s = 1.0
    for t in range(walk.steps):
        f, _, D = walk.look(t)
        if t % spec.every == 0:
            ahead, behind = walk.loss(t, walk.theta - s * D), walk.loss(t, walk.theta + s * D)
            a, b = np.linalg.solve([[s * s / 2, -s], [s * s / 2, s]], [ahead - f, behind - f])
            if a > 0 and b > 0:
                s = spec.smoothing * s + (1 - spec.smoothing) * min(max(b / a, s / 2), 2 * s)
        walk.theta = walk.theta - s * walk.m(t) * D
        yield s * walk.m(t)


def stochastic_polyak(spec: StochasticPolyak, walk: Walk) -> Iterator[float]:
    s = 1.0
    for t in range(walk.steps):
        f, g, D = walk.look(t)
        bound = spec.growth ** (1 / spec.epoch) * s
        s = min((f - spec.target) / (spec.c * dot(g, D)), bound) if dot(g, D) > 0 else bound
        walk.theta = walk.theta - s * walk.m(t) * D
        yield s * walk.m(t)


def evaluated_greedy(spec: EvaluatedGreedy, walk: Walk) -> Iterator[float]:
    rule, s, best, good, bad = spec.rule, 1.0, math.inf, 0, 0
    assert (rule.window, rule.cooldown, rule.warmup) == (1, 0, 0)
    for t in range(walk.steps):
        _, _, D = walk.look(t)
        eta = s * walk.m(t)
        if t > 0 and t % max(1, round(spec.every * walk.steps)) == 0:
            metric = walk.loss(0, walk.theta)
            good, bad = (good + 1, 0) if metric < best - rule.threshold else (0, bad + 1)
            best = metric if good else best
            if good > rule.patience:
                s, good = min(s / rule.factor, rule.most), 0
            elif bad > rule.patience:
                s, bad = max(s * rule.factor, rule.least), 0
        walk.theta = walk.theta - eta * D
        yield eta


def noise_scale_damping(spec: NoiseScaleDamping, walk: Walk) -> Iterator[float]:
    G2, trace, B = 0.0, 0.0, walk.inputs.shape[1]
    factor, b = 1.0, walk.inputs.shape[1] // 2
    for t in range(walk.steps):
        half = walk.gradient(t, walk.theta, slice(b))
        _, g, D = walk.look(t)
        eta = walk.m(t) * factor
        if t % spec.every == 0:
            G2 = spec.decay * G2 + (1 - spec.decay) * (B * dot(g, g) - b * dot(half, half)) / (B - b)
            trace = spec.decay * trace + (1 - spec.decay) * (dot(half, half) - dot(g, g)) / (1 / b - 1 / B)
            simple = max(trace, 0.0) / max(G2, 1e-300)
            factor = max(1 / (1 + simple / B), spec.floor)
        walk.theta = walk.theta - eta * D
        yield eta


def stationarity_drop(spec: StationarityDrop, walk: Walk) -> Iterator[float]:
    factor, z, length = 1.0, [], math.ceil(math.ceil(walk.steps / spec.every) / 256)
    for t in range(walk.steps):
        _, _, D = walk.look(t)
        eta, d = factor * walk.m(t), walk.velocity
        walk.theta = walk.theta - eta * D
        if t % spec.every == 0:
            z.append(dot(walk.theta, d) + eta * walk.base_lr / 2 * dot(d, d))
            if len(z) % length == 0:
                means = [np.mean(z[start : start + length]) for start in range(0, len(z), length)]
                recent = means[len(means) - math.floor(spec.recent * len(means)) :]
                if len(recent) >= 8:
                    error = np.std(recent, ddof=1) / math.sqrt(len(recent))
                    if abs(np.mean(recent)) <= student.ppf(1 - spec.significance / 2, len(recent) - 1) * error:
                        factor, z = factor * spec.factor, []
        yield eta


def shrinkage_damping(spec: ShrinkageDamping, walk: Walk) -> Iterator[float]:
    d, last = 0.0, None
    for t in range(walk.steps):
        _, _, D = walk.look(t)
        eta = walk.m(t) / (1 + d)
        if t % spec.every == 0:
            product = walk.curvature(t)
            if last is not None:
                variance, square = dot(product - last, product - last) / 2, dot(product, product)
                v = min(variance / (square - variance), spec.limit) if square > variance else spec.limit
                d = 0.7 * d + 0.3 * v
            last = product
        walk.theta = walk.theta - eta * D
        yield eta


def damping_warp(spec: DampingWarp, walk: Walk) -> Iterator[float]:
    T, v, mean, square, previous = walk.steps, 0.0, 0.0, 0.0, None
    for t in range(T):
        _, g, D = walk.look(t)
        eta = walk.schedule(v)
        if previous is not None:
            mean = spec.decay * mean + (1 - spec.decay) * cos(g, previous)
            square = spec.decay * square + (1 - spec.decay) * cos(g, previous) ** 2
        z = mean / math.sqrt(square) if square else 0.0
        v += (1 - v) / (T - t) * min(max(math.exp(-spec.gain * z), 0.2), 5.0)
        v = min(v, 1 - 1 / T)
        walk.theta, previous = walk.theta - eta * D, g
        yield eta


def loss_plateau(spec: LossPlateau, walk: Walk) -> Iterator[float]:
    factor, best, bad, waiting, losses = 1.0, math.inf, 0, 0, []
    for t in range(walk.steps):
        f, _, D = walk.look(t)
        eta = factor * walk.m(t)
        walk.theta = walk.theta - eta * D
        losses.append(f)
        if len(losses) == max(1, round(spec.interval * walk.steps)):
            if best == math.inf or np.mean(losses) < best - spec.threshold * abs(best):
                best, bad = float(np.mean(losses)), 0
            else:
                bad += 1
            if waiting:
                waiting, bad = waiting - 1, 0
            if bad > spec.patience:
                factor, waiting, bad = max(factor * spec.factor, spec.floor), spec.cooldown, 0
            losses = []
        yield eta


def greedy(spec: Greedy, walk: Walk) -> Iterator[float]:
    s, best, good, bad, waiting, at_floor, losses = 1.0, math.inf, 0, 0, 0, 0, []
    for t in range(walk.steps):
        f, _, D = walk.look(t)
        eta = s * walk.m(t)
        walk.theta = walk.theta - eta * D
        losses.append(f)
        smooth = float(np.mean(losses[-spec.window :]))
        if waiting:
            waiting, good, bad = waiting - 1, 0, 0
        elif smooth < best - spec.threshold:
            best, good, bad = smooth, good + 1, 0
        else:
            good, bad = 0, bad + 1
        if good > spec.patience:
            s, good, waiting, at_floor = min(s / spec.factor, spec.most), 0, spec.warmup, 0
        elif bad > spec.patience:
            s, bad, waiting = max(s * spec.factor, spec.least), 0, spec.cooldown
            at_floor += s <= spec.least
            if at_floor >= spec.reset:
                s, best, good, bad, waiting, at_floor, losses = 1.0, math.inf, 0, 0, 0, 0, []
        yield eta


def nan_rescue(spec: NanRescue, walk: Walk) -> Iterator[float]:
    scale, kept = 1.0, (walk.theta, walk.velocity)
    for t in range(walk.steps):
        before = walk.theta, walk.velocity
        f, g, D = walk.look(t)
        eta = scale * walk.m(t)
        if math.isfinite(f) and math.isfinite(dot(g, g)):
            kept = before if t % spec.every == 0 else kept
            walk.theta = walk.theta - eta * D
        else:
            (walk.theta, walk.velocity), scale, eta = kept, scale * spec.factor, 0.0
        yield eta


LOOPS: dict[type[AbstractController], Callable[[Any, Walk], Iterator[float]]] = {
    Static: static,
    Anchor: anchor,
    ProgressAnchor: progress_anchor,
    DistanceAnchor: distance_anchor,
    LearnedDamping: learned_damping,
    AnchorLift: anchor_lift,
    Hypergradient: hypergradient,
    PolyakReanchor: polyak_reanchor,
    MomoCap: momo_cap,
    CurvatureCap: curvature_cap,
    GeneralizedNewton: generalized_newton,
    StochasticPolyak: stochastic_polyak,
    NoiseScaleDamping: noise_scale_damping,
    StationarityDrop: stationarity_drop,
    ShrinkageDamping: shrinkage_damping,
    DampingWarp: damping_warp,
    LossPlateau: loss_plateau,
    Greedy: greedy,
    EvaluatedGreedy: evaluated_greedy,
    NanRescue: nan_rescue,
}

"""The schedule with the least final loss under a law, and how much lower that is than the usual schedules'."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from adaptive_lr.analysis.stats import LEVEL, Array, Places
from adaptive_lr.errors import InputError
from adaptive_lr.meta.law_changes import gathered
from adaptive_lr.meta.law_curves import MOST_STEPS
from adaptive_lr.meta.law_fit import LawFit
from adaptive_lr.meta.laws import AbstractLaw
from adaptive_lr.schedules import WSD, AbstractSchedule, Constant, DampedCosine, Linear, Points, Warmup, table

KNOTS = 64
"""Points after the warm-up between which the rate is a straight line."""
LOWEST = 1e-6
"""The multiplier at which the rate counts as 0."""
COOLDOWNS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of the run after the warm-up, of which the best is the WSD that a design is compared with."""
_MOST_ITERATIONS = 2000
_STEEPEST = 3.0
_STRAIGHT = 2e-5
_ABRUPT = 5.0


@dataclass(frozen=True)
class Rival:
    """A schedule and its final loss under the law, with what the parameters leave open of it above the design's.

    Attributes:
        name: short.
        schedule: warm-up included.
        loss: predicted.
        excess: above the design's, and the ends of its 95 % interval.
    """

    name: str
    schedule: AbstractSchedule
    loss: float
    excess: tuple[float, float, float]


@dataclass(frozen=True)
class Design:
    """The best schedule that was found.

    Attributes:
        schedule: multipliers of the peak, warm-up included.
        loss: its predicted final loss, and the ends of the 95 % interval.
        rivals: the usual schedules, the best first.
        shape: what it looks like, in a sentence.
        cautions: what it asks of the law that no curve showed it.
    """

    schedule: Points
    loss: tuple[float, float, float]
    rivals: tuple[Rival, ...]
    shape: str
    cautions: tuple[str, ...]


def rates_of(schedule: AbstractSchedule, steps: int, peak: float) -> Array:
    """The rates of a schedule at every step from 0 to ``steps``, ``[steps + 1]``.

    Raises:
        InputError: there are too many steps, or the peak is not above 0.
    """
    if steps > MOST_STEPS:
        raise InputError(f"a run may have {MOST_STEPS} steps here, got {steps}")
    if not (np.isfinite(peak) and peak > 0.0):
        raise InputError(f"the peak rate must be a finite number above 0, got {peak!r}")
    rates: Array = peak * table([schedule], steps)[0].numpy()
    return rates


def design(
    fit: LawFit,
    *,
    steps: int,
    warmup: int,
    peak: float | None = None,
    floor: float = 0.0,
    report: Callable[[int, int], None] | None = None,
) -> Design:
    """The schedule with the least final loss under a fitted law, among those that rise once, fall or stay, and end at ``floor`` at least.

    The multipliers at 64 points after the warm-up are m_j = m_(j-1) exp(-d_j) with d_j >= 0; L-BFGS-B minimises the loss over d with
    the exact gradient, from the usual schedules. Luo et al. 2025, arXiv:2503.12811, descend over the decrements of every step.

    Args:
        fit: the law.
        steps: T, the number of updates.
        warmup: steps of a linear warm-up from 0.
        peak: the largest rate; that of the curves if None.
        floor: the least multiplier.
        report: is called with the number of searches that have ended, and that of all.

    Raises:
        InputError: the warm-up does not leave ten steps, or the floor is not in [0, 1).
    """
    peak = fit.peak if peak is None else peak
    if not 0 <= warmup <= steps - 10:
        raise InputError(f"the warm-up must leave at least 10 of the {steps} steps, got {warmup}")
    if not 0.0 <= floor < 1.0:
        raise InputError(f"the floor must lie in [0, 1), got {floor!r}")
    usual = _usual(fit.law, steps, warmup, peak, floor)
    knots = _knots(steps, warmup)
    lowest = max(floor, LOWEST)
    results = []
    for index, schedule in enumerate(usual.values()):
        multipliers = rates_of(schedule, steps, 1.0)[knots]
        results.append(_descend(fit.law, knots, multipliers, steps, peak, lowest))
        if report is not None:
            report(index + 1, len(usual))
    _, multipliers = min(results, key=lambda result: result[0])
    best = _points(knots, np.where(multipliers <= LOWEST, 0.0, multipliers), steps, warmup)
    return _compared(fit, best, usual, (steps, warmup, peak))


def _usual(law: AbstractLaw, steps: int, warmup: int, peak: float, floor: float) -> dict[str, AbstractSchedule]:
    """The usual schedules that end at the floor; of WSD the best cooldown of each shape."""
    plain: dict[str, AbstractSchedule] = {
        "constant": Constant(),
        "cosine": DampedCosine(floor=floor),
        "linear": Linear(floor=floor),
    }
    for shape in ("linear", "sqrt"):
        candidates = [WSD(cooldown=cooldown, shape=shape, floor=floor) for cooldown in COOLDOWNS]
        losses = [_final(law, rates_of(_warm(candidate, warmup), steps, peak)) for candidate in candidates]
        plain[f"WSD, {shape}"] = candidates[int(np.argmin(losses))]
    return {name: _warm(schedule, warmup) for name, schedule in plain.items()}


def _warm(schedule: AbstractSchedule, warmup: int) -> AbstractSchedule:
    return Warmup(steps=warmup, then=schedule) if warmup else schedule


def _final(law: AbstractLaw, rates: Array) -> float:
    return law.final_gradient(rates)[0]


def _knots(steps: int, warmup: int) -> Array:
    """Steps from the end of the warm-up to that of the run: evenly, and the closer together the nearer the end."""
    count = steps - warmup
    left = np.concatenate([np.linspace(0.0, 1.0, KNOTS // 2), np.geomspace(1.0 / count, 1.0, KNOTS // 2)])
    return np.unique(np.round(steps - count * left)).astype(np.int_)


def _descend(
    law: AbstractLaw, knots: Array, start: Array, steps: int, peak: float, lowest: float
) -> tuple[float, Array]:
    """The least loss near a start, and its multipliers at the knots."""
    warmup = int(knots[0])
    ascent = np.arange(warmup) / max(warmup, 1)
    positions = np.arange(warmup, steps + 1)
    right = np.clip(np.searchsorted(knots, positions, side="right"), 1, len(knots) - 1)
    share = (positions - knots[right - 1]) / (knots[right] - knots[right - 1])

    def loss(decrements: Array) -> tuple[float, Array]:  # in thousandths, which the optimizer's tolerances suit
        multipliers = lowest + (1.0 - lowest) * np.exp(-np.cumsum(np.append(0.0, decrements)))
        levels = multipliers[right - 1] * (1.0 - share) + multipliers[right] * share
        value, slope = law.final_gradient(peak * np.concatenate([ascent, levels]))
        slope = peak * slope[warmup:]
        by_knot = np.bincount(right - 1, slope * (1.0 - share), len(knots)) + np.bincount(
            right, slope * share, len(knots)
        )
        pulled = -by_knot * (multipliers - lowest)
        return 1e3 * value, 1e3 * np.cumsum(pulled[::-1])[::-1][1:]

    spread = np.maximum((start - lowest) / (1.0 - lowest), 1e-9)
    decrements = np.clip(-np.diff(np.log(spread)), 0.0, _STEEPEST)
    result = minimize(
        loss,
        decrements,
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, _STEEPEST)] * len(decrements),
        options={"maxiter": _MOST_ITERATIONS, "maxfun": 2 * _MOST_ITERATIONS, "ftol": 1e-13, "gtol": 1e-9},
    )
    multipliers = lowest + (1.0 - lowest) * np.exp(-np.cumsum(np.append(0.0, result.x)))
    return float(result.fun) / 1e3, multipliers


def _points(knots: Array, multipliers: Array, steps: int, warmup: int) -> Points:
    """A schedule through the knots, without those on a straight line between their neighbours."""
    keep = [0]
    for index in range(1, len(knots) - 1):
        left, right = keep[-1], index + 1
        share = (knots[index] - knots[left]) / (knots[right] - knots[left])
        straight = multipliers[left] * (1.0 - share) + multipliers[right] * share
        if abs(straight - multipliers[index]) > _STRAIGHT:
            keep.append(index)
    keep.append(len(knots) - 1)
    u = [float(knots[index]) / steps for index in keep]
    m = [float(f"{multipliers[index]:.9g}") for index in keep]
    m = list(itertools.accumulate(m, min))  # rounding must not make it rise
    if warmup:
        u, m = [0.0, *u], [0.0, *m]
    return Points(u=tuple(u), m=tuple(m))


def _compared(fit: LawFit, best: Points, usual: Mapping[str, AbstractSchedule], run: tuple[int, int, float]) -> Design:
    steps, warmup, peak = run
    rates = rates_of(best, steps, peak)
    last = np.array([steps])
    draws = _drawn(fit, rates)
    loss = _final(fit.law, rates)
    rivals = []
    for name, schedule in usual.items():
        path = rates_of(schedule, steps, peak)
        low, high = np.quantile(_drawn(fit, path) - draws, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
        value = _final(fit.law, path)
        rivals.append(Rival(name, schedule, value, (value - loss, float(low), float(high))))
    prediction = fit.predict(rates, last)
    ends = (loss, float(prediction.low[0]), float(prediction.high[0]))
    rivals.sort(key=lambda rival: rival.loss)
    return Design(best, ends, tuple(rivals), described(best, steps, warmup), tuple(fit.cautions(rates, warmup)))


def _drawn(fit: LawFit, rates: Array) -> Array:
    """The final loss under each resampled fit."""
    changes = gathered(rates, np.array([len(rates) - 1]))
    return np.array([draw.evaluate(changes)[0][0] for draw in fit.draws])


def described(schedule: AbstractSchedule, steps: int, warmup: int) -> str:
    """What a schedule looks like after its warm-up, in a sentence.

    >>> described(WSD(cooldown=0.5, shape="linear"), 1000, 0)
    'stays above 95 % of the peak for 53 % of the run after the warm-up, then falls like (1 - x)^1.00 to 0 % of the peak'
    """
    multipliers = rates_of(schedule, steps, 1.0)[warmup:]
    below = np.flatnonzero(multipliers < 0.95)
    if not len(below):
        return "stays above 95 % of the peak throughout"
    end = float(multipliers[-1])
    fall = multipliers[below[0] :]
    x = np.arange(len(fall)) / max(len(fall) - 1, 1)
    inside = (fall > end + 0.02 * (fall[0] - end)) & (x > 0.0) & (x < 1.0)
    share = 100.0 * below[0] / (len(multipliers) - 1)
    words = f"stays above 95 % of the peak for {share:.0f} % of the run after the warm-up, then falls"
    if inside.sum() >= 5:
        slope = _exponent(x[inside], (fall[inside] - end) / (fall[0] - end))
        words += f" like (1 - x)^{slope:.2f}" if slope < _ABRUPT else " almost at once"
    return f"{words} to {100.0 * end:.2g} % of the peak"


def _exponent(x: Array, fall: Array) -> float:
    logarithms = np.log1p(-x)
    return float((np.log(fall) * logarithms).sum() / np.square(logarithms).sum())


def steps_shown(steps: int, first: int, count: int = 200) -> Places:
    """At most ``count`` steps from ``first`` to ``steps``, for a curve."""
    shown: Places = np.unique(np.linspace(first, steps, count).round()).astype(np.int_)
    return shown

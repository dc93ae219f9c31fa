"""From one earlier run: a schedule from its gradient norms.

Defazio, Cutkosky, Mehta & Mishchenko 2023 (arXiv:2310.07831): run once, refine, run again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from adaptive_lr.analysis.stats import Array
from adaptive_lr.errors import InputError
from adaptive_lr.meta.norms import Norms
from adaptive_lr.schedules import Points, progress

OPTIMIZERS = ("sgd", "adam")
"""Whose weights there are: of steps along the gradient, and of steps whose coordinates are all about as long, as Adam's are."""

SMOOTHING = 0.1
"""Width of the median filter, as a share of the run."""

TOLERANCE = 0.02
"""By what share of itself the rate may differ where it is read off the points; where it is low, by that share of `LOW`."""

LOW = 0.002
"""Multipliers below this share of the peak count as this: of the end, too, a straight line is as good as the steps."""

_DECIMALS = 6


@dataclass(frozen=True)
class Refinement:
    """A refined schedule and how it came about.

    Attributes:
        schedule: the multiplier, its peak at 1, and 0 at u = 1.
        smoothed: the norms after the filter, ``[T]``.
        gain: the bound of the schedule over that of a linear decay, each at its best base rate, for the smoothed norms:
            1 / sqrt(mean(G^2) mean(G^-2)) with the weights of SGD, which is at most 1. A bound for convex losses, not a promise.
    """

    schedule: Points
    smoothed: Array
    gain: float


def refine(norms: Norms, *, optimizer: str = "sgd", tolerance: float = TOLERANCE) -> Refinement:
    """eta_t ∝ w_t sum_{s>t} w_s with w_t = G_t^-2 for SGD, 1 / G_t for Adam, G the norms after a median filter; the largest is 1.

    The sum goes up to the iterate after the last update, whose norm nobody has logged: that of the last update stands for it. So constant
    norms give m(u) = 1 - u, and the last update is not lost. Norms that fall at first give a warm-up, norms that rise at the end an
    earlier decay. The base rate is to be tuned once; that of a linear decay is where to begin.

    For SGD G is the L2 norm, for Adam the L1 norm; the L2 norm will do where the two stay proportional. It is the norm of what the
    optimizer gets, so after clipping: the bound holds the lengths of the steps, eta_t G_t, and nothing of what was cut off.

    Args:
        norms: of the earlier run, with about the base rate that the new one will have.
        optimizer: ``sgd`` (also with momentum) or ``adam`` (also AdamW, Lion and the like).
        tolerance: by what share of itself the rate on a straight line between two points may differ; below `LOW` of the peak, by that
            share of `LOW`. The default changes the bound by less than a thousandth.

    Raises:
        InputError: the tolerance is none, or there is no such optimizer.

    >>> from adaptive_lr.meta.norms import norms_of
    >>> refine(norms_of(range(100), [2.5] * 100)).schedule
    Points(u=(0.0, 1.0), m=(1.0, 0.0))
    """
    if not 0.0 < tolerance <= 0.1:
        raise InputError(f"the tolerance must lie in (0, 0.1], got {tolerance!r}")
    smoothed = smooth(norms.values)
    multipliers = refined_multipliers(smoothed, optimizer)
    kept = thinned(multipliers, tolerance * np.maximum(multipliers, LOW))
    places = progress(len(smoothed)).numpy()[kept]
    schedule = Points(u=tuple(places.tolist()), m=tuple(np.round(multipliers[kept], _DECIMALS).tolist()))
    return Refinement(
        schedule, smoothed, regret_bound(_weights(smoothed, optimizer), smoothed) / _linear_bound(smoothed)
    )


def smooth(norms: Array) -> Array:
    """G_t -> the median over 2 floor(0.1 T / 2) + 1 steps around t, ``[T]``.

    Before the beginning the first norm stands, beyond the end the norms come back as in a mirror that stands at the last one.
    """
    half = int(SMOOTHING * len(norms) / 2)
    if half == 0:
        return np.array(norms)
    padded = np.concatenate([np.full(half, norms[0]), norms, norms[-half - 1 : -1][::-1]])
    filtered: Array = median_filter(padded, 2 * half + 1)[half : half + len(norms)]
    return filtered


def refined_multipliers(norms: Array, optimizer: str = "sgd") -> Array:
    """m_t = w_t sum_{s=t+1}^{T} w_s over the largest of them, w_T = w_{T-1}; at t = 0 … T, so ``[T + 1]``, the last 0.

    An `InputError` says if there is no such optimizer.
    """
    weights = _weights(norms, optimizer)
    later = np.append(np.cumsum(np.append(weights[1:], weights[-1])[::-1])[::-1], 0.0)
    products = np.append(weights, 0.0) * later
    multipliers: Array = products / products.max()
    return multipliers


def regret_bound(weights: Array, norms: Array) -> float:
    """D G-bar: sqrt(sum w_t^2 G_t^2) / sum w_t, what the theorem bounds the loss after the last update with, at D = 1 and the best scale.

    E f(x_T) - f* <= (D^2 + sum w_t^2 G_t^2) / (2 sum w_t) for SGD with rates eta_t = w_t sum_{s>t} w_s / sum_s w_s (arXiv:2310.07831,
    theorem 3). w_t = G_t^-2 minimises it; constant w_t is the linear decay.
    """
    scaled = weights / weights.max()
    return float(np.sqrt(np.sum((scaled * norms) ** 2)) / np.sum(scaled))


def last_iterate_bound(multipliers: Array, norms: Array) -> float:
    """The last-iterate bound of any rates eta_t > 0 for norms G_t, at D = 1 and the best base rate.

    D^2/(2 S) + sum eta_t^2 G_t^2/(2 S) + 1/2 sum_k [eta_k / sum_{t>k} eta_t] [sum_{t>=k} eta_t^2 G_t^2 / sum_{t>=k} eta_t], S = sum eta_t
    (arXiv:2310.07831, section 6.2), minimised over a common factor of all rates.

    Args:
        multipliers: eta_t at the updates, ``[T]``; zeros at the end do nothing and are left out.
        norms: G_t, ``[T]``.

    Raises:
        InputError: the rates are 0 throughout.
    """
    used = np.flatnonzero(multipliers > 0.0)
    if not len(used):
        raise InputError("the rates are 0 throughout, so there is no bound")
    rates, lengths = multipliers[: used[-1] + 1], (multipliers * norms)[: used[-1] + 1]
    sums, squares = (np.cumsum(row[::-1])[::-1] for row in (rates, lengths**2))
    noise = squares[0] / sums[0] + np.sum(rates[:-1] / sums[1:] * squares[:-1] / sums[:-1])
    return float(np.sqrt(noise / sums[0]))


def thinned(values: Array, tolerances: Array) -> list[int]:
    """Indices between which straight lines stay within ``tolerances`` of all values, both ``[N]``: the ends, and where a line is furthest off.

    Douglas & Peucker 1973.
    """
    kept, open_pieces = {0, len(values) - 1}, [(0, len(values) - 1)]
    while open_pieces:
        start, end = open_pieces.pop()
        inner = np.arange(start + 1, end)
        line = values[start] + (values[end] - values[start]) * (inner - start) / max(end - start, 1)
        off = np.abs(values[start + 1 : end] - line) / tolerances[start + 1 : end]
        if len(off) and off.max() > 1.0:
            middle = start + 1 + int(np.argmax(off))
            kept.add(middle)
            open_pieces += [(start, middle), (middle, end)]
    return sorted(kept)


def _weights(norms: Array, optimizer: str) -> Array:
    if optimizer not in OPTIMIZERS:
        raise InputError(f"the optimizer must be {' or '.join(OPTIMIZERS)}, got {optimizer!r}")
    scaled = norms.min() / norms  # whose squares are numbers
    weights: Array = scaled**2 if optimizer == "sgd" else scaled
    return weights


def _linear_bound(norms: Array) -> float:
    return regret_bound(np.ones_like(norms), norms)

"""Which power a decay should have, from the recorded losses of two runs: the functional scaling law of Li et al. 2025."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from adaptive_lr.analysis.stats import Array
from adaptive_lr.errors import InputError
from adaptive_lr.schedules import Polynomial

BETAS = (1.05, 8.0)
"""Between these the capacity exponent is looked for."""

SOURCES = (0.05, 4.0)
"""Between these the source exponent is looked for."""

LEAST_POINTS = 12
WIDEST = 2.0
"""An interval whose ends are further apart than this factor, in 2 beta - 1, is no answer."""

LEVEL_CHI = 3.841
"""The 95 % quantile of chi squared with one degree of freedom."""

_BETA_COUNT, _SOURCE_COUNT, _SCALE_COUNT = 41, 13, 7
_PIECES = 200
_LOOKS = 100


@dataclass(frozen=True)
class LossCurve:
    """A recorded run.

    Attributes:
        steps: after how many updates a loss was taken, rising, at least 1 and at most T; ``[n]``.
        losses: finite; ``[n]``.
        rates: the learning rate of each update, ``[T]``, at least 0.
    """

    steps: Array
    losses: Array
    rates: Array

    def __post_init__(self) -> None:
        steps, losses, rates = (np.asarray(row, dtype=np.float64) for row in (self.steps, self.losses, self.rates))
        if steps.ndim != 1 or steps.shape != losses.shape or rates.ndim != 1:
            raise InputError(
                f"a curve needs as many losses as steps, and a row of rates, got shapes {steps.shape}, {losses.shape}, {rates.shape}"
            )
        if len(steps) < LEAST_POINTS:
            raise InputError(f"a curve needs at least {LEAST_POINTS} losses, got {len(steps)}")
        if not (np.isfinite(losses).all() and np.isfinite(rates).all() and (rates >= 0.0).all() and rates.any()):
            raise InputError("losses must be finite, and rates finite, at least 0 and not all of them 0")
        if (np.diff(steps) <= 0.0).any() or steps[0] < 1.0 or steps[-1] > len(rates):
            raise InputError(f"steps must rise, from at least 1 to at most the {len(rates)} steps that have a rate")


@dataclass(frozen=True)
class FunctionalLaw:
    """What was fitted.

    Attributes:
        beta: the capacity exponent, how slowly noise is forgotten; ``low`` and ``high`` the ends of its 95 % interval.
        low: see ``beta``.
        high: see ``beta``.
        source: s, how fast the signal is learnt.
        residual: root mean square of the residuals, in units of the loss.
    """

    beta: float
    low: float
    high: float
    source: float
    residual: float

    @property
    def power(self) -> float:
        """2 beta - 1: the power of the best decay (1 - u)^power in the easy regime."""
        return 2.0 * self.beta - 1.0

    @property
    def easy(self) -> bool:
        """Whether s >= 1 - 1/beta; otherwise the best schedule holds its peak and takes this decay only near the end."""
        return self.source >= 1.0 - 1.0 / self.beta

    def schedule(self) -> Polynomial:
        """The decay (1 - u)^(2 beta - 1): Li et al. 2026, arXiv:2602.06797."""
        return Polynomial(power=self.power)


def fit_functional_law(curves: Sequence[LossCurve]) -> FunctionalLaw:
    """L(t) = L0 + a F_s(S(t)/c) + b sum_{i<t} eta_i^2 F_(2 - 1/beta)((S(t) - S(i + 1))/c), S the sum of the rates so far.

    F_p(x) = p times the integral of l^(p - 1) exp(-l x) over l in [0, 1], which is 1 at 0 and falls like x^(-p): what a power-law spectrum up
    to 1/c has not forgotten after x. That is the law of Li et al. 2025, arXiv:2509.19189, with a constant level of noise. One set of L0, a, b >= 0, c, s and beta is fitted to
    all curves, by least squares: L0, a and b exactly (non-negative), the others on a grid and then by a simplex. The interval of beta is that of
    its profile likelihood, with as many independent points as the autocorrelation of the residuals leaves.

    Args:
        curves: two or more runs of one task under schedules that differ.

    Raises:
        InputError: there are fewer than two curves, their schedules are alike, or beta cannot be told from them.
    """
    if len(curves) < 2:
        raise InputError(f"beta is told by how runs under two schedules differ, got {len(curves)} curve")
    shapes = [
        np.interp(np.linspace(0, 1, 50), np.linspace(0, 1, len(c.rates)), c.rates / c.rates.max()) for c in curves
    ]
    if max(float(np.abs(shape - shapes[0]).max()) for shape in shapes) < 0.05:
        raise InputError("beta is told by how runs under two schedules differ, and these have the same schedule")
    pieces = [_pieces(curve) for curve in curves]
    losses = np.concatenate([np.asarray(curve.losses, dtype=np.float64) for curve in curves])
    longest = max(float(np.sum(curve.rates)) for curve in curves)
    profile, best = _profile(pieces, losses, longest)
    beta, source, scale = best
    coefficients, error = _solved(pieces, losses, beta, source, scale)
    points = _independent(coefficients, pieces, curves, losses, best)
    betas = _betas()
    inside = betas[points * np.log(np.maximum(profile, 1e-300) / max(error, 1e-300)) <= LEVEL_CHI]
    low, high = min(float(inside.min(initial=beta)), beta), max(float(inside.max(initial=beta)), beta)
    _refuse_unknown(coefficients, low, high)
    return FunctionalLaw(beta, low, high, source, float(np.sqrt(error / len(losses))))


def _betas() -> Array:
    return np.asarray(0.5 + 0.5 * np.geomspace(2 * BETAS[0] - 1, 2 * BETAS[1] - 1, _BETA_COUNT))


def _refuse_unknown(coefficients: Array, low: float, high: float) -> None:
    if coefficients[2] <= 0.0:
        raise InputError("beta is not identifiable: the losses show no noise that a falling rate would take away")
    betas = _betas()
    at_end = low <= betas[0] * 1.001 or high >= betas[-1] * 0.999
    if at_end or (2 * high - 1) / (2 * low - 1) > WIDEST:
        raise InputError(
            f"beta is not identifiable from these curves: its interval is {low:.2f} to {high:.2f}; take schedules that differ more, or less noisy losses"
        )


def _pieces(curve: LossCurve) -> tuple[Array, Array, Array]:
    """S at the recorded steps ``[n]``; what is left of S after each piece of the run ``[n, P]``; its sum of eta^2, 0 for later ones."""
    steps, rates = np.asarray(curve.steps), np.asarray(curve.rates, dtype=np.float64)
    sums, squares = (np.concatenate([[0.0], np.cumsum(row)]) for row in (rates, rates**2))
    reached = np.interp(steps, np.arange(len(sums)), sums)
    # A piece's end is dense where the kernel is steep: just before each recorded step.
    back = np.concatenate([[0.0], np.geomspace(1.0, len(rates), _PIECES)])
    edges = np.maximum(steps[:, None] - back, 0.0)
    at = np.arange(len(sums))
    weights = -np.diff(np.interp(edges, at, squares), axis=1)
    middle = 0.5 * (edges[:, 1:] + edges[:, :-1])
    left = reached[:, None] - np.interp(np.minimum(middle + 0.5, steps[:, None]), at, sums)
    return reached, np.maximum(left, 0.0), weights


def _features(pieces: Sequence[tuple[Array, Array, Array]], beta: float, source: float, scale: float) -> Array:
    signal = np.concatenate([_forgotten(reached / scale, source) for reached, _, _ in pieces])
    noise = np.concatenate(
        [(weights * _forgotten(left / scale, 2.0 - 1.0 / beta)).sum(1) for _, left, weights in pieces]
    )
    return np.stack([np.ones_like(signal), signal, noise], axis=1)


def _forgotten(time: Array, exponent: float) -> Array:
    """F_p(x) = p times the integral of l^(p - 1) exp(-l x) over l in [0, 1]; from a table in log(1e-3 + x), to 1e-4."""
    from scipy.special import gamma, gammainc

    logs = np.linspace(np.log(1e-3), np.log(1e-3 + max(float(time.max()), 1.0)), 400)
    at = np.maximum(np.exp(logs) - 1e-3, 1e-9)
    values = np.log(np.maximum(gammainc(exponent, at) * gamma(exponent + 1.0), 1e-300)) - exponent * np.log(at)
    return np.asarray(np.exp(np.interp(np.log(1e-3 + time), logs, values)))


def _solved(
    pieces: Sequence[tuple[Array, Array, Array]], losses: Array, beta: float, source: float, scale: float
) -> tuple[Array, float]:
    """L0, a, b and the sum of squared residuals."""
    from scipy.optimize import nnls

    features = _features(pieces, beta, source, scale)
    size = np.maximum(np.abs(features).max(0), 1e-300)
    shift = min(float(losses.min()), 0.0)
    coefficients, norm = nnls(features / size, losses - shift)
    return np.asarray(coefficients / size), float(norm**2)


def _profile(
    pieces: Sequence[tuple[Array, Array, Array]], losses: Array, longest: float
) -> tuple[Array, tuple[float, float, float]]:
    """The least sum of squares for each beta, ``[betas]``, and the best beta, source and scale."""
    from scipy.optimize import minimize

    sources, scales = np.geomspace(*SOURCES, _SOURCE_COUNT), longest * np.geomspace(1e-5, 0.1, _SCALE_COUNT)

    def error(beta: float, logs: Array) -> float:
        source, scale = np.exp(np.clip(logs, -30.0, 30.0))
        inside = SOURCES[0] <= source <= SOURCES[1] and 1e-7 * longest <= scale <= longest
        return _solved(pieces, losses, beta, float(source), float(scale))[1] if inside else float(losses @ losses)

    betas = _betas()
    half = len(betas) // 2
    starts = [np.log(pair) for pair in product(sources, scales)]
    near = {half: min(starts, key=lambda logs: error(float(betas[half]), logs))}
    profile: Array = np.zeros(len(betas))
    for index in [*range(half, len(betas)), *range(half - 1, -1, -1)]:
        start = near[half] if index == half else near[index - 1 if index > half else index + 1]
        at_beta = partial(error, float(betas[index]))
        fit = minimize(at_beta, start, method="Nelder-Mead", options={"maxiter": _LOOKS})
        profile[index], near[index] = float(fit.fun), fit.x
    best = int(np.argmin(profile))

    def free(values: Array) -> float:
        return error(float(np.clip(values[0], *BETAS)), values[1:])

    result = minimize(free, np.append(betas[best], near[best]), method="Nelder-Mead")
    source, scale = np.exp(result.x[1:])
    return profile, (float(np.clip(result.x[0], *BETAS)), float(source), float(scale))


def _independent(
    coefficients: Array,
    pieces: Sequence[tuple[Array, Array, Array]],
    curves: Sequence[LossCurve],
    losses: Array,
    best: tuple[float, float, float],
) -> float:
    """How many independent points the residuals amount to: n (1 - r)/(1 + r), r their autocorrelation from point to point."""
    residuals = losses - min(float(losses.min()), 0.0) - _features(pieces, *best) @ coefficients
    ends = np.cumsum([len(curve.losses) for curve in curves])[:-1]
    parts = np.split(residuals, ends)
    correlation = sum(float(part[1:] @ part[:-1]) for part in parts) / max(float(residuals @ residuals), 1e-300)
    correlation = float(np.clip(correlation, 0.0, 0.99))
    return len(losses) * (1.0 - correlation) / (1.0 + correlation)

"""How fast losses grow above the best rate, against the exponent that theory gives for the end of a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adaptive_lr.analysis.robustness import Sweep
from adaptive_lr.analysis.stats import Array, Places, mean_interval, seeds_interval

FROM, TO = 10.0, 1000.0
"""The slope is fitted between these multiples of the best rate: nearer to it every curve is flat, whatever its exponent."""

DEAD = 0.5
"""Rates at which more than this share of the loss before training is left are not fitted: there is no slope where nothing was learnt."""

LEAST = 0.9
"""Decades that must remain for a fit."""


def predicted(p: float) -> float:
    """1/(2p + 1): the slope of log excess against log rate for a schedule that ends like (1 - u)^p.

    Attia & Koren 2025, arXiv:2503.09411, for convex losses with bounded gradients on a bounded domain; a cosine-power has p = 2 exponent.

    >>> predicted(2.0)
    0.2
    """
    return 1.0 / (2.0 * p + 1.0)


def summarise(sweeps: Mapping[str, Sweep], tails: Mapping[str, float]) -> dict[str, Any]:
    """All numbers of a study.

    Args:
        sweeps: by schedule; same rates and seeds.
        tails: p of each.
    """
    rows = {label: _row(sweep, tails[label]) for label, sweep in sweeps.items()}
    fitted = {label: sweep for label, sweep in sweeps.items() if rows[label]["slope"] is not None}
    return {"schedules": rows, "agreement": _agreement(fitted, tails)}


def _row(sweep: Sweep, p: float) -> dict[str, Any]:
    excess, best = sweep.excess(), sweep.best
    low, high = mean_interval(excess.T)
    indices = fitted_places(sweep)
    slope = None
    if indices is not None:
        value = float(_slopes(sweep, indices, np.arange(len(excess))))
        ends = seeds_interval(lambda seeds: _slopes(sweep, indices, seeds), len(excess))
        slope = {
            "value": value,
            "low": ends[0],
            "high": ends[1],
            "to": float(sweep.rates[indices[-1]] / sweep.rates[best]),
        }
    at_ten = best + sweep.per_decade
    return {
        "p": p,
        "predicted": predicted(p),
        "slope": slope,
        "best_rate": float(sweep.rates[best]),
        "at_boundary": sweep.at_boundary,
        "best": {"value": float(excess[:, best].mean()), "low": float(low[best]), "high": float(high[best])},
        "ten_times": float(excess[:, at_ten].mean() / excess[:, best].mean()) if at_ten < len(sweep.rates) else None,
        "curve": {"mean": excess.mean(0).tolist(), "low": low.tolist(), "high": high.tolist()},
    }


def fitted_places(sweep: Sweep) -> Places | None:
    """The rates between ``FROM`` and ``TO`` times the best where every seed learnt something; None if too few decades remain."""
    best = sweep.best
    first = best + round(sweep.per_decade * np.log10(FROM))
    last = min(best + round(sweep.per_decade * np.log10(TO)), len(sweep.rates) - 1)
    indices = np.arange(first, last + 1)
    dead = sweep.report.max(0)[indices] - (sweep.optimum or 0.0) > DEAD * (sweep.initial - (sweep.optimum or 0.0))
    if dead.any():
        indices = indices[: int(np.argmax(dead))]
    enough = len(indices) > 1 and np.log10(sweep.rates[indices[-1]] / sweep.rates[indices[0]]) >= LEAST
    return indices if enough else None


def _slopes(sweep: Sweep, indices: Places, seeds: Places) -> Array:
    x = np.log(sweep.rates[indices])
    weights = (x - x.mean()) / np.square(x - x.mean()).sum()
    excess = sweep.excess()[:, indices]
    slopes: Array = np.log(np.maximum(excess[seeds].mean(-2), 1e-300)) @ weights
    return slopes


def _agreement(sweeps: Mapping[str, Sweep], tails: Mapping[str, float]) -> dict[str, Any] | None:
    """Rank correlation of predicted and measured slopes, and their mean ratio, with intervals over seeds; None below 4 schedules."""
    if len(sweeps) < 4:
        return None
    from scipy.stats import rankdata  # half a second to import

    theory = np.array([predicted(tails[label]) for label in sweeps])
    fitted = {label: fitted_places(sweep) for label, sweep in sweeps.items()}

    def measured(seeds: Places) -> Array:
        rows = [
            _slopes(sweep, indices, seeds) for label, sweep in sweeps.items() if (indices := fitted[label]) is not None
        ]
        return np.stack(rows, axis=-1)

    def rank(seeds: Places) -> Array:
        ranks = rankdata(measured(seeds), axis=-1)
        predicted_ranks = rankdata(theory)
        centred = (ranks - ranks.mean(-1, keepdims=True), predicted_ranks - predicted_ranks.mean())
        correlation: Array = (centred[0] * centred[1]).sum(-1) / np.sqrt(
            np.square(centred[0]).sum(-1) * np.square(centred[1]).sum()
        )
        return correlation

    def ratio(seeds: Places) -> Array:
        factor: Array = np.exp(np.log(np.maximum(measured(seeds), 1e-3) / theory).mean(-1))
        return factor

    seeds = len(next(iter(sweeps.values())).report)
    intervals = {}
    for name, statistic in {"rank_correlation": rank, "ratio": ratio}.items():
        low, high = seeds_interval(statistic, seeds)
        intervals[name] = {"value": float(statistic(np.arange(seeds))), "low": low, "high": high}
    return {**intervals, "schedules": len(sweeps)}

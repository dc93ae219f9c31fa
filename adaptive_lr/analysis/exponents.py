"""How fast losses grow above the best rate, against the exponent that theory gives for the end of a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adaptive_lr.analysis import paired
from adaptive_lr.analysis.robustness import Sweep, fitted
from adaptive_lr.analysis.stats import TINY, Array, Places, t_intervals

FROM, TO = 10.0, 1000.0
"""The slope is fitted between these multiples of the best rate: nearer to it every curve is flat, whatever its exponent."""

DEAD = 0.5
"""Rates at which more than this share of the loss before training is left are not fitted: there is no slope where nothing was learnt."""

LEAST = 0.9
"""Decades that must remain for a fit."""

ORDERED = 0.8
"""A correlation clearly above this counts as the order that theory says."""

CERTAIN = 1.0 - 1e-9
"""No correlation counts as nearer to 1."""

FISHER = "t on atanh of correlations, Holm"
"""The procedure of the verdict."""


def predicted(p: float) -> float:
    """1/(2p + 1): the slope of log excess against log rate for a schedule that ends like (1 - u)^p.

    Attia & Koren 2025, arXiv:2503.09411, for convex losses with bounded gradients on a bounded domain; a cosine-power has p = 2 exponent.

    >>> predicted(2.0)
    0.2
    """
    return 1.0 / (2.0 * p + 1.0)


def summarise(sweeps: Mapping[str, Sweep], tails: Mapping[str, float]) -> dict[str, Any]:
    """All numbers of a study, before the correction that `judge` makes.

    Args:
        sweeps: by schedule; same rates and repetitions.
        tails: p of each.
    """
    slopes = {label: _slopes(sweep) for label, sweep in sweeps.items()}
    rows = {label: _row(sweep, tails[label], slopes[label]) for label, sweep in sweeps.items()}
    measured = {label: slope[0] for label, slope in slopes.items() if slope is not None}
    return {"schedules": rows, "agreement": _agreement(measured, tails)}


def judge(studies: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Write the verdicts of all studies of an experiment, which are one family; how many, and of how many repetitions.

    Args:
        studies: what `summarise` returned, by name.
    """
    family = [study["agreement"]["order"] for study in studies.values() if study["agreement"] is not None]
    return {"verdicts": paired.judge(family), "repetitions": paired.repetitions(family)}


def _row(sweep: Sweep, p: float, slopes: tuple[Array, float] | None) -> dict[str, Any]:
    excess, fine = sweep.excess(), sweep.fine()
    mean, low, high = (np.exp(end) for end in t_intervals(paired.logarithms(excess.T))[:3])
    at_ten = sweep.choices() + sweep.per_decade
    inside = bool((at_ten < len(sweep.rates)).all())
    return {
        "p": p,
        "predicted": predicted(p),
        "slope": None if slopes is None else {**paired.estimate(slopes[0]), "to": slopes[1]},
        "best_rate": float(sweep.rates[sweep.best]),
        "at_boundary": sweep.at_boundary,
        "best": paired.geometric(fine),
        "ten_times": paired.geometric(sweep.reported(at_ten) / np.maximum(fine, TINY))["value"] if inside else None,
        "curve": {"mean": mean.tolist(), "low": low.tolist(), "high": high.tolist()},
    }


def fitted_places(sweep: Sweep, row: int) -> Places | None:
    """Of a repetition: the rates between ``FROM`` and ``TO`` times the one it chooses where its report seed learnt something.

    None if too few decades remain.
    """
    best = int(sweep.choices()[row])
    first = best + round(sweep.per_decade * np.log10(FROM))
    last = min(best + round(sweep.per_decade * np.log10(TO)), len(sweep.rates) - 1)
    indices = np.arange(first, last + 1)
    least = sweep.optimum or 0.0
    dead = sweep.report[row, indices] - least > DEAD * (sweep.initial - least)
    if dead.any():
        indices = indices[: int(np.argmax(dead))]
    enough = len(indices) > 1 and np.log10(sweep.rates[indices[-1]] / sweep.rates[indices[0]]) >= LEAST
    return indices if enough else None


def _slopes(sweep: Sweep) -> tuple[Array, float] | None:
    """The slope of each repetition, ``[R]``, and the least factor on its best rate up to which one is fitted; None if one cannot be."""
    places = [fitted_places(sweep, row) for row in range(len(sweep.report))]
    usable = [indices for indices in places if indices is not None]
    if len(usable) < len(places):
        return None
    excess, choices = sweep.excess(), sweep.choices()
    slopes = [fitted(sweep.rates[indices], excess[row, indices]) for row, indices in enumerate(usable)]
    up_to = [sweep.rates[indices[-1]] / sweep.rates[best] for indices, best in zip(usable, choices, strict=True)]
    return np.array(slopes), float(min(up_to))


def _agreement(slopes: Mapping[str, Array], tails: Mapping[str, float]) -> dict[str, Any] | None:
    """Correlation r of predicted and measured slopes, and their mean ratio, of each repetition; None below 4 schedules.

    Averaged and tested is Fisher's atanh r, which is nearly normal. A correlation of ranks, of which there are few, is not: where all repetitions
    agree its variance is zero, and with as few as 3 that came to a certain verdict in 6 % of studies without an order.
    """
    if len(slopes) < 4:
        return None
    theory = np.array([predicted(tails[label]) for label in slopes])
    measured = np.stack(list(slopes.values()), axis=-1)  # [R, schedules]
    centred, expected = measured - measured.mean(-1, keepdims=True), theory - theory.mean()
    scale = np.sqrt(np.square(centred).sum(-1) * np.square(expected).sum())
    correlation = np.clip((centred * expected).sum(-1) / np.maximum(scale, TINY), -CERTAIN, CERTAIN)
    transformed = np.arctanh(correlation)
    ratio = np.exp(np.log(np.maximum(measured, 1e-3) / theory).mean(-1))
    return {
        "correlation": {name: float(np.tanh(end)) for name, end in paired.estimate(transformed).items()},
        "ratio": paired.geometric(ratio),
        "schedules": len(slopes),
        "order": {
            **paired.t_interval(transformed - np.arctanh(ORDERED)),
            "n": len(correlation),
            "procedure": FISHER,
            "at_boundary": False,
            "words": ("loose", "ordered", "loose"),
        },
    }

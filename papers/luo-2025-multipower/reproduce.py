"""Measures for Luo et al. 2025: the multi-power law with the published parameters, and fitted here, on the authors' recorded curves."""

from __future__ import annotations

from dataclasses import astuple
from functools import lru_cache
from pathlib import Path

import numpy as np

from adaptive_lr.analysis.stats import Array
from adaptive_lr.meta.law_fit import Scores, fit_law, scores
from adaptive_lr.meta.laws import AbstractLaw, AnnealingLaw, MultiPowerLaw
from adaptive_lr.papers.language_models import FITTED, HELD_OUT, WARMUP, law_curve

PUBLISHED = {
    "25M": MultiPowerLaw(L0=3.0405, A=0.5247, alpha=0.5079, B=363.79, C=2.0656, beta=0.5828, gamma=0.6414),
    "100M": MultiPowerLaw(L0=2.6514, A=0.6012, alpha=0.4530, B=437.95, C=2.1325, beta=0.5979, gamma=0.6552),
}


def published_mae_25m(folder: Path) -> float:
    """Mean over six curves of the mean absolute error, 25M."""
    return _published(folder, "25M").mae


def published_rmse_25m(folder: Path) -> float:
    """Of the root mean square error."""
    return _published(folder, "25M").rmse


def published_r2_25m(folder: Path) -> float:
    """Of R2."""
    return _published(folder, "25M").r2


def published_prede_25m(folder: Path) -> float:
    """Of the mean relative error."""
    return _published(folder, "25M").relative


def published_worste_25m(folder: Path) -> float:
    """Of the worst relative error."""
    return _published(folder, "25M").worst


def published_mae_100m(folder: Path) -> float:
    """Mean over six curves of the mean absolute error, 100M."""
    return _published(folder, "100M").mae


def published_rmse_100m(folder: Path) -> float:
    """Of the root mean square error."""
    return _published(folder, "100M").rmse


def published_r2_100m(folder: Path) -> float:
    """Of R2."""
    return _published(folder, "100M").r2


def published_prede_100m(folder: Path) -> float:
    """Of the mean relative error."""
    return _published(folder, "100M").relative


def published_worste_100m(folder: Path) -> float:
    """Of the worst relative error."""
    return _published(folder, "100M").worst


def warmup_counts_in_the_drop(folder: Path) -> float:
    """By how much the mean prediction on the recorded cosine falls if the rate's increments during warm-up are left out, in nats."""
    law, curve = PUBLISHED["25M"], law_curve(folder, "25M", "cosine_72000")
    flat = curve.rates.copy()
    flat[:WARMUP] = curve.peak
    without = law.drop(flat, curve.steps)
    return float((without - law.drop(curve.rates, curve.steps)).mean())


def fitted_mae_25m(folder: Path) -> float:
    """The mean absolute error of our fit to three curves, on the six others, 25M."""
    return _fitted(folder, "25M", MultiPowerLaw).mae


def fitted_mae_100m(folder: Path) -> float:
    """The same for 100M."""
    return _fitted(folder, "100M", MultiPowerLaw).mae


def against_annealing_25m(folder: Path) -> float:
    """That error over the annealing law's, 25M."""
    return _fitted(folder, "25M", MultiPowerLaw).mae / _fitted(folder, "25M", AnnealingLaw).mae


def against_annealing_100m(folder: Path) -> float:
    """The same for 100M."""
    return _fitted(folder, "100M", MultiPowerLaw).mae / _fitted(folder, "100M", AnnealingLaw).mae


@lru_cache
def _published(folder: Path, size: str) -> Scores:
    curves = [law_curve(folder, size, name) for name in HELD_OUT]
    return _mean([scores(curve.losses, PUBLISHED[size].losses(curve.rates, curve.steps)) for curve in curves])


@lru_cache
def _fitted(folder: Path, size: str, kind: type[AbstractLaw]) -> Scores:
    fit = fit_law([law_curve(folder, size, name) for name in FITTED], kind, replicates=20)
    curves = [law_curve(folder, size, name) for name in HELD_OUT]
    return _mean([scores(curve.losses, fit.predict(curve.rates, curve.steps).losses) for curve in curves])


def _mean(rows: list[Scores]) -> Scores:
    means: Array = np.mean([astuple(row) for row in rows], axis=0)
    return Scores(*map(float, means))

"""Measures for Tissue et al. 2024: the annealing law, fitted to recorded curves of language models."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from adaptive_lr.meta.law_fit import Scores, fit_law, scores
from adaptive_lr.meta.laws import AbstractLaw, AnnealingLaw
from adaptive_lr.papers.language_models import FITTED, HELD_OUT, law_curve

LAW = AnnealingLaw(L0=3.0, A=0.5, alpha=0.5, C=1.0, forgetting=1e-3)
COSINES = ("cosine_24000", "cosine_72000")


def constant_rate_is_a_power_law() -> float:
    """The largest loss that annealing takes off while the rate stays."""
    return float(np.abs(LAW.drop(np.full(5000, 3e-4), np.arange(5000))).max())


def momentum_of_falls() -> float:
    """The largest distance of the law's drop from a literal double sum, a cosine of 300 steps."""
    rates = 1e-4 * (2.0 + np.cos(np.pi * np.arange(300) / 300))
    memory, drop, literal = 0.0, 0.0, []
    for step in range(300):
        memory = (1.0 - LAW.forgetting) * memory + (rates[step - 1] - rates[step] if step else 0.0)
        drop += memory
        literal.append(LAW.C * drop)
    return float(np.abs(LAW.drop(rates, np.arange(300)) - literal).max())


def relative_error_25m(folder: Path) -> float:
    """The mean relative error on six curves that the fit did not see, 25M."""
    return _held_out(folder, "25M").relative


def relative_error_100m(folder: Path) -> float:
    """The same for 100M."""
    return _held_out(folder, "100M").relative


def r2_25m(folder: Path) -> float:
    """The mean R2 on them, 25M."""
    return _held_out(folder, "25M").r2


def r2_100m(folder: Path) -> float:
    """The same for 100M."""
    return _held_out(folder, "100M").r2


def from_cosines_to_wsd_25m(folder: Path) -> float:
    """Fitted to two cosines, the mean absolute error on WSD, 25M."""
    return _wsd(folder, "25M", AnnealingLaw)


def from_cosines_to_wsd_100m(folder: Path) -> float:
    """The same for 100M."""
    return _wsd(folder, "100M", AnnealingLaw)


@lru_cache
def _held_out(folder: Path, size: str) -> Scores:
    fit = fit_law([law_curve(folder, size, name) for name in FITTED], AnnealingLaw, replicates=20)
    rows = []
    for name in HELD_OUT:
        curve = law_curve(folder, size, name)
        rows.append(scores(curve.losses, fit.predict(curve.rates, curve.steps).losses))
    names = ("r2", "mae", "rmse", "relative", "worst")
    return Scores(*(float(np.mean([getattr(row, name) for row in rows])) for name in names))


def _wsd(folder: Path, size: str, kind: type[AbstractLaw]) -> float:
    fit = fit_law([law_curve(folder, size, name) for name in COSINES], kind, replicates=20)
    curve = law_curve(folder, size, "wsd_20000_24000")
    return scores(curve.losses, fit.predict(curve.rates, curve.steps).losses).mae

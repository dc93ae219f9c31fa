"""Measures for Defazio et al. 2023: linear decay, and schedules refined from gradient norms."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from adaptive_lr.analysis.stats import Array
from adaptive_lr.meta.norms import norms_of
from adaptive_lr.meta.refinement import refine, refined_multipliers, regret_bound
from adaptive_lr.papers import Measured
from adaptive_lr.papers.language_models import losses_by_rate
from adaptive_lr.papers.training import final_losses, ratio, tuned
from adaptive_lr.schedules import Constant, DampedCosine, Linear
from adaptive_lr.tasks import AbstractTask, StreamingLeastAbsolute, StreamingLogistic
from adaptive_lr.training import SGD

COUNT = 2000
"""Steps of the synthetic norms."""
DRAWS = 200


def constant_norms_give_linear() -> float:
    """The largest distance from 1 - u of the schedule refined from constant norms."""
    multipliers = refined_multipliers(np.full(COUNT, 2.5))
    return float(np.abs(multipliers - np.linspace(1.0, 0.0, COUNT + 1)).max())


def worst_case_of_linear() -> float:
    """The bound of a linear decay for norms G = 1 and D = 1, times sqrt(T)."""
    return regret_bound(np.ones(COUNT), np.ones(COUNT)) * math.sqrt(COUNT)


def refined_is_the_formula() -> float:
    """The largest distance of the refined multipliers from a literal sum of weights, random norms."""
    norms = np.random.default_rng(0).uniform(0.5, 4.0, 300)
    weights = [1.0 / norm**2 for norm in norms]
    weights.append(weights[-1])
    literal = [weights[step] * sum(weights[step + 1 :]) for step in range(300)]
    ours = refined_multipliers(norms)[:300]
    return float(np.abs(ours - np.asarray(literal) / max(literal)).max())


def no_weights_are_better() -> float:
    """The bound of w = G^-2 over the least among 20 perturbed weights, the largest over draws of norms."""
    generator = np.random.default_rng(1)
    worst = 0.0
    for _ in range(DRAWS):
        norms = np.exp(generator.normal(0.0, 1.0, 50))
        best = regret_bound(norms**-2.0, norms)
        others = [
            regret_bound(norms**-2.0 * np.exp(generator.normal(0.0, spread, 50)), norms)
            for spread in np.geomspace(1e-3, 2.0, 20)
        ]
        worst = max(worst, best / min(others))
    return worst


def gain_is_the_means() -> float:
    """The promised gain over linear decay against 1 / sqrt(mean(G^2) mean(G^-2)), the larger over the smaller, smoothed norms."""
    result = refine(norms_of(np.arange(COUNT), _synthetic(1.0)))
    closed = 1.0 / math.sqrt(float((result.smoothed**2).mean() * (result.smoothed**-2.0).mean()))
    return max(result.gain / closed, closed / result.gain)


def falling_norms_give_warmup() -> float:
    """At which share of the run the schedule of norms that fall by 15 at first has its peak."""
    return float(np.argmax(refined_multipliers(_synthetic(1.0)))) / COUNT


def warmup_starts_low() -> float:
    """The multiplier of that schedule at the first step."""
    return float(refined_multipliers(_synthetic(1.0))[0])


def rising_norms_anneal_earlier() -> float:
    """The multiplier at nine tenths of the run where norms double towards the end; over that where they stay flat."""
    rising, flat = (refined_multipliers(_synthetic(end))[9 * COUNT // 10] for end in (2.0, 1.0))
    return float(rising / flat)


def falling_end_anneals_later() -> float:
    """The same where norms fall to .7 at the end."""
    falling, flat = (refined_multipliers(_synthetic(end))[9 * COUNT // 10] for end in (0.7, 1.0))
    return float(falling / flat)


def linear_against_cosine_recorded(folder: Path) -> float:
    """The recorded loss of linear decay minus that of the cosine, each at its best rate, 124M parameters, in nats."""
    losses = losses_by_rate(folder)
    return min(losses["linear"].values()) - min(losses["cosine to 0"].values())


def linear_against_cosine_on_absolute_loss(results: Path) -> Measured:
    """The excess of linear decay over the cosine's, each at its own best rate, bounded gradients."""
    losses = _trained("absolute", results)
    return ratio(losses[0], losses[1])


def linear_against_constant_on_absolute_loss(results: Path) -> Measured:
    """The same over that of a constant rate."""
    losses = _trained("absolute", results)
    return ratio(losses[0], losses[2])


def linear_against_cosine_on_logistic(results: Path) -> Measured:
    """As on the absolute loss, on logistic regression."""
    losses = _trained("logistic", results)
    return ratio(losses[0], losses[1])


def _synthetic(end: float) -> Array:
    """The authors' synthetic norms: 15 at first, 1 after a tenth of the run, ``end`` at its end; smoothed."""
    places = np.linspace(0.0, 1.0, COUNT)
    norms = np.interp(places, [0.0, 0.003, 0.02, 0.03, 0.1, 1.0], [15.0, 6.0, 4.0, 2.0, 1.0, end])
    smoothed: Array = gaussian_filter1d(norms, 40.0)
    return smoothed


@lru_cache
def _trained(name: str, results: Path) -> Array:
    """Of linear decay, cosine and a constant rate, ``[3, seeds]``."""
    tasks: dict[str, tuple[AbstractTask, float]] = {
        "absolute": (StreamingLeastAbsolute(), 0.03),
        "logistic": (StreamingLogistic(), 0.4),
    }
    task, low = tasks[name]
    rates = [float(f"{rate:.4g}") for rate in low * 10.0 ** (np.arange(13) / 8.0)]
    schedules = [Linear(), DampedCosine(), Constant()]
    losses = final_losses(schedules, rates, range(30), task=task, optimizer=SGD(), steps=600, results=results)
    return tuned(losses, 10)

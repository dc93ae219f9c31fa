"""Measures for Zhang & Li 2020: both forms of k-decay, and k trained on convex problems."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np

from adaptive_lr.analysis.bound import suffix_bound
from adaptive_lr.analysis.stats import Array
from adaptive_lr.meta.bound import last_iterate_bound
from adaptive_lr.papers import Measured
from adaptive_lr.papers.training import final_losses, ratio, tuned
from adaptive_lr.schedules import AdditiveKDecay, ClippedScheduleWarning, DampedCosine, Polynomial, table
from adaptive_lr.tasks import AbstractTask, StreamingLeastSquares, StreamingLogistic
from adaptive_lr.training import SGD

U = np.linspace(0.0, 1.0, 100_001)
SELECTION = 10
SEEDS = range(30)
STEPS = 500


def one_is_the_original() -> float:
    """The largest difference between k = 1, in both forms and of both bases, and the schedule without k."""
    pairs = [
        (DampedCosine(k=1.0), DampedCosine()),
        (AdditiveKDecay(k=1.0), DampedCosine()),
        (AdditiveKDecay(k=1.0, sign="plus"), DampedCosine()),
        (Polynomial(power=2.0, k=1.0), Polynomial(power=2.0)),
    ]
    return max(float((table([ours], 1000) - table([other], 1000)).abs().max()) for ours, other in pairs)


def substituted_halfway() -> float:
    """The multiplier of the substituted cosine with k = 3 at u = 1/2."""
    return DampedCosine(k=3.0).at(1, 2)


def printed_sign_is_negative() -> float:
    """The least value of the additive form with the sign in print, k = 3, before it is cut off."""
    return float(_additive(3.0, 1.0).min())


def printed_sign_five() -> float:
    """The same with k = 5."""
    return float(_additive(5.0, 1.0).min())


def other_sign_is_not_negative() -> float:
    """The least value over k = 1.5, 2, 3 and 5 with the other sign."""
    return min(float(_additive(k, -1.0).min()) for k in (1.5, 2.0, 3.0, 5.0))


def other_sign_exceeds_the_peak() -> float:
    """The largest value with the other sign, k = 3."""
    return float(_additive(3.0, -1.0).max())


def linear_base_needs_the_other_sign() -> float:
    """The largest distance of (1 - u) + (u - u^k) from the substituted 1 - u^k, k = 3; with the sign in print it is .77."""
    substituted = table([Polynomial(power=1.0, k=3.0)], 1000)[0].numpy()
    u = np.linspace(0.0, 1.0, 1001)
    return float(np.abs((1.0 - u) + (u - u**3.0) - substituted).max())


def share_cut_off() -> float:
    """The share of a run during which the schedule with the sign in print, k = 3, stands at 0 because it is cut off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClippedScheduleWarning)
        schedule = AdditiveKDecay(k=3.0, sign="plus")
    return float((table([schedule], 10_000)[0, :10_000] == 0.0).double().mean())


def exponent_substituted() -> float:
    """The exponent with which the suffix bound grows with the rate, substituted form, k = 3."""
    return suffix_bound(DampedCosine(k=3.0)).exponent()


def exponent_additive() -> float:
    """The same of the additive form with the other sign."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClippedScheduleWarning)
        return suffix_bound(AdditiveKDecay(k=3.0)).exponent()


def bound_rises_with_k() -> float:
    """Omega* with k = 3 over that of the cosine, T = 400."""
    return last_iterate_bound(DampedCosine(k=3.0)).best / last_iterate_bound(DampedCosine()).best


def k_above_one_on_least_squares(results: Path) -> Measured:
    """The excess loss with k = 1.5 over that of the cosine, each at its own best rate."""
    losses = _trained("squares", results)
    return ratio(losses[1], losses[0])


def k_above_one_on_logistic(results: Path) -> Measured:
    """The same on logistic regression."""
    losses = _trained("logistic", results)
    return ratio(losses[1], losses[0])


def three_on_logistic(results: Path) -> Measured:
    """The excess loss with k = 3 over that with k = 1.5, on logistic regression."""
    losses = _trained("logistic", results)
    return ratio(losses[2], losses[1])


def _additive(k: float, sign: float) -> Array:
    values: Array = 0.5 * (1.0 + np.cos(np.pi * U)) + sign * (U**k - U)
    return values


@lru_cache
def _trained(name: str, results: Path) -> Array:
    """Of k = 1, 1.5 and 3, ``[3, seeds]``."""
    tasks: dict[str, tuple[AbstractTask, float]] = {
        "squares": (StreamingLeastSquares(), 0.1),
        "logistic": (StreamingLogistic(), 0.4),
    }
    task, low = tasks[name]
    rates = [float(f"{rate:.4g}") for rate in low * 10.0 ** (np.arange(11) / 8.0)]
    schedules = [DampedCosine(k=k) for k in (1.0, 1.5, 3.0)]
    losses = final_losses(schedules, rates, SEEDS, task=task, optimizer=SGD(), steps=STEPS, results=results)
    return tuned(losses, SELECTION)

"""Measures for Pan, Ye & Zhang 2022: the eigencurve's formula, and the ordering of their table on ridge regression."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from adaptive_lr.analysis.bound import suffix_bound
from adaptive_lr.analysis.stats import Array
from adaptive_lr.papers import Measured
from adaptive_lr.papers.training import final_losses, ratio, tuned
from adaptive_lr.schedules import Constant, DampedCosine, Eigencurve, Exponential, InverseTime, table
from adaptive_lr.tasks import RidgeRegression
from adaptive_lr.training import SGD

TASK = RidgeRegression()
SHORT, LONG = TASK.examples, 5 * TASK.examples
"""Updates of one epoch and of five."""
FINE, COARSE = 1.1, 2.0
"""Bases of the stages, in which eigenvalues are counted; 2 is the theory's."""


def one_eigenvalue_is_inverse_time() -> float:
    """The largest difference from 1 / (1 + t), the optimal rates of one eigenvalue, 100 steps."""
    ours = table([Eigencurve(eigenvalues=(2.0,))], 100)[0].numpy()
    return float(np.abs(ours - 1.0 / (1.0 + np.arange(101))).max())


def formula_by_stages() -> float:
    """The largest difference from eta_0 / (a_i (t - t_i) + b_i), summed stage by stage, three stages of other densities."""
    eigenvalues, densities, steps = (1.0, 2.0, 4.0), (4.0, 1.0, 1.0), 400
    roots = np.sqrt(densities)
    ends = steps * np.cumsum(roots) / roots.sum()
    literal = []
    for step in range(steps + 1):
        passed, start = 0.0, 0.0
        for stage, end in enumerate(ends):
            passed += 2.0**stage / eigenvalues[-1] * max(0.0, min(step, end) - start)
            start = end
        literal.append(1.0 / (1.0 + passed))
    ours = table([Eigencurve(eigenvalues=eigenvalues, densities=densities)], steps)[0].numpy()
    return float(np.abs(ours - literal).max())


def condition_number() -> float:
    """Of the ridge problem that is trained here."""
    spectrum = TASK.spectrum()
    return max(spectrum) / min(spectrum)


def half_power_is_more_concave() -> float:
    """The multiplier of the cosine to the power 1/2 half way."""
    return DampedCosine(exponent=0.5).at(1, 2)


def half_power_exponent() -> float:
    """The exponent with which the suffix bound of that schedule grows with the rate."""
    return suffix_bound(DampedCosine(exponent=0.5)).exponent()


def one_epoch_against_constant(results: Path) -> Measured:
    """The excess loss with the eigencurve over that with a constant rate, each at its own best rate, one epoch."""
    losses = _trained(SHORT, results)
    return ratio(losses[0], losses[1])


def one_epoch_against_cosine(results: Path) -> Measured:
    """The same over the cosine's."""
    losses = _trained(SHORT, results)
    return ratio(losses[0], losses[2])


def five_epochs_against_constant(results: Path) -> Measured:
    """The same over that with a constant rate, five epochs."""
    losses = _trained(LONG, results)
    return ratio(losses[0], losses[1])


def five_epochs_against_cosine(results: Path) -> Measured:
    """The same over the cosine's, five epochs."""
    losses = _trained(LONG, results)
    return ratio(losses[0], losses[2])


def five_epochs_against_exponential(results: Path) -> Measured:
    """The same over that of an exponential decay, the better of two ends, five epochs."""
    losses = _trained(LONG, results)
    return ratio(losses[0], np.minimum(losses[3], losses[4]))


def five_epochs_against_inverse_time(results: Path) -> Measured:
    """The same over that of an inverse-time decay, five epochs."""
    losses = _trained(LONG, results)
    return ratio(losses[0], losses[5])


def finer_stages_against_cosine(results: Path) -> Measured:
    """The same with stages in which eigenvalues differ by 1.1 at most, over the cosine's, five epochs."""
    losses = _trained(LONG, results)
    return ratio(losses[6], losses[2])


@lru_cache
def _trained(steps: int, results: Path) -> Array:
    """Of eigencurve, constant, cosine, two exponentials, inverse time and the eigencurve of finer stages, ``[7, seeds]``."""
    schedules = [
        Eigencurve(eigenvalues=TASK.spectrum(), beta=COARSE),
        Constant(),
        DampedCosine(),
        Exponential(rate=3.0),
        Exponential(rate=5.0),
        InverseTime(rate=30.0),
        Eigencurve(eigenvalues=TASK.spectrum(), beta=FINE),
    ]
    rates = [float(f"{rate:.4g}") for rate in 0.001 * 10.0 ** (np.arange(9) / 4.0)]
    losses = final_losses(schedules, rates, range(12), task=TASK, optimizer=SGD(), steps=steps, results=results)
    return tuned(losses, 4)

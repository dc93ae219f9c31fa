"""Measures for Loshchilov & Hutter 2017: the cosine, its restarts, and the cosine against drops in training."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts, LRScheduler

from adaptive_lr.analysis.stats import Array
from adaptive_lr.meta.bound import last_iterate_bound
from adaptive_lr.papers import Measured
from adaptive_lr.papers.training import final_losses, ratio, tuned
from adaptive_lr.schedules import DampedCosine, Restarts, Step, table
from adaptive_lr.tasks import AbstractTask, StreamingLeastSquares, StreamingLogistic
from adaptive_lr.training import SGD

STEPS = 150
FIRST = 10
SGDR = Restarts(then=DampedCosine(), steps=FIRST, mult=2)
DROPS = Step(milestones=(0.3, 0.6, 0.8), factor=0.2)
"""The default of Wide ResNets that the paper starts from: by 5 after 60, 120 and 160 of 200 epochs."""


def halfway() -> float:
    """Eq. 5 half way through a cycle."""
    return DampedCosine().at(1, 2)


def with_a_lowest_rate() -> float:
    """Eq. 5 half way with eta_min = 0.2 eta_max."""
    return DampedCosine(floor=0.2).at(1, 2)


def agrees_with_torch() -> float:
    """The largest difference from torch's own cosine over 1000 steps."""
    return _difference(DampedCosine(), 1000, lambda optimizer: CosineAnnealingLR(optimizer, T_max=1000))


def restarts_agree_with_torch() -> float:
    """The largest difference from torch's own restarts over 150 steps, T_0 = 10, T_mult = 2."""
    return _difference(SGDR, STEPS, lambda optimizer: CosineAnnealingWarmRestarts(optimizer, FIRST, T_mult=2))


def second_restart() -> float:
    """The step of the second restart with T_0 = 10 and T_mult = 2."""
    return float(_restarts()[1])


def last_restart() -> float:
    """The step of the last restart within 150 steps."""
    return float(_restarts()[-1])


def full_rate_after_a_restart() -> float:
    """The least rate at the step of a restart."""
    rates = table([SGDR], STEPS)[0].numpy()
    return float(rates[_restarts()].min())


def restart_in_the_bound() -> float:
    """Omega* of cosines restarted at 10, 30 and 70 over that of one cosine of 150 steps: what the restarts before the end cost."""
    return last_iterate_bound(SGDR, STEPS).best / last_iterate_bound(DampedCosine(), STEPS).best


def cosine_against_drops_on_least_squares(results: Path) -> Measured:
    """The excess loss of the cosine over that of three drops, each at its own best rate."""
    losses = _trained("squares", results)
    return ratio(losses[0], losses[1])


def cosine_against_drops_on_logistic(results: Path) -> Measured:
    """The same on logistic regression."""
    losses = _trained("logistic", results)
    return ratio(losses[0], losses[1])


def restarts_against_cosine(results: Path) -> Measured:
    """The excess loss after three restarts over that of one cosine of the same length, least squares."""
    losses = _trained("squares", results)
    return ratio(losses[2], losses[0])


def _restarts() -> list[int]:
    rates = table([SGDR], STEPS)[0, :STEPS].numpy()
    return [int(step) for step in np.flatnonzero(np.diff(rates) > 0.0) + 1]


def _difference(schedule: DampedCosine | Restarts, steps: int, make: object) -> float:
    assert callable(make)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    assert isinstance(scheduler, LRScheduler)
    ours, largest = table([schedule], steps)[0], 0.0
    for step in range(steps):
        largest = max(largest, abs(optimizer.param_groups[0]["lr"] - float(ours[step])))
        optimizer.step()
        scheduler.step()
    return largest


@lru_cache
def _trained(name: str, results: Path) -> Array:
    """Of the cosine, the drops and cosines restarted three times, ``[3, seeds]``."""
    tasks: dict[str, tuple[AbstractTask, float]] = {
        "squares": (StreamingLeastSquares(), 0.1),
        "logistic": (StreamingLogistic(), 0.4),
    }
    task, low = tasks[name]
    rates = [float(f"{rate:.4g}") for rate in low * 10.0 ** (np.arange(11) / 8.0)]
    restarted = Restarts(then=DampedCosine(), steps=40, mult=2)  # at 40, 120 and 280 of 600 steps
    losses = final_losses(
        [DampedCosine(), DROPS, restarted], rates, range(30), task=task, optimizer=SGD(), steps=600, results=results
    )
    return tuned(losses, 10)

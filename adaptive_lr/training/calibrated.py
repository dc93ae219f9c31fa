"""The calibrated default: one rate, one warm-up and one schedule for each optimizer, chosen on development tasks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from adaptive_lr.schedules import SCHEDULES, AbstractSchedule
from adaptive_lr.spec import decode, lookup
from adaptive_lr.training.optimizers import OPTIMIZERS, AbstractOptimizer

FILE = Path(__file__).with_name("calibrated.json")
"""What ``benchmarks/calibrate.py`` found, with the tasks, seeds and versions that it comes from."""


@dataclass(frozen=True)
class Calibrated:
    """What somebody would take who tunes nothing.

    Attributes:
        optimizer: the optimizer that it was chosen for.
        rate: the base rate.
        schedule: with its warm-up, if there is one.
        penalty: the mean over development tasks of what it loses against the best setting of each, in [0, 1].
        tasks: the names of these tasks.
    """

    optimizer: AbstractOptimizer
    rate: float
    schedule: AbstractSchedule
    penalty: float
    tasks: tuple[str, ...]


def calibrated_default(optimizer: str) -> Calibrated:
    """The calibrated default of ``sgd``, which is SGD with momentum 0.9, or of ``adamw``; a `SpecError` for others.

    The setting with the least mean penalty on development tasks: random convex problems and networks with indices in ``DEVELOPMENT``, characters,
    digits and MNIST-1D. Kasimbeg, Roulet, …, Dahl 2025, arXiv:2505.24005, found methods without a learning rate behind such a
    baseline: whoever claims that the rate need not be tuned has to beat it.
    """
    known = _read()
    found = known["optimizers"][lookup(optimizer, known["optimizers"], "optimizer with a calibrated default")]
    schedule, chosen = decode(found["schedule"], SCHEDULES), decode(found["optimizer"], OPTIMIZERS)
    assert isinstance(schedule, AbstractSchedule)
    assert isinstance(chosen, AbstractOptimizer)
    return Calibrated(chosen, found["rate"], schedule, found["penalty"], tuple(known["tasks"]))


@cache
def _read() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found

"""A trial, the unit of work: one task trained once; and what comes out of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import torch

from adaptive_lr.controllers import CONTROLLERS, AbstractController, Static
from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import SCHEDULES, AbstractSchedule, Constant
from adaptive_lr.spec import Spec, canonical_json, choice, component, number, spec
from adaptive_lr.tasks import TASKS, AbstractTask
from adaptive_lr.training.optimizers import OPTIMIZERS, AbstractOptimizer
from adaptive_lr.training.tuning import TUNINGS, AbstractTuning, AsGiven, RateHalving

NUMERICS = 5
"""Raised whenever the same trial gives other numbers than before, so that stored results are not mistaken for new ones."""

WINDOWS = 40
"""Points on a stored curve of the training loss."""

MONITOR_EVERY = 4
"""The selection metric is measured at every fourth of them, since it costs a pass over the validation data."""


@spec
class Trial(Spec):
    """``steps`` updates of ``task`` with ``optimizer``, at rate ``base_lr`` times ``schedule`` under ``controller``, seeded by ``seed``.

    With ``tuning`` `RateHalving` the rate is found within these steps, from ``base_lr`` upwards.
    """

    kind = "trial"
    task: AbstractTask = component(AbstractTask)
    schedule: AbstractSchedule = component(AbstractSchedule)
    optimizer: AbstractOptimizer = component(AbstractOptimizer)
    controller: AbstractController = component(AbstractController, default=Static())
    base_lr: float = number("(0, inf)")
    steps: int = number("[1, inf)", integer=True)
    seed: int = number("[0, 4294967295]", integer=True)
    dtype: str = choice(("float32", "float64"), default="float32")
    tuning: AbstractTuning = component(AbstractTuning, default=AsGiven(), added=True)

    def check(self) -> None:
        """A controller needs an optimizer whose rate it may set, and so does a schedule.

        Raises:
            SpecError: the optimizer sets its own, or there are too few steps to find one.
        """
        if self.optimizer.sets_rate and not isinstance(self.controller, Static):
            raise SpecError(f"{type(self.optimizer).__name__} sets its own steps: use it without a controller")
        if isinstance(self.tuning, RateHalving):
            self.tuning.rungs(self.steps)
            if not isinstance(self.controller, Static) or self.optimizer.searches:
                raise SpecError(
                    "RateHalving finds the rate: use it without a controller, and with an optimizer that does not search"
                )
        if self.optimizer.searches and self.schedule != Constant():
            raise SpecError(f"{self.optimizer!r} writes its rates itself: use it with schedule=Constant()")

    def digest(self) -> str:
        """The trial's identity in the store: its JSON and the version of the numerics."""
        return hashlib.sha256(f"{NUMERICS}:{canonical_json(self)}".encode()).hexdigest()[:32]

    @property
    def torch_dtype(self) -> torch.dtype:
        """The precision of the training."""
        return torch.float64 if self.dtype == "float64" else torch.float32


KINDS: tuple[type[Spec], ...] = (*SCHEDULES, *CONTROLLERS, *TASKS, *OPTIMIZERS, *TUNINGS, Trial)
"""Every spec that can stand in the JSON of a trial."""


class Status(StrEnum):
    """How a trial ended."""

    OK = "ok"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class RunResult:
    """What a finished trial leaves behind.

    Attributes:
        trial: what was run.
        status: ``diverged`` once a loss was not finite.
        stopped_at: the first step with a loss that was not finite, or None.
        initial: the metrics before the first update.
        metrics: the metrics after the last one; NaN for a trial that diverged.
        curves: ``step``, ``train_loss`` (mean over the steps since the last point) and the selection metric (NaN where it
            was not measured), each of shape ``[WINDOWS]`` or shorter, NaN from divergence on. Under a controller also
            ``control/step``, ``control/multiplier`` and the controller's own numbers at those steps.
        seconds: the trial's share of the processor time that its batch took.
    """

    trial: Trial
    status: Status
    stopped_at: int | None
    initial: dict[str, float]
    metrics: dict[str, float]
    curves: dict[str, np.ndarray] = field(compare=False)
    seconds: float = field(default=0.0, compare=False)


def window_ends(steps: int) -> list[int]:
    """The numbers of updates after which a point of the curves is taken; the last is ``steps``."""
    count = min(WINDOWS, steps)
    return [(index + 1) * steps // count for index in range(count)]


def monitored(point: int, points: int) -> bool:
    """Whether the selection metric is measured at a point of the curve; always at the last."""
    return (points - 1 - point) % MONITOR_EVERY == 0


def half_of(examples: int) -> int:
    """The size of half a minibatch.

    Raises:
        SpecError: it cannot be halved.
    """
    if examples % 2:
        raise SpecError(f"a controller that reads the gradient noise needs minibatches of even size, got {examples}")
    return examples // 2

"""What is started at every rate of a window, and on which tasks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.controllers import AbstractController, Static
from adaptive_lr.errors import ExperimentError
from adaptive_lr.experiment.base import geometric_grid
from adaptive_lr.experiment.protocol import ProtocolTask
from adaptive_lr.schedules import AbstractSchedule, DampedCosine
from adaptive_lr.tasks import AbstractTask
from adaptive_lr.training import AbstractOptimizer, AsGiven, Peer, Trial
from adaptive_lr.training.tuning import AbstractTuning

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RateStudy:
    """One task with one optimizer and horizon, on one window of starting rates; every seed is reported, none is for tuning.

    Attributes:
        name: of the study.
        task: what is trained.
        optimizer: its optimizer.
        steps: T.
        low: the lowest starting rate.
        high: the highest one.
        seeds: all are reported.
        dtype: in which it is trained.
        area: under which it is counted together with others; its name if there is none.
        factor: the horizon as a multiple of the task's own.
    """

    name: str
    task: AbstractTask
    optimizer: AbstractOptimizer
    steps: int
    low: float
    high: float
    seeds: range
    dtype: str = "float32"
    area: str = ""
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ExperimentError(f"study {self.name}: seeds must not be empty")
        geometric_grid(self.low, self.high, 1)

    @classmethod
    def of(cls, protocol: ProtocolTask, factor: float, seeds: range) -> RateStudy:
        """A task of the protocol at a multiple of its horizon; its name has the steps in it."""
        steps = max(1, round(protocol.steps * factor))
        return cls(
            name=f"{protocol.name} T={steps}",
            task=protocol.task,
            optimizer=protocol.optimizer,
            steps=steps,
            low=protocol.low,
            high=protocol.high,
            seeds=seeds,
            dtype=protocol.dtype,
            area=protocol.area,
            factor=factor,
        )

    def small(self, *, first: bool = False) -> RateStudy:
        """The same, small: three starts below the highest, one seed.

        The first of an experiment has two seeds, so that there are intervals, and is long enough for what controllers do after their windows,
        of 40 steps by default.
        """
        high = self.high / 10.0 if self.high > 150.0 * self.low else self.high
        steps, seeds = (200, 2) if first else (30, 1)
        low = max(self.low, high / 100.0)
        return replace(self, steps=min(self.steps, steps), low=low, high=high, seeds=self.seeds[:seeds])

    @property
    def title(self) -> str:
        """The task and the optimizer in few words."""
        return f"{self.task.label}, {'SGD' if self.optimizer.kind == 'sgd' else 'AdamW'}"


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """What is started at every rate.

    Attributes:
        schedule: the schedule.
        controller: what modulates it.
        per_decade: starting rates a decade.
        optimizer: another one than the study's.
        rates: starting rates of its own, if the study's window means nothing to its optimizer.
        studies: the names of the studies it takes part in; all if empty.
        tuning: how it finds its rate within a trial, if it does; it then begins at the low end of the window alone.
    """

    schedule: AbstractSchedule = field(default_factory=DampedCosine)
    controller: AbstractController = field(default_factory=Static)
    per_decade: int = 1
    optimizer: AbstractOptimizer | None = None
    rates: tuple[float, ...] = ()
    studies: tuple[str, ...] = ()
    tuning: AbstractTuning = field(default_factory=AsGiven)

    def grid(self, study: RateStudy) -> Array:
        """Its starting rates in a study."""
        if self.tuning.searches:
            return np.array([study.low])
        return np.asarray(self.rates) if self.rates else geometric_grid(study.low, study.high, self.per_decade)

    def trials(self, study: RateStudy) -> list[list[Trial]]:
        """``[rate][seed]``."""
        return [[self._trial(study, float(rate), seed) for seed in study.seeds] for rate in self.grid(study)]

    def _trial(self, study: RateStudy, rate: float, seed: int) -> Trial:
        return Trial(
            task=study.task,
            schedule=self.schedule,
            controller=self.controller,
            optimizer=self.optimizer or study.optimizer,
            base_lr=float(f"{rate:.12g}"),
            steps=study.steps,
            seed=seed,
            dtype=study.dtype,
            tuning=self.tuning,
        )

    @property
    def unavailable(self) -> str:
        """Why it cannot be run here, or nothing."""
        return (self.optimizer.unavailable() or "") if isinstance(self.optimizer, Peer) else ""

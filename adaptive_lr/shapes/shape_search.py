"""What is searched when the shape of a schedule is, on which task, and by which measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import AbstractSchedule
from adaptive_lr.search.space import Point, Space, SpaceLike
from adaptive_lr.shapes.losses import OBJECTIVES, Objective
from adaptive_lr.spec import encode, lookup
from adaptive_lr.tasks import AbstractTask
from adaptive_lr.training import AbstractOptimizer, Trial

BASE_LR = "base_lr"
"""In a space, this is the base rate itself: then it is searched like the rest, and not factored out."""


@dataclass(frozen=True, kw_only=True)
class ShapeSearch:
    """What is searched, on what.

    Attributes:
        task: that every shape is trained on.
        optimizer: with which.
        schedule: whose numbers are searched; those that the space does not name stay as they are.
        steps: of training.
        rates: the grid of base rates that each shape is tried at, ascending by a constant factor.
        selection_seeds: that the search sees.
        report_seeds: that it does not see, on which the winner is judged.
        objective: ``best``: the least mean loss over the rates; ``worst``, ``mean``: the worst or mean loss over the rates
            within ``window`` of that best one; ``best and worst``: both, as two objectives.
        window: a factor; rates outside the grid count as no training at all, so a shape gains nothing at its edge.
        space: by default the ranges that ``schedule`` declares.
        together: how many shapes are asked for and trained at once.
        dtype: of the training.
        pruner: halving, or None. A ninth and a third of the way the best third of the shapes of a round goes on, by the objective
            as it stands there, and the others leave the batch.

    A loss on the way favours shapes that decay early, so halving is for a rough look: over five searches of 32 damped cosines, digits
    with a perceptron took 0.33 of the processor time, and the winner's loss on other seeds was 1.03 (1.01 to 1.23) of that without
    halving, worse beyond the interval in all five. With logistic regression on a stream, where drawing minibatches costs as much as
    the updates, it took 0.96 of the time, and the loss was 1.27 (1.05 to 1.67), worse in four (``benchmarks/search_cost.py``).
    """

    task: AbstractTask
    optimizer: AbstractOptimizer
    schedule: AbstractSchedule
    steps: int
    rates: tuple[float, ...]
    selection_seeds: range
    report_seeds: range
    objective: Objective = "best"
    window: float = 10.0
    space: SpaceLike | None = None
    together: int = 16
    dtype: str = "float32"
    pruner: Literal["halving"] | None = None

    def __post_init__(self) -> None:
        lookup(self.objective, OBJECTIVES, "objective")
        if not self.selection_seeds or not self.report_seeds:
            raise SpecError("selection_seeds and report_seeds must not be empty")
        if set(self.selection_seeds) & set(self.report_seeds):
            raise SpecError("selection_seeds and report_seeds must be disjoint")
        steps = np.diff(np.log(np.asarray(self.rates, dtype=np.float64))) if all(r > 0 for r in self.rates) else None
        if not self.rates or steps is None or (len(steps) and (steps.min() <= 0 or np.ptp(steps) > 1e-6)):
            raise SpecError("rates must be above 0 and ascend by a constant factor")
        if self.window < 1.0:
            raise SpecError(f"window must be a factor of at least 1, got {self.window:g}")
        known = self.schedule.leaves()
        for name in self.searched.axes:
            if name not in known and name != BASE_LR:
                raise SpecError(f"{self.schedule!r} has no number {name!r}; it has {', '.join(known)}")
        if BASE_LR in self.searched.axes and self.objective != "best":
            raise SpecError(f"with {BASE_LR} in the space there is one rate, so the objective can only be 'best'")
        if self.pruner is None:
            return
        lookup(self.pruner, ["halving"], "pruner")
        if self.objective == "best and worst":
            raise SpecError(f"pruner {self.pruner!r} needs a single objective, got {self.objective!r}")
        if not self.optimizer.batched:
            raise SpecError(
                f"pruner {self.pruner!r} is for trials in batches, and {self.optimizer!r} has them one by one"
            )

    @property
    def searched(self) -> Space:
        """The space."""
        return Space.read(self.schedule if self.space is None else self.space)

    @property
    def reach(self) -> int:
        """How many rates of the grid to either side of the best one lie within the window."""
        if len(self.rates) < 2:
            return 0
        return math.floor(math.log(self.window) / math.log(self.rates[1] / self.rates[0]) + 1e-6)

    def shape(self, point: Point) -> AbstractSchedule:
        """The schedule at a point."""
        return self.schedule.with_leaves({name: value for name, value in point.items() if name != BASE_LR})  # type: ignore[misc]

    def grid(self, point: Point) -> tuple[float, ...]:
        """The rates that a point is tried at."""
        rate = point.get(BASE_LR)
        return self.rates if rate is None else (float(rate),)

    def trials(
        self, schedule: AbstractSchedule, seeds: Sequence[int], rates: Sequence[float] | None = None
    ) -> list[list[Trial]]:
        """The trials of a schedule, ``[seed][rate]``."""
        return [
            [
                Trial(
                    task=self.task,
                    schedule=schedule,
                    optimizer=self.optimizer,
                    base_lr=float(f"{rate:.12g}"),
                    steps=self.steps,
                    seed=seed,
                    dtype=self.dtype,
                )
                for rate in (self.rates if rates is None else rates)
            ]
            for seed in seeds
        ]

    def identity(self) -> dict[str, Any]:
        """What tells this search from another one, apart from the plan."""
        return {
            "task": encode(self.task),
            "optimizer": encode(self.optimizer),
            "schedule": encode(self.schedule),
            "steps": self.steps,
            "rates": list(self.rates),
            "selection_seeds": list(self.selection_seeds),
            "objective": self.objective,
            "window": self.window,
            "dtype": self.dtype,
        }

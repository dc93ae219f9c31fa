"""What is searched when the shape of a schedule is, on which task, and by which measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import AbstractSchedule
from adaptive_lr.search.pruning import rungs
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
        report_seeds: that it does not see, on which the winner is judged: two a repetition, one to choose rates and one to
            report; of an odd number one is left over.
        objective: ``best``: the least mean loss over the rates; ``worst``, ``mean``: the worst or mean loss over the rates
            within ``window`` of that best one; ``best and worst``: both, as two objectives; ``grids``: the expected loss on a grid of
            a random ratio and offset (`adaptive_lr.analysis.baselines.expected`), which needs six rates a decade, or a multiple.
        window: a factor; rates outside the grid count as no training at all, so a shape gains nothing at its edge.
        space: by default the ranges that ``schedule`` declares.
        together: how many shapes are asked for and trained at once.
        dtype: of the training.
        pruner: halving, or None: runs of T/9 steps for all shapes of a round, of T/3 for the best third, and of T for the best third of
            those. Each is a whole run, its schedule from beginning to end, at every rate of the grid.

    What halving saves and costs is measured in ``benchmarks/search_cost.py``.
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
        if self.objective == "grids" and (self.per_decade == 0 or len(self.rates) <= 2 * self.per_decade):
            raise SpecError(
                "objective 'grids' needs 6 rates a decade, or a multiple of 6, over at least two decades, got "
                f"{len(self.rates)} rates from {self.rates[0]:g} to {self.rates[-1]:g}"
            )
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
        for rung in rungs(self.steps):
            try:
                self.schedule.resolve(rung)
            except SpecError as error:
                raise SpecError(f"pruner {self.pruner!r} compares whole runs of {rung} steps, but {error}") from None

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

    @property
    def per_decade(self) -> int:
        """Rates of the grid a decade, if that is a multiple of 6, of which grids of the four ratios can be taken; else 0."""
        if len(self.rates) < 2:
            return 0
        rates = (len(self.rates) - 1) / math.log10(self.rates[-1] / self.rates[0])
        return 6 * round(rates / 6) if abs(rates - 6 * round(rates / 6)) < 1e-6 * rates else 0

    def shape(self, point: Point) -> AbstractSchedule:
        """The schedule at a point."""
        return self.schedule.with_leaves({name: value for name, value in point.items() if name != BASE_LR})  # type: ignore[misc]

    def grid(self, point: Point) -> tuple[float, ...]:
        """The rates that a point is tried at."""
        rate = point.get(BASE_LR)
        return self.rates if rate is None else (float(rate),)

    def trials_at(self, point: Point, steps: int) -> list[list[Trial]]:
        """The trials of a point in runs of so many steps, ``[selection seed][rate]``."""
        return self.trials(self.shape(point), self.selection_seeds, self.grid(point), steps)

    def trials(
        self,
        schedule: AbstractSchedule,
        seeds: Sequence[int],
        rates: Sequence[float] | None = None,
        steps: int | None = None,
    ) -> list[list[Trial]]:
        """The trials of a schedule, ``[seed][rate]``, by default at the rates and with the steps of the search."""
        return [
            [
                Trial(
                    task=self.task,
                    schedule=schedule,
                    optimizer=self.optimizer,
                    base_lr=float(f"{rate:.12g}"),
                    steps=self.steps if steps is None else steps,
                    seed=seed,
                    dtype=self.dtype,
                )
                for rate in (self.rates if rates is None else rates)
            ]
            for seed in seeds
        ]

    def identity(self) -> dict[str, Any]:
        """What tells this search from another one, apart from the plan."""
        rounds = (
            {} if self.pruner is None else {"halving": "whole short runs"}
        )  # earlier versions compared losses on the way
        return {
            **rounds,
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

"""Search the fields of a schedule on a built-in task, each shape at its own best rate, many shapes trained together.

The base rate is factored out: a shape is trained at every rate of a grid, and what the search is told is its loss at the best of
them, or its worst or mean loss when the rate is wrong by up to some factor. So a shape cannot win by fitting one rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.errors import RunError, SpecError
from adaptive_lr.runner import run_batch, run_trials
from adaptive_lr.schedules import AbstractSchedule
from adaptive_lr.search.executor import ProcessPool
from adaptive_lr.search.function import run_plan
from adaptive_lr.search.plan import Direction, Plan
from adaptive_lr.search.result import SearchResult
from adaptive_lr.search.samplers import SamplerName
from adaptive_lr.search.space import Point, Space, SpaceLike
from adaptive_lr.search.study import Progress
from adaptive_lr.search.task import Outcome, Task
from adaptive_lr.spec import encode, lookup
from adaptive_lr.store import Record, Store
from adaptive_lr.tasks import AbstractTask
from adaptive_lr.training import AbstractOptimizer, RunResult, Trial

Objective = Literal["best", "worst", "mean", "best and worst"]
OBJECTIVES: tuple[Objective, ...] = ("best", "worst", "mean", "best and worst")
BASE_LR = "base_lr"
"""In a space, this is the base rate itself: then it is searched like the rest, and not factored out."""

Array = NDArray[np.float64]


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


def search_shapes(
    shapes: ShapeSearch,
    *,
    trials: int,
    directory: Path,
    store: Store,
    workers: int = 1,
    sampler: SamplerName = "tpe",
    seed: int = 0,
    storage: str | None = None,
    advance: Callable[[Progress], None] = lambda progress: None,
) -> SearchResult:
    """Try so many shapes; what is trained is stored, and never trained again.

    Args:
        shapes: what is searched.
        trials: how many shapes, those of earlier calls included.
        directory: of the search.
        store: open for writing.
        workers: processes.
        sampler: as for `adaptive_lr.search`.
        seed: of the sampler.
        storage: as for `adaptive_lr.search`.
        advance: called whenever a shape is done.
    """
    directions: tuple[Direction, ...] = ("minimize",)
    plan = Plan(
        space=shapes.searched,
        trials=trials,
        sampler=sampler,
        seed=seed,
        directions=directions * (2 if shapes.objective == "best and worst" else 1),
        in_flight=shapes.together,
        rounds=True,
    )
    return run_plan(
        plan,
        directory,
        lambda: _TrainedTogether(shapes, store, workers),
        storage=storage,
        advance=advance,
        identity=shapes.identity(),
    )


class _TrainedTogether:
    """Trains all the shapes that it was given at once."""

    def __init__(self, shapes: ShapeSearch, store: Store, workers: int) -> None:
        self._shapes, self._store, self._workers = shapes, store, workers
        self._pool: ProcessPool[_Batch] | None = ProcessPool(workers) if workers > 1 else None
        self._waiting: list[Task] = []

    def room(self) -> int:
        return 1

    def submit(self, task: Task) -> None:
        self._waiting.append(task)

    def collect(self) -> list[tuple[Task, Outcome]]:
        tasks, self._waiting = self._waiting, []
        shapes, seeds = self._shapes, self._shapes.selection_seeds
        planned = []
        for task in tasks:
            point = task.trial.point
            planned.append(shapes.trials(shapes.shape(point), seeds, shapes.grid(point)))
        every = [trial for rows in planned for row in rows for trial in row]
        run_trials(every, self._store, workers=self._workers, run=None if self._pool is None else self._in_processes)
        found = []
        for task, rows in zip(tasks, planned, strict=True):
            losses, initial, seconds = read_losses(self._store, rows, shapes.task.selection_metric)
            values = score(losses.mean(0), shapes.objective, reach=shapes.reach, outside=initial)
            found.append((task, Outcome(values=values, seconds=seconds)))
        return found

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()

    def _in_processes(self, todo: Sequence[list[Trial]]) -> Generator[list[RunResult], None, None]:
        assert self._pool is not None
        for batch in todo:
            self._pool.submit(_Batch(batch))
        left = len(todo)
        while left:
            for _, found in self._pool.collect():
                if isinstance(found, Outcome):
                    raise RunError(f"a batch of trials {found.error}; finished trials are stored")
                if isinstance(found, RunError):
                    raise found
                left -= 1
                yield found


@dataclass(frozen=True)
class _Batch:
    """Trials to train together."""

    trials: list[Trial]
    function: bytes = b""

    @property
    def key(self) -> str:
        return "-".join(trial.digest() for trial in self.trials)

    def run(self) -> list[RunResult] | RunError:
        try:
            return run_batch(self.trials)
        except RunError as error:
            return error


def read_losses(store: Store, rows: list[list[Trial]], metric: str) -> tuple[Array, float, float]:
    """Losses ``[seed, rate]`` of stored trials, the mean loss before training, and the time that the training took.

    A trial that diverged, or ended worse than it began, counts as no training at all.
    """
    digests = [[trial.digest() for trial in row] for row in rows]
    records: dict[str, Record] = store.read(digest for row in digests for digest in row)
    raw = np.array([[records[digest].metrics[metric] for digest in row] for row in digests])
    first = np.array([records[row[0]].initial[metric] for row in digests])
    return np.fmin(raw, first[:, None]), float(first.mean()), sum(one.seconds for one in records.values())


def score(losses: Array, objective: Objective, *, reach: int, outside: float) -> tuple[float, ...]:
    """What the search is told of a shape, from its mean losses ``[rate]``.

    >>> curve = np.array([3.0, 1.0, 2.0])
    >>> score(curve, "best", reach=1, outside=9.0), score(curve, "worst", reach=1, outside=9.0)
    ((1.0,), (3.0,))
    >>> score(curve, "worst", reach=2, outside=9.0)
    (9.0,)
    """
    best = int(np.argmin(losses))
    if objective == "best":
        return (float(losses[best]),)
    around = np.pad(losses, reach, constant_values=outside)[best : best + 2 * reach + 1]
    if objective == "mean":
        return (float(around.mean()),)
    return (float(around.max()),) if objective == "worst" else (float(losses[best]), float(around.max()))

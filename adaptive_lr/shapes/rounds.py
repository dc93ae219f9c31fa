"""Train the shapes of a round together: all of them for the whole time, or those that are behind in short runs only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

from adaptive_lr.errors import RunError
from adaptive_lr.search.executor import Job, ProcessPool
from adaptive_lr.search.pruning import ahead, rungs
from adaptive_lr.search.task import Outcome, Task
from adaptive_lr.shapes.losses import read_losses, score
from adaptive_lr.shapes.shape_search import ShapeSearch
from adaptive_lr.training import RunResult, Trial
from adaptive_lr.trials.runner import as_it_was, run_batch, run_trials
from adaptive_lr.trials.store import Store


class AbstractRounds(ABC):
    """An `Executor` that is given all the shapes of a round before it begins.

    Args:
        shapes: what is searched.
        store: open for writing.
        workers: processes, which are started with the first round; 1 trains in this one.

    Raises:
        RunError: ``workers`` is below 1.
    """

    def __init__(self, shapes: ShapeSearch, store: Store, workers: int) -> None:
        if workers < 1:
            raise RunError(f"workers must be at least 1, got {workers}")
        self._shapes, self._store, self._workers = shapes, store, workers
        self._pool: ProcessPool[Any] | None = None
        self._waiting: list[Task] = []

    def room(self) -> int:
        """See `Executor`."""
        return 1

    def submit(self, task: Task) -> None:
        """See `Executor`."""
        self._waiting.append(task)

    def collect(self) -> list[tuple[Task, Outcome]]:
        """See `Executor`: the whole round."""
        tasks, self._waiting = self._waiting, []
        return self._round([_Entrant(task) for task in tasks])

    def close(self) -> None:
        """See `Executor`."""
        if self._pool is not None:
            self._pool.close()

    @abstractmethod
    def _round(self, entrants: list[_Entrant]) -> list[tuple[Task, Outcome]]:
        """Train them."""

    def _train(self, entrants: Sequence[_Entrant], steps: int) -> None:
        """Train runs of so many steps of every shape, and note what it is worth in them."""
        shapes = self._shapes
        planned = [shapes.trials_at(entrant.task.trial.point, steps) for entrant in entrants]
        run_trials(
            [trial for rows in planned for row in rows for trial in row],
            self._store,
            workers=self._workers,
            run=lambda todo: self._done([_Batch(batch) for batch in todo]),
        )
        for entrant, rows in zip(entrants, planned, strict=True):
            losses, initial, seconds = read_losses(self._store, rows, shapes.task.selection_metric)
            entrant.values = score(
                losses.mean(0), shapes.objective, reach=shapes.reach, outside=initial, per_decade=shapes.per_decade
            )
            entrant.curve.append(entrant.values[0])
            entrant.seconds += seconds

    def _done(self, jobs: Sequence[Job]) -> Generator[Any, None, None]:
        """Do the jobs.

        Yields:
            What they gave, in any order.
        """
        if self._workers == 1:
            with as_it_was():
                for job in jobs:
                    yield _checked(job.run())
            return
        if self._pool is None:
            self._pool = ProcessPool(self._workers)
        for job in jobs:
            self._pool.submit(job)
        left = len(jobs)
        while left:
            ended = [outcome for _, outcome in self._pool.collect()]
            left -= len(ended)
            for outcome in sorted(ended, key=_went_wrong):  # an error last: what has ended with it is not lost
                yield _checked(outcome)


class WholeRounds(AbstractRounds):
    """Trains every shape to the end; what the store has is not trained again."""

    def _round(self, entrants: list[_Entrant]) -> list[tuple[Task, Outcome]]:
        self._train(entrants, self._shapes.steps)
        return [(entrant.task, Outcome(values=entrant.values, seconds=entrant.seconds)) for entrant in entrants]


class HalvedRounds(AbstractRounds):
    """Trains runs of T/9 steps, for the best third of a round runs of T/3, and for the best third of those runs of T.

    Each of them is a run of its own, with its schedule from beginning to end: a loss on the way through a long run favours shapes that
    decay early, which the end of the run does not. They are trials like others, and stored.
    """

    def _round(self, entrants: list[_Entrant]) -> list[tuple[Task, Outcome]]:
        racing, outcomes = entrants, list[tuple[Task, Outcome]]()
        for rung in rungs(self._shapes.steps):
            self._train(racing, rung)
            going = {racing[index].task.key for index in ahead([entrant.curve[-1] for entrant in racing])}
            outcomes += [
                (entrant.task, entrant.outcome(pruned=True)) for entrant in racing if entrant.task.key not in going
            ]
            racing = [entrant for entrant in racing if entrant.task.key in going]
        self._train(racing, self._shapes.steps)
        return outcomes + [(entrant.task, entrant.outcome(pruned=False)) for entrant in racing]


@dataclass
class _Entrant:
    """A shape in a round: what it was worth in runs of each length, and what these have cost."""

    task: Task
    values: tuple[float, ...] = ()
    curve: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def outcome(self, *, pruned: bool) -> Outcome:
        return Outcome(values=(self.curve[-1],), curve=tuple(self.curve), pruned=pruned, seconds=self.seconds)


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


def _went_wrong(outcome: Any) -> bool:
    return isinstance(outcome, Outcome | RunError)


def _checked(outcome: Any) -> Any:
    if isinstance(outcome, Outcome):
        raise RunError(f"a batch of trials {outcome.error}; finished trials are stored")
    if isinstance(outcome, RunError):
        raise outcome
    return outcome

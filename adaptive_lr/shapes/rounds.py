"""Train the shapes of a round together: all to the end, or those that are behind only as far as that can be seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from adaptive_lr.errors import RunError
from adaptive_lr.search.executor import Job, ProcessPool
from adaptive_lr.search.pruning import ahead, rungs
from adaptive_lr.search.task import Outcome, Task
from adaptive_lr.shapes.losses import Measured, losses_of, read_losses, score
from adaptive_lr.shapes.shape_search import ShapeSearch
from adaptive_lr.training import BatchRun, Paused, RunResult, Trial, batches
from adaptive_lr.trials.runner import as_it_was, on_one_thread, provenance, run_batch, run_trials
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
        return self._round([_Entrant(task, self._planned(task)) for task in tasks])

    @abstractmethod
    def settle(self) -> None:
        """To be called once the outcomes of a round are in the journal."""

    def close(self) -> None:
        """See `Executor`."""
        if self._pool is not None:
            self._pool.close()

    @abstractmethod
    def _round(self, entrants: list[_Entrant]) -> list[tuple[Task, Outcome]]:
        """Train them."""

    def _planned(self, task: Task) -> list[list[Trial]]:
        shapes, point = self._shapes, task.trial.point
        return shapes.trials(shapes.shape(point), shapes.selection_seeds, shapes.grid(point))

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

    def settle(self) -> None:
        """See the base class: every batch was stored when it was done."""

    def _round(self, entrants: list[_Entrant]) -> list[tuple[Task, Outcome]]:
        shapes = self._shapes
        trials = [trial for entrant in entrants for row in entrant.rows for trial in row]
        run_trials(
            trials, self._store, workers=self._workers, run=lambda todo: self._done([_Batch(batch) for batch in todo])
        )
        outcomes = []
        for entrant in entrants:
            losses, initial, seconds = read_losses(self._store, entrant.rows, shapes.task.selection_metric)
            values = score(losses.mean(0), shapes.objective, reach=shapes.reach, outside=initial)
            outcomes.append((entrant.task, Outcome(values=values, seconds=seconds)))
        return outcomes


class HalvedRounds(AbstractRounds):
    """Of the shapes of a round a third goes on at each rung, in batches of its own; what it trains to the end is stored.

    Nothing is read from the store: what a round gives depends on the round alone.
    """

    def __init__(self, shapes: ShapeSearch, store: Store, workers: int) -> None:
        super().__init__(shapes, store, workers)
        self._unstored: list[list[RunResult]] = []

    def settle(self) -> None:
        """See the base class: store what was trained to the end."""
        source = provenance() if self._unstored else {}
        while self._unstored:
            self._store.add(self._unstored.pop(0), source)

    def _round(self, entrants: list[_Entrant]) -> list[tuple[Task, Outcome]]:
        steps, racing, outcomes = self._shapes.steps, entrants, []
        paused: Paused | None = None
        for rung in rungs(steps):
            parts: list[_Part] = list(self._done(_legs(racing, paused, rung)))
            paused = Paused.joined([part.paused for part in parts])
            self._measure(racing, {trial: measured for part in parts for trial, measured in part.measured.items()})
            going = {racing[index].task.key for index in ahead([entrant.curve[-1] for entrant in racing])}
            outcomes += [
                (entrant.task, entrant.outcome(pruned=True)) for entrant in racing if entrant.task.key not in going
            ]
            racing = [entrant for entrant in racing if entrant.task.key in going]
        metric = self._shapes.task.selection_metric
        finished: dict[Trial, Measured] = {}
        for results in self._done(_legs(racing, paused, steps)):
            self._unstored.append(results)
            finished |= {
                result.trial: Measured(result.metrics[metric], result.initial[metric], result.seconds)
                for result in results
            }
        self._measure(racing, finished)
        return outcomes + [(entrant.task, entrant.outcome(pruned=False)) for entrant in racing]

    def _measure(self, racing: Iterable[_Entrant], measured: Mapping[Trial, Measured]) -> None:
        shapes = self._shapes
        for entrant in racing:
            losses, initial, entrant.seconds = losses_of(entrant.rows, measured)
            entrant.curve += score(losses.mean(0), shapes.objective, reach=shapes.reach, outside=initial)


@dataclass
class _Entrant:
    """A shape in a round: its trials ``[seed][rate]``, what it was worth at each rung, and what it has cost."""

    task: Task
    rows: list[list[Trial]]
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


class _Part(NamedTuple):
    """A batch at a rung."""

    paused: Paused
    measured: dict[Trial, Measured]


@dataclass(frozen=True)
class _Leg:
    """Trials to train together from where they are to the step ``until``."""

    trials: list[Trial]
    paused: Paused | None
    until: int
    function: bytes = b""

    @property
    def key(self) -> str:
        return "-".join([str(self.until), *(trial.digest() for trial in self.trials)])

    def run(self) -> _Part | list[RunResult] | RunError:
        try:
            return on_one_thread(self._trained, self.trials)
        except RunError as error:
            return error

    def _trained(self) -> _Part | list[RunResult]:
        run = BatchRun(self.paused or Paused.begun(self.trials))
        run.advance(self.until)
        if self.until == self.trials[0].steps:
            return run.results()
        losses = run.metric().tolist()
        initial = run.initial[run.task.selection_metric].tolist()
        measured = map(Measured, losses, initial, run.seconds.tolist())
        return _Part(run.paused(), dict(zip(self.trials, measured, strict=True)))


def _legs(racing: Iterable[_Entrant], paused: Paused | None, until: int) -> list[_Leg]:
    """The trials of these shapes in as few batches as can be: of those that are no longer among them nothing is left."""
    trials = dict.fromkeys(trial for entrant in racing for row in entrant.rows for trial in row)
    return [_Leg(batch, paused and paused.only(batch), until) for batch in batches(list(trials))]


def _went_wrong(outcome: Any) -> bool:
    return isinstance(outcome, Outcome | RunError)


def _checked(outcome: Any) -> Any:
    if isinstance(outcome, Outcome):
        raise RunError(f"a batch of trials {outcome.error}; finished trials are stored")
    if isinstance(outcome, RunError):
        raise outcome
    return outcome

"""The coordinator: it alone asks for points, hands out their runs and writes what they gave.

Every finished run is in the journal of the directory before it counts, every point is in the study before it is run, and results
are told in the order of the numbers, whoever finishes first. So whatever is killed, and whenever: the same search started again
asks for the same points, runs what has no result, and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from adaptive_lr.errors import RunError, StoreError
from adaptive_lr.search.directory import Directory
from adaptive_lr.search.executor import Executor
from adaptive_lr.search.ledger import Ledger
from adaptive_lr.search.plan import Plan
from adaptive_lr.search.pruning import cuts, hopeless
from adaptive_lr.search.result import State, TrialRecord
from adaptive_lr.search.samplers import Proposal, Result, proposer
from adaptive_lr.search.space import Point
from adaptive_lr.search.task import Outcome, SearchTrial, Task


@dataclass(frozen=True)
class Progress:
    """How far a search is: trials finished in all, failed ones, and the best so far of the first objective."""

    finished: int
    total: int
    failed: int
    best_value: float | None
    best: Point | None


@dataclass
class _Open:
    """A trial: its point, its finished runs by seed, and its result once it has one."""

    number: int
    proposal: Proposal
    result: Result | None = None
    runs: dict[int, Outcome] = field(default_factory=dict)
    reference: tuple[float, ...] = ()


class Coordinator:
    """Runs a search to its end.

    Args:
        plan: what is searched.
        directory: open.
        ledger: open.
        executor: does the runs.
        function: the user's, pickled.
        advance: called whenever a trial is finished.
    """

    def __init__(
        self,
        plan: Plan,
        directory: Directory,
        ledger: Ledger,
        executor: Executor,
        *,
        function: bytes = b"",
        advance: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self._plan, self._directory, self._ledger, self._executor = plan, directory, ledger, executor
        self._function, self._advance = function, advance
        self._proposer = proposer(plan.sampler, plan.space, plan.seed, plan.directions)
        self._outcomes = directory.finished()
        self._ready: deque[Task] = deque()
        self._wanting: dict[str, list[tuple[_Open, int]]] = {}
        self._trials: list[_Open] = []
        self._told = self._learned = self._finished = self._failed = self._best_place = 0
        self._best: _Open | None = None
        self.ran = 0

    def run(self) -> tuple[TrialRecord, ...]:
        """Finish the search; its trials. A `RunError` says which run failed, a `StoreError` why results cannot be stored."""
        try:
            self._restore()
            while True:
                self._tell()
                self._ask()
                while self._ready and self._executor.room() > 0:
                    self._executor.submit(self._ready.popleft())
                if self._told == len(self._trials):
                    return tuple(self._record(one) for one in self._trials)
                if not self._wanting:
                    continue
                self._take(self._executor.collect())
        finally:
            self._ledger.pause(range(self._told, len(self._trials)))

    def _restore(self) -> None:
        """Take up what is stored: results as they are, and points without one as they were asked.

        Raises:
            StoreError: results are stored in an order in which this coordinator does not store them.
        """
        for number, row in enumerate(self._ledger.rows()):
            if row.result is not None and self._told < number:
                raise StoreError(f"{self._ledger.url} was written to by something else: trial {number} came too early")
            one = _Open(number, row.proposal, row.result)
            self._trials.append(one)
            self._proposer.restore(row.proposal)
            if row.result is None:
                continue
            keys = {seed: self._task(one, seed).key for seed in self._plan.run_seeds}
            one.runs = {seed: self._outcomes[key] for seed, key in keys.items() if key in self._outcomes}
            self._count(one)
        for one in self._trials[self._told :]:
            self._start(one)

    def _ask(self) -> None:
        plan = self._plan
        while self._finished + len(self._trials) - self._told < plan.trials:
            number = len(self._trials)
            visible = plan.visible(number)
            if visible > self._told:
                return
            for place in range(self._learned, visible):
                result = self._trials[place].result
                assert result is not None
                self._proposer.learn(place, result)
            self._learned = max(self._learned, visible)
            proposal = self._proposer.propose()
            self._ledger.add(proposal)
            one = _Open(number, proposal)
            self._trials.append(one)
            self._start(one)

    def _start(self, one: _Open) -> None:
        seeds = list(self._plan.run_seeds)
        if self._plan.pruner == "wilcoxon":
            one.reference, seeds = self._reference(one.number), seeds[:1]
        for seed in seeds:
            self._want(one, seed)

    def _want(self, one: _Open, seed: int, *, first: bool = False) -> None:
        task = self._task(one, seed)
        if task.key in self._outcomes:
            self._give(one, seed, self._outcomes[task.key])
        elif task.key in self._wanting:
            self._wanting[task.key].append((one, seed))
        else:
            self._wanting[task.key] = [(one, seed)]
            (self._ready.appendleft if first else self._ready.append)(task)

    def _task(self, one: _Open, seed: int) -> Task:
        known: tuple[tuple[int, float], ...] = ()
        if self._plan.pruner == "halving" and not self._plan.rounds and one.result is None:
            before = self._trials[: self._plan.visible(one.number)]
            curves = [run.curve for other in before for run in other.runs.values()]
            known = cuts(curves, maximise=self._plan.maximise)
        return Task(
            function=self._function,
            trial=SearchTrial(one.proposal.point, seed, one.number),
            objectives=len(self._plan.directions),
            cuts=known,
            maximise=self._plan.maximise,
        )

    def _reference(self, number: int) -> tuple[float, ...]:
        """The values by seed of the best trial that this one may know."""
        before = [
            one
            for one in self._trials[: self._plan.visible(number)]
            if one.result is not None and one.result.values is not None and one.result.step is None
        ]
        whole = [one for one in before if len(one.runs) == self._plan.seeds]
        if not whole:
            return ()
        best = min(whole, key=self._cost)
        return tuple(best.runs[seed].values[0] for seed in self._plan.run_seeds)

    def _take(self, found: list[tuple[Task, Outcome]]) -> None:
        """Keep what is finished; then a `RunError` says what failed, unless such trials are skipped."""
        ordered = sorted(found, key=lambda pair: pair[0].trial.number)
        stops = self._plan.on_error == "raise"
        failed = [(task.trial, outcome) for task, outcome in ordered if stops and outcome.error is not None]
        self._keep([(task, outcome) for task, outcome in ordered if not stops or outcome.error is None])
        if not failed:
            return
        self._tell()
        trial, outcome = failed[0]
        seed = f" with seed {trial.seed}" if self._plan.seeds > 1 else ""
        error = RunError(
            f"trial {trial.number} at {_shown(trial.point)}{seed} failed: the function {_verb(str(outcome.error))}; "
            f"{len(self._outcomes)} finished runs are kept: mend it and run again, or let such trials be skipped"
        )
        if outcome.traceback:
            error.add_note(outcome.traceback)
        raise error

    def _keep(self, done: list[tuple[Task, Outcome]]) -> None:
        # At once: of a round, in which trials are compared with each other, a restart finds all or nothing.
        self._directory.keep([(task.key, task.trial.number, outcome) for task, outcome in done])
        for task, outcome in done:
            self._outcomes[task.key] = outcome
            self.ran += 1
            for one, wanted in self._wanting.pop(task.key):
                self._give(one, wanted, outcome)

    def _give(self, one: _Open, seed: int, outcome: Outcome) -> None:
        one.runs[seed] = outcome
        plan = self._plan
        runs = [one.runs[seed] for seed in plan.run_seeds if seed in one.runs]
        if any(run.error is not None for run in runs):
            one.result = Result(None)
        elif outcome.pruned:
            one.result = Result(outcome.values, step=len(outcome.curve))
        elif len(runs) == plan.seeds:
            one.result = Result(_means(runs))
        elif plan.pruner == "wilcoxon":
            values = [run.values[0] for run in runs]
            if hopeless(values, one.reference, maximise=plan.maximise):
                one.result = Result(_means(runs), step=len(runs))
            else:
                self._want(one, plan.run_seeds[len(runs)], first=True)

    def _tell(self) -> None:
        while self._told < len(self._trials):
            one = self._trials[self._told]
            if one.result is None:
                return
            errors = [run.error for run in one.runs.values() if run.error is not None]
            self._ledger.finish(one.number, one.result, errors[0] if errors else None)
            self._count(one)
            best = self._best
            self._advance(
                Progress(
                    finished=self._finished,
                    total=self._plan.trials,
                    failed=self._failed,
                    best_value=best.result.values[0] if best and best.result and best.result.values else None,
                    best=dict(best.proposal.point) if best else None,
                )
            )
            if self._failed >= 20 and self._failed > 4 * self._finished:
                raise RunError(
                    f"{self._failed} trials failed and {self._finished} finished, so the search is stopped; "
                    f"the last at {_shown(one.proposal.point)}: the function {_verb(errors[0] if errors else 'failed')}"
                )

    def _count(self, one: _Open) -> None:
        assert one.result is not None
        self._told += 1
        self._failed += one.result.values is None
        self._finished += one.result.values is not None
        whole = one.result.values is not None and one.result.step is None
        if whole and (self._best is None or self._cost(one) < self._cost(self._best)):
            self._best = one

    def _cost(self, one: _Open) -> float:
        assert one.result is not None
        assert one.result.values is not None
        return -one.result.values[0] if self._plan.maximise else one.result.values[0]

    def _record(self, one: _Open) -> TrialRecord:
        assert one.result is not None
        runs = [one.runs[seed] for seed in self._plan.run_seeds if seed in one.runs]
        state: State = "failed" if one.result.values is None else "complete" if one.result.step is None else "pruned"
        return TrialRecord(
            number=one.number,
            point=one.proposal.point,
            values=one.result.values or (),
            state=state,
            seconds=sum(run.seconds for run in runs),
            by_seed=tuple(run.values[0] for run in runs if run.values),
            curve=runs[-1].curve if runs else (),
            error=next((run.error for run in runs if run.error is not None), None),
        )


def _means(runs: list[Outcome]) -> tuple[float, ...]:
    return tuple(float(np.mean(values)) for values in zip(*(run.values for run in runs), strict=True))


def _shown(point: Point) -> str:
    return "{" + ", ".join(f"{name}: {value!r}" for name, value in point.items()) + "}"


def _verb(error: str) -> str:
    """An exception is raised; what is wrong with a result is already a sentence."""
    return (
        error if error.startswith(("returned", "yielded", "ended", "is a generator", "failed")) else f"raised {error}"
    )

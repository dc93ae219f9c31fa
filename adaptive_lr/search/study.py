"""The coordinator: it alone asks for points, hands out their runs and writes what they gave.

Every finished run is in the journal of the directory before it counts, every point is in the study before it is run, and results
are told in the order of the numbers, whoever finishes first. So whatever is killed, and whenever: the same search started again
asks for the same points, runs what has no result, and nothing else.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from adaptive_lr.errors import RunError
from adaptive_lr.search.directory import Directory
from adaptive_lr.search.executor import Executor
from adaptive_lr.search.journal import Run
from adaptive_lr.search.ledger import Ledger
from adaptive_lr.search.plan import Direction, Plan
from adaptive_lr.search.pruning import cuts, hopeless
from adaptive_lr.search.result import State, TrialRecord
from adaptive_lr.search.samplers import Result, proposer
from adaptive_lr.search.space import Point
from adaptive_lr.search.task import Outcome, SearchTrial, Task, digest


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
    """A trial: its point, its finished runs by seed, and its result once it has one; fresh if any of them was done just now."""

    number: int
    point: Point
    result: Result | None = None
    runs: dict[int, Outcome] = field(default_factory=dict)
    reference: tuple[float, ...] = ()
    fresh: bool = False


class Coordinator:
    """Runs a search to its end.

    Args:
        plan: what is searched.
        directory: open.
        ledger: open.
        executor: does the runs.
        function: the user's, packed.
        source: a digest of its source.
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
        source: str | None = None,
        advance: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self._plan, self._directory, self._ledger, self._executor = plan, directory, ledger, executor
        self._function, self._source, self._advance = function, source, advance
        self._proposer = proposer(plan.sampler, plan.space, plan.seed, plan.directions)
        content = directory.journal.content
        self._points = dict(content.points)
        self._runs = {key: run for key, run in content.runs.items() if _may_be(run.outcome, plan.directions)}
        if not content.points and content.runs:  # of an earlier version, which left the points to the study
            self._points = dict(enumerate(ledger.points()))
        self._planned = content.points.keys()
        self._asked = max(self._points, default=-1) + 1
        if plan.rounds and plan.pruner is not None:
            self._leave_out_broken_rounds()
        ledger.expect(self._asked)
        self._ready: deque[Task] = deque()
        self._wanting: dict[str, list[tuple[_Open, int]]] = {}
        self._trials: list[_Open] = []
        self._told = self._learned = self._finished = self._failed = self._fresh_failed = self._fresh_finished = 0
        self._best: _Open | None = None
        self.ran = 0

    def run(self) -> tuple[TrialRecord, ...]:
        """Finish the search; its trials. A `RunError` says which run failed, a `StoreError` why results cannot be stored."""
        try:
            while True:
                self._tell()
                self._ask()
                while self._ready and self._executor.room() > 0:
                    self._executor.submit(self._ready.popleft())
                if self._told == len(self._trials):
                    return tuple(self._record(trial) for trial in self._trials)
                if not self._wanting:
                    continue
                self._take(self._executor.collect())
        finally:
            self._ledger.pause(range(self._told, len(self._trials)))

    @property
    def other_sources(self) -> int:
        """How many runs are of another version of the function than this one."""
        if self._source is None:
            return 0
        return sum(run.source is not None and run.source != self._source for run in self._runs.values())

    def unread(self) -> list[str]:
        """The names of the space that no run has looked at."""
        outcomes = [run.outcome for run in self._runs.values() if run.outcome.error is None]
        names = list(self._plan.space.axes)
        return [name for name in names if outcomes and all(name in outcome.unread for outcome in outcomes)]

    def _leave_out_broken_rounds(self) -> None:
        """A shape is compared with those of its round: if the run of one is lost, all are trained again."""
        size = self._plan.in_flight
        keys = {number: digest(point, self._plan.seed) for number, point in self._points.items()}
        complete = {
            first // size
            for first in range(0, self._asked, size)
            if all(keys.get(number) in self._runs for number in range(first, first + size))
        }
        self._runs = {key: run for key, run in self._runs.items() if run.number // size in complete}

    def _ask(self) -> None:
        """Take up the points that were asked for before, and ask for new ones, as far as the results that they need are known."""
        plan = self._plan
        while len(self._trials) < self._asked or self._finished + len(self._trials) - self._told < plan.trials:
            number = len(self._trials)
            visible = plan.visible(number)
            if visible > self._told:
                return
            for index in range(self._learned, visible):
                result = self._trials[index].result
                assert result is not None
                self._proposer.learn(index, result)
            self._learned = max(self._learned, visible)
            if number in self._points:
                point = self._points[number]
                self._proposer.restore(point)
            else:
                point = self._proposer.propose()
            if number not in self._planned:
                self._directory.plan(number, point)
            self._ledger.add(point)
            trial = _Open(number, point)
            self._trials.append(trial)
            self._start(trial)

    def _start(self, trial: _Open) -> None:
        seeds = list(self._plan.run_seeds)
        if self._plan.pruner == "wilcoxon":
            trial.reference, seeds = self._reference(trial.number), seeds[:1]
        for seed in seeds:
            self._want(trial, seed)

    def _want(self, trial: _Open, seed: int, *, first: bool = False) -> None:
        key = digest(trial.point, seed)
        if key in self._runs:
            self._give(trial, seed, self._runs[key].outcome)
        elif key in self._wanting:
            self._wanting[key].append((trial, seed))
        else:
            self._wanting[key] = [(trial, seed)]
            (self._ready.appendleft if first else self._ready.append)(self._task(trial, seed))

    def _task(self, trial: _Open, seed: int) -> Task:
        known: tuple[tuple[int, float], ...] = ()
        if self._plan.pruner == "halving" and not self._plan.rounds:
            before = self._trials[: self._plan.visible(trial.number)]
            curves = [run.curve for earlier in before for run in earlier.runs.values()]
            known = cuts(curves, maximise=self._plan.maximise)
        return Task(
            function=self._function,
            trial=SearchTrial(trial.point, seed, trial.number),
            maximised=tuple(direction == "maximize" for direction in self._plan.directions),
            cuts=known,
        )

    def _reference(self, number: int) -> tuple[float, ...]:
        """The values by seed of the best trial that this one may know."""
        complete = [
            trial
            for trial in self._trials[: self._plan.visible(number)]
            if trial.result is not None and trial.result.values is not None and trial.result.step is None
        ]
        if not complete:
            return ()
        best = min(complete, key=self._cost)
        return tuple(best.runs[seed].values[0] for seed in self._plan.run_seeds)

    def _take(self, done: list[tuple[Task, Outcome]]) -> None:
        """Keep what is finished; then a `RunError` says what failed, unless such trials are skipped."""
        ordered = sorted(done, key=lambda pair: pair[0].trial.number)
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
            f"{len(self._runs)} finished runs are kept: mend it and run again, or let such trials be skipped"
        )
        if outcome.traceback:
            error.add_note(outcome.traceback)
        raise error

    def _keep(self, done: list[tuple[Task, Outcome]]) -> None:
        # At once: of a round, in which trials are compared with each other, a restart finds all or nothing.
        runs = [(task.key, Run(task.trial.number, outcome, self._source)) for task, outcome in done]
        self._directory.keep(runs)
        for key, run in runs:
            self._runs[key] = run
            self.ran += 1
            for trial, seed in self._wanting.pop(key):
                trial.fresh = True
                self._give(trial, seed, run.outcome)

    def _give(self, trial: _Open, seed: int, outcome: Outcome) -> None:
        trial.runs[seed] = outcome
        plan = self._plan
        runs = [trial.runs[seed] for seed in plan.run_seeds if seed in trial.runs]
        if any(run.error is not None for run in runs):
            trial.result = Result(None)
        elif outcome.pruned:
            trial.result = Result(outcome.values, step=len(outcome.curve))
        elif len(runs) == plan.seeds:
            trial.result = Result(_means(runs))
        elif plan.pruner == "wilcoxon":
            values = [run.values[0] for run in runs]
            if hopeless(values, trial.reference, maximise=plan.maximise):
                trial.result = Result(_means(runs), step=len(runs))
            else:
                self._want(trial, plan.run_seeds[len(runs)], first=True)

    def _tell(self) -> None:
        while self._told < len(self._trials):
            trial = self._trials[self._told]
            if trial.result is None:
                return
            errors = [run.error for run in trial.runs.values() if run.error is not None]
            self._ledger.finish(trial.number, trial.result, errors[0] if errors else None)
            self._count(trial)
            if not trial.fresh:
                continue
            best = self._best
            self._advance(
                Progress(
                    finished=self._finished,
                    total=self._plan.trials,
                    failed=self._failed,
                    best_value=best.result.values[0] if best and best.result and best.result.values else None,
                    best=dict(best.point) if best else None,
                )
            )
            self._stop_if_all_fails(trial, errors)

    def _stop_if_all_fails(self, trial: _Open, errors: list[str]) -> None:
        """End a search in which hardly anything works, by the trials of this call: what failed before may have been mended.

        Raises:
            RunError: that is so.
        """
        self._fresh_failed += bool(errors)
        self._fresh_finished += not errors
        if errors and self._fresh_failed >= 20 and self._fresh_failed > 4 * self._fresh_finished:
            raise RunError(
                f"{self._fresh_failed} trials failed and {self._fresh_finished} finished, so the search is stopped; "
                f"the last at {_shown(trial.point)}: the function {_verb(errors[0])}"
            )

    def _count(self, trial: _Open) -> None:
        assert trial.result is not None
        self._told += 1
        self._failed += trial.result.values is None
        self._finished += trial.result.values is not None
        complete = trial.result.values is not None and trial.result.step is None
        if complete and (self._best is None or self._cost(trial) < self._cost(self._best)):
            self._best = trial

    def _cost(self, trial: _Open) -> float:
        assert trial.result is not None
        assert trial.result.values is not None
        return -trial.result.values[0] if self._plan.maximise else trial.result.values[0]

    def _record(self, trial: _Open) -> TrialRecord:
        assert trial.result is not None
        runs = [trial.runs[seed] for seed in self._plan.run_seeds if seed in trial.runs]
        state: State = (
            "failed" if trial.result.values is None else "complete" if trial.result.step is None else "pruned"
        )
        return TrialRecord(
            number=trial.number,
            point=trial.point,
            values=trial.result.values or (),
            state=state,
            seconds=sum(run.seconds for run in runs),
            by_seed=tuple(run.values[0] for run in runs if run.values),
            curve=runs[-1].curve if runs else (),
            error=next((run.error for run in runs if run.error is not None), None),
        )


def _may_be(outcome: Outcome, directions: tuple[Direction, ...]) -> bool:
    """Whether no value is infinitely good, which earlier versions took."""
    signs = [1.0 if direction == "minimize" else -1.0 for direction in directions]
    return all(sign * value > -math.inf for sign, value in zip(signs, outcome.values, strict=False))


def _means(runs: list[Outcome]) -> tuple[float, ...]:
    return tuple(float(np.mean(values)) for values in zip(*(run.values for run in runs), strict=True))


def _shown(point: Point) -> str:
    shown = {name: f"{value:.6g}" if isinstance(value, float) else repr(value) for name, value in point.items()}
    return "{" + ", ".join(f"{name}: {value}" for name, value in shown.items()) + "}"


def _verb(error: str) -> str:
    """An exception is raised; what is wrong with a result is already a sentence."""
    verbs = ("returned", "yielded", "ended", "is a generator", "failed", "left", "is not")
    return error if error.startswith(verbs) else f"raised {error}"

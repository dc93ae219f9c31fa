"""What a search found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from adaptive_lr.errors import RunError, SpecError
from adaptive_lr.search.plan import Direction
from adaptive_lr.search.space import Point, Space

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A finished trial.

    Attributes:
        number: from 0, in the order in which the points were proposed.
        point: the chosen values by name.
        values: one for each objective, the means over the seeds; none if it failed.
        state: ``complete``, ``pruned`` or ``failed``.
        seconds: how long its runs took together.
        by_seed: the first objective of each run, in the order of the seeds.
        curve: what the last run yielded.
        error: why it failed.
    """

    number: int
    point: Point
    values: tuple[float, ...]
    state: State
    seconds: float = 0.0
    by_seed: tuple[float, ...] = ()
    curve: tuple[float, ...] = ()
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The trials of a search, and what follows from them.

    Attributes:
        trials: in the order of their numbers, those that failed included.
        directions: ``minimize`` or ``maximize``, one for each objective.
        directory: where the search is kept.
        storage: the address of the study, which ``optuna-dashboard`` opens.
        ran: how many runs were done by this call; the others were done before.
        notes: what is to be known of them: runs of another version of the function, names that no run looked at, damage.
    """

    trials: tuple[TrialRecord, ...]
    directions: tuple[Direction, ...]
    directory: Path
    storage: str
    ran: int
    space: Space = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> Point:
        """The point of the best trial."""
        return self.best_trial.point

    @property
    def best_value(self) -> float:
        """The value of the best trial."""
        return self.best_trial.values[0]

    @property
    def best_trial(self) -> TrialRecord:
        """The best complete trial, the first of equals.

        Raises:
            SpecError: there are several objectives.
            RunError: no trial is complete.
        """
        if len(self.directions) > 1:
            raise SpecError(f"with {len(self.directions)} objectives there is no best trial: see pareto()")
        complete = self.comparable()
        if not complete:
            raise RunError(f"none of the {len(self.trials)} trials in {self.directory} is complete")
        return min(complete, key=self._costs)

    @property
    def skipped(self) -> int:
        """How many trials failed and were passed over."""
        return sum(trial.state == "failed" for trial in self.trials)

    @property
    def pruned(self) -> int:
        """How many trials were ended early."""
        return sum(trial.state == "pruned" for trial in self.trials)

    def pareto(self) -> list[TrialRecord]:
        """The complete trials that no other one beats in one objective and equals in the rest."""
        complete = self.comparable()
        costs = [self._costs(trial) for trial in complete]
        return [
            trial
            for trial, own in zip(complete, costs, strict=True)
            if not any(other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in costs)
        ]

    def history(self) -> list[float]:
        """The best value after each complete trial, of the first objective."""
        best, values, sign = math.inf, [], self._signs()[0]
        for trial in self.comparable():
            best = min(best, sign * trial.values[0])
            values.append(sign * best)
        return values

    def table(self) -> list[dict[str, Any]]:
        """A row for each trial, as `pandas.DataFrame` takes them: number, state, values, the point and seconds."""
        names = (
            ["value"]
            if len(self.directions) == 1
            else [f"value.{objective}" for objective in range(len(self.directions))]
        )
        return [
            {
                "number": trial.number,
                "state": trial.state,
                **dict(zip(names, trial.values or (math.nan,) * len(names), strict=True)),
                **{(f"point.{name}" if name in _COLUMNS else name): value for name, value in trial.point.items()},
                "seconds": trial.seconds,
            }
            for trial in self.trials
        ]

    def importance(self, objective: int = 0) -> dict[str, float]:
        """How much each name matters for being among the best, most first; the sum is 1.

        PED-ANOVA, Watanabe et al. 2023, arXiv:2304.10255.

        Raises:
            RunError: fewer than ten trials are complete with a finite value.
        """
        import optuna
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        from adaptive_lr.search.samplers import quiet

        finite = [trial for trial in self.comparable() if all(math.isfinite(value) for value in trial.values)]
        if len(finite) < 10:
            raise RunError(f"importance needs ten complete trials with finite values, there are {len(finite)}")
        distributions = self.space.distributions()
        sign = self._signs()[objective]  # the evaluator takes the least of a target for the best
        with quiet():
            study = optuna.create_study(directions=list(self.directions))
            study.add_trials(
                [
                    optuna.trial.create_trial(
                        params=dict(trial.point), distributions=distributions, values=trial.values
                    )
                    for trial in finite
                ]
            )
            return get_param_importances(
                study,
                evaluator=PedAnovaImportanceEvaluator(),
                target=lambda trial: sign * float(trial.values[objective]),
            )

    def comparable(self) -> list[TrialRecord]:
        """Those whose values can be compared: without NaN, and none infinitely good, which is a mistake and no result."""
        return [
            trial
            for trial in self.trials
            if trial.state == "complete" and all(cost > -math.inf for cost in self._costs(trial))  # not of NaN
        ]

    def _signs(self) -> Sequence[float]:
        return [1.0 if direction == "minimize" else -1.0 for direction in self.directions]

    def _costs(self, trial: TrialRecord) -> tuple[float, ...]:
        return tuple(sign * value for sign, value in zip(self._signs(), trial.values, strict=True))


_COLUMNS = ("number", "state", "value", "seconds")

"""How much a result depends on the grid of learning rates that it was tuned on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.analysis.robustness import Sweep, pairs
from adaptive_lr.analysis.summary import headline, judge, summarise
from adaptive_lr.errors import ExperimentError, StoreError
from adaptive_lr.experiment.base import (
    AbstractExperiment,
    check_study_name,
    geometric_grid,
    refuse_repeated,
    slug,
    smoke_seeds,
)
from adaptive_lr.reporting.tensorboard import Run
from adaptive_lr.schedules import AbstractSchedule
from adaptive_lr.tasks import AbstractTask
from adaptive_lr.training import AbstractOptimizer, Trial
from adaptive_lr.trials.store import Record, Store


@dataclass(frozen=True, kw_only=True)
class Study:
    """One task with one optimizer and horizon, on one window of learning rates.

    Seeds come in pairs, the repetitions: on one a learning rate is chosen, on the other it is reported. These are a selection seed and
    a report seed, which must be disjoint; where there are more of the one kind, the last of them join the other.
    """

    name: str
    task: AbstractTask
    optimizer: AbstractOptimizer
    steps: int
    low: float
    high: float
    per_decade: int = 6
    selection_seeds: range
    report_seeds: range
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not self.selection_seeds or not self.report_seeds:
            raise ExperimentError(f"study {self.name}: selection_seeds and report_seeds must not be empty")
        if set(self.selection_seeds) & set(self.report_seeds):
            raise ExperimentError(f"study {self.name}: selection_seeds and report_seeds must be disjoint")
        geometric_grid(self.low, self.high, self.per_decade)

    @property
    def rates(self) -> NDArray[np.float64]:
        """The fine grid, ``[L]``."""
        return geometric_grid(self.low, self.high, self.per_decade)

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds, those for selection first."""
        return (*self.selection_seeds, *self.report_seeds)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The seed that chooses and the one that reports, of each repetition."""
        return pairs(self.selection_seeds, self.report_seeds)

    def small(self, seeds: int = 1) -> Self:
        """The same study at a size that ends at once, with so many report seeds."""
        return replace(
            self,
            steps=max(20, self.steps // 100),
            selection_seeds=self.selection_seeds[:1],
            report_seeds=self.report_seeds[:seeds],
        )

    def narrowed(self, decades: int) -> Self:
        """On the middle of its window, where that is wider."""
        spare = len(self.rates) - 1 - decades * self.per_decade
        low = float(self.rates[max(spare, 0) // 2])
        return replace(self, low=low, high=low * 10.0**decades) if spare > 0 else self

    def facts(self) -> dict[str, Any]:
        """What a report says of the study, as plain data."""
        return {
            "label": self.task.label,
            "optimizer": self.optimizer.kind,
            "steps": self.steps,
            "metric": self.task.report_metric,
            "selection_metric": self.task.selection_metric,
            "optimum_known": self.task.optimum is not None,
            "rates": self.rates.tolist(),
            "selection_seeds": list(self.selection_seeds),
            "report_seeds": list(self.report_seeds),
            "pairs": [list(pair) for pair in self.pairs],
        }

    def trial(self, schedule: AbstractSchedule, rate: float, seed: int) -> Trial:
        """The trial of one cell."""
        return Trial(
            task=self.task,
            schedule=schedule,
            optimizer=self.optimizer,
            base_lr=float(f"{rate:.12g}"),  # the same digest whatever the last bit of the power was
            steps=self.steps,
            seed=seed,
            dtype=self.dtype,
        )

    def trials(self, schedule: AbstractSchedule) -> list[list[Trial]]:
        """All trials of a schedule, ``[seed][rate]``."""
        return [[self.trial(schedule, rate, seed) for rate in self.rates] for seed in self.seeds]


@dataclass(frozen=True, kw_only=True)
class Experiment(AbstractExperiment):
    """What do grids of learning rates of several resolutions cost several schedules, in several studies?

    Attributes:
        schedules: by group, whatever its name, then by label.
        reference: the label of the schedule that the others are measured against.
        studies: the tasks.
        judged: the group that the answer is about; by default the last one without the reference.
        against: the groups that it is compared with; by default all others.
    """

    kind = "grid_resolution"

    schedules: Mapping[str, Mapping[str, AbstractSchedule]]
    reference: str
    studies: Sequence[Study]
    judged: str = ""
    against: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Names stand for one thing each, and the coarse grids can be taken from the fine ones.

        Raises:
            ExperimentError: a name is given twice or stands for nothing, or a grid is too narrow or of another step.
        """
        super().__post_init__()
        refuse_repeated("schedules", [label for members in self.schedules.values() for label in members])
        refuse_repeated("studies", [check_study_name(study.name) for study in self.studies])
        if not self.studies:
            raise ExperimentError(f"{self.name} has no studies")
        if self.reference not in self.by_label:
            raise ExperimentError(f"{self.name}: the reference {self.reference!r} is none of the schedules")
        for group in (self.judged, *self.against):
            if group and not self.schedules.get(group):
                raise ExperimentError(f"{self.name}: there is no group {group!r} among {', '.join(self.schedules)}")
        if self.kind == Experiment.kind:
            for study in self.studies:
                if study.per_decade % 6 or len(study.rates) <= 2 * study.per_decade:
                    raise ExperimentError(
                        f"study {study.name}: grids of the ratios 10^(1/3) to 100 need per_decade=6, or a multiple of it, on at least two "
                        f"decades, got per_decade={study.per_decade} from {study.low:g} to {study.high:g}"
                    )

    @property
    def question_of_groups(self) -> tuple[str, list[str]]:
        """The group that is judged, and those that it is judged against."""
        candidates = [group for group, members in self.schedules.items() if members and self.reference not in members]
        judged = self.judged or (candidates[-1] if candidates else self.groups[self.reference])
        against = self.against or [group for group, members in self.schedules.items() if members and group != judged]
        return judged, list(against)

    @property
    def by_label(self) -> dict[str, AbstractSchedule]:
        """All schedules."""
        return {label: schedule for members in self.schedules.values() for label, schedule in members.items()}

    @property
    def groups(self) -> dict[str, str]:
        """The group of each label."""
        return {label: group for group, members in self.schedules.items() for label in members}

    def trials(self) -> list[Trial]:
        """See the base class."""
        return [
            trial
            for study in self.studies
            for schedule in self.by_label.values()
            for row in study.trials(schedule)
            for trial in row
        ]

    def smoke(self) -> Experiment:
        """See the base class; two decades, the fewest that the coarse grids can be taken from."""
        studies = [study.small(seeds).narrowed(2) for study, seeds in zip(self.studies, smoke_seeds(), strict=False)]
        return replace(self, title=f"{self.title} (smoke size)", studies=studies)

    def analyse(self, store: Store) -> dict[str, Any]:
        """See the base class."""
        studies = {}
        judged, against = self.question_of_groups
        for study in self.studies:
            sweeps = {label: sweep_of(study, schedule, store) for label, schedule in self.by_label.items()}
            studies[study.name] = {
                **study.facts(),
                "initial": next(iter(sweeps.values())).initial,
                **summarise(sweeps, self.groups, self.reference, judged=judged, against=against),
            }
        family = judge(studies)
        return {
            "kind": self.kind,
            "name": self.name,
            "title": self.title,
            "question": self.question,
            "reference": self.reference,
            "schedules": {label: repr(schedule) for label, schedule in self.by_label.items()},
            "trials": len(self.trials()),
            "family": family,
            "verdicts": headline(studies),
            "studies": studies,
        }

    def runs_to_show(self, numbers: Mapping[str, Any], *, everything: bool) -> list[Run]:
        """Each schedule at its best rate and a decade to either side, one seed; or all rates and seeds."""
        runs = []
        for study in self.studies:
            rows = numbers["studies"][study.name]["schedules"]
            for label, schedule in self.by_label.items():
                best = int(np.argmin(np.abs(np.log(study.rates / rows[label]["best_rate"]))))
                indices = {best - study.per_decade, best, best + study.per_decade} & set(range(len(study.rates)))
                words = {"study": study.name, "schedule": label, "group": self.groups[label]}
                for seed in study.seeds if everything else study.report_seeds[:1]:
                    for index in range(len(study.rates)) if everything else sorted(indices):
                        trial = study.trial(schedule, float(study.rates[index]), seed)
                        folder = f"{study.name}/{slug(label)}/lr={trial.base_lr:.3g}"
                        runs.append(Run(f"{folder}/seed={seed}" if everything else folder, trial, words))
        return runs


def sweep_of(study: Study, schedule: AbstractSchedule, store: Store) -> Sweep:
    """The stored losses of one schedule in a study.

    Raises:
        StoreError: trials are missing.
    """
    digests = [[trial.digest() for trial in row] for row in study.trials(schedule)]
    records = store.read(digest for row in digests for digest in row)
    missing = sum(digest not in records for row in digests for digest in row)
    if missing:
        raise StoreError(f"{missing} trials of study {study.name} are not in {store.path}: run the experiment first")
    by_seed = dict(zip(study.seeds, digests, strict=True))
    choosing, reporting = ([by_seed[seed] for seed in seeds] for seeds in zip(*study.pairs, strict=True))
    selection, report = study.task.selection_metric, study.task.report_metric

    def losses(metric: str, rows: list[list[str]]) -> NDArray[np.float64]:
        return np.array([[records[digest].metrics[metric] for digest in row] for row in rows])

    def initial(metric: str, rows: list[list[str]]) -> float:
        firsts: list[Record] = [records[row[0]] for row in rows]
        return float(np.mean([record.initial[metric] for record in firsts]))

    return Sweep.clipped(
        rates=study.rates,
        selection=losses(selection, choosing),
        report=losses(report, reporting),
        initial=(initial(selection, choosing), initial(report, reporting)),
        optimum=study.task.optimum,
        per_decade=study.per_decade,
    )

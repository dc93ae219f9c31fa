"""Which damping helps on real workloads, at several horizons, with and without a warm-up, at whatever rate somebody happened to pick?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from adaptive_lr.analysis.horizons import Cell, judge, reversals, summarise, tally
from adaptive_lr.errors import ExperimentError
from adaptive_lr.experiment.base import AbstractExperiment, check_study_name, refuse_repeated, slug
from adaptive_lr.experiment.grid_resolution import Study, sweep_of
from adaptive_lr.reporting.tensorboard import Run
from adaptive_lr.schedules import AbstractSchedule, Warmup
from adaptive_lr.tasks.data.catalogue import find
from adaptive_lr.tasks.data.resolver import is_here
from adaptive_lr.training import Trial
from adaptive_lr.training.workloads import WORKLOADS
from adaptive_lr.trials.store import Store


@dataclass(frozen=True, kw_only=True)
class HorizonStudy(Study):
    """A task with its recipe, around whose horizon and rate others are tried.

    There are as many selection seeds as report seeds: each pair of one and one is a repetition of tuning and reporting.

    Attributes:
        schedules: labels of the experiment's schedules that are run; all if empty.
        warmups: lengths of the experiment's warm-ups that are run; all if empty.
        data: the data sets that have to be fetched first, as in `adaptive-lr data list`; none if empty.
    """

    schedules: tuple[str, ...] = ()
    warmups: tuple[float, ...] = ()
    data: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Grids have one rate a decade at two places at least, seeds come in pairs, and the data sets are known.

        Raises:
            ExperimentError: they do not.
        """
        super().__post_init__()
        if len(self.selection_seeds) != len(self.report_seeds):
            raise ExperimentError(
                f"study {self.name}: every report seed needs a selection seed of its own, got {len(self.selection_seeds)} and "
                f"{len(self.report_seeds)}: give as many of both"
            )
        if len(self.rates) <= self.per_decade:
            raise ExperimentError(
                f"study {self.name}: one rate a decade needs a window of at least a decade, got {self.low:g} to {self.high:g}"
            )
        for name in self.data:
            find(name)

    @classmethod
    def of_workload(
        cls,
        name: str,
        workload: str,
        steps: int,
        *,
        seeds: int,
        low: float | None = None,
        decades: float = 2.0,
        schedules: tuple[str, ...] = (),
        warmups: tuple[float, ...] = (),
        data: tuple[str, ...] = (),
    ) -> Self:
        """A workload with its recipe.

        Args:
            name: of the study.
            workload: a key of `WORKLOADS`.
            steps: T.
            seeds: how many are reported, and as many to choose the rate on.
            low: the lowest rate; a tenth of the recipe's if none is given.
            decades: how far the rates go from there, two a decade.
            schedules: see the class.
            warmups: see the class.
            data: see the class.
        """
        trial = WORKLOADS[workload].trial()
        low = trial.base_lr / 10.0 if low is None else low
        return cls(
            name=name,
            task=trial.task,
            optimizer=trial.optimizer,
            steps=steps,
            low=low,
            high=low * 10.0**decades,
            per_decade=2,
            selection_seeds=range(100, 100 + seeds),
            report_seeds=range(seeds),
            schedules=schedules,
            warmups=warmups,
            data=data,
        )

    def facts(self) -> dict[str, Any]:
        """See the base class; with the recipe."""
        return {
            **super().facts(),
            "task": repr(self.task),
            "recipe": repr(self.optimizer),
            "per_decade": self.per_decade,
            "horizon": self.steps,
        }

    @property
    def unavailable(self) -> str:
        """Why it cannot be run here, in a line, or nothing."""
        absent = [name for name in self.data if not is_here(find(name))]
        if not absent:
            return ""
        return f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not here: adaptive-lr data fetch {' '.join(absent)}"

    def at(self, factor: float) -> Self:
        """The same at another horizon, a multiple of its own."""
        return replace(self, steps=max(1, round(self.steps * factor)))

    def small(self, seeds: int = 1) -> Self:
        """See the base class; as many repetitions, and two rates."""
        return replace(
            self,
            steps=max(4, self.steps // 40),
            high=self.low * 10.0,
            per_decade=1,
            selection_seeds=self.selection_seeds[:seeds],
            report_seeds=self.report_seeds[:seeds],
        )


@dataclass(frozen=True, kw_only=True)
class Horizons(AbstractExperiment):
    """What does each schedule end with at several horizons, with several warm-ups, tuned finely and coarsely?

    Attributes:
        schedules: by label.
        reference: the label of the schedule that the others are compared with.
        studies: the workloads.
        factors: the horizons, ascending multiples of each workload's own.
        warmups: shares of a run that the rate rises over before the schedule begins; 0 is none.
    """

    kind = "horizons"

    schedules: Mapping[str, AbstractSchedule]
    reference: str
    studies: Sequence[HorizonStudy]
    factors: tuple[float, ...] = (0.25, 1.0, 4.0)
    warmups: tuple[float, ...] = (0.0, 0.05)

    def __post_init__(self) -> None:
        """Names stand for one thing each, and horizons differ.

        Raises:
            ExperimentError: a name is given twice or stands for nothing, or two horizons of a workload have as many steps.
        """
        super().__post_init__()
        refuse_repeated("studies", [check_study_name(study.name) for study in self.studies])
        if not self.studies:
            raise ExperimentError(f"{self.name} has no studies")
        for study in self.studies:
            for label in (self.reference, *study.schedules):
                if label not in self.labels(study):
                    raise ExperimentError(f"study {study.name}: {label!r} is none of its schedules")
            for share in study.warmups:
                if share not in self.warmups:
                    raise ExperimentError(f"study {study.name}: {share:g} is none of the warm-ups of {self.name}")
            refuse_repeated(f"horizons of study {study.name}", [f"{part.steps} steps" for part in self._parts(study)])

    @property
    def by_label(self) -> dict[str, AbstractSchedule]:
        """All schedules."""
        return dict(self.schedules)

    def labels(self, study: HorizonStudy) -> list[str]:
        """The schedules of a workload, in the order of the experiment."""
        return [label for label in self.schedules if not study.schedules or label in study.schedules]

    def shares(self, study: HorizonStudy) -> list[float]:
        """The warm-ups of a workload, in the order of the experiment."""
        return [share for share in self.warmups if not study.warmups or share in study.warmups]

    def trials(self) -> list[Trial]:
        """See the base class; without the workloads whose data are not here."""
        return [trial for study in self.studies if not study.unavailable for trial in self._trials(study)]

    def left_out(self) -> dict[str, str]:
        """See the base class."""
        return {study.name: study.unavailable for study in self.studies if study.unavailable}

    def smoke(self) -> Horizons:
        """See the base class; two horizons, the reference and another schedule."""
        studies = [
            replace(study.small(), schedules=tuple(dict.fromkeys([*self.labels(study)[:1], self.reference])))
            for study in self.studies
        ]
        return replace(self, title=f"{self.title} (smoke size)", studies=studies, factors=self.factors[:2])

    def analyse(self, store: Store) -> dict[str, Any]:
        """See the base class; a workload is skipped if its data are not here and its trials are not stored."""
        studies: dict[str, Any] = {}
        skipped: dict[str, str] = {}
        for study in self.studies:
            if study.unavailable and not self._stored(study, store):
                skipped[study.name] = study.unavailable
                continue
            cells = self._cells(study, store)
            initial = float(np.mean([cells[0].sweeps[label].initial for label in self.labels(study)]))
            studies[study.name] = {**study.facts(), "initial": initial, **summarise(cells, self.reference)}
        family = judge(studies)
        for numbers in studies.values():
            numbers["reversals"] = reversals(numbers)
        return {
            "kind": self.kind,
            "name": self.name,
            "title": self.title,
            "question": self.question,
            "reference": self.reference,
            "schedules": {label: repr(schedule) for label, schedule in self.schedules.items()},
            "factors": list(self.factors),
            "warmups": list(self.warmups),
            "trials": sum(len(self._trials(study)) for study in self.studies if study.name in studies),
            "family": family,
            "tally": tally(studies),
            "skipped": skipped,
            "studies": studies,
        }

    def runs_to_show(self, numbers: Mapping[str, Any], *, everything: bool) -> list[Run]:
        """Each schedule at its best rate in every cell, one seed; or all rates and seeds."""
        runs = []
        for study in self.studies:
            for cell in numbers["studies"].get(study.name, {"cells": []})["cells"]:
                part = replace(study, steps=cell["steps"])
                for label, row in cell["schedules"].items():
                    words = {"study": study.name, "schedule": label, "warmup": f"{cell['warmup']:g}"}
                    schedule = warmed(self.schedules[label], cell["warmup"])
                    for seed in part.seeds if everything else part.report_seeds[:1]:
                        for rate in part.rates if everything else [row["best_rate"]]:
                            trial = part.trial(schedule, float(rate), seed)
                            setting = f"{cell['steps']}_steps,warmup={cell['warmup']:g}"
                            folder = f"{study.name}/{setting}/{slug(label)}/lr={trial.base_lr:.3g}"
                            runs.append(Run(f"{folder}/seed={seed}" if everything else folder, trial, words))
        return runs

    def _parts(self, study: HorizonStudy) -> list[HorizonStudy]:
        return [study.at(factor) for factor in self.factors]

    def _trials(self, study: HorizonStudy) -> list[Trial]:
        return [
            trial
            for part in self._parts(study)
            for warmup in self.shares(study)
            for label in self.labels(study)
            for row in part.trials(warmed(self.schedules[label], warmup))
            for trial in row
        ]

    def _stored(self, study: HorizonStudy, store: Store) -> bool:
        digests = {trial.digest() for trial in self._trials(study)}
        return store.finished(digests) >= digests

    def _cells(self, study: HorizonStudy, store: Store) -> list[Cell]:
        return [
            Cell(
                steps=part.steps,
                warmup=warmup,
                sweeps={
                    label: sweep_of(part, warmed(self.schedules[label], warmup), store) for label in self.labels(study)
                },
            )
            for part in self._parts(study)
            for warmup in self.shares(study)
        ]


def warmed(schedule: AbstractSchedule, fraction: float) -> AbstractSchedule:
    """The schedule after a rise over a share of the run; the schedule itself if that is zero."""
    return Warmup(fraction=fraction, then=schedule) if fraction else schedule

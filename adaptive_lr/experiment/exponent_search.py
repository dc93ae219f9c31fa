"""Does it pay to search the shape of a damped cosine, with which sampler, and does what is found help elsewhere?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adaptive_lr.analysis import paired
from adaptive_lr.analysis.baselines import TUNED
from adaptive_lr.analysis.searches import EXHAUSTIVE, OBJECTIVES, Searched, family, summarise
from adaptive_lr.analysis.transfer import transferred
from adaptive_lr.errors import ExperimentError
from adaptive_lr.experiment.base import AbstractExperiment, check_study_name, refuse_repeated, smoke_seeds
from adaptive_lr.experiment.searching import Paths, SearchStudy, Table, held, read_sweeps, read_table
from adaptive_lr.reporting.tensorboard import Run
from adaptive_lr.schedules import AbstractSchedule
from adaptive_lr.search.known import SAMPLERS
from adaptive_lr.shapes.lattice import Lattice, visited
from adaptive_lr.spec import lookup
from adaptive_lr.training import Trial
from adaptive_lr.trials.store import Store


@dataclass(frozen=True, kw_only=True)
class ExponentSearch(AbstractExperiment):
    """Searches of several samplers over one lattice of shapes, repeated, with the winners judged against the usual schedules.

    All shapes are trained on the selection seeds, at every rate. What a search would be told is then known wherever it goes, and a
    repeat costs nothing but its proposals. On the report seeds only what some search holds for its best is trained, and the baselines.

    Attributes:
        lattice: the shapes.
        baselines: the usual schedules by label.
        reference: the label of the one that TensorBoard shows beside what was found.
        samplers: names of Optuna's, as `adaptive_lr.search.known` has them.
        budget: trials of a search; a trial is a shape at all rates and on all selection seeds.
        studies: the tasks.
    """

    kind = "exponent_search"

    lattice: Lattice
    baselines: Mapping[str, AbstractSchedule]
    reference: str = "cosine"
    samplers: Sequence[str] = ("tpe", "random", "qmc")
    budget: int = 64
    studies: Sequence[SearchStudy]

    def __post_init__(self) -> None:
        """Names stand for one thing each, and there is something to do.

        Raises:
            ExperimentError: a name is given twice or stands for nothing, or there is nothing to do.
        """
        super().__post_init__()
        refuse_repeated("studies", [check_study_name(study.name) for study in self.studies])
        refuse_repeated("samplers", self.samplers)
        for sampler in self.samplers:
            lookup(sampler, SAMPLERS, "sampler")
        for name in ("studies", "baselines", "samplers"):
            if not getattr(self, name):
                raise ExperimentError(f"{self.name} has no {name}")
        if self.reference not in self.baselines:
            raise ExperimentError(f"{self.name}: the reference {self.reference!r} is none of the baselines")
        if self.budget < 1:
            raise ExperimentError(f"{self.name}: budget must be at least 1, got {self.budget}")

    @property
    def by_label(self) -> dict[str, AbstractSchedule]:
        """The baselines, which are the schedules with names."""
        return dict(self.baselines)

    def trials(self) -> list[Trial]:
        """See the base class: everything on the seeds that searches see."""
        return [
            trial
            for study in self.studies
            for schedule in self._schedules()
            for row in study.cells(schedule, study.selection_seeds)
            for trial in row
        ]

    def following(self, store: Store) -> list[Trial]:
        """See the base class: what some search holds for its best, and the baselines, on the report seeds."""
        shapes = self._held(self._tables(store))
        return [
            trial
            for study in self.studies
            for schedule in self._reported(shapes[study.name])
            for row in study.cells(schedule, study.report_seeds)
            for trial in row
        ]

    def smoke(self) -> ExponentSearch:
        """See the base class; the first study and the last one."""
        levels = {
            name: levels[: 2 if axis < 3 else 1] for axis, (name, levels) in enumerate(self.lattice.levels.items())
        }
        ends = [self.studies[0], *self.studies[1:][-1:]]
        studies = [study.small(seeds).narrowed(2) for study, seeds in zip(ends, smoke_seeds(), strict=False)]
        return replace(
            self,
            title=f"{self.title} (smoke size)",
            lattice=replace(self.lattice, levels=levels),
            budget=min(self.budget, 8),
            studies=studies,
        )

    def analyse(self, store: Store) -> dict[str, Any]:
        """See the base class."""
        tables = self._tables(store)
        shapes = self._held(tables)
        searches = {
            study.name: self._searched(study, tables[study.name], shapes[study.name], store) for study in self.studies
        }
        studies = {study.name: {**study.facts(), **summarise(searches[study.name])} for study in self.studies}
        matrix = transferred(
            {
                target: {source: searched.shapes[searches[source].winner(TUNED)] for source in searches}
                for target, searched in searches.items()
            },
            {name: searched.baselines for name, searched in searches.items()},
            {name: searched.seen for name, searched in searches.items()},
        )
        judged = [*family(studies), *(cell for row in matrix.values() for cell in row.values())]
        count = paired.judge(judged)
        winners = {searched.winner(objective) for searched in searches.values() for objective in OBJECTIVES}
        return {
            "kind": self.kind,
            "name": self.name,
            "title": self.title,
            "question": self.question,
            "reference": self.reference,
            "levels": {name: list(levels) for name, levels in self.lattice.levels.items()},
            "shapes": {str(index): self.lattice.numbers(index) for index in sorted(winners)},
            "lattice": len(self.lattice),
            "samplers": list(self.samplers),
            "budget": self.budget,
            "family": {"verdicts": count, "repetitions": paired.repetitions(judged)},
            "trials": len(self.trials()) + len(self.following(store)),
            "matrix": matrix,
            "studies": studies,
        }

    def runs_to_show(self, numbers: Mapping[str, Any], *, everything: bool) -> list[Run]:
        """The best of all shapes on each task, and the reference, at their best rates, one seed."""
        runs = []
        for study in self.studies:
            row = numbers["studies"][study.name]
            best = row["objectives"][TUNED][EXHAUSTIVE]
            shown = {
                "found": (self.lattice[best["shape"]], best["rate"]),
                self.reference: (self.baselines[self.reference], row["baselines"][self.reference]["rate"]),
            }
            for label, (schedule, rate) in shown.items():
                trial = study.trial(schedule, rate, study.report_seeds[0])
                words = {"study": study.name, "schedule": label}
                runs.append(Run(f"{study.name}/{label.replace(' ', '_')}/lr={trial.base_lr:.3g}", trial, words))
        return runs

    def _schedules(self) -> list[AbstractSchedule]:
        """The shapes by number, then the baselines."""
        return [*self.lattice, *self.baselines.values()]

    def _reported(self, shapes: Sequence[int]) -> list[AbstractSchedule]:
        """What is trained on the report seeds: shapes by their numbers, then the baselines."""
        return [*(self.lattice[index] for index in shapes), *self.baselines.values()]

    def _tables(self, store: Store) -> dict[str, Table]:
        schedules = self._schedules()
        return {study.name: read_table(study, schedules, len(self.lattice), store) for study in self.studies}

    def _paths(self, study: SearchStudy, values: Mapping[str, Sequence[float]]) -> Paths:
        """Where every repeat goes."""
        return {
            objective: {
                sampler: [
                    visited(self.lattice, worth, sampler=sampler, seed=seed, trials=self.budget)
                    for seed in range(study.repeats)
                ]
                for sampler in self.samplers
            }
            for objective, worth in values.items()
        }

    def _held(self, tables: Mapping[str, Table]) -> dict[str, list[int]]:
        """By study the numbers of the shapes that are trained on the report seeds; the best of each task on all tasks."""
        values = {name: table.values for name, table in tables.items()}
        best = [int(np.argmin(worth[TUNED])) for worth in values.values()]
        return {
            study.name: held(values[study.name], self._paths(study, values[study.name]), best) for study in self.studies
        }

    def _searched(self, study: SearchStudy, table: Table, shapes: Sequence[int], store: Store) -> Searched:
        sweeps = read_sweeps(study, self._reported(shapes), store)
        values = table.values
        return Searched(
            values=values,
            visited=self._paths(study, values),
            shapes=dict(zip(shapes, sweeps, strict=False)),
            baselines=dict(zip(self.baselines, sweeps[len(shapes) :], strict=True)),
            seen=table.seen(list(self.baselines)),
        )

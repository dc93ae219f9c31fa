"""Does it pay to search the exponents of a damped cosine, and does what is found help elsewhere?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adaptive_lr.analysis.transfer import summarise
from adaptive_lr.errors import ExperimentError
from adaptive_lr.experiment.base import AbstractExperiment, check_study_name, refuse_repeated, smoke_seeds
from adaptive_lr.experiment.grid_resolution import Study, sweep_of
from adaptive_lr.reporting.tensorboard import Run
from adaptive_lr.schedules import AbstractSchedule, DampedCosine
from adaptive_lr.training import Trial
from adaptive_lr.trials.store import Store


def scattered(count: int) -> dict[str, AbstractSchedule]:
    """Damped cosines spread evenly over their search space, by label; a Sobol sequence, the same every time.

    A power of two keeps the sequence balanced. The numbers are rounded to two digits, which are those of the label.

    >>> list(scattered(2))
    ['k 0.78, exponent 7.1', 'k 1.9, exponent 0.36']
    """
    from scipy.stats import qmc  # half a second to import

    space = DampedCosine().search_space()
    axes = {name: (np.log(space[name].low), np.log(space[name].high)) for name in ("k", "exponent")}
    points = qmc.scale(qmc.Sobol(2, rng=np.random.default_rng(0)).random(count), *zip(*axes.values(), strict=True))
    schedules: dict[str, AbstractSchedule] = {}
    for point in np.exp(points):
        k, exponent = (f"{value:.2g}" for value in point)
        schedules[f"k {k}, exponent {exponent}"] = DampedCosine(k=float(k), exponent=float(exponent))
    return schedules


@dataclass(frozen=True, kw_only=True)
class ExponentSearch(AbstractExperiment):
    """Shapes searched on each task, judged on other seeds there and on the other tasks.

    Attributes:
        shapes: what is searched, the reference among them.
        others: what is compared, but cannot win.
        reference: the label of what everybody uses.
        studies: the tasks.
    """

    kind = "exponent_search"

    shapes: Mapping[str, AbstractSchedule]
    others: Mapping[str, AbstractSchedule]
    reference: str
    studies: Sequence[Study]

    def __post_init__(self) -> None:
        """Names stand for one thing each, and the shapes are what the figure can show.

        Raises:
            ExperimentError: one is given twice or stands for nothing, or a shape is no damped cosine.
        """
        super().__post_init__()
        refuse_repeated("schedules", [*self.shapes, *self.others])
        refuse_repeated("studies", [check_study_name(study.name) for study in self.studies])
        if not self.studies:
            raise ExperimentError(f"{self.name} has no studies")
        if self.reference not in self.shapes:
            raise ExperimentError(f"{self.name}: the reference {self.reference!r} is none of the shapes")
        for label, schedule in self.shapes.items():
            if not isinstance(schedule, DampedCosine):
                raise ExperimentError(
                    f"{self.name}: only damped cosines have the exponents searched here, {label!r} is {schedule!r}"
                )

    @property
    def by_label(self) -> dict[str, AbstractSchedule]:
        """All schedules."""
        return {**self.shapes, **self.others}

    def trials(self) -> list[Trial]:
        """See the base class; every shape on the report seeds too, which is what the transfer between tasks needs."""
        return [
            trial
            for study in self.studies
            for schedule in self.by_label.values()
            for row in study.trials(schedule)
            for trial in row
        ]

    def smoke(self) -> ExponentSearch:
        """See the base class."""
        few = dict(list(self.shapes.items())[:6])
        studies = [study.small(seeds).narrowed(1) for study, seeds in zip(self.studies, smoke_seeds(), strict=False)]
        return replace(self, title=f"{self.title} (smoke size)", shapes=few, studies=studies)

    def analyse(self, store: Store) -> dict[str, Any]:
        """See the base class."""
        sweeps = {
            study.name: {label: sweep_of(study, schedule, store) for label, schedule in self.by_label.items()}
            for study in self.studies
        }
        summary = summarise(sweeps, tuple(self.shapes), self.reference)
        studies = {study.name: {**study.facts(), **summary["rows"][study.name]} for study in self.studies}
        return {
            "kind": self.kind,
            "name": self.name,
            "title": self.title,
            "question": self.question,
            "reference": self.reference,
            "shapes": {label: schedule.leaves() for label, schedule in self.shapes.items()},
            "others": list(self.others),
            "trials": len(self.trials()),
            "family": summary["family"],
            "winners": summary["winners"],
            "matrix": summary["matrix"],
            "studies": studies,
        }

    def runs_to_show(self, numbers: Mapping[str, Any], *, everything: bool) -> list[Run]:
        """The winner and the reference of each task at their best rates, one seed."""
        runs = []
        for study in self.studies:
            row = numbers["studies"][study.name]
            for label, rate in ((row["winner"], row["rate"]), (self.reference, row["reference_rate"])):
                trial = study.trial(self.shapes[label], rate, study.report_seeds[0])
                words = {"study": study.name, "schedule": label}
                runs.append(Run(f"{study.name}/{label.replace(' ', '_')}/lr={trial.base_lr:.3g}", trial, words))
        return list({run.folder: run for run in runs}.values())

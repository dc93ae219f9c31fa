"""An experiment: a question, the trials that answer it, and the numbers that they give."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.analysis.robustness import Sweep
from adaptive_lr.analysis.summary import headline, summarise
from adaptive_lr.errors import ExperimentError, StoreError
from adaptive_lr.reporting.tensorboard import Run
from adaptive_lr.runner import run_trials
from adaptive_lr.schedules import AbstractSchedule
from adaptive_lr.store import Record, Store
from adaptive_lr.tasks import AbstractTask
from adaptive_lr.training import AbstractOptimizer, Trial

FOLDER = Path("experiments")
"""Where experiments are declared, below the working directory."""


def geometric_grid(low: float, high: float, per_decade: int) -> NDArray[np.float64]:
    """Learning rates from ``low`` to ``high``, ``per_decade`` of them a decade, both ends included.

    Raises:
        ExperimentError: the grid would be empty, or the ends are not a whole number of steps apart.

    >>> [round(float(rate), 3) for rate in geometric_grid(0.01, 1.0, 2)]
    [0.01, 0.032, 0.1, 0.316, 1.0]
    """
    if not (np.isfinite([low, high]).all() and 0.0 < low < high):
        raise ExperimentError(f"a learning-rate grid needs 0 < low < high, got low={low!r}, high={high!r}")
    steps = per_decade * float(np.log10(high / low))
    if per_decade < 1 or abs(steps - round(steps)) > 1e-9:
        raise ExperimentError(f"{low:g} to {high:g} is not a whole number of steps at {per_decade} a decade")
    return low * 10.0 ** (np.arange(round(steps) + 1) / per_decade)


@dataclass(frozen=True, kw_only=True)
class Study:
    """One task with one optimizer and horizon, on one window of learning rates.

    Learning rates are chosen on ``selection_seeds`` and reported on ``report_seeds``, which must be disjoint.
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
class Experiment:
    """A question asked of several schedules in several studies.

    Attributes:
        name: as in the name of its file.
        title: a line for the report.
        question: what is asked, in a sentence.
        schedules: by group (``fixed``, ``stepwise``, ``damped cosine``, …), then by label.
        reference: the label of the schedule that the others are measured against.
        studies: the tasks.
    """

    name: str
    title: str
    question: str
    schedules: Mapping[str, Mapping[str, AbstractSchedule]]
    reference: str
    studies: Sequence[Study]

    @property
    def by_label(self) -> dict[str, AbstractSchedule]:
        """All schedules."""
        return {label: one for members in self.schedules.values() for label, one in members.items()}

    @property
    def groups(self) -> dict[str, str]:
        """The group of each label."""
        return {label: group for group, members in self.schedules.items() for label in members}

    def trials(self) -> list[Trial]:
        """Every trial, in a fixed order."""
        return [
            trial
            for study in self.studies
            for schedule in self.by_label.values()
            for row in study.trials(schedule)
            for trial in row
        ]

    def smoke(self) -> Experiment:
        """The same experiment, small enough to finish in seconds; its numbers mean nothing."""
        studies = [
            replace(
                study,
                steps=max(20, study.steps // 20),
                selection_seeds=study.selection_seeds[:1],
                report_seeds=study.report_seeds[:2],
            )
            for study in self.studies
        ]
        return replace(self, title=f"{self.title} (smoke size)", studies=studies)


def load_experiment(name: str) -> Experiment:
    """The experiment declared in ``experiments/NAME.py`` or in the file NAME, as its ``EXPERIMENT``.

    Raises:
        ExperimentError: there is no such file, or it declares no experiment.
    """
    path = Path(name) if name.endswith(".py") else FOLDER / f"{name}.py"
    if not path.is_file():
        known = ", ".join(experiment_names()) or f"no experiments in {FOLDER.resolve()}"
        raise ExperimentError(f"unknown experiment {name!r}; known: {known}")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    found = getattr(module, "EXPERIMENT", None)
    if not isinstance(found, Experiment):
        raise ExperimentError(f"{path} declares no EXPERIMENT")
    return found


def experiment_names() -> list[str]:
    """The experiments declared below the working directory."""
    return sorted(path.stem for path in FOLDER.glob("e[0-9]*.py"))


def run_experiment(
    experiment: Experiment,
    store: Store,
    *,
    workers: int,
    advance: Callable[[int], None] = lambda count: None,
) -> int:
    """Run the trials that are not stored yet; how many those were. A `RunError` says why it could not go on."""
    return run_trials(experiment.trials(), store, workers=workers, advance=advance)


def analyse(experiment: Experiment, store: Store) -> dict[str, Any]:
    """The numbers of the experiment as plain data: what ``report.json`` holds; a `StoreError` if trials are missing."""
    studies = {}
    for study in experiment.studies:
        sweeps = {label: _sweep(study, one, store) for label, one in experiment.by_label.items()}
        studies[study.name] = {
            "label": study.task.label,
            "optimizer": study.optimizer.kind,
            "steps": study.steps,
            "metric": study.task.report_metric,
            "selection_metric": study.task.selection_metric,
            "optimum_known": study.task.optimum is not None,
            "rates": study.rates.tolist(),
            "selection_seeds": list(study.selection_seeds),
            "report_seeds": list(study.report_seeds),
            "initial": next(iter(sweeps.values())).initial,
            **summarise(sweeps, experiment.groups, experiment.reference),
        }
    return {
        "name": experiment.name,
        "title": experiment.title,
        "question": experiment.question,
        "reference": experiment.reference,
        "schedules": {label: repr(one) for label, one in experiment.by_label.items()},
        "trials": len(experiment.trials()),
        "verdicts": headline(studies),
        "studies": studies,
    }


def _sweep(study: Study, schedule: AbstractSchedule, store: Store) -> Sweep:
    digests = [[trial.digest() for trial in row] for row in study.trials(schedule)]
    records = store.read(digest for row in digests for digest in row)
    missing = sum(digest not in records for row in digests for digest in row)
    if missing:
        raise StoreError(f"{missing} trials of study {study.name} are not in {store.path}: run the experiment first")
    selection, report = study.task.selection_metric, study.task.report_metric
    split = len(study.selection_seeds)

    def losses(metric: str, rows: list[list[str]]) -> NDArray[np.float64]:
        return np.array([[records[digest].metrics[metric] for digest in row] for row in rows])

    def initial(metric: str, rows: list[list[str]]) -> float:
        firsts: list[Record] = [records[row[0]] for row in rows]
        return float(np.mean([one.initial[metric] for one in firsts]))

    return Sweep.clipped(
        rates=study.rates,
        selection=losses(selection, digests[:split]),
        report=losses(report, digests[split:]),
        initial=(initial(selection, digests[:split]), initial(report, digests[split:])),
        optimum=study.task.optimum,
        per_decade=study.per_decade,
    )


def runs_to_show(experiment: Experiment, numbers: Mapping[str, Any], *, everything: bool) -> list[Run]:
    """Trials for TensorBoard: each schedule at its best rate and a decade to either side, one seed; or all of them.

    Args:
        experiment: whose trials they are.
        numbers: what `analyse` returned for it.
        everything: all rates and all seeds.
    """
    runs = []
    for study in experiment.studies:
        rows = numbers["studies"][study.name]["schedules"]
        for label, schedule in experiment.by_label.items():
            best = int(np.argmin(np.abs(np.log(study.rates / rows[label]["best_rate"]))))
            places = {best - study.per_decade, best, best + study.per_decade} & set(range(len(study.rates)))
            words = {"study": study.name, "schedule": label, "group": experiment.groups[label]}
            for seed in study.seeds if everything else study.report_seeds[:1]:
                for place in range(len(study.rates)) if everything else sorted(places):
                    trial = study.trial(schedule, float(study.rates[place]), seed)
                    folder = f"{study.name}/{_slug(label)}/lr={trial.base_lr:.3g}"
                    runs.append(Run(f"{folder}/seed={seed}" if everything else folder, trial, words))
    return runs


def _slug(label: str) -> str:
    return "".join(c if c.isalnum() or c in ".=^-" else "_" for c in label)

"""How well training ends from any starting rate of a wide window, under schedules, controllers and other packages' optimizers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.analysis.any_rate import Starts, headline, judge, summarise
from adaptive_lr.analysis.areas import areas
from adaptive_lr.controllers import AbstractController, Static
from adaptive_lr.controllers.base import Signal
from adaptive_lr.errors import ExperimentError, StoreError
from adaptive_lr.experiment.base import (
    AbstractExperiment,
    check_study_name,
    geometric_grid,
    refuse_repeated,
    slug,
)
from adaptive_lr.experiment.contestants import Contestant, RateStudy
from adaptive_lr.reporting.tensorboard import Run
from adaptive_lr.training import Trial
from adaptive_lr.trials.store import Record, Store

Array = NDArray[np.float64]

AGAIN = Signal.PROBE | Signal.PROBE_START | Signal.PROBE_BACK | Signal.PROBE_GRADIENT | Signal.CURVATURE
"""What costs another evaluation of the loss or of its gradient."""

TRAINED = "train_loss"
"""What is looked at beside the reported metric, which also tells over-fitting."""

TRACED_POINTS = 3
"""Starting rates of which a controller's page shows the course: the lowest, the middle, the highest."""


@dataclass(frozen=True, kw_only=True)
class AnyRate(AbstractExperiment):
    """From how many starting rates does training end well?

    Attributes:
        contestants: by group, then by label.
        reference: the label of the schedule that an oracle tunes.
        judged: the label of the contestant that the answer is about.
        studies: the tasks.
        notes: a sentence on what a contestant shows, by label; for the report.
        pages: whether each controller gets a page that shows what it did, in the first study of each area.
    """

    kind = "any_rate"

    contestants: Mapping[str, Mapping[str, Contestant]]
    reference: str
    judged: str
    studies: Sequence[RateStudy]
    notes: Mapping[str, str]
    pages: bool = True

    def __post_init__(self) -> None:
        """Names stand for one thing each.

        Raises:
            ExperimentError: one is given twice or stands for nothing.
        """
        super().__post_init__()
        refuse_repeated("contestants", [label for members in self.contestants.values() for label in members])
        refuse_repeated("studies", [check_study_name(study.name) for study in self.studies])
        if not self.studies:
            raise ExperimentError(f"{self.name} has no studies")
        for what, label in (("reference", self.reference), ("judged contestant", self.judged)):
            if label not in self.by_label:
                raise ExperimentError(f"{self.name}: the {what} {label!r} is none of the contestants")

    @property
    def by_label(self) -> dict[str, Contestant]:
        """All contestants."""
        return {label: contestant for members in self.contestants.values() for label, contestant in members.items()}

    @property
    def groups(self) -> dict[str, str]:
        """The group of each label."""
        return {label: group for group, members in self.contestants.items() for label in members}

    def cells(self, study: RateStudy) -> dict[str, Contestant]:
        """Those that take part in a study."""
        return {
            label: contestant
            for label, contestant in self.by_label.items()
            if not contestant.studies or study.name in contestant.studies
        }

    def trials(self) -> list[Trial]:
        """See the base class; without the contestants whose package is not installed."""
        return [
            trial
            for study in self.studies
            for contestant in self.cells(study).values()
            if not contestant.unavailable
            for row in contestant.trials(study)
            for trial in row
        ]

    def smoke(self) -> AnyRate:
        """See the base class; each contestant in one study, the reference and the judged one in a study of each area."""
        shown = self._shown()
        others = [study for study in self.studies if study.area == shown[0].area != "" and study.factor != 1.0]
        studies = [study.small(first=index == 0) for index, study in enumerate(shown + others[:1])]
        groups: dict[str, dict[str, Contestant]] = {}
        for label, contestant in self.by_label.items():
            names = [study.name for study in studies if not contestant.studies or study.name in contestant.studies]
            part = tuple(names) if label in (self.reference, self.judged) else tuple(names[:1]) or contestant.studies
            small = replace(contestant, per_decade=1, rates=contestant.rates[::2], studies=part)
            groups.setdefault(self.groups[label], {})[label] = small
        return replace(self, title=f"{self.title} (smoke size)", studies=studies, contestants=groups)

    def _shown(self) -> list[RateStudy]:
        """The first study of each area at its task's own horizon, or else at another one."""
        own = sorted(self.studies, key=lambda study: study.factor != 1.0)
        firsts = {study.area or study.name: study.name for study in reversed(own)}
        return [study for study in self.studies if study.name in firsts.values()]

    def analyse(self, store: Store) -> dict[str, Any]:
        """See the base class."""
        studies: dict[str, Any] = {}
        skipped: dict[str, str] = {}
        traces: dict[str, dict[str, Any]] = {}
        traced_studies = {study.name for study in self._shown()} if self.pages else set()
        for study in self.studies:
            starts: dict[str, Starts] = {}
            trained: dict[str, Starts] = {}
            initial, before = self.initial(study, store)
            for label, contestant in self.cells(study).items():
                records = store.read(trial.digest() for row in contestant.trials(study) for trial in row)
                if contestant.unavailable and len(records) < len(contestant.grid(study)) * len(study.seeds):
                    skipped[label] = contestant.unavailable
                    continue
                starts[label] = _starts(contestant, study, records, initial, store)
                if before is not None:
                    trained[label] = _starts(contestant, study, records, before, store, metric=TRAINED)
                if study.name in traced_studies and not isinstance(contestant.controller, Static):
                    traces.setdefault(label, {})[study.name] = _traces(contestant, study, store)
            studies[study.name] = self._numbers(study, starts, initial)
            if before is not None:
                studies[study.name]["trained"] = self._numbers(study, trained, before)["contestants"]
        family, overall = judge(studies), headline(studies)
        return {
            "kind": self.kind,
            "name": self.name,
            "title": self.title,
            "question": self.question,
            "reference": self.reference,
            "judged": self.judged,
            "notes": dict(self.notes),
            "contestants": {label: _described(contestant) for label, contestant in self.by_label.items()},
            "skipped": skipped,
            "trials": len(self.trials()),
            "family": family,
            "overall": {label: overall[label] for label in self.by_label if label in overall},
            "areas": areas(studies),
            "studies": studies,
            "traces": traces,
        }

    def runs_to_show(self, numbers: Mapping[str, Any], *, everything: bool) -> list[Run]:
        """Each contestant from the lowest, the middle and the highest start, one seed; or from all starts, all seeds."""
        runs = []
        for study in self.studies:
            for label, contestant in self.cells(study).items():
                if label not in numbers["studies"][study.name]["contestants"]:
                    continue
                rows = contestant.trials(study)
                words = {"study": study.name, "schedule": label, "group": self.groups[label]}
                for index in range(len(rows)) if everything else traced(len(rows)):
                    for trial in rows[index] if everything else rows[index][:1]:
                        folder = f"{study.name}/{slug(label)}/lr={trial.base_lr:.3g}"
                        runs.append(Run(f"{folder}/seed={trial.seed}" if everything else folder, trial, words))
        return runs

    def _numbers(self, study: RateStudy, starts: Mapping[str, Starts], initial: float) -> dict[str, Any]:
        """What a study is, and what came out of it."""
        relative = {label: bool(self.by_label[label].rates) or self.by_label[label].tuning.searches for label in starts}
        return {
            "label": self._label(study),
            "optimizer": study.optimizer.kind,
            "steps": study.steps,
            "metric": study.task.report_metric,
            "optimum_known": study.task.optimum is not None,
            "seeds": list(study.seeds),
            "window": [study.low, study.high],
            "initial": initial,
            "area": study.area or study.name,
            "factor": study.factor,
            **summarise(starts, self.groups, self.reference, relative, geometric_grid(study.low, study.high, 1)),
        }

    def _label(self, study: RateStudy) -> str:
        """The task's, with the name of the study where several have the same."""
        same = [
            other
            for other in self.studies
            if (other.task.label, other.optimizer) == (study.task.label, study.optimizer)
        ]
        return study.task.label if len(same) == 1 else f"{study.task.label}, «{study.name}»"

    def initial(self, study: RateStudy, store: Store) -> tuple[float, float | None]:
        """What is reported, and the loss on training data if that is something else, before training.

        Raises:
            StoreError: trials are missing.
        """
        trials = self.by_label[self.reference].trials(study)[0]
        records = store.read(trial.digest() for trial in trials)
        if len(records) < len(trials):
            raise StoreError(f"trials of study {study.name} are not in {store.path}: run the experiment first")
        initial = {
            metric: float(np.mean([record.initial[metric] for record in records.values()]))
            for metric in next(iter(records.values())).initial
        }
        return initial[study.task.report_metric], initial.get(TRAINED)


def read_starts(experiment: AnyRate, study: RateStudy, store: Store) -> dict[str, Starts]:
    """What each contestant of a study ended with, by label; without those whose package is not installed.

    A `StoreError` says that trials are missing.
    """
    initial, _ = experiment.initial(study, store)
    starts = {}
    for label, contestant in experiment.cells(study).items():
        if contestant.unavailable:
            continue
        records = store.read(trial.digest() for row in contestant.trials(study) for trial in row)
        starts[label] = _starts(contestant, study, records, initial, store)
    return starts


def traced(count: int) -> list[int]:
    """Places of the starts whose course is shown."""
    return sorted({0, count // 2, count - 1})


def _starts(
    contestant: Contestant,
    study: RateStudy,
    records: Mapping[str, Record],
    initial: float,
    store: Store,
    metric: str = "",
) -> Starts:
    """From the reported metric, or from another one.

    Raises:
        StoreError: trials are missing.
    """
    rows, metric = contestant.trials(study), metric or study.task.report_metric
    missing = sum(trial.digest() not in records for row in rows for trial in row)
    if missing:
        raise StoreError(f"{missing} trials of study {study.name} are not in {store.path}: run the experiment first")
    losses = np.array([[records[trial.digest()].metrics[metric] for trial in row] for row in rows])
    return Starts.clipped(
        rates=contestant.grid(study),
        losses=losses,
        initial=initial,
        optimum=study.task.optimum,
        seconds=sum(record.seconds for record in records.values()),
        extra_steps=contestant.controller.extra_steps(study.steps) / study.steps,
        evaluated=_evaluated(contestant.controller, study.steps) / study.steps,
    )


def _evaluated(controller: AbstractController, steps: int) -> int:
    """In how many steps the loss or its gradient is evaluated once more."""
    return sum(bool(controller.signals(step, steps) & AGAIN) for step in range(steps))


def _traces(contestant: Contestant, study: RateStudy, store: Store) -> dict[str, Any]:
    """What the controller did, for one seed and a few starts: the rate, and its own numbers, at the recorded steps."""
    traces = {}
    rows = contestant.trials(study)
    for index in traced(len(rows)):
        trial = rows[index][0]
        curves = store.curves(trial.digest())
        steps = curves.pop("control/step")
        named = {name.removeprefix("control/"): row for name, row in curves.items() if name.startswith("control/")}
        named["rate"] = named.pop("multiplier") * trial.base_lr
        traces[f"{trial.base_lr:g}"] = {
            "step": steps.astype(int).tolist(),
            **{
                name: [None if not np.isfinite(value) else float(value) for value in row] for name, row in named.items()
            },
        }
    return traces


def _described(contestant: Contestant) -> dict[str, Any]:
    controlled = not isinstance(contestant.controller, Static)
    return {
        "schedule": repr(contestant.schedule),
        "controller": repr(contestant.controller) if controlled else None,
        "rule": inspect.cleandoc(type(contestant.controller).__doc__ or "") if controlled else None,
        "optimizer": repr(contestant.optimizer) if contestant.optimizer is not None else None,
        "tuned_on": list(contestant.controller.tuned_on) if controlled else [],
    }

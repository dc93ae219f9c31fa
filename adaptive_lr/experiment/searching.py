"""What searches over a lattice are told and find, read from stored trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from adaptive_lr.analysis.baselines import expected
from adaptive_lr.analysis.robustness import Sweep, pairs
from adaptive_lr.analysis.searches import OBJECTIVES, incumbents
from adaptive_lr.analysis.stats import Array
from adaptive_lr.errors import ExperimentError, StoreError
from adaptive_lr.experiment.grid_resolution import Study
from adaptive_lr.schedules import AbstractSchedule
from adaptive_lr.training import Trial
from adaptive_lr.trials.store import Store

Paths = Mapping[str, Mapping[str, Sequence[tuple[int, ...]]]]
"""By objective and sampler, of each repeat the numbers of the shapes that it tried."""


@dataclass(frozen=True, kw_only=True)
class SearchStudy(Study):
    """A task on which shapes are searched.

    Searches see the selection seeds, all together. The report seeds come in pairs, the repetitions: on one the rates of what was found
    are chosen anew, on the other they are reported. No seed is in both, nor in two repetitions.

    Attributes:
        repeats: searches with each sampler, with its seeds 0, 1, ….
    """

    repeats: int = 20

    def __post_init__(self) -> None:
        """The coarse grids can be taken from the fine one, and repetitions are whole.

        Raises:
            ExperimentError: they cannot, or are not.
        """
        super().__post_init__()
        if self.per_decade % 6 or len(self.rates) <= 2 * self.per_decade:
            raise ExperimentError(
                f"study {self.name}: grids of the ratios 10^(1/3) to 100 need per_decade=6, or a multiple of it, on at least two "
                f"decades, got per_decade={self.per_decade} from {self.low:g} to {self.high:g}"
            )
        if len(self.report_seeds) % 2:
            raise ExperimentError(
                f"study {self.name}: a repetition needs two report seeds, one to choose a rate and one to report, got "
                f"{len(self.report_seeds)} in all: give an even number"
            )
        if self.repeats < 1:
            raise ExperimentError(f"study {self.name}: repeats must be at least 1, got {self.repeats}")

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Of each repetition the seed that chooses rates and the one that reports; searches see neither."""
        return pairs((), self.report_seeds)

    def small(self, seeds: int = 1) -> Self:
        """See the base class; so many repetitions, and few searches."""
        return replace(
            self,
            steps=max(20, self.steps // 100),
            selection_seeds=self.selection_seeds[:1],
            report_seeds=self.report_seeds[: 2 * seeds],
            repeats=min(self.repeats, 3),
        )

    def facts(self) -> dict[str, Any]:
        """See the base class."""
        return {**super().facts(), "repeats": self.repeats}

    def cells(self, schedule: AbstractSchedule, seeds: Sequence[int]) -> list[list[Trial]]:
        """The trials of a schedule at every rate, ``[seed][rate]``."""
        return [[self.trial(schedule, rate, seed) for rate in self.rates.tolist()] for seed in seeds]


@dataclass(frozen=True)
class Table:
    """The mean losses of all schedules of a study on the selection seeds, above the optimum where that is known, ``[schedules, L]``.

    Attributes:
        losses: nothing above that before training; the shapes come first.
        shapes: how many of the schedules are shapes.
        per_decade: rates a decade.
    """

    losses: Array
    shapes: int
    per_decade: int

    @property
    def values(self) -> dict[str, list[float]]:
        """By objective, what each shape is worth to a search."""
        worth = [expected(curve, self.per_decade) for curve in self.losses[: self.shapes]]
        return {objective: [row[objective] for row in worth] for objective in OBJECTIVES}

    def seen(self, labels: Sequence[str]) -> dict[str, dict[str, float]]:
        """What the baselines of these labels, which follow the shapes, are worth, by label and measure."""
        curves = self.losses[self.shapes :]
        return {label: expected(curve, self.per_decade) for label, curve in zip(labels, curves, strict=True)}


def read_table(study: SearchStudy, schedules: Sequence[AbstractSchedule], shapes: int, store: Store) -> Table:
    """What is stored of all schedules on the selection seeds; a `StoreError` if that is not all."""
    losses, _ = _read(study, schedules, study.selection_seeds, store, study.task.selection_metric)
    optimum = study.task.optimum if study.task.selection_metric == study.task.report_metric else None
    return Table(losses.mean(1) - (optimum or 0.0), shapes, study.per_decade)


def held(values: Mapping[str, Sequence[float]], paths: Paths, also: Sequence[int]) -> list[int]:
    """The numbers of the shapes that some search holds for its best at a checkpoint, or that are the best of all, or in ``also``."""
    best = {int(np.argmin(values[objective])) for objective in OBJECTIVES}
    return sorted(
        {*also, *best}.union(
            index
            for objective, samplers in paths.items()
            for repeats in samplers.values()
            for visited in repeats
            for index in incumbents(values[objective], visited)
        )
    )


def read_sweeps(study: SearchStudy, schedules: Sequence[AbstractSchedule], store: Store) -> list[Sweep]:
    """A sweep for each schedule, over the repetitions; a `StoreError` if trials are missing."""
    choosing, reporting = zip(*study.pairs, strict=True)
    selection, before = _read(study, schedules, choosing, store, study.task.selection_metric)
    report, initial = _read(study, schedules, reporting, store, study.task.report_metric)
    return [
        Sweep.clipped(
            rates=study.rates,
            selection=chosen,
            report=reported,
            initial=(before, initial),
            optimum=study.task.optimum,
            per_decade=study.per_decade,
        )
        for chosen, reported in zip(selection, report, strict=True)
    ]


def _read(
    study: SearchStudy, schedules: Sequence[AbstractSchedule], seeds: Sequence[int], store: Store, metric: str
) -> tuple[Array, float]:
    """Losses ``[schedules, seeds, L]``, none above that before training, which is the second result.

    Raises:
        StoreError: trials are missing.
    """
    digests = [trial.digest() for schedule in schedules for row in study.cells(schedule, seeds) for trial in row]
    records = store.read(digests)
    if missing := sum(digest not in records for digest in digests):
        raise StoreError(f"{missing} trials of study {study.name} are not in {store.path}: run the experiment first")
    shape = (len(schedules), len(seeds), len(study.rates))
    losses = np.array([records[digest].metrics[metric] for digest in digests]).reshape(shape)
    initial = float(np.mean([records[digest].initial[metric] for digest in digests[:: len(study.rates)]]))
    return np.fmin(losses, initial), initial

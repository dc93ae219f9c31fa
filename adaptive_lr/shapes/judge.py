"""Is the winner of a search better than what everybody uses? Judged on seeds that the search did not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from adaptive_lr.analysis.stats import mean_interval
from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import AbstractSchedule, Constant, DampedCosine, Linear
from adaptive_lr.search.result import SearchResult
from adaptive_lr.shapes.losses import Array, read_losses
from adaptive_lr.shapes.shape_search import ShapeSearch
from adaptive_lr.trials.runner import run_trials
from adaptive_lr.trials.store import Store

BASELINES: dict[str, AbstractSchedule] = {"cosine": DampedCosine(), "linear": Linear(), "constant": Constant()}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A schedule on the report seeds.

    Attributes:
        label: of the schedule.
        schedule: itself.
        rate: its best base rate on the selection seeds.
        at_boundary: whether that is an end of the grid, so that a better one may lie outside.
        value: the objective on the report seeds, in the report metric.
        interval: of it, 95 % over seeds.
        difference: from the best baseline, paired by seed; below 0 is better.
        difference_interval: of it, 95 %.
    """

    label: str
    schedule: AbstractSchedule
    rate: float
    at_boundary: bool
    value: float
    interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]

    @property
    def better(self) -> bool:
        """Whether it is better than the best baseline beyond the interval."""
        return self.difference_interval[1] < 0.0

    @property
    def worse(self) -> bool:
        """Whether it is worse beyond the interval."""
        return self.difference_interval[0] > 0.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The winner and the baselines; differences are from the baseline that is best on the report seeds."""

    winner: Judged
    baselines: tuple[Judged, ...]
    seeds: int

    @property
    def reference(self) -> Judged:
        """The best baseline, the first of equals."""
        return min(self.baselines, key=lambda baseline: baseline.value)

    def sentence(self) -> str:
        """The answer in words."""
        low, high = self.winner.difference_interval
        word = "better than" if self.winner.better else "worse than" if self.winner.worse else "not better than"
        qualifier = ", the best of the usual schedules" if len(self.baselines) > 1 else ""
        edge = "; its best rate is at the edge of the grid, so take this with care" if self.winner.at_boundary else ""
        return (
            f"The tuned {rounded(self.winner.schedule)!r} is {word} {self.reference.label}{qualifier}: the difference is "
            f"{self.winner.difference:+.3g} (95 % interval {low:+.3g} to {high:+.3g}, {self.seeds} seeds that the search did not "
            f"see){edge}."
        )


def rounded(schedule: AbstractSchedule) -> AbstractSchedule:
    """The same with its numbers to six digits, for people.

    >>> rounded(DampedCosine(exponent=0.7702011511702995))
    DampedCosine(exponent=0.770201)
    """
    leaves = {name: value for name, value in schedule.leaves().items() if isinstance(value, float)}
    try:
        return schedule.with_leaves({name: float(f"{value:.6g}") for name, value in leaves.items()})
    except SpecError:  # numbers that depend on each other
        return schedule


def judge(
    shapes: ShapeSearch,
    found: SearchResult,
    store: Store,
    *,
    workers: int = 1,
    baselines: Mapping[str, AbstractSchedule] = BASELINES,
) -> Verdict:
    """Train the winner and the baselines on the report seeds, each at its own best rate.

    Of two objectives the winner is the point of the front with the least worst loss, and it is the worst loss that is judged.
    """
    best = min(found.pareto(), key=lambda trial: trial.values[-1]).point
    schedules = {"tuned": shapes.shape(best), **baselines}
    rates = {label: shapes.grid(best) if label == "tuned" else shapes.rates for label in schedules}
    seeds = {"selection": shapes.selection_seeds, "report": shapes.report_seeds}
    planned = {
        (label, kind): shapes.trials(schedule, seeds[kind], rates[label])
        for label, schedule in schedules.items()
        for kind in seeds
    }
    run_trials([trial for rows in planned.values() for row in rows for trial in row], store, workers=workers)
    chosen, by_seed = {}, {}
    for label in schedules:
        selection, _, _ = read_losses(store, planned[label, "selection"], shapes.task.selection_metric)
        chosen[label] = int(np.argmin(selection.mean(0)))
        losses, initial, _ = read_losses(store, planned[label, "report"], shapes.task.report_metric)
        by_seed[label] = _by_seed(shapes, losses, chosen[label], initial)
    reference = by_seed[min(baselines, key=lambda label: float(by_seed[label].mean()))]

    def judged(label: str) -> Judged:
        values, differences = by_seed[label], by_seed[label] - reference
        return Judged(
            label=label,
            schedule=schedules[label],
            rate=rates[label][chosen[label]],
            at_boundary=len(rates[label]) > 1 and chosen[label] in (0, len(rates[label]) - 1),
            value=float(values.mean()),
            interval=_interval(values),
            difference=float(differences.mean()),
            difference_interval=_interval(differences),
        )

    return Verdict(
        winner=judged("tuned"), baselines=tuple(judged(label) for label in baselines), seeds=len(shapes.report_seeds)
    )


def _by_seed(shapes: ShapeSearch, losses: Array, index: int, outside: float) -> Array:
    """The objective of every seed around the chosen rate, ``[S]``."""
    if shapes.objective == "best":
        return losses[:, index]
    reach = shapes.reach
    around = np.pad(losses, ((0, 0), (reach, reach)), constant_values=outside)[:, index : index + 2 * reach + 1]
    values: Array = around.mean(1) if shapes.objective == "mean" else around[:, int(np.argmax(around.mean(0)))]
    return values


def _interval(values: Array) -> tuple[float, float]:
    low, high = mean_interval(values)
    return float(low), float(high)

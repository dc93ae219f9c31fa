"""Is the winner of a search better than what everybody uses? Judged on seeds that the search did not see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from adaptive_lr.analysis.paired import ALPHA, t_interval
from adaptive_lr.analysis.robustness import pairs
from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import AbstractSchedule, Constant, DampedCosine, Linear
from adaptive_lr.search.result import SearchResult
from adaptive_lr.shapes.losses import Array, read_losses, score
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
        value: the objective on the report seeds, in the report metric, mean over the repetitions.
        interval: of it, 95 %, Student's t over the repetitions.
        difference: from the best baseline, paired by repetition; below 0 is better.
        difference_interval: of it, 95 %.
        p: of no difference, two-sided.
    """

    label: str
    schedule: AbstractSchedule
    rate: float
    at_boundary: bool
    value: float
    interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]
    p: float

    @property
    def better(self) -> bool:
        """Whether it is clearly better than the best baseline."""
        return self.p <= ALPHA and self.difference < 0.0

    @property
    def worse(self) -> bool:
        """Whether it is clearly worse."""
        return self.p <= ALPHA and self.difference > 0.0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The winner and the baselines, over repetitions.

    In each repetition one seed chooses every schedule's rate and the best baseline, and another one, which the search did not see, reports.
    Repetitions share no seed, so Student's t over them allows for the choices. There is one verdict, on the winner.

    Attributes:
        winner: what the search found.
        baselines: what everybody uses.
        seeds: how many repetitions there are.
    """

    winner: Judged
    baselines: tuple[Judged, ...]
    seeds: int

    @property
    def reference(self) -> Judged:
        """The baseline with the least mean, the first of equals; each repetition is compared with the one that it chooses."""
        return min(self.baselines, key=lambda baseline: baseline.value)

    def sentence(self) -> str:
        """The answer in words."""
        low, high = self.winner.difference_interval
        word = "better than" if self.winner.better else "worse than" if self.winner.worse else "not better than"
        other = self.reference.label
        if len(self.baselines) > 1:
            other = f"the best of the usual schedules, which each repetition chooses anew ({other} has the least mean)"
        edge = "; its best rate is at the edge of the grid, so take this with care" if self.winner.at_boundary else ""
        return (
            f"The tuned {rounded(self.winner.schedule)!r} is {word} {other}: the difference is "
            f"{self.winner.difference:+.3g} (95 % interval {low:+.3g} to {high:+.3g}, paired t-test, p = {self.winner.p:.2g}, n = {self.seeds} "
            f"repetitions, each on a seed that the search did not see){edge}."
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
    """Train the winner and the baselines on the report seeds, each at its own best rate, and compare them as `Verdict` says.

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
    chosen, values, expected = {}, {}, {}
    for label in schedules:
        rows = [row for kind in seeds for row in planned[label, kind]]
        selection, before, _ = read_losses(store, rows, shapes.task.selection_metric)
        losses, initial, _ = read_losses(store, rows, shapes.task.report_metric)
        chosen[label] = int(np.argmin(selection[: len(shapes.selection_seeds)].mean(0)))
        choosing, reporting = _repetitions(shapes)
        values[label] = _values(shapes, selection[choosing], losses[reporting], initial)
        expected[label] = [
            score(row, shapes.objective, reach=shapes.reach, outside=before)[-1] for row in selection[choosing]
        ]
    best_baseline = np.argmin([expected[label] for label in baselines], axis=0)
    reference = np.stack([values[label] for label in baselines])[best_baseline, np.arange(len(best_baseline))]

    def judged(label: str) -> Judged:
        level, difference = t_interval(values[label]), t_interval(values[label] - reference)
        return Judged(
            label=label,
            schedule=schedules[label],
            rate=rates[label][chosen[label]],
            at_boundary=len(rates[label]) > 1 and chosen[label] in (0, len(rates[label]) - 1),
            value=level["value"],
            interval=(level["low"], level["high"]),
            difference=difference["value"],
            difference_interval=(difference["low"], difference["high"]),
            p=difference["p"],
        )

    return Verdict(
        winner=judged("tuned"), baselines=tuple(judged(label) for label in baselines), seeds=len(best_baseline)
    )


def _repetitions(shapes: ShapeSearch) -> tuple[list[int], list[int]]:
    """Rows of the seeds that choose and of those that report, of all seeds in their order; what the search saw reports nothing."""
    selection, report = list(shapes.selection_seeds), list(shapes.report_seeds)
    order = {seed: row for row, seed in enumerate([*selection, *report])}
    repetitions = pairs(selection[: len(report)], report)
    return [order[first] for first, _ in repetitions], [order[second] for _, second in repetitions]


def _values(shapes: ShapeSearch, selection: Array, report: Array, outside: float) -> Array:
    """The objective on the report seed of each repetition around the rate that its selection seed chooses, ``[R]``."""
    reach, rows = shapes.reach, np.arange(len(report))
    index = selection.argmin(1)
    if shapes.objective == "best":
        return np.asarray(report[rows, index], dtype=np.float64)
    around = index[:, None] + np.arange(2 * reach + 1)  # in the padded rows
    near, chosen = (
        np.take_along_axis(np.pad(losses, ((0, 0), (reach, reach)), constant_values=outside), around, axis=1)
        for losses in (report, np.fmin(selection, outside))
    )
    return np.asarray(near.mean(1) if shapes.objective == "mean" else near[rows, chosen.argmax(1)], dtype=np.float64)

"""Is the winner of a search better than the best of the usual schedules? On seeds that it did not see, and on grids of four ratios."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptive_lr.analysis import paired
from adaptive_lr.analysis.baselines import ANY_GRID, TUNED, against_best, compare, costs, expected
from adaptive_lr.analysis.robustness import RATIOS, Sweep, pairs
from adaptive_lr.analysis.stats import Array
from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import WSD, AbstractSchedule, Constant, DampedCosine, Linear, Polynomial, Step
from adaptive_lr.search.result import SearchResult
from adaptive_lr.shapes.losses import read_losses, score
from adaptive_lr.shapes.shape_search import BASE_LR, ShapeSearch
from adaptive_lr.shapes.verdict import Judged, Verdict
from adaptive_lr.trials.runner import run_trials
from adaptive_lr.trials.store import Store

BASELINES: dict[str, AbstractSchedule] = {
    "cosine": DampedCosine(),
    "linear": Linear(),
    "square": Polynomial(power=2.0),
    "WSD": WSD(),
    "step": Step(),
    "constant": Constant(),
}
"""What people use, at its usual numbers."""

PER_DECADE = 6
"""Rates of the fine grid: each of the four ratios is a whole number of its steps."""

WIDENINGS = 4
"""How often the window is widened, each time by as much as the best rates want."""


def judge(
    shapes: ShapeSearch,
    found: SearchResult,
    store: Store,
    *,
    workers: int = 1,
    baselines: Mapping[str, AbstractSchedule] = BASELINES,
) -> Verdict:
    """Train the winner and the baselines on a fine grid of rates and on the report seeds, and compare them on grids of every ratio.

    The report seeds come in pairs, the repetitions: in each one seed chooses the rates of every schedule and the other one reports. The
    search saw none of them. The window of rates is that of the search, widened until it reaches half a step of the coarsest grid beyond the
    best rate of each schedule, by the seeds of the search. A base rate that was searched itself is inside. Of two objectives the winner
    is the point of the front with the least worst loss, and it is the worst loss that is judged.

    Args:
        shapes: what was searched.
        found: what the search found.
        store: open for writing.
        workers: processes.
        baselines: by label.

    Raises:
        SpecError: there are fewer than two report seeds.
    """
    if len(shapes.report_seeds) < 2:
        raise SpecError(
            f"a verdict needs at least 2 report_seeds, one to choose rates and one to report, got {len(shapes.report_seeds)}"
        )
    best = min(found.pareto(), key=lambda trial: trial.values[-1]).point
    panel = _Panel(shapes, {"tuned": shapes.shape(best), **baselines}, store, workers)
    rate = best.get(BASE_LR)
    steps = panel.window((*shapes.rates, *(() if rate is None else (float(rate),))))
    sweeps = panel.sweeps(steps)
    comparisons = _comparisons(shapes, sweeps, panel.seen(steps))
    measures = [row["measure"] for row in comparisons]

    def judged(label: str) -> Judged:
        sweep = sweeps[label]
        by_measure = costs(sweep) | _around(shapes, sweep)
        return Judged(
            label=label,
            schedule=panel.schedules[label],
            rate=float(sweep.rates[sweep.best]),
            at_boundary=sweep.at_boundary,
            costs={measure: paired.level(by_measure[measure], ratio=sweep.is_ratio) for measure in measures},
        )

    return Verdict(
        winner=judged("tuned"),
        baselines=tuple(judged(label) for label in baselines),
        comparisons=tuple(comparisons),
        repetitions=len(sweeps["tuned"].report),
    )


@dataclass(frozen=True)
class _Panel:
    """The schedules that are compared, on a fine grid: its rates are the lowest of the search times 10^(step/6)."""

    shapes: ShapeSearch
    schedules: Mapping[str, AbstractSchedule]
    store: Store
    workers: int

    def window(self, rates: tuple[float, ...]) -> range:
        """The steps of the fine grid that hold these rates, and reach far enough beyond the best rate of every schedule."""
        positions = [PER_DECADE * math.log10(rate / self.shapes.rates[0]) for rate in rates]
        steps = range(math.floor(min(positions) + 1e-6), math.ceil(max(positions) - 1e-6) + 1)
        margin = max(round(PER_DECADE * math.log10(max(RATIOS.values()))) // 2, _reach(self.shapes))
        for _ in range(WIDENINGS):
            bests = [steps[int(np.argmin(curve))] for curve, _ in self._seen(steps).values()]
            wanted = range(min(steps[0], min(bests) - margin), max(steps[-1], max(bests) + margin) + 1)
            if wanted == steps:
                break
            steps = wanted
        return steps

    def seen(self, steps: range) -> dict[str, dict[str, float]]:
        """What each schedule is worth on the seeds of the search, by label and measure, that of the objective among them."""
        worth = {}
        for label, (curve, initial) in self._seen(steps).items():
            around = {
                name: score(curve, self.shapes.objective, reach=_reach(self.shapes), outside=initial)[-1]
                for name in _names(self.shapes)
            }
            worth[label] = expected(curve, PER_DECADE) | around
        return worth

    def sweeps(self, steps: range) -> dict[str, Sweep]:
        """The repetitions of all schedules, by label."""
        task = self.shapes.task
        choosing, reporting = zip(*pairs((), self.shapes.report_seeds), strict=True)
        selection = self._losses(steps, choosing, task.selection_metric)
        report = self._losses(steps, reporting, task.report_metric)
        return {
            label: Sweep.clipped(
                rates=np.array(self._rates(steps)),
                selection=selection[label][0],
                report=losses,
                initial=(selection[label][1], initial),
                optimum=task.optimum,
                per_decade=PER_DECADE,
            )
            for label, (losses, initial) in report.items()
        }

    def _rates(self, steps: range) -> list[float]:
        return [float(f"{self.shapes.rates[0] * 10.0 ** (step / PER_DECADE):.12g}") for step in steps]

    def _seen(self, steps: range) -> dict[str, tuple[Array, float]]:
        """Mean losses ``[L]`` on the seeds of the search and the mean loss before training, by label."""
        losses = self._losses(steps, self.shapes.selection_seeds, self.shapes.task.selection_metric)
        return {label: (rows.mean(0), initial) for label, (rows, initial) in losses.items()}

    def _losses(self, steps: range, seeds: Sequence[int], metric: str) -> dict[str, tuple[Array, float]]:
        """Losses ``[seed, rate]`` and the mean loss before training, by label; what is not stored is trained."""
        rates = self._rates(steps)
        planned = {label: self.shapes.trials(schedule, seeds, rates) for label, schedule in self.schedules.items()}
        trials = [trial for rows in planned.values() for row in rows for trial in row]
        run_trials(trials, self.store, workers=self.workers)
        return {label: read_losses(self.store, rows, metric)[:2] for label, rows in planned.items()}


def _comparisons(
    shapes: ShapeSearch, sweeps: Mapping[str, Sweep], seen: Mapping[str, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """The winner against the best baseline, one family: first by what was searched for, then at the tuned rate and at each ratio."""
    baselines = [label for label in sweeps if label != "tuned"]
    measures = (ANY_GRID, TUNED, *RATIOS) if shapes.objective == "grids" else (TUNED, *RATIOS)
    rows = compare(sweeps, "tuned", baselines, seen, measures)
    for name in _names(shapes):
        losses = {label: _around(shapes, sweep)[name] for label, sweep in sweeps.items()}
        mine, usual = losses.pop("tuned"), {label: seen[label][name] for label in baselines}
        row = against_best(mine, losses, usual, ratio=sweeps["tuned"].is_ratio)
        edge = any(_cut(shapes, sweeps[label]) for label in ("tuned", row["baseline"]))
        rows = [{"measure": name, **row, "at_boundary": edge}, *rows]
    paired.judge(rows)
    return rows


def _names(shapes: ShapeSearch) -> list[str]:
    """What the objective is called, unless it is the loss at the best rate or on a grid."""
    if shapes.objective in ("best", "grids"):
        return []
    return [f"{'mean' if shapes.objective == 'mean' else 'worst'} loss within a factor of {shapes.window:g}"]


def _around(shapes: ShapeSearch, sweep: Sweep) -> dict[str, Array]:
    """The worst or mean loss over the rates within the window of the objective in each repetition, ``[R]``, by its name.

    Which rate is the best and which the worst is settled on the seed that chooses. Rates outside the grid count as no training at all.
    """
    reach, rows = _reach(shapes), np.arange(len(sweep.report))
    around = sweep.choices()[:, None] + np.arange(2 * reach + 1)  # in the padded rows
    near, chosen = (
        np.take_along_axis(np.pad(losses, ((0, 0), (reach, reach)), constant_values=outside), around, axis=1)
        for losses, outside in ((sweep.report, sweep.initial), (sweep.selection, np.inf))
    )
    losses = near.mean(1) if shapes.objective == "mean" else near[rows, chosen.argmax(1)]
    return {name: np.asarray(losses - (sweep.optimum or 0.0)) for name in _names(shapes)}


def _cut(shapes: ShapeSearch, sweep: Sweep) -> bool:
    return min(sweep.best, len(sweep.rates) - 1 - sweep.best) < max(1, _reach(shapes))


def _reach(shapes: ShapeSearch) -> int:
    """How many steps of the fine grid the window of the objective reaches to either side."""
    return math.floor(PER_DECADE * math.log10(shapes.window) + 1e-6)

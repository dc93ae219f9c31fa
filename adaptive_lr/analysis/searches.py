"""Searches of several samplers, repeated: how good the best shape so far is on other seeds, and whether it beats the best baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from adaptive_lr.analysis import paired
from adaptive_lr.analysis.baselines import ANY_GRID, MEASURES, TUNED, WORDS, against_best, costs, cut_off, in_ratio
from adaptive_lr.analysis.robustness import Sweep
from adaptive_lr.analysis.stats import Array

OBJECTIVES = (TUNED, ANY_GRID)
"""What a search looks for: the least loss at the tuned rate, or the least that is expected on a grid that is not known."""

EXHAUSTIVE = "exhaustive"
"""The search that tries every shape."""


def checkpoints(trials: int) -> tuple[int, ...]:
    """After how many trials a search is looked at: 1, 2, 4, … and at its end.

    >>> checkpoints(64), checkpoints(10)
    ((1, 2, 4, 8, 16, 32, 64), (1, 2, 4, 8, 10))
    """
    powers = [2**exponent for exponent in range(trials.bit_length()) if 2**exponent < trials]
    return (*powers, trials)


def incumbents(values: Sequence[float], visited: Sequence[int]) -> tuple[int, ...]:
    """The best shape so far at each of the `checkpoints` of a search, the first of equals.

    Args:
        values: what each shape is worth, ``[shapes]``; less is better.
        visited: the shapes that the search tried, in order.

    >>> incumbents([3.0, 1.0, 2.0], [0, 2, 1, 0])
    (0, 2, 1)
    """
    return tuple(min(visited[:count], key=lambda index: values[index]) for count in checkpoints(len(visited)))


@dataclass(frozen=True)
class Searched:
    """The searches on one task.

    Searches see seeds that no repetition of a sweep has. So the shapes that they find are fixed beforehand, and repetitions are independent.

    Attributes:
        values: by objective, what each shape is worth on the seeds that searches see, ``[shapes]``: a loss above the optimum where that is
            known.
        visited: by objective and sampler, of each repeat the shapes that it tried, in order.
        shapes: the sweeps of shapes by number: those that are an incumbent anywhere, or the best of all.
        baselines: the sweeps of the usual schedules by label.
        seen: what the baselines are worth on the seeds that searches see, by label and measure.
    """

    values: Mapping[str, Sequence[float]]
    visited: Mapping[str, Mapping[str, Sequence[tuple[int, ...]]]]
    shapes: Mapping[int, Sweep]
    baselines: Mapping[str, Sweep]
    seen: Mapping[str, Mapping[str, float]]

    @cached_property
    def costs(self) -> dict[int, dict[str, Array]]:
        """By shape and measure, ``[R]``."""
        return {index: costs(sweep) for index, sweep in self.shapes.items()}

    @cached_property
    def usual(self) -> dict[str, dict[str, Array]]:
        """The same of the baselines by label."""
        return {label: costs(sweep) for label, sweep in self.baselines.items()}

    @property
    def is_ratio(self) -> bool:
        """Whether losses are compared by their ratio, see `Sweep.is_ratio`."""
        return next(iter(self.baselines.values())).is_ratio

    def winner(self, objective: str) -> int:
        """The best of all shapes: what a search that tries every one finds."""
        return int(np.argmin(self.values[objective]))

    def level(self, losses: Array) -> Array:
        """Losses ``[R, ...]`` over the repetitions: their geometric mean where they are compared by ratio, else their mean."""
        return np.exp(paired.logarithms(losses).mean(0)) if self.is_ratio else np.asarray(losses.mean(0))

    def pooled(self, winners: Sequence[int], measure: str) -> Array:
        """What some winners end with together in each repetition, ``[R]``: a mean as in `level`."""
        return self.level(np.stack([self.costs[index][measure] for index in winners]))

    def best(self, measure: str) -> str:
        """The baseline with the least level, for tables and curves; verdicts name their own."""
        return min(self.usual, key=lambda label: float(self.level(self.usual[label][measure])))

    def least_seen(self, measure: str) -> float:
        """The least loss of any baseline on the seeds that searches see."""
        return min(seen[measure] for seen in self.seen.values())


def summarise(searched: Searched) -> dict[str, Any]:
    """All numbers of a task, before `paired.judge` corrects the verdicts of the experiment."""
    best = {measure: searched.best(measure) for measure in MEASURES}
    return {
        "is_ratio": searched.is_ratio,
        "baselines": {
            label: {
                "rate": float(sweep.rates[sweep.best]),
                "at_boundary": sweep.at_boundary,
                "losses": {
                    measure: paired.level(cost, ratio=searched.is_ratio)
                    for measure, cost in searched.usual[label].items()
                },
                "ratios": {
                    measure: in_ratio(cost, searched.usual[best[measure]][measure], ratio=searched.is_ratio)
                    for measure, cost in searched.usual[label].items()
                },
            }
            for label, sweep in searched.baselines.items()
        },
        "best_baseline": best,
        "objectives": {objective: _objective(searched, objective) for objective in searched.values},
    }


def family(studies: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every comparison of an experiment's searches: of samplers and the exhaustive search, and of samplers with each other."""
    objectives = [search for study in studies.values() for search in study["objectives"].values()]
    rows = [row for search in objectives for sampler in search["samplers"].values() for row in sampler["rows"]]
    rows += [row for search in objectives for row in search[EXHAUSTIVE]["rows"]]
    return rows + [row for search in objectives for row in search["comparisons"]]


def _objective(searched: Searched, objective: str) -> dict[str, Any]:
    values, winner = searched.values[objective], searched.winner(objective)
    samplers, ends = {}, {}
    for sampler, repeats in searched.visited[objective].items():
        paths = [incumbents(values, visited) for visited in repeats]
        samplers[sampler] = {
            "curve": _curve(searched, objective, paths, len(repeats[0])),
            "rows": _rows(searched, [path[-1] for path in paths]),
            "repeats": len(paths),
            "distinct": float(np.mean([len(set(visited)) for visited in repeats])),
        }
        ends[sampler] = np.array([float(searched.level(searched.costs[path[-1]][objective])) for path in paths])
    sweep = searched.shapes[winner]
    return {
        "samplers": samplers,
        "comparisons": _between(ends, ratio=searched.is_ratio),
        EXHAUSTIVE: {
            "shape": winner,
            "rate": float(sweep.rates[sweep.best]),
            "seen": float(values[winner]) / searched.least_seen(objective),
            "rows": _rows(searched, [winner]),
        },
    }


def _curve(searched: Searched, objective: str, paths: Sequence[tuple[int, ...]], trials: int) -> dict[str, Any]:
    """The best shape so far over the best baseline, at every checkpoint: the geometric mean over the repeats of their levels."""
    best = float(searched.level(searched.usual[searched.best(objective)][objective]))
    level = {index: float(searched.level(searched.costs[index][objective])) for path in paths for index in path}
    columns = [np.array([level[index] for index in column]) / best for column in zip(*paths, strict=True)]
    points = [paired.geometric(column) for column in columns]
    values, least = searched.values[objective], searched.least_seen(objective)
    seen = [np.array([values[index] / least for index in column]) for column in zip(*paths, strict=True)]
    return {
        "trials": list(checkpoints(trials)),
        **{name: [point[name] for point in points] for name in ("value", "low", "high")},
        "seen": [paired.geometric(column)["value"] for column in seen],
    }


def _rows(searched: Searched, winners: Sequence[int]) -> list[dict[str, Any]]:
    """Some winners together against the best baseline, by measure, tested over the repetitions."""
    rows = []
    for measure in MEASURES:
        usual = {label: cost[measure] for label, cost in searched.usual.items()}
        seen = {label: losses[measure] for label, losses in searched.seen.items()}
        row = against_best(searched.pooled(winners, measure), usual, seen, ratio=searched.is_ratio)
        level = float(searched.level(usual[row["baseline"]]))
        lower = sum(float(searched.level(searched.costs[index][measure])) < level for index in winners)
        edge = any(cut_off(searched.shapes[index], measure) for index in set(winners))
        edge = edge or cut_off(searched.baselines[row["baseline"]], measure)
        rows.append({"measure": measure, **row, "lower": lower, "of": len(winners), "at_boundary": edge})
    return rows


def _between(ends: Mapping[str, Array], *, ratio: bool) -> list[dict[str, Any]]:
    """Each sampler against random search, by the levels ``[repeats]`` of what they found; repeats are paired by their seed.

    This is about the luck of the samplers on this task: repeats see the same trained trials.
    """
    if "random" not in ends:
        return []
    return [
        {
            "sampler": sampler,
            "against": "random",
            **paired.gap(levels, ends["random"], ratio=ratio),
            "ratio": in_ratio(levels, ends["random"], ratio=ratio),
            "at_boundary": False,
            "words": (*WORDS[:2], paired.UNCLEAR),
        }
        for sampler, levels in ends.items()
        if sampler != "random"
    ]

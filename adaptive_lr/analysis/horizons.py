"""Schedules at several horizons, with and without a warm-up: what each ends with, and what it ends with on a coarse grid of rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adaptive_lr.analysis import paired
from adaptive_lr.analysis.robustness import Sweep
from adaptive_lr.analysis.stats import Array, t_intervals

COARSE = 10.0
"""The coarse grid: one learning rate a decade."""

MEASURES = ("tuned", "coarse")
"""The metric at a rate that was chosen on the fine grid, and on the coarse one."""

UNTRAINED = 0.99
"""Share of the metric before training from which on a rate counts as one at which nothing was learnt."""


@dataclass(frozen=True)
class Cell:
    """One horizon with one length of warm-up: a sweep for each schedule, on the same rates and seeds.

    Attributes:
        steps: of a run.
        warmup: the share of them.
        sweeps: by label; as many selection seeds as report seeds.
    """

    steps: int
    warmup: float
    sweeps: Mapping[str, Sweep]


def tuned(sweep: Sweep) -> Array:
    """The metric on the report seed of each repetition at the rate that is best on its selection seed, ``[R]``."""
    return sweep.fine() + (sweep.optimum or 0.0)


def coarse(sweep: Sweep) -> Array:
    """The same with one rate a decade, ``[R]``: the mean over all places where such a grid can start in the window."""
    return sweep.coarse(COARSE) + (sweep.optimum or 0.0)


def summarise(cells: Sequence[Cell], reference: str) -> dict[str, Any]:
    """All numbers of a workload, before the correction that `judge` makes.

    Args:
        cells: by horizon and warm-up.
        reference: the schedule that the others are compared with.
    """
    rows = [
        {
            "steps": cell.steps,
            "warmup": cell.warmup,
            "schedules": {label: _row(sweep) for label, sweep in cell.sweeps.items()},
        }
        for cell in cells
    ]
    return {"cells": rows, "comparisons": comparisons(cells, reference)}


def comparisons(cells: Sequence[Cell], reference: str) -> list[dict[str, Any]]:
    """Paired differences over the repetitions, as `judge` takes them.

    Every other schedule less the reference of the same horizon and warm-up, then the reference with a warm-up less itself without; for
    each of ``MEASURES``.
    """
    against = [comparison for cell in cells for comparison in _against_reference(cell, reference)]
    return against + _of_warmups(cells, reference)


def judge(studies: Mapping[str, Mapping[str, Any]]) -> int:
    """Write ``adjusted`` and ``verdict`` into every comparison of an experiment; the number of comparisons, which are one family.

    Args:
        studies: what `summarise` returned, by name.
    """
    family = [comparison for study in studies.values() for comparison in study["comparisons"]]
    for comparison in family:
        comparison["words"] = ("lower", "higher")
    return paired.judge(family)


def _row(sweep: Sweep) -> dict[str, Any]:
    fine, grid = tuned(sweep), coarse(sweep)
    mean, low, high, _ = t_intervals(sweep.report.T)
    return {
        "best_rate": float(sweep.rates[sweep.best]),
        "at_boundary": sweep.at_boundary,
        "tuned": paired.estimate(fine),
        "coarse": paired.estimate(grid),
        "cost": paired.estimate(grid - fine),
        "untrained": (sweep.report >= UNTRAINED * sweep.initial).mean(0).tolist(),
        "diverged": sweep.diverged.tolist(),
        "curve": {"mean": mean.tolist(), "low": low.tolist(), "high": high.tolist()},
    }


def _against_reference(cell: Cell, reference: str) -> list[dict[str, Any]]:
    """Every other schedule less the reference, at the same horizon and warm-up."""
    return [
        _comparison(
            {"steps": cell.steps, "warmup": cell.warmup, "schedule": label, "of": "schedule", "measure": measure},
            sweep,
            cell.sweeps[reference],
        )
        for label, sweep in cell.sweeps.items()
        if label != reference
        for measure in MEASURES
    ]


def _of_warmups(cells: Sequence[Cell], reference: str) -> list[dict[str, Any]]:
    """The reference with a warm-up less the reference without, at the same horizon."""
    without = {cell.steps: cell for cell in cells if cell.warmup == 0.0}
    return [
        _comparison(
            {"steps": cell.steps, "warmup": cell.warmup, "schedule": reference, "of": "warmup", "measure": measure},
            cell.sweeps[reference],
            without[cell.steps].sweeps[reference],
        )
        for cell in cells
        if cell.warmup and cell.steps in without
        for measure in MEASURES
    ]


def _comparison(setting: dict[str, Any], sweep: Sweep, other: Sweep) -> dict[str, Any]:
    """By differences also above a known optimum: what these workloads' metrics are counted in has a meaning of its own."""
    is_fine = setting["measure"] == "tuned"
    metric = tuned if is_fine else coarse
    edge = any(one.at_boundary if is_fine else one.cut_off(COARSE) for one in (sweep, other))
    return {**setting, **paired.gap(metric(sweep), metric(other), ratio=False), "at_boundary": edge}


def tally(studies: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How often each verdict fell: by measure, by what is compared (``schedule`` or ``warmup``), by schedule, a count a horizon."""
    counts: dict[str, Any] = {}
    for study in studies.values():
        horizons = sorted({cell["steps"] for cell in study["cells"]})
        for comparison in study["comparisons"]:
            subjects = counts.setdefault(comparison["measure"], {}).setdefault(comparison["of"], {})
            row = subjects.setdefault(comparison["schedule"], [{} for _ in horizons])
            count = row[horizons.index(comparison["steps"])]
            count[comparison["verdict"]] = count.get(comparison["verdict"], 0) + 1
    return counts


def reversals(study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where a schedule is clearly lower than the reference at one horizon and clearly higher at another, at chosen rates.

    Args:
        study: what `summarise` returned, judged.
    """
    signs: dict[tuple[str, float], dict[str, list[int]]] = {}
    for comparison in study["comparisons"]:
        if comparison["of"] == "schedule" and comparison["measure"] == "tuned":
            row = signs.setdefault((comparison["schedule"], comparison["warmup"]), {})
            row.setdefault(comparison["verdict"], []).append(comparison["steps"])
    return [
        {"schedule": label, "warmup": warmup, "lower": row["lower"], "higher": row["higher"]}
        for (label, warmup), row in signs.items()
        if "lower" in row and "higher" in row
    ]

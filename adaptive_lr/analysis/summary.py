"""Numbers and sentences of one study: what a report prints, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adaptive_lr.analysis.robustness import RATIOS, Sweep
from adaptive_lr.analysis.stats import Array, mean_interval, seeds_interval

JUDGED_RATIO = "10"
"""The resolution of the founding question: one learning rate a decade."""


def summarise(
    sweeps: Mapping[str, Sweep],
    groups: Mapping[str, str],
    reference: str,
    *,
    judged: str | None = None,
    against: Sequence[str] | None = None,
) -> dict[str, Any]:
    """All numbers of a study.

    Args:
        sweeps: by schedule; same rates and seeds.
        groups: the group of each schedule.
        reference: the schedule whose tuned excess is the unit of costs and regrets.
        judged: the group that the answer is about; that of the reference by default.
        against: the groups that it is compared with; all others by default.
    """
    unit = float(sweeps[reference].excess()[:, sweeps[reference].best].mean())
    rows = {label: {"group": groups[label], **_row(sweep, unit)} for label, sweep in sweeps.items()}
    return {
        "reference": reference,
        "reference_loss": unit,
        "schedules": rows,
        "answer": _answer(sweeps, groups, reference, unit, (judged, against)),
    }


def _row(sweep: Sweep, unit: float) -> dict[str, Any]:
    excess, best = sweep.excess(), sweep.best
    low, high = mean_interval(excess.T)
    resolution = {}
    for label, ratio in RATIOS.items():
        regret, cost = sweep.regret(ratio) / unit, (sweep.tuned(ratio) - (sweep.optimum or 0.0)) / unit - 1.0
        resolution[label] = {
            "regret_mean": _estimate(regret.mean(0)),
            "regret_worst": _worst(regret),
            "regret_absolute_mean": float(regret.mean()) * unit,
            "regret_relative_mean": float(regret.mean()) * unit / max(float(excess[:, best].mean()), 1e-300),
            "cost_mean": _estimate(cost.mean(0)),
            "cost_worst": _worst(cost),
        }
    slope = sweep.slope()
    return {
        "best_rate": float(sweep.rates[best]),
        "best": _estimate(excess[:, best]),
        "at_boundary": sweep.at_boundary,
        "resolution": resolution,
        "sensitivity": _estimate(sweep.sensitivity()),
        "misspecification": sweep.misspecification(),
        "slope": None if slope is None else dict(zip(("value", "low", "high"), slope, strict=True)),
        "slope_up_to": float(sweep.rates[sweep.slope_places()[-1]] / sweep.rates[best]) if slope else None,
        "basin_decades": sweep.basin_width(),
        "diverged": sweep.diverged.tolist(),
        "curve": {"mean": excess.mean(0).tolist(), "low": low.tolist(), "high": high.tolist()},
    }


def _answer(
    sweeps: Mapping[str, Sweep],
    groups: Mapping[str, str],
    reference: str,
    unit: float,
    question: tuple[str | None, Sequence[str] | None],
) -> dict[str, Any]:
    """One group, and the reference, against others at the judged resolution.

    Where a group has several schedules, the one with the least cost on the *selection* seeds stands for it.
    """
    judged = question[0] or groups[reference]
    against = (
        [group for group in dict.fromkeys(groups.values()) if group != judged] if question[1] is None else question[1]
    )
    chosen = {}
    for group in (judged, *against):
        members = [label for label in sweeps if groups[label] == group]
        if members:
            chosen[group] = min(members, key=lambda label: _selection_cost(sweeps[label]))
    contenders = {group: label for group, label in chosen.items() if group != judged}
    annealed = {judged: chosen[judged], f"plain {reference}": reference}
    comparisons = [
        _comparison(sweeps, name, label, group, contender, unit)
        for name, label in annealed.items()
        for group, contender in contenders.items()
        if label != contender
    ]
    edge = [label for label in {*chosen.values(), reference} if sweeps[label].at_boundary]
    return {
        "judged": judged,
        "against": list(contenders),
        "chosen": chosen,
        "comparisons": comparisons,
        "at_boundary": sorted(edge),
    }


def _selection_cost(sweep: Sweep) -> float:
    mine = Sweep(**{**vars(sweep), "report": sweep.selection})
    return float(mine.tuned(RATIOS[JUDGED_RATIO]).mean())


def _comparison(
    sweeps: Mapping[str, Sweep], name: str, label: str, group: str, contender: str, unit: float
) -> dict[str, Any]:
    ratio = RATIOS[JUDGED_RATIO]
    mine, theirs = sweeps[label], sweeps[contender]
    regret = (theirs.regret(ratio).mean(0) - mine.regret(ratio).mean(0)) / unit
    cost = (theirs.tuned(ratio).mean(0) - mine.tuned(ratio).mean(0)) / unit
    judgeable = not (mine.at_boundary or theirs.at_boundary)
    return {
        "damped": name,
        "damped_schedule": label,
        "against": group,
        "against_schedule": contender,
        "regret_difference": _estimate(regret),
        "cost_difference": _estimate(cost),
        "depends": _verdict(_estimate(regret), "less", "more") if judgeable else "cannot be judged",
        "ends": _verdict(_estimate(cost), "better", "worse"),
    }


def _verdict(difference: Mapping[str, float], positive: str, negative: str) -> str:
    if difference["low"] > 0.0:
        return positive
    return negative if difference["high"] < 0.0 else "no clear difference"


def _estimate(samples: Array) -> dict[str, float]:
    low, high = mean_interval(samples)
    return {"value": float(samples.mean()), "low": float(low), "high": float(high)}


def _worst(samples: Array) -> dict[str, float]:
    """The mean over seeds at the worst offset, from ``[offsets, S]``."""
    low, high = seeds_interval(lambda seeds: samples[:, seeds].mean(-1).max(0), samples.shape[1])
    return {"value": float(samples.mean(1).max()), "low": low, "high": high}


def headline(studies: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """How often each verdict fell, by comparison: ``{"damped cosine against fixed": {"less": 6, "ends better": 7, …}}``."""
    counts: dict[str, dict[str, int]] = {}
    for study in studies.values():
        for comparison in study["answer"]["comparisons"]:
            row = counts.setdefault(f"{comparison['damped']} against {comparison['against']}", {})
            for verdict in (comparison["depends"], f"ends {comparison['ends']}"):
                row[verdict] = row.get(verdict, 0) + 1
    return counts

"""Numbers and verdicts of one study of grids of learning rates: what a report prints, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptive_lr.analysis import paired
from adaptive_lr.analysis.robustness import RATIOS, Sweep
from adaptive_lr.analysis.stats import TINY, Array, t_intervals

JUDGED_RATIO = "10"
"""The resolution of the founding question: one learning rate a decade."""

TESTS = ("ends", "depends")
"""What each comparison judges: the loss at one rate a decade, and how far that lies above the schedule's own at the fine grid."""


def summarise(
    sweeps: Mapping[str, Sweep],
    groups: Mapping[str, str],
    reference: str,
    *,
    judged: str | None = None,
    against: Sequence[str] | None = None,
) -> dict[str, Any]:
    """All numbers of a study, before the correction that `judge` makes.

    Args:
        sweeps: by schedule; same rates and repetitions.
        groups: the group of each schedule.
        reference: the schedule whose tuned excess is a unit of costs and regrets.
        judged: the group that the answer is about; that of the reference by default.
        against: the groups that it is compared with; all others by default.
    """
    rows = {label: {"group": groups[label], **_row(sweep, sweeps[reference])} for label, sweep in sweeps.items()}
    return {
        "reference": reference,
        "reference_loss": _unit(sweeps[reference]),
        "repetitions": len(sweeps[reference].report),
        "schedules": rows,
        "answer": answer(sweeps, groups, reference, (judged, against)),
    }


def judge(studies: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Write the verdicts of all studies of an experiment, which are one family.

    Args:
        studies: what `summarise` returned, by name.

    Returns:
        The number of ``verdicts`` and, from the fewest to the most, of their ``repetitions``.
    """
    comparisons = [comparison for study in studies.values() for comparison in study["answer"]["comparisons"]]
    family = [comparison["tests"][name] for comparison in comparisons for name in TESTS]
    count = paired.judge(family)
    for comparison in comparisons:
        for name in TESTS:
            comparison[name] = comparison["tests"][name]["verdict"]
    return {"verdicts": count, "repetitions": paired.repetitions(family)}


def _unit(reference: Sweep) -> float:
    """The tuned excess of the reference."""
    return max(paired.level(reference.fine(), ratio=reference.is_ratio)["value"], TINY)


def _row(sweep: Sweep, reference: Sweep) -> dict[str, Any]:
    fine, slope, basin = sweep.fine(), sweep.slope(), sweep.basin()
    return {
        "best_rate": float(sweep.rates[sweep.best]),
        "best": paired.level(fine, ratio=sweep.is_ratio),
        "at_boundary": sweep.at_boundary,
        "resolution": {label: _resolution(sweep, reference, ratio) for label, ratio in RATIOS.items()},
        "sensitivity": paired.estimate(sweep.sensitivity()),
        "misspecification": sweep.misspecification(),
        "slope": slope,
        "basin": basin,
        "diverged": sweep.diverged.tolist(),
        "curve": _curve(sweep),
    }


def _curve(sweep: Sweep) -> dict[str, list[float]]:
    """The reported excess at each rate: geometric means where losses are counted in ratios."""
    excess = sweep.excess().T
    ends = t_intervals(paired.logarithms(excess) if sweep.is_ratio else excess)[:3]
    mean, low, high = (np.exp(end) if sweep.is_ratio else end for end in ends)
    return {"mean": mean.tolist(), "low": low.tolist(), "high": high.tolist()}


def _resolution(sweep: Sweep, reference: Sweep, ratio: float) -> dict[str, Any]:
    """What grids of a ratio end with, cost against the tuned reference, and regret against the schedule's own tuning."""
    fine, coarse, worst, least = sweep.fine(), sweep.coarse(ratio), sweep.worst(ratio), reference.fine()
    return {
        "at_boundary": sweep.cut_off(ratio),
        "loss": paired.level(coarse, ratio=sweep.is_ratio),
        "cost_mean": _above(coarse, least, sweep),
        "cost_worst": _above(worst, least, sweep),
        "difference": paired.estimate(coarse - least),
        "lost": None if sweep.is_ratio else lost_share(coarse, least, sweep.initial),
        "regret_mean": _flagged(paired.share(coarse - fine, least)),
        "regret_own": _flagged(_above(coarse, fine, sweep)),
        "regret_worst": _flagged(paired.share(worst - fine, least)),
    }


def _above(losses: Array, least: Array, sweep: Sweep) -> dict[str, float]:
    """How far losses lie above others, as a share of these: the geometric mean of ratios, or the ratio of means."""
    if sweep.is_ratio:
        test = paired.gap(losses, least, ratio=True)
        return {name: test[name] for name in ("value", "low", "high")}
    return paired.share(losses - least, least)


def lost_share(losses: Array, oracle: Array, initial: float) -> dict[str, float]:
    """(final - oracle) / (initial - oracle), ``[R]`` each, with its interval: the share of what training can gain that is lost.

    It needs no least possible loss: 0 is the oracle, 1 is not trained at all.

    >>> lost_share(np.array([1.0, 1.0]), np.array([0.5, 0.5]), 2.5)
    {'value': 0.25, 'low': 0.25, 'high': 0.25}
    """
    return paired.estimate((losses - oracle) / np.maximum(initial - oracle, TINY))


def _flagged(regret: dict[str, float]) -> dict[str, Any]:
    """With ``selection_noise``, which holds where a regret is below zero: no regret can be, so it is what the choice of rates adds."""
    return {**regret, "selection_noise": regret["value"] < 0.0}


def answer(
    sweeps: Mapping[str, Sweep],
    groups: Mapping[str, str],
    reference: str,
    question: tuple[str | None, Sequence[str] | None],
) -> dict[str, Any]:
    """One group, and the reference, against others at the judged resolution, before the correction that `judge` makes.

    Where a group has several schedules, each repetition chooses the one that stands for it.

    Args:
        sweeps: see `summarise`.
        groups: see `summarise`.
        reference: see `summarise`.
        question: the group that is judged, and those that it is compared with; None as in `summarise`.
    """
    judged = question[0] or groups[reference]
    against = (
        [group for group in dict.fromkeys(groups.values()) if group != judged] if question[1] is None else question[1]
    )
    members = {
        group: {label: sweep for label, sweep in sweeps.items() if groups[label] == group}
        for group in (judged, *against)
    }
    members = {group: rows for group, rows in members.items() if rows}
    chosen = {group: min(rows, key=lambda label: _selected(rows[label]).mean()) for group, rows in members.items()}
    plain = {} if list(members[judged]) == [reference] else {f"plain {reference}": {reference: sweeps[reference]}}
    sides = {judged: members[judged], **plain}
    contenders = [group for group in members if group != judged]
    labels = chosen | {f"plain {reference}": reference}
    comparisons = [
        _comparison((side, labels[side], rows), (group, labels[group], members[group]), sweeps[reference])
        for side, rows in sides.items()
        for group in contenders
        if list(rows) != list(members[group])
    ]
    edge = [label for label in {*chosen.values(), reference} if sweeps[label].cut_off(RATIOS[JUDGED_RATIO])]
    return {
        "judged": judged,
        "against": contenders,
        "chosen": chosen,
        "comparisons": comparisons,
        "at_boundary": sorted(edge),
    }


def _selected(sweep: Sweep) -> Array:
    return sweep.selected(RATIOS[JUDGED_RATIO])


def _of_group(members: Mapping[str, Sweep]) -> tuple[Array, Array]:
    """Of the schedule that each repetition chooses: the excess on the coarse grid and on the fine one, ``[R]`` each."""
    sweeps = list(members.values())
    index = np.argmin([_selected(sweep) for sweep in sweeps], axis=0)
    rows = np.arange(len(index))
    coarse = np.stack([sweep.coarse(RATIOS[JUDGED_RATIO]) for sweep in sweeps])
    fine = np.stack([sweep.fine() for sweep in sweeps])
    return coarse[index, rows], fine[index, rows]


def _comparison(
    mine: tuple[str, str, Mapping[str, Sweep]], theirs: tuple[str, str, Mapping[str, Sweep]], reference: Sweep
) -> dict[str, Any]:
    """Theirs against mine: positive gaps are in favour of mine."""
    ratio = reference.is_ratio
    (coarse, fine), (their_coarse, their_fine) = _of_group(mine[2]), _of_group(theirs[2])
    edge = any(members[label].cut_off(RATIOS[JUDGED_RATIO]) for _, label, members in (mine, theirs))
    if ratio:
        depends = paired.gap(their_coarse / np.maximum(their_fine, TINY), coarse / np.maximum(fine, TINY), ratio=True)
    else:
        depends = paired.gap(their_coarse - their_fine, coarse - fine, ratio=False)
    return {
        "damped": mine[0],
        "damped_schedule": mine[1],
        "against": theirs[0],
        "against_schedule": theirs[1],
        "regret_in_reference": paired.share((their_coarse - their_fine) - (coarse - fine), reference.fine()),
        "lost_difference": None
        if ratio
        else paired.estimate((their_coarse - coarse) / np.maximum(reference.initial - reference.fine(), TINY)),
        "tests": {
            "ends": {
                **paired.gap(their_coarse, coarse, ratio=ratio),
                "at_boundary": False,
                "words": ("worse", "better"),
            },
            "depends": {**depends, "at_boundary": edge, "words": ("more", "less")},
        },
    }


def headline(studies: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """How often each verdict fell, by comparison: ``{"damped cosine against fixed": {"less": 6, "ends better": 7, …}}``."""
    counts: dict[str, dict[str, int]] = {}
    for study in studies.values():
        for comparison in study["answer"]["comparisons"]:
            row = counts.setdefault(f"{comparison['damped']} against {comparison['against']}", {})
            for verdict in (comparison["depends"], f"ends {comparison['ends']}"):
                row[verdict] = row.get(verdict, 0) + 1
    return counts

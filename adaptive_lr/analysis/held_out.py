"""Whether something learned is better than a rival on families that it was not learned on: what both lose, family by family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptive_lr.analysis import paired
from adaptive_lr.analysis.any_rate import CLOSE, LOST, Starts
from adaptive_lr.analysis.stats import TINY, Array

WORST = 20.0
"""No trial counts for more tolerances than this: the whole of what training gains, where the optimum is not known."""

PROCEDURE = "t on differences over families, Holm"


@dataclass(frozen=True)
class Cell:
    """A task at a horizon.

    Attributes:
        family: of the task; its horizons are of one family.
        area: under which it is counted.
        lost: by contestant, what each loses against the oracle by start and seed, in tolerances, ``[L, S]``.
    """

    family: str
    area: str
    lost: Mapping[str, Array]


def tolerances(starts: Starts, oracle: Array) -> Array:
    """What is lost against the oracle of each seed, ``[L, S]``, at most `WORST`.

    A tolerance is what counts as close: ln 1.2 of the log ratio of excesses where the optimum is known, elsewhere a lost share of 0.05.

    Args:
        starts: a contestant's.
        oracle: the oracle's excess by seed, ``[S]``.
    """
    if starts.optimum_known:
        lost = (paired.logarithms(starts.excess) - paired.logarithms(oracle)) / np.log(CLOSE)
    else:
        lost = (starts.excess - oracle) / np.maximum(starts.initial - oracle, TINY) / LOST
    return np.asarray(np.minimum(lost, WORST), dtype=np.float64)


def compare(cells: Sequence[Cell], mine: str, theirs: str) -> dict[str, Any]:
    """What one contestant loses less what another does, in tolerances: the mean over starts, seeds and horizons of each family; t over families.

    Args:
        cells: those in which both are.
        mine: label.
        theirs: label.

    Returns:
        ``value``, ``low``, ``high``, ``p``, ``n`` families, the same of the worst start as ``worst``, and ``areas``: the mean difference by area.
    """
    both = [cell for cell in cells if mine in cell.lost and theirs in cell.lost]
    families = list(dict.fromkeys(cell.family for cell in both))
    means, worsts = (
        np.array(
            [
                np.mean([_summed(cell, mine, key) - _summed(cell, theirs, key) for cell in both if cell.family == name])
                for name in families
            ]
        )
        for key in ("mean", "worst")
    )
    areas = {cell.family: cell.area for cell in both}
    by_area = {
        area: float(np.mean([mean for mean, name in zip(means, families, strict=True) if areas[name] == area]))
        for area in dict.fromkeys(areas.values())
    }
    return {
        "mine": mine,
        "theirs": theirs,
        **paired.t_interval(means),
        "worst": paired.t_interval(worsts),
        "n": len(families),
        "areas": by_area,
        "procedure": PROCEDURE,
        "at_boundary": False,
        "words": ("better", "worse"),
    }


def losses(cells: Sequence[Cell], label: str) -> dict[str, float]:
    """What a contestant loses in tolerances, the mean over families: at the mean start and at the worst."""
    families = dict.fromkeys(cell.family for cell in cells if label in cell.lost)
    return {
        key: float(
            np.mean(
                [
                    np.mean([_summed(cell, label, key) for cell in cells if cell.family == name and label in cell.lost])
                    for name in families
                ]
            )
        )
        for key in ("mean", "worst")
    }


def _summed(cell: Cell, label: str, key: str) -> float:
    lost = cell.lost[label]
    return float(lost.mean() if key == "mean" else lost.max(0).mean())

"""Is a shape that was chosen on one task better than the default, there and on other tasks?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptive_lr.analysis.robustness import Sweep
from adaptive_lr.analysis.stats import Array, Places, mean_interval, seeds_interval


def chosen(sweeps: Mapping[str, Sweep], searched: Sequence[str]) -> str:
    """The searched shape with the least loss at its own best rate, all by the selection seeds."""
    return min(searched, key=lambda label: float(sweeps[label].selection.mean(0)[sweeps[label].best]))


def summarise(studies: Mapping[str, Mapping[str, Sweep]], searched: Sequence[str], reference: str) -> dict[str, Any]:
    """The winner of each study against the reference, on the seeds that chose it and on others, and on the other studies.

    Args:
        studies: by study, then by shape; the same shapes everywhere.
        searched: the shapes that may win; the others are only compared.
        reference: the shape that everybody uses.
    """
    winners = {name: chosen(sweeps, searched) for name, sweeps in studies.items()}
    rows = {name: _row(sweeps, winners[name], searched, reference) for name, sweeps in studies.items()}
    matrix = {
        target: {source: _ratio(sweeps, winner, reference) for source, winner in winners.items()}
        for target, sweeps in studies.items()
    }
    return {"winners": winners, "rows": rows, "matrix": matrix}


def _row(sweeps: Mapping[str, Sweep], winner: str, searched: Sequence[str], reference: str) -> dict[str, Any]:
    mine, plain = sweeps[winner], sweeps[reference]
    inside = float(
        _excess(mine, mine.selection)[:, mine.best].mean() / _excess(plain, plain.selection)[:, plain.best].mean()
    )
    difference = _at_best(mine) - _at_best(plain)
    low, high = mean_interval(difference)
    edge = mine.at_boundary or plain.at_boundary
    verdict = "cannot be judged" if edge else "better" if high < 0.0 else "worse" if low > 0.0 else "not better"
    return {
        "winner": winner,
        "rate": float(mine.rates[mine.best]),
        "reference_rate": float(plain.rates[plain.best]),
        "reference_loss": float(_at_best(plain).mean()),
        "selection_ratio": inside,
        "report_ratio": _ratio(sweeps, winner, reference),
        "difference": {"value": float(difference.mean()), "low": float(low), "high": float(high)},
        "verdict": verdict,
        "at_boundary": edge,
        "others": {label: _ratio(sweeps, label, reference) for label in sweeps if label not in searched},
        "shapes": {label: float(_at_best(sweep).mean() / _at_best(plain).mean()) for label, sweep in sweeps.items()},
    }


def _ratio(sweeps: Mapping[str, Sweep], label: str, reference: str) -> dict[str, float]:
    """Loss of a shape over that of the reference, each at its own best rate, with its interval over paired seeds."""
    mine, plain = _at_best(sweeps[label]), _at_best(sweeps[reference])

    def ratio(seeds: Places) -> Array:
        ratios: Array = mine[seeds].mean(-1) / np.maximum(plain[seeds].mean(-1), 1e-300)
        return ratios

    low, high = seeds_interval(ratio, len(mine))
    return {"value": float(ratio(np.arange(len(mine)))), "low": low, "high": high}


def _at_best(sweep: Sweep) -> Array:
    """The reported excess at the rate that the selection seeds chose, ``[S]``."""
    losses: Array = sweep.excess()[:, sweep.best]
    return losses


def _excess(sweep: Sweep, losses: Array) -> Array:
    return losses - (sweep.optimum or 0.0)

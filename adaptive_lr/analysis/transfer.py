"""Is a shape that was chosen on one task better than the default, there and on other tasks?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptive_lr.analysis import paired
from adaptive_lr.analysis.robustness import Sweep
from adaptive_lr.analysis.stats import TINY, Array


def chosen(sweeps: Mapping[str, Sweep], searched: Sequence[str]) -> str:
    """The searched shape with the least loss at its own best rate, by all that choose together: for people, not for intervals."""
    return min(searched, key=lambda label: float(sweeps[label].selection.mean(0)[sweeps[label].best]))


def searched_anew(sweeps: Mapping[str, Sweep], searched: Sequence[str]) -> Array:
    """The excess of a search in each repetition, ``[R]``: its one seed chooses shape and rate, its other seed reports."""
    rows = [sweeps[label] for label in searched]
    index = np.argmin([sweep.selection.min(1) for sweep in rows], axis=0)
    return np.asarray(np.stack([sweep.fine() for sweep in rows])[index, np.arange(len(index))], dtype=np.float64)


def summarise(studies: Mapping[str, Mapping[str, Sweep]], searched: Sequence[str], reference: str) -> dict[str, Any]:
    """Each study's search against the reference, on other seeds than those that choose; and its winner on the other studies.

    What a search finds is judged by searching anew in each repetition. On another study the winner is a shape like any other: it was
    chosen without that study's trials, and only its rate is chosen anew.

    Args:
        studies: by study, then by shape; the same shapes everywhere.
        searched: the shapes that may win; the others are only compared.
        reference: the shape that everybody uses.
    """
    winners = {name: chosen(sweeps, searched) for name, sweeps in studies.items()}
    rows = {name: _row(sweeps, winners[name], searched, reference) for name, sweeps in studies.items()}
    matrix = {
        target: {
            source: rows[target]["searched"]
            if source == target
            else _tested(sweeps[winner].fine(), sweeps, reference, [winner])
            for source, winner in winners.items()
        }
        for target, sweeps in studies.items()
    }
    family = [cell for row in matrix.values() for cell in row.values()]
    count = paired.judge(family)
    for row in rows.values():
        row["verdict"] = row["searched"]["verdict"]
    return {
        "winners": winners,
        "rows": rows,
        "matrix": matrix,
        "family": {"verdicts": count, "repetitions": paired.repetitions(family)},
    }


def _tested(mine: Array, sweeps: Mapping[str, Sweep], reference: str, labels: Sequence[str]) -> dict[str, Any]:
    """Losses ``[R]`` against those of the reference, as a test, and as a ratio of the losses in ``ratio``."""
    plain = sweeps[reference]
    edge = any(sweeps[label].at_boundary for label in (*labels, reference))
    return {
        **paired.gap(mine, plain.fine(), ratio=plain.is_ratio),
        "ratio": _ratio(mine, plain),
        "lost": None
        if plain.is_ratio
        else paired.estimate((mine - plain.fine()) / np.maximum(plain.initial - plain.fine(), TINY)),
        "at_boundary": edge,
        "words": ("better", "worse", "not better"),
    }


def _row(sweeps: Mapping[str, Sweep], winner: str, searched: Sequence[str], reference: str) -> dict[str, Any]:
    mine, plain = sweeps[winner], sweeps[reference]
    inside = _excess(mine)[:, mine.best].mean() / max(float(_excess(plain)[:, plain.best].mean()), TINY)
    test = _tested(searched_anew(sweeps, searched), sweeps, reference, [winner])
    ratios = {label: _ratio(sweep.fine(), plain) for label, sweep in sweeps.items()}
    return {
        "winner": winner,
        "rate": float(mine.rates[mine.best]),
        "reference_rate": float(plain.rates[plain.best]),
        "reference_loss": paired.level(plain.fine(), ratio=plain.is_ratio)["value"],
        "is_ratio": plain.is_ratio,
        "selection_ratio": float(inside),
        "searched": test,
        "at_boundary": test["at_boundary"],
        "others": {label: ratio for label, ratio in ratios.items() if label not in searched},
        "shapes": {label: ratio["value"] for label, ratio in ratios.items()},
    }


def _ratio(losses: Array, plain: Sweep) -> dict[str, float]:
    """Losses over the reference's, paired by repetition ``[R]``: the geometric mean, or the ratio of means."""
    if plain.is_ratio:
        return paired.geometric(losses / np.maximum(plain.fine(), TINY))
    return paired.share(losses, plain.fine())


def _excess(sweep: Sweep) -> Array:
    return sweep.selection - (sweep.optimum or 0.0)

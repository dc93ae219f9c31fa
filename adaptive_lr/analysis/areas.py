"""What a contestant does in each area and at each horizon: the cells of an experiment on starting rates, counted together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adaptive_lr.analysis.any_rate import beyond
from adaptive_lr.analysis.stats import TINY

Cells = Sequence[Mapping[str, Any]]


def areas(studies: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The numbers of every area at every horizon, and of every area at all horizons, in the order of the studies.

    Args:
        studies: what `adaptive_lr.analysis.any_rate.judge` has seen, each with ``area`` and ``factor``.

    Returns:
        ``area``, ``factor`` (None for all horizons), ``cells`` (how many studies) and ``contestants``: by label what `_together` says;
        and ``training``, the same from losses on training data, if there are any.
    """
    names = dict.fromkeys(study["area"] for study in studies.values())
    rows = []
    for name in names:
        inside = [study for study in studies.values() if study["area"] == name]
        factors = sorted({study["factor"] for study in inside})
        for factor in (*factors, None) if len(factors) > 1 else factors:
            cells = [study for study in inside if factor in (None, study["factor"])]
            row = {"area": name, "factor": factor, "cells": len(cells), "contestants": _by_label(cells, "contestants")}
            if all("trained" in study for study in cells):
                row["training"] = _by_label(cells, "trained")
            rows.append(row)
    return rows


def _by_label(cells: Cells, key: str) -> dict[str, dict[str, Any]]:
    labels = dict.fromkeys(label for study in cells for label in study[key])
    return {label: _together([study[key][label] for study in cells if label in study[key]]) for label in labels}


def _together(rows: Cells) -> dict[str, Any]:
    """One contestant in some cells.

    ``close`` counts the cells whose worst start is within the limit: 1.2 times the oracle's excess, or a lost share of 5 %;
    ``near`` those within its square, or twice the share. ``ratio_mean`` and ``ratio_worst`` are geometric means over the cells with
    a known optimum of the mean and of the worst start in units of the oracle's excess; ``lost_mean`` and ``lost_worst`` are means
    over the others of the lost shares. None where there are no such cells.
    """
    known = [row for row in rows if row["lost"] is None]
    others = [row for row in rows if row["lost"] is not None]
    worst = [beyond(row) for row in rows]
    return {
        "cells": len(rows),
        "close": sum(limits <= 1.0 for limits in worst),
        "near": sum(limits <= 2.0 for limits in worst),
        **{f"ratio_{key}": _geometric([row[key]["value"] for row in known]) for key in ("mean", "worst")},
        **{f"lost_{key}": _mean([row["lost"][key]["value"] for row in others]) for key in ("mean", "worst")},
        "evaluated": max(row["evaluated"] for row in rows),
    }


def _geometric(values: Sequence[float]) -> float | None:
    return float(np.exp(np.mean(np.log(np.maximum(values, TINY))))) if values else None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None

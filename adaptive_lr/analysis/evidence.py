"""What finished experiments found about coarse grids, as a small file that ships with the package.

``python -m adaptive_lr.analysis.evidence report/report.json`` writes that file again from the report of ``make experiments``.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from adaptive_lr.errors import InputError

FORMAT = 1
SHIPPED = "evidence.json"


def shipped_evidence() -> dict[str, Any]:
    """What came with the package."""
    text = resources.files("adaptive_lr.analysis").joinpath(SHIPPED).read_text(encoding="utf-8")
    evidence: dict[str, Any] = json.loads(text)
    return evidence


def evidence_from_report(path: Path) -> dict[str, Any]:
    """The same from a ``report.json``.

    Raises:
        InputError: the file is no report, or has no experiment on grids of learning rates.
    """
    try:
        experiments = list(json.loads(path.read_text(encoding="utf-8"))["experiments"].values())
        evidence = evidence_from_numbers(experiments)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, StopIteration) as error:
        raise InputError(f"{path} is not the report.json of a report ({type(error).__name__})") from None
    if not evidence["tasks"] and not evidence["recorded"]:
        raise InputError(f"{path} has no experiment on grids of learning rates: run e01_grid_resolution first")
    return evidence | {"source": path.name}


def evidence_from_numbers(experiments: list[Mapping[str, Any]]) -> dict[str, Any]:
    """From what the experiments' ``analyse`` returned, in the order of names: a report and the file that ships say the same."""
    grids = [experiment for experiment in experiments if experiment["kind"] == "grid_resolution"]
    recorded = [experiment for experiment in experiments if experiment["kind"] == "recorded"]
    return {
        "format": FORMAT,
        "source": ", ".join(experiment["name"] for experiment in (*grids, *recorded)),
        "schedules": {
            label: {"spec": str(spec), "group": next(iter(experiment["studies"].values()))["schedules"][label]["group"]}
            for experiment in grids
            for label, spec in sorted(experiment["schedules"].items())
        },
        "tasks": {name: _task(study) for experiment in grids for name, study in sorted(experiment["studies"].items())},
        "recorded": {
            f"{experiment['title']} {study['title']}": _recorded(study)
            for experiment in recorded
            for study in experiment["studies"].values()
        },
    }


def _task(study: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "label": str(study["label"]),
        "kind": "convex" if study["optimum_known"] else "network",
        "steps": int(study["steps"]),
        "seeds": len(study["report_seeds"]),
        "schedules": {
            label: {
                "at_boundary": bool(row["at_boundary"]),
                **{
                    ratio: {"cost": _rounded(cell["cost_mean"]), "regret": _possible(_rounded(cell["regret_mean"]))}
                    for ratio, cell in row["resolution"].items()
                },
            }
            for label, row in sorted(study["schedules"].items())
        },
    }


def _recorded(study: Mapping[str, Any]) -> dict[str, Any]:
    """What advice reads of a study of recorded runs, and nothing else of a file that anybody may have written."""
    common, noise = study["common"], study["noise"]
    return {
        "loss": str(study["loss"]),
        # Reports from before there was a direction are of losses.
        "direction": "maximize" if study.get("direction") == "maximize" else "minimize",
        "doubt": None,
        "runs": int(study["runs"]),
        "ratios": [f"{_finite(ratio):.3g}" for ratio in study["ratios"]],
        "noise": None
        if noise is None
        else {"deviation": _finite(noise["deviation"]), "freedom": int(noise["freedom"])},
        "common": None if common is None else _common(common),
    }


def _common(common: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "rates": [_finite(rate) for rate in common["rates"]],
        "optima_outside": [str(label) for label in common["optima_outside"]],
        "groups": {
            label: {
                "at_boundary": bool(row["at_boundary"]),
                "counts": [int(count) for count in row["counts"]],
                "resolution": {
                    ratio: None
                    if cell is None
                    else {"cost_mean_interpolated": _or_none(cell["cost_mean_interpolated"])}
                    for ratio, cell in row["resolution"].items()
                },
            }
            for label, row in common["groups"].items()
        },
    }


def _or_none(value: float | None) -> float | None:
    return None if value is None else _finite(value)


def _finite(value: float | str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(number)
    return number


def _rounded(estimate: Mapping[str, float]) -> list[float]:
    return [float(f"{_finite(estimate[key]):.4g}") for key in ("value", "low", "high")]


def _possible(regret: list[float]) -> list[float]:
    """A regret is never below zero; where its estimate is, that is noise of the selection.

    >>> _possible([-0.01, -0.05, 0.03])
    [0.0, 0.0, 0.03]
    """
    return [max(end, 0.0) for end in regret]


def write_shipped(report: Path, target: Path) -> None:
    """Write the file that ships from a ``report.json``; recorded runs are not part of it, since they are other people's."""
    evidence = evidence_from_report(report) | {"source": "e01_grid_resolution", "recorded": {}}
    text = json.dumps(evidence, indent=1, sort_keys=True)
    text = re.sub(r"\[\s+([^][]*?)\s+\]", lambda row: f"[{' '.join(row[1].split())}]", text)  # three numbers in a line
    target.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_shipped(Path(sys.argv[1]), Path(__file__).with_name(SHIPPED))

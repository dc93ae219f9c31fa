"""What finished experiments found about coarse grids, as a small file that ships with the package.

``python -m adaptive_lr.analysis.evidence report/report.json`` writes that file again from the report of ``make experiments``.
"""

from __future__ import annotations

import json
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
    found: dict[str, Any] = json.loads(text)
    return found


def evidence_from_report(path: Path) -> dict[str, Any]:
    """The same from a ``report.json``.

    Raises:
        InputError: the file is no report, or has no experiment on grids of learning rates.
    """
    try:
        experiments = json.loads(path.read_text(encoding="utf-8"))["experiments"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not the report.json of a report ({type(error).__name__})") from None
    found = evidence_from_numbers(list(experiments))
    if not found["tasks"] and not found["recorded"]:
        raise InputError(f"{path} has no experiment on grids of learning rates: run e01_grid_resolution first")
    return found | {"source": path.name}


def evidence_from_numbers(experiments: list[Mapping[str, Any]]) -> dict[str, Any]:
    """From what the experiments' ``analyse`` returned."""
    grids = [one for one in experiments if one["kind"] == "grid_resolution"]
    recorded = [one for one in experiments if one["kind"] == "recorded"]
    return {
        "format": FORMAT,
        "source": ", ".join(one["name"] for one in (*grids, *recorded)),
        "schedules": {
            label: {"spec": spec, "group": next(iter(one["studies"].values()))["schedules"][label]["group"]}
            for one in grids
            for label, spec in one["schedules"].items()
        },
        "tasks": {name: _task(study) for one in grids for name, study in one["studies"].items()},
        "recorded": {
            f"{one['title']} {study['title']}": study for one in recorded for study in one["studies"].values()
        },
    }


def _task(study: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "label": study["label"],
        "kind": "convex" if study["optimum_known"] else "network",
        "steps": study["steps"],
        "seeds": len(study["report_seeds"]),
        "schedules": {
            label: {
                "at_boundary": row["at_boundary"],
                **{
                    ratio: {key: _rounded(cell[f"{key}_mean"]) for key in ("cost", "regret")}
                    for ratio, cell in row["resolution"].items()
                },
            }
            for label, row in study["schedules"].items()
        },
    }


def _rounded(estimate: Mapping[str, float]) -> list[float]:
    return [float(f"{estimate[key]:.4g}") for key in ("value", "low", "high")]


def write_shipped(report: Path, target: Path) -> None:
    """Write the file that ships from a ``report.json``; recorded runs are not part of it, since they are other people's."""
    found = evidence_from_report(report) | {"source": "e01_grid_resolution", "recorded": {}}
    text = json.dumps(found, indent=1, sort_keys=True)
    text = re.sub(r"\[\s+([^][]*?)\s+\]", lambda row: f"[{' '.join(row[1].split())}]", text)  # three numbers in a line
    target.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_shipped(Path(sys.argv[1]), Path(__file__).with_name(SHIPPED))

"""What finished experiments found about coarse grids and controllers, as a small file that ships with the package.

``python docs/make_evidence.py report/report.json`` writes that file again from the report of ``make experiments``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from adaptive_lr.analysis.any_rate import CLOSE, LOST
from adaptive_lr.analysis.stats import TINY
from adaptive_lr.errors import InputError

FORMAT = 2
SHIPPED = "evidence.json"

INNERMOST, BREAK = re.compile(r"(?<=[\[{])\n\s+([^][{}]*?)\n\s+(?=[]}])"), re.compile(r"\n\s+")

PARTS = {"grid_resolution": "tasks", "recorded": "recorded", "any_rate": "controllers"}
"""The part of the evidence that an experiment of a kind is read into."""


def shipped_evidence() -> dict[str, Any]:
    """What came with the package."""
    text = resources.files("adaptive_lr.analysis").joinpath(SHIPPED).read_text(encoding="utf-8")
    evidence: dict[str, Any] = json.loads(text)
    return evidence


def evidence_from_report(path: Path) -> dict[str, Any]:
    """The same from a ``report.json``; what it has no experiment on is empty.

    Raises:
        InputError: the file is no report, or has no experiment that advice rests on.
    """
    try:
        experiments = list(json.loads(path.read_text(encoding="utf-8"))["experiments"].values())
        evidence = evidence_from_numbers(experiments)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, StopIteration) as error:
        raise InputError(f"{path} is not the report.json of a report ({type(error).__name__})") from None
    if not any(evidence[part] for part in PARTS.values()):
        raise InputError(
            f"{path} has no experiment on grids of learning rates or on starting rates: run e01_grid_resolution first"
        )
    return evidence | {"sources": dict.fromkeys(evidence["sources"], path.name)}


def evidence_from_numbers(experiments: list[Mapping[str, Any]]) -> dict[str, Any]:
    """From what the experiments' ``analyse`` returned, in the order of names: a report and the file that ships say the same.

    Experiments on learned damping are left out: their tasks are another experiment's.
    """
    told = [experiment for experiment in experiments if "learned" not in experiment]
    by_kind = {kind: [experiment for experiment in told if experiment["kind"] == kind] for kind in PARTS}
    grids, recorded = by_kind["grid_resolution"], by_kind["recorded"]
    return {
        "format": FORMAT,
        "sources": {
            PARTS[kind]: ", ".join(str(experiment["name"]) for experiment in named)
            for kind, named in by_kind.items()
            if named
        },
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
        "controllers": {str(experiment["name"]): _starts(experiment) for experiment in by_kind["any_rate"]},
    }


def completed(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """The evidence of a report, with what ships in place of the parts that it has no experiment on."""
    shipped = shipped_evidence()
    both = dict(evidence) | {"sources": dict(evidence["sources"])}
    for part in ("tasks", "controllers"):
        if not evidence[part] and shipped[part]:
            both[part] = shipped[part]
            both["sources"][part] = shipped["sources"][part]
            if part == "tasks":
                both["schedules"] = shipped["schedules"]
    return both


def _starts(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """What advice reads of an experiment on starting rates: the reference, and whatever has a controller."""
    studies, reference = experiment["studies"], str(experiment["reference"])
    spans = [math.log10(_finite(study["window"][1]) / _finite(study["window"][0])) for study in studies.values()]
    return {
        "reference": reference,
        "decades": [round(min(spans), 2), round(max(spans), 2)],
        "seeds": [
            min(len(study["seeds"]) for study in studies.values()),
            max(len(study["seeds"]) for study in studies.values()),
        ],
        "tasks": {name: _titled(study) for name, study in studies.items()},
        "rows": {
            label: _contestant(experiment, label)
            for label in dict.fromkeys([reference, *experiment["overall"]])
            if label == reference or experiment["contestants"][label]["controller"] is not None
        },
    }


def _titled(study: Mapping[str, Any]) -> str:
    return f"{study['label']} ({'SGD' if study['optimizer'] == 'sgd' else 'AdamW'})"


def _contestant(experiment: Mapping[str, Any], label: str) -> dict[str, Any]:
    total, described = experiment["overall"][label], experiment["contestants"][label]
    rows = {
        name: study["contestants"][label]
        for name, study in experiment["studies"].items()
        if label in study["contestants"]
    }
    extra = [_finite(row["extra_steps"]) for row in rows.values()]
    return {
        "schedule": str(described["schedule"]),
        "controller": None if described["controller"] is None else str(described["controller"]),
        "studies": len(rows),
        **{key: int(total[key]) for key in ("close", "forgotten", "both", "surely")},
        **{key: _short(total[f"geometric_{key}"]) for key in ("best", "mean", "worst")},
        **{key: None if total[key] is None else _short(total[key]) for key in ("too_high", "too_low")},
        "extra_steps": [_short(min(extra)), _short(max(extra))],
        "by_task": {name: _from_starts(row) for name, row in rows.items()},
    }


def _from_starts(row: Mapping[str, Any]) -> dict[str, Any]:
    """A contestant on a task; ``beyond`` is how many times the limit of what is close its worst start is."""
    worst = _finite(row["worst"]["value"])
    lost = None if row["lost"] is None else _finite(row["lost"]["worst"]["value"])
    beyond = float(np.log(max(worst, TINY)) / np.log(CLOSE)) if lost is None else lost / LOST
    ratios = {key: _short(row[key]["value"]) for key in ("best", "mean", "worst")}
    return {
        **ratios,
        "lost": None if lost is None else _short(lost),
        "beyond": _short(beyond),
        "close": bool(row["tests"]["close"]),
    }


def _short(value: float | str) -> float:
    return float(f"{_finite(value):.4g}")


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
    return [_short(estimate[key]) for key in ("value", "low", "high")]


def _possible(regret: list[float]) -> list[float]:
    """A regret is never below zero; where its estimate is, that is noise of the selection.

    >>> _possible([-0.01, -0.05, 0.03])
    [0.0, 0.0, 0.03]
    """
    return [max(end, 0.0) for end in regret]


def as_shipped(experiments: list[Mapping[str, Any]]) -> str:
    """The text of the file that ships; recorded runs are not part of it, since they are other people's."""
    evidence = evidence_from_numbers([experiment for experiment in experiments if experiment["kind"] != "recorded"])
    return compact(evidence)


def compact(content: Mapping[str, Any]) -> str:
    r"""JSON with a line for each innermost list or object.

    >>> compact({"a": {"value": 1.0, "low": 0.5}, "b": [1, 2]})
    '{\n "a": {"value": 1.0, "low": 0.5},\n "b": [1, 2]\n}\n'
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return INNERMOST.sub(lambda inner: BREAK.sub(" ", inner[1]).strip(), text) + "\n"

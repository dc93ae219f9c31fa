"""Which controller to take, when none, and what it costs, from experiments on starting rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from adaptive_lr.analysis.stats import Array, t_intervals
from adaptive_lr.controllers import CONTROLLERS
from adaptive_lr.controllers.base import REPLAYING, Signal

MOST = 0.5
"""A controller is recommended if it loses at most this share of what the schedule alone loses from the same starts."""

HELPS = 0.5
"""A controller without probes helps on one side if it at least halves what the schedule alone loses there against the oracle."""


def which_controller(evidence: Mapping[str, Any]) -> dict[str, Any] | None:
    """What experiments on starting rates say of controllers, as plain data; None without such an experiment.

    The experiment that started the most different controllers on all of its tasks is asked for the choice, and all of them for the
    tasks where that choice fails.

    Args:
        evidence: as `adaptive_lr.analysis.evidence` gives it.

    Returns:
        ``take``: the label of the controller with the least geometric mean over tasks of the mean over all starts, of those that lose at
        most half of what the schedule alone loses from the same starts; None if there is none. ``not_told_apart``: others of those. ``cheapest``: the one
        of those with the least extra work. ``without_probes``: the best for rates that are ``too_high`` and ``too_low`` of those that do not
        evaluate the loss again, where they at least halve what the reference loses there. ``failures``: the tasks where ``take`` is not close,
        the worst first. ``tuned``: the ratio of its best start to the oracle, a geometric mean over tasks with Student's interval.
    """
    experiments = evidence["controllers"]
    name = max(experiments, key=lambda name: len(_asked(experiments[name])), default=None)
    if name is None or not _asked(experiments[name]):
        return None
    experiment = experiments[name]
    rows = _asked(experiment)
    alone = experiment["rows"][experiment["reference"]]["mean"]
    usable = [label for label, row in rows.items() if row["mean"] - 1.0 <= MOST * (alone - 1.0)]
    take = min(usable, key=lambda label: float(rows[label]["mean"]), default=None)
    answer = {
        "source": name,
        "reference": experiment["reference"],
        "decades": experiment["decades"],
        "seeds": experiment["seeds"],
        "studies": len(experiment["tasks"]),
        "take": take,
        "cheapest": min(usable, key=lambda label: float(rows[label]["extra_steps"][1]), default=None),
        "without_probes": {side: _without_probes(experiment, side) for side in ("too_high", "too_low")},
        "rows": {
            label: {key: value for key, value in row.items() if key != "by_task"}
            for label, row in experiment["rows"].items()
        },
    }
    if take is None:
        return answer | {"not_told_apart": [], "failures": [], "tuned": None, "probes": None}
    return answer | {
        "not_told_apart": [label for label in usable if label != take and not _differ(rows[take], rows[label])],
        "failures": _failures(experiments, str(rows[take]["controller"])),
        "tuned": _tuned(rows[take]),
        "probes": probes(str(rows[take]["controller"])),
    }


def probes(controller: str) -> bool:
    """Whether a controller, as it is written, evaluates the loss of a minibatch again.

    >>> probes("ProgressAnchor()"), probes("Hypergradient(gain=0.2)")
    (True, False)
    """
    return bool(_needs(controller) & REPLAYING)


def _needs(controller: str) -> Signal:
    """What a controller asks to see; nothing, if it is none of the package's."""
    name = controller.partition("(")[0]
    return next((kind.needs for kind in CONTROLLERS if kind.__name__ == name), Signal.NONE)


def _asked(experiment: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """One contestant for each kind of controller that was started on all tasks; the first, which has the fewest settings of its own."""
    rows: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for label, row in experiment["rows"].items():
        if row["controller"] is not None and row["studies"] == len(experiment["tasks"]):
            rows.setdefault(row["controller"].partition("(")[0], (label, row))
    return dict(rows.values())


def _without_probes(experiment: Mapping[str, Any], side: str) -> str | None:
    reference = experiment["rows"][experiment["reference"]][side]
    known = {
        label: row[side]
        for label, row in _asked(experiment).items()
        if row[side] is not None and not probes(row["controller"])
    }
    least = min(known, key=lambda label: float(known[label]), default=None)
    if least is None or reference is None:
        return None
    return least if known[least] - 1.0 <= HELPS * (reference - 1.0) else None


def _logs(row: Mapping[str, Any], key: str) -> Array:
    return np.log([max(cell[key], 1e-12) for cell in row["by_task"].values()])


def _differ(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    differences = _logs(other, "mean") - _logs(row, "mean")
    if len(differences) < 2:
        return False
    _, low, high, _ = t_intervals(differences)
    return not low <= 0.0 <= high


def _tuned(row: Mapping[str, Any]) -> dict[str, float | None]:
    logs = _logs(row, "best")
    if len(logs) < 2:
        return {"value": math.exp(logs.mean()), "low": None, "high": None}
    value, low, high = (math.exp(end) for end in t_intervals(logs)[:3])
    return {"value": value, "low": low, "high": high}


def _failures(experiments: Mapping[str, Any], controller: str) -> list[dict[str, Any]]:
    """Where the worst start under a controller is not close to the oracle, in all experiments, the worst first."""
    failures = [
        {
            "source": name,
            "task": experiment["tasks"][task],
            **{key: cell[key] for key in ("mean", "worst", "lost", "beyond")},
        }
        for name, experiment in experiments.items()
        for row in list(experiment["rows"].values())
        if row["controller"] == controller
        and row["schedule"] == experiment["rows"][experiment["reference"]]["schedule"]
        for task, cell in row["by_task"].items()
        if not cell["close"]
    ]
    return sorted(failures, key=lambda failure: -float(failure["beyond"]))

"""Recorded training of language models, as measures read it: losses by schedule and rate, and curves for laws of loss curves."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from adaptive_lr.errors import InputError
from adaptive_lr.meta.law_curves import Columns, Curve, read_curves

FITTED = ("cosine_24000", "constant_24000", "wsdcon_9")
"""The curves that Luo et al. 2025 fit."""

HELD_OUT = ("constant_72000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000", "wsdcon_3", "wsdcon_18")
"""The curves that they predict."""

WARMUP = 2160
"""Steps before the first row of these curves."""

Losses = dict[str, dict[float, float]]
"""The mean final loss by label of the schedule and by peak rate."""


def losses_by_rate(
    folder: Path, *, dataset: str = "slimpajama", parameters: int = 123_587_328, steps: int = 50_000
) -> Losses:
    """The validation loss at the end of the runs of Schaipp et al. 2025 (arXiv:2501.18965) of one model, data set and horizon.

    Args:
        folder: with ``runs.csv``.
        dataset: of these runs.
        parameters: of their model.
        steps: of training.

    Raises:
        InputError: there are no such runs.
    """
    runs: defaultdict[tuple[str, float], list[float]] = defaultdict(list)
    with (folder / "runs.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if (row["dataset"], int(row["parameters"]), int(row["total_steps"])) == (dataset, parameters, steps):
                runs[row["label"], float(row["peak_lr"])].append(float(row["final_val_loss"]))
    if not runs:
        raise InputError(f"{folder / 'runs.csv'} has no runs of {parameters} parameters on {dataset} for {steps} steps")
    losses: Losses = {}
    for (label, rate), values in sorted(runs.items()):
        losses.setdefault(label, {})[rate] = fmean(values)
    return losses


def law_curve(folder: Path, size: str, name: str) -> Curve:
    """One curve of Luo et al. 2025 (arXiv:2503.12811); runs of 24 000 steps without their last row, as there.

    Args:
        folder: with a folder for each size of model.
        size: ``25M`` or ``100M``.
        name: of the file.
    """
    (curve,), _ = read_curves([folder / size / f"{name}.csv"], Columns(), WARMUP)
    within = curve.steps < (curve.steps[-1] + 1 if name.endswith("72000") else 24_000)
    return replace(curve, steps=curve.steps[within], losses=curve.losses[within])

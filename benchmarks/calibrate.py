"""Choose one rate, one warm-up and one schedule for each optimizer on development tasks: ``python benchmarks/calibrate.py``.

Writes adaptive_lr/training/calibrated.json. Finished trials are kept in results/calibration, so that it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from adaptive_lr.analysis.stats import Array
from adaptive_lr.schedules import WSD, AbstractSchedule, DampedCosine, Linear, Warmup
from adaptive_lr.spec import encode
from adaptive_lr.tasks import CharacterModel, Perceptron
from adaptive_lr.training import SGD, AbstractOptimizer, AdamW, Trial
from adaptive_lr.training.calibrated import FILE
from adaptive_lr.training.random_workloads import DEVELOPMENT, random_workload
from adaptive_lr.trials.runner import provenance, run_trials
from adaptive_lr.trials.store import Record, Store

OPTIMIZERS: dict[str, tuple[AbstractOptimizer, int, int]] = {
    "sgd": (SGD(momentum=0.9), -3, 1),
    "adamw": (AdamW(), -4, 0),
}
"""With the decades between which rates are tried."""
PER_DECADE = 2
WARMUPS = (0.0, 0.05)
SHAPES: dict[str, AbstractSchedule] = {"cosine": DampedCosine(), "linear": Linear(), "wsd": WSD(cooldown=0.2)}
INDICES = DEVELOPMENT[:12]
SEEDS = range(1)
FIXED = {
    "characters": (CharacterModel(), 1500),
    "digits": (Perceptron(dataset="digits", hidden=(48, 48), activation="tanh"), 600),
    "mnist1d": (Perceptron(dataset="mnist1d", hidden=(100, 100), batch=100, metric="error"), 2000),
}
SHOWN = 10


def schedules() -> dict[tuple[str, float], AbstractSchedule]:
    """By shape and warm-up."""
    plain = {(shape, 0.0): schedule for shape, schedule in SHAPES.items()}
    return plain | {
        (shape, fraction): Warmup(fraction=fraction, then=schedule)
        for shape, schedule in SHAPES.items()
        for fraction in WARMUPS
        if fraction > 0.0
    }


def models() -> dict[str, Trial]:
    """A trial for each development task, whose schedule, optimizer and rate are replaced."""
    trials = {
        f"random {kind} {index}": random_workload(index, kind).trial()
        for kind in ("network", "convex")
        for index in INDICES
    }
    for name, (task, steps) in FIXED.items():
        trials[name] = Trial(task=task, schedule=DampedCosine(), optimizer=SGD(), base_lr=1.0, steps=steps, seed=0)
    return trials


Setting = tuple[float, str, float]
"""Rate, shape, warm-up."""


def settings(low: int, high: int) -> list[Setting]:
    """All that are tried."""
    rates = [float(f"{10.0 ** (low + index / PER_DECADE):.3g}") for index in range((high - low) * PER_DECADE + 1)]
    return [(rate, shape, warmup) for rate in rates for shape, warmup in schedules()]


def plan(model: Trial, optimizer: AbstractOptimizer, tried: Sequence[Setting]) -> list[list[Trial]]:
    """``[setting][seed]``."""
    known = schedules()
    return [
        [replace(model, optimizer=optimizer, base_lr=rate, schedule=known[shape, warmup], seed=seed) for seed in SEEDS]
        for rate, shape, warmup in tried
    ]


def penalties(rows: Sequence[Sequence[Trial]], records: Mapping[str, Record]) -> Array:
    """How much worse each setting ends than the best on a task, in [0, 1].

    With a known optimum ln(excess/least excess)/ln 10, so that ten times the excess is 1; elsewhere (loss - least loss)/(loss before training - least
    loss), so that an untrained model is 1. Losses are means over seeds of the metric that is reported, on validation data where
    there are any; a trial that diverged ends where it began.
    """
    task = rows[0][0].task
    metric = task.selection_metric
    found = np.array([[_ended(records[trial.digest()], metric) for trial in row] for row in rows]).mean(1)
    initial = records[rows[0][0].digest()].initial[metric]
    optimum = task.optimum if metric == task.report_metric else None
    if optimum is not None:
        excess = np.maximum(found - optimum, 1e-300)
        penalty = np.log10(excess / excess.min())
    else:
        penalty = (found - found.min()) / max(initial - found.min(), 1e-300)
    clipped: Array = np.clip(penalty, 0.0, 1.0)
    return clipped


def _ended(record: Record, metric: str) -> float:
    return float(np.fmin(record.metrics[metric], record.initial[metric]))


def calibrated(name: str, store: Store, workers: int) -> dict[str, Any]:
    """The setting with the least mean penalty, and those that come next."""
    optimizer, low, high = OPTIMIZERS[name]
    tried = settings(low, high)
    plans = {task: plan(model, optimizer, tried) for task, model in models().items()}
    run_trials([trial for rows in plans.values() for row in rows for trial in row], store, workers=workers)
    by_task = {}
    for task, rows in plans.items():
        by_task[task] = penalties(rows, store.read(trial.digest() for row in rows for trial in row))
    means = np.mean(list(by_task.values()), 0)
    order = np.argsort(means, kind="stable")
    rate, shape, warmup = tried[order[0]]
    return {
        "rate": rate,
        "schedule": encode(schedules()[shape, warmup]),
        "penalty": round(float(means[order[0]]), 4),
        "penalties": {task: round(float(row[order[0]]), 4) for task, row in by_task.items()},
        "next": [
            {"rate": r, "shape": s, "warmup": w, "penalty": round(float(means[index]), 4)}
            for index in order[1:SHOWN]
            for r, s, w in [tried[index]]
        ],
        "tried": len(tried),
        "optimizer": encode(optimizer),
    }


def main() -> None:
    """Run what is missing and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, default=Path("results/calibration/store.sqlite"))
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    with Store(arguments.store, write=True) as store:
        chosen = {name: calibrated(name, store, arguments.workers) for name in OPTIMIZERS}
    source = provenance()
    written = {
        "made by": "python benchmarks/calibrate.py",
        "commit": source["commit"],
        "torch": source["torch"],
        "seeds": list(SEEDS),
        "random indices": list(INDICES),
        "tasks": {name: trial.steps for name, trial in models().items()},
        "optimizers": chosen,
    }
    FILE.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

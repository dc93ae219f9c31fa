"""Write docs/tutorials/sweep.csv, the runs that a tutorial reads: ``python docs/make_sweep.py``, some seconds of training."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from adaptive_lr import Constant, DampedCosine, Linear
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.training import SGD, Trial, train_batch

TARGET = Path(__file__).parent / "tutorials/sweep.csv"
SCHEDULES = {"constant": Constant(), "cosine": DampedCosine(), "linear": Linear()}
RATES = (0.01, 0.03, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
SEEDS = (0, 1, 2, 3)
STEPS = 500


def main() -> None:
    """Train and write."""
    task = StreamingLeastSquares()
    rows = []
    for seed in SEEDS:
        cells = [(label, rate) for label in SCHEDULES for rate in RATES]
        trials = [
            Trial(
                task=task,
                schedule=SCHEDULES[label],
                optimizer=SGD(),
                base_lr=rate,
                steps=STEPS,
                seed=seed,
            )
            for label, rate in cells
        ]
        for (label, rate), result in zip(cells, train_batch(trials), strict=True):
            loss = result.metrics[task.report_metric]
            rows.append((label, rate, seed, STEPS, f"{loss:.5f}" if math.isfinite(loss) else "nan"))
    with TARGET.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("schedule", "peak_lr", "seed", "steps", "final_loss"))
        writer.writerows(sorted(rows, key=lambda row: (row[0], row[1], row[2])))


if __name__ == "__main__":
    main()

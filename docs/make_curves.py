"""Write docs/tutorials/curves.csv, the loss curves that a tutorial reads: ``python docs/make_curves.py``, a minute of training.

Stochastic gradient descent on least squares with a power-law spectrum, y = x.w* + e with x_i of variance 1/i: the mean loss of 64
models, so that a curve is as smooth as that of a large one.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from adaptive_lr import WSD, AbstractSchedule, Constant, DampedCosine, Points, Warmup, table

TARGET = Path(__file__).parent / "tutorials/curves.csv"
STEPS, WARMUP, PEAK, EVERY = 4000, 200, 0.04, 40
MODELS, BATCH, DIMENSION, NOISE = 64, 8, 256, 0.5
SCHEDULES: dict[str, AbstractSchedule] = {
    "cosine": DampedCosine(floor=0.1),
    "constant": Constant(),
    "drop": Points(u=(0.0, 0.5), m=(1.0, 0.3), interpolation="previous"),
    "wsd": WSD(cooldown=0.25, shape="linear", floor=0.1),
}


def losses(rates: np.ndarray) -> dict[int, float]:
    """The mean loss on fresh data, by step."""
    generator = np.random.default_rng(0)
    scales = np.arange(1, DIMENSION + 1) ** -0.5
    target = np.ones(DIMENSION)
    weights = np.zeros((MODELS, DIMENSION))
    curve = {}
    for step, rate in enumerate(rates):
        if step % EVERY == 0 and step >= WARMUP:
            excess = np.square((weights - target) * scales).sum(-1).mean()
            curve[step] = 0.5 * (NOISE**2 + excess)
        x = scales * generator.standard_normal((MODELS, BATCH, DIMENSION))
        errors = np.einsum("mbd,md->mb", x, weights - target) - NOISE * generator.standard_normal((MODELS, BATCH))
        weights -= rate * np.einsum("mb,mbd->md", errors, x) / BATCH
    return curve


def main() -> None:
    """Train and write."""
    with TARGET.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("run", "step", "lr", "loss"))
        for name, schedule in SCHEDULES.items():
            rates = PEAK * table([Warmup(steps=WARMUP, then=schedule)], STEPS)[0].numpy()
            for step, loss in losses(rates).items():
                writer.writerow((name, step, f"{rates[step]:.8g}", f"{loss:.6f}"))


if __name__ == "__main__":
    main()

"""Write docs/tutorials/curves.csv and held-out.csv, which a tutorial reads: ``python docs/make_curves.py``, a minute of training.

Stochastic gradient descent on least squares with a power-law spectrum, y = x.w* + e with x_i of variance 1/i: the mean loss of 128
models, so that a curve is as smooth as that of a large one. ``python docs/make_curves.py schedule.json`` trains with a schedule of a file instead,
and prints the last loss.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

from adaptive_lr import WSD, AbstractSchedule, Constant, DampedCosine, Points, Warmup, from_json, table

TUTORIALS = Path(__file__).parent / "tutorials"
HELD_OUT = ("wsd",)
STEPS, WARMUP, PEAK, EVERY = 4000, 200, 0.1, 40
MODELS, BATCH, DIMENSION, NOISE = 128, 2, 256, 1.0
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
    target = np.full(DIMENSION, 0.5)
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
    if sys.argv[1:]:
        schedule = from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
        sys.stdout.write(f"{losses(PEAK * table([schedule], STEPS)[0].numpy())[STEPS]:.4f}\n")
        return
    rows: dict[str, list[tuple[object, ...]]] = {"curves.csv": [], "held-out.csv": []}
    for name, schedule in SCHEDULES.items():
        rates = PEAK * table([Warmup(steps=WARMUP, then=schedule)], STEPS)[0].numpy()
        target = rows["held-out.csv" if name in HELD_OUT else "curves.csv"]
        target += [(name, step, f"{rates[step]:.8g}", f"{loss:.6f}") for step, loss in losses(rates).items()]
    for file_name, lines in rows.items():
        with (TUTORIALS / file_name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("run", "step", "lr", "loss"))
            writer.writerows(lines)


if __name__ == "__main__":
    main()

"""Small tables of recorded runs."""

from pathlib import Path
from typing import Any

import numpy as np

from adaptive_lr.analysis.recorded import Request
from adaptive_lr.analysis.recorded_sweep import RecordedSweep
from adaptive_lr.analysis.table_files import read_table
from adaptive_lr.analysis.tables import Table

CURVES = Path(__file__).parents[2] / "shared/data/llm-curves/convex-agreement/runs.csv"
"""Runs of language models that others recorded; they are no part of the repository."""

COINCIDENTAL = ("cooldown_shape", "last_logged_lr_ratio")

REQUEST = Request(rate="lr", loss="loss", by=("schedule",), seed="seed")


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def table(folder: Path, *lines: str) -> Table:
    return read_table(write(folder / "runs.csv", *lines))


def sweep_lines(losses: dict[str, dict[float, list[float]]]) -> list[str]:
    """A CSV of losses by schedule and rate, one a seed."""
    return [
        "schedule,lr,seed,loss",
        *(
            f"{schedule},{rate:g},{seed},{loss!r}"
            for schedule, by_rate in losses.items()
            for rate, found in by_rate.items()
            for seed, loss in enumerate(found)
        ),
    ]


def sweep(rates: list[float], losses: list[float], **more: Any) -> RecordedSweep:
    count = len(rates)
    settings = {"counts": np.ones(count, dtype=np.int_), "diverged": np.zeros(count), "paired": None, "noise": None}
    return RecordedSweep(rates=np.array(rates), losses=np.array(losses), **(settings | more))

"""Small files in the format of the recorded runs of fabian-sp/step-back: a row an epoch, gzipped."""

import csv
import gzip
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "shared/data/step-back"
"""Runs that others recorded; they are no part of the repository."""

LAST = 2
"""The last epoch; before it every loss is higher by 1."""

Cells = Mapping[tuple[str, ...], Mapping[float, float | None]]
"""Losses by the values of some columns and the rate; None where they are blank."""


def write_runs(
    path: Path,
    columns: Sequence[str],
    cells: Cells,
    *,
    loss: str = "val_loss",
    deviation: Callable[[float], float] | None = None,
    more: Mapping[str, str] | None = None,
) -> None:
    """One run for each group and rate, with what the real files have besides."""
    text = io.StringIO()
    names = [
        "id",
        "epoch",
        "learning_rate",
        "train_loss",
        loss,
        f"{loss}_std",
        *columns,
        "lr",
        "lr_schedule",
        *(more or {}),
    ]
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    for group, by_rate in cells.items():
        for rate, final in by_rate.items():
            for epoch in range(LAST + 1):
                now = None if final is None else final + (epoch < LAST)
                writer.writerow(
                    {
                        "id": f"name={'-'.join(group)}:lr={rate:g}",
                        "epoch": epoch,
                        "learning_rate": repr(rate),
                        "train_loss": repr(0.5 + epoch),
                        loss: "" if now is None else repr(now),
                        f"{loss}_std": ""
                        if deviation is None or now is None
                        else repr(deviation(rate) + (epoch < LAST)),
                        **dict(zip(columns, group, strict=True)),
                        "lr": repr(rate),
                        "lr_schedule": "constant",
                        **(more or {}),
                    }
                )
    path.write_bytes(gzip.compress(text.getvalue().encode()))

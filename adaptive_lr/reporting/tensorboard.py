"""TensorBoard events of stored trials."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from adaptive_lr.schedules import table
from adaptive_lr.store import Record, Store
from adaptive_lr.training import Trial

_LARGEST = 3e38


@dataclass(frozen=True)
class Run:
    """A trial to be shown: its folder below the log directory, and words that the HParams page should list."""

    folder: str
    trial: Trial
    words: Mapping[str, str]


def write_events(runs: Iterable[Run], store: Store, logdir: Path) -> int:
    """Write the curves of stored trials as event files; what stood in ``logdir`` is replaced.

    Tags: ``train/loss``, ``train/learning_rate``, ``validation/<metric>``; the HParams page gets the hyperparameters and
    the final metrics.

    Returns:
        How many runs were written.
    """
    shutil.rmtree(logdir, ignore_errors=True)
    chosen = list(runs)
    records = store.read(run.trial.digest() for run in chosen)
    for run in chosen:
        _write(run, records[run.trial.digest()], store, logdir)
    return len(chosen)


def _write(run: Run, record: Record, store: Store, logdir: Path) -> None:
    trial, curves = run.trial, store.curves(record.digest)
    multipliers = table([trial.schedule], trial.steps)[0]
    monitored = trial.task.selection_metric
    values: dict[str, Any] = {
        **run.words,
        "base_lr": trial.base_lr,
        "optimizer": trial.optimizer.kind,
        "steps": trial.steps,
        "seed": trial.seed,
        "status": str(record.status),
    }
    # Event files hold single precision; a loss beyond it says no more than the status does.
    final = {f"final/{name}": value for name, value in record.metrics.items() if abs(value) < _LARGEST}
    with SummaryWriter(str(logdir / run.folder)) as writer:
        assert writer.file_writer is not None
        for summary in hparams(values, final):
            writer.file_writer.add_summary(summary)
        for name, value in final.items():
            writer.add_scalar(name, value, trial.steps)
        for step, loss, metric in zip(curves["step"], curves["train_loss"], curves[monitored], strict=True):
            if not abs(loss) < _LARGEST:
                break
            writer.add_scalar("train/loss", loss, step)
            writer.add_scalar("train/learning_rate", trial.base_lr * float(multipliers[step - 1]), step)
            if abs(metric) < _LARGEST:
                writer.add_scalar(f"validation/{monitored.removeprefix('validation_')}", metric, step)

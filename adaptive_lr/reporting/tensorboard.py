"""TensorBoard events of stored trials."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.schedules import table
from adaptive_lr.training import Trial
from adaptive_lr.trials.store import Record, Store

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_LARGEST = 3e38

_QUEUE = 100_000
"""Events that may wait to be written; with torch's ten most of the time goes into waiting."""


@dataclass(frozen=True)
class Run:
    """A trial to be shown: its folder below the log directory, and words that the HParams page should list."""

    folder: str
    trial: Trial
    words: Mapping[str, str]


def write_events(runs: Iterable[Run], store: Store, logdir: Path) -> int:
    """Write the curves of stored trials as event files; what stood in ``logdir`` is replaced.

    Tags: ``train/loss``, ``train/learning_rate``, ``validation/<metric>``, for controlled trials ``damping/…``; the HParams page
    gets the hyperparameters and the final metrics.

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
    from torch.utils.tensorboard import SummaryWriter  # a third of a second to import
    from torch.utils.tensorboard.summary import hparams

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
    with SummaryWriter(str(logdir / run.folder), max_queue=_QUEUE) as writer:
        assert writer.file_writer is not None
        for summary in hparams(values, final):
            writer.file_writer.add_summary(summary)
        for name, value in final.items():
            writer.add_scalar(name, value, trial.steps)
        for step, loss, metric in zip(curves["step"], curves["train_loss"], curves[monitored], strict=True):
            if not abs(loss) < _LARGEST:
                break
            writer.add_scalar("train/loss", loss, step)
            if "control/step" not in curves:
                writer.add_scalar("train/learning_rate", trial.base_lr * float(multipliers[step - 1]), step)
            if abs(metric) < _LARGEST:
                writer.add_scalar(f"validation/{monitored.removeprefix('validation_')}", metric, step)
        _write_control(writer, trial, curves)


def _write_control(writer: SummaryWriter, trial: Trial, curves: Mapping[str, NDArray[np.float64]]) -> None:
    for index, step in enumerate(curves.get("control/step", ())):
        for name, row in curves.items():
            value = float(row[index]) if name.startswith("control/") else math.nan
            if name != "control/step" and abs(value) < _LARGEST:
                writer.add_scalar(f"damping/{name.removeprefix('control/')}", value, int(step))
                if name == "control/multiplier":
                    writer.add_scalar("train/learning_rate", trial.base_lr * value, int(step))


@runtime_checkable
class Readings(Protocol):
    """What `log_damping` needs of a scheduler: `adaptive_lr.ControlledLR` has it."""

    last_epoch: int

    def readings(self) -> dict[str, float]:
        """Numbers by name."""


def log_damping(writer: SummaryWriter, scheduler: Readings, step: int | None = None) -> None:
    """Write what a controller saw and did at the last update as ``damping/…`` scalars; call it after ``scheduler.step()``.

    Args:
        writer: a `torch.utils.tensorboard.SummaryWriter`, or anything with its ``add_scalar``.
        scheduler: a `ControlledLR`.
        step: where to put them; the number of updates by default.

    Raises:
        TypeError: there is no controller in the scheduler.
    """
    if not isinstance(scheduler, Readings):
        raise TypeError(f"scheduler must have a controller, as ControlledLR has, got {type(scheduler).__name__}")
    global_step = scheduler.last_epoch if step is None else step
    for name, value in scheduler.readings().items():
        if math.isfinite(value):
            writer.add_scalar(f"damping/{name}", value, global_step)

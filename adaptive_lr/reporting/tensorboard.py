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

from adaptive_lr.reporting.event_writing import Series, write_event_file
from adaptive_lr.schedules import table
from adaptive_lr.training import Trial
from adaptive_lr.trials.store import Record, Store

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Array = NDArray[np.float64]

_LARGEST = 3e38


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
    from torch.utils.tensorboard.summary import hparams  # a third of a second to import

    trial, curves = run.trial, store.curves(record.digest)
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
    ends = [Series(name, np.array([trial.steps]), np.array([value])) for name, value in final.items()]
    series = [*ends, *_trained(trial, curves), *_controlled(trial, curves)]
    summaries = [summary.SerializeToString() for summary in hparams(values, final)]
    write_event_file(logdir / run.folder, series, summaries)


def _trained(trial: Trial, curves: Mapping[str, Array]) -> list[Series]:
    """Loss, metric, and the rate of a schedule alone, until the loss is too large for words."""
    monitored = trial.task.selection_metric
    fallen = ~(np.abs(curves["train_loss"]) < _LARGEST)
    count = int(fallen.argmax()) if fallen.any() else len(fallen)
    steps = curves["step"][:count].astype(np.int64)
    series = [Series("train/loss", steps, curves["train_loss"][:count])]
    if "control/step" not in curves:
        multipliers = table([trial.schedule], trial.steps)[0].numpy()
        series.append(Series("train/learning_rate", steps, trial.base_lr * multipliers[steps - 1]))
    return [*series, _finite(f"validation/{monitored.removeprefix('validation_')}", steps, curves[monitored][:count])]


def _controlled(trial: Trial, curves: Mapping[str, Array]) -> list[Series]:
    """What a controller saw and did."""
    series = []
    for name, row in curves.items():
        if name.startswith("control/") and name != "control/step":
            steps = curves["control/step"].astype(np.int64)
            series.append(_finite(f"damping/{name.removeprefix('control/')}", steps, row))
            if name == "control/multiplier":
                shown = series[-1]
                series.append(_finite("train/learning_rate", shown.steps, trial.base_lr * shown.values))
    return series


def _finite(tag: str, steps: NDArray[np.int64], values: Array) -> Series:
    shown = np.abs(values) < _LARGEST
    return Series(tag, steps[shown], values[shown])


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

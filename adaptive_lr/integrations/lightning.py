"""`ControlledLR` in Lightning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.trainer import call
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch import Tensor, nn

from adaptive_lr.controllers import AbstractController
from adaptive_lr.errors import SpecError
from adaptive_lr.integrations.minibatch import Minibatch, damping
from adaptive_lr.schedulers.controlled_lr import ControlledLR
from adaptive_lr.schedulers.hyperparameters import Plan


class ControlledLRCallback(Callback):  # type: ignore[misc,unused-ignore]
    """Lets a controller see what the trainer does.

    With a schedule and a controller it makes a `ControlledLR` for the one optimizer that ``configure_optimizers`` returns, over as many
    updates as the trainer will make; Lightning then steps, saves and restores it. Without, ``configure_optimizers`` must return one with
    ``interval: step``. To probe, ``training_step`` is called again on the same batches, without logging and leaving its metrics as they are.

    Args:
        schedule: what the controller modulates.
        controller: the rule.
        total_steps: T, if it is not the number of updates that the trainer expects to make.
        log: whether the controller's numbers are logged as ``damping/…``.

    Raises:
        SpecError: only one of schedule and controller is given.
    """

    def __init__(
        self,
        schedule: Plan | None = None,
        controller: AbstractController | None = None,
        *,
        total_steps: int | None = None,
        log: bool = True,
    ) -> None:
        if (schedule is None) != (controller is None):
            raise SpecError("ControlledLRCallback needs both a schedule and a controller, or none of them")
        self._schedule, self._controller, self._total_steps, self._log = schedule, controller, total_steps, log
        self._minibatch = Minibatch()
        self._batch: tuple[Any, int] = (None, 0)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Make the scheduler; a checkpoint is loaded after this.

        Raises:
            SpecError: there is another scheduler of the rate, not just one optimizer, or none that Lightning steps.
        """
        configs, optimizers = trainer.lr_scheduler_configs, trainer.optimizers
        if not pl_module.automatic_optimization:
            raise SpecError(
                "ControlledLRCallback needs automatic optimization; with manual, call scheduler.step() yourself"
            )
        if self._schedule is None or self._controller is None:
            found = [one for one in configs if isinstance(one.scheduler, ControlledLR)]
            if len(found) != 1 or found[0].interval != "step" or found[0].frequency != 1:
                raise SpecError(
                    "without a schedule, configure_optimizers must return a ControlledLR with interval: step"
                )
            return
        if len(optimizers) != 1 or configs:
            raise SpecError(
                f"configure_optimizers must return one optimizer and no scheduler, got {len(optimizers)} and {len(configs)}"
            )
        total_steps = self._total_steps or int(trainer.estimated_stepping_batches)
        scheduler = ControlledLR(optimizers[0], self._schedule, self._controller, total_steps=total_steps)
        trainer.strategy.lr_scheduler_configs = [LRSchedulerConfig(scheduler, interval="step")]

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Remember the batch."""
        self._batch = (batch, batch_idx)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Take in one of the batches of an update, with its loss as it is divided for accumulation and scaled."""
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        whole = loss.detach() if scaler is None else loss.detach() / scaler.get_scale()
        batch, index = self._batch
        parts = trainer.accumulate_grad_batches
        self._minibatch.add(whole, lambda: _again(trainer, pl_module, batch, index) / parts)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """All gradients are there, not yet clipped."""
        scheduler, norm = _scheduler(trainer), None
        if trainer.gradient_clip_val and scheduler.looks:
            gradients = [one.grad for one in pl_module.parameters() if one.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
        self._minibatch.show(scheduler, norm)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log, once the update is made."""
        scheduler = _scheduler(trainer)
        if self._minibatch.shown:
            self._minibatch.clear()
            if self._log and trainer.loggers:
                pl_module.log_dict(damping(scheduler), on_step=True, on_epoch=False)


def _scheduler(trainer: Any) -> ControlledLR:
    found: ControlledLR = next(
        one.scheduler for one in trainer.lr_scheduler_configs if isinstance(one.scheduler, ControlledLR)
    )
    return found


def _again(trainer: Any, pl_module: Any, batch: Any, index: int) -> Tensor:
    """The loss of ``training_step`` without its traces."""
    takes_index = is_param_in_hook_signature(pl_module.training_step, "batch_idx", min_args=2)
    arguments = (batch, index) if takes_index else (batch,)
    with _silently(pl_module):
        found = call._call_strategy_hook(trainer, "training_step", *arguments)
    loss: Tensor = found["loss"] if isinstance(found, dict) else found
    return loss


@contextmanager
def _silently(pl_module: Any) -> Iterator[None]:
    """No logging, and metrics as before at the end.

    Yields:
        Nothing.
    """
    metrics = [(one, _metric_state(one)) for one in pl_module.modules() if _is_metric(one)]
    names = ("log", "log_dict")
    own = {name: vars(pl_module)[name] for name in names if name in vars(pl_module)}
    for name in names:
        vars(pl_module)[name] = _nothing
    try:
        yield
    finally:
        for name in names:
            del vars(pl_module)[name]
        vars(pl_module).update(own)
        for metric, state in metrics:
            vars(metric).update(state)


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _is_metric(module: nn.Module) -> bool:
    return any(one.__module__.startswith("torchmetrics.") for one in type(module).__mro__)


def _metric_state(metric: nn.Module) -> dict[str, Any]:
    names = [name for name in vars(metric) if name in vars(metric).get("_defaults", {}) or name in _METRIC_NUMBERS]
    return {name: _copied(vars(metric)[name]) for name in names}


_METRIC_NUMBERS = ("_update_count", "_computed", "_forward_cache", "_is_synced", "_to_sync", "_should_unsync")


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.clone()
    return list(value) if isinstance(value, list) else value

"""`ControlledLR` in the Trainer of transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from adaptive_lr.controllers import AbstractController
from adaptive_lr.errors import SpecError
from adaptive_lr.integrations.minibatch import Minibatch, damping
from adaptive_lr.schedulers.controlled_lr import ControlledLR
from adaptive_lr.schedulers.hyperparameters import Plan


def attach(trainer: Any, schedule: Plan | None = None, controller: AbstractController | None = None) -> None:
    """Let a controller see what the trainer does.

    With a schedule and a controller, the trainer makes its own `ControlledLR` as soon as it knows the number of updates. Without, the
    trainer must have got one as the second of its ``optimizers``. The controller's numbers join the logs as ``damping/…``.

    Raises:
        SpecError: only one of schedule and controller is given, or none and the trainer's scheduler is another one.
    """
    if (schedule is None) != (controller is None):
        raise SpecError("attach needs both a schedule and a controller, or none of them")
    if schedule is None and not isinstance(trainer.lr_scheduler, ControlledLR):
        raise SpecError(
            f"without a schedule, the trainer's scheduler must be a ControlledLR, got {trainer.lr_scheduler!r}"
        )
    if schedule is not None and controller is not None:
        trainer.create_scheduler = _creator(trainer, schedule, controller)
    trainer.add_callback(ControlledLRCallback(trainer))


class ControlledLRCallback(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """See `attach`."""

    def __init__(self, trainer: Any) -> None:
        self._trainer, self._minibatch = trainer, Minibatch()
        self._seen: list[tuple[dict[str, Any], Tensor]] = []
        self._norm: Any = None
        self._recording = False
        self._compute_loss = trainer.compute_loss
        trainer.compute_loss = self._watched_loss
        trainer.training_step = self._watched_step(trainer.training_step)
        if hasattr(trainer, "_clip_grad_norm"):
            trainer._clip_grad_norm = self._watched_clipping(trainer._clip_grad_norm)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """All gradients are there."""
        self._minibatch.show(self._scheduler, self._norm)
        self._norm = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The update is made, or skipped."""
        self._minibatch.close(self._scheduler)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Add to the logs of training."""
        if logs is not None and "learning_rate" in logs:
            found = damping(self._scheduler)
            logs.update(found)
            state.log_history[-1].update(found)

    @property
    def _scheduler(self) -> ControlledLR:
        found = self._trainer.lr_scheduler
        found = found if isinstance(found, ControlledLR) else found.scheduler
        assert isinstance(found, ControlledLR)
        return found

    def _watched_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if not self._recording:
            return self._compute_loss(model, inputs, *args, **kwargs)
        call = {"model": model, "inputs": dict(inputs), "args": args, "kwargs": kwargs}  # the labels may be taken out
        loss = self._compute_loss(model, inputs, *args, **kwargs)
        self._seen.append((call, loss.detach()))
        return loss

    def _watched_step(self, training_step: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def step(*args: Any, **kwargs: Any) -> Tensor:
            self._seen, self._recording = [], True
            try:
                loss = training_step(*args, **kwargs)
            finally:
                self._recording = False
            if self._seen:
                call, whole = self._seen[0]
                parts = _parts(float(whole.mean()), float(loss))
                self._minibatch.add(loss, lambda: self._again(call) / parts)
            return loss

        return step

    def _again(self, call: dict[str, Any]) -> Tensor:
        with self._trainer.compute_loss_context_manager():
            loss: Tensor = self._compute_loss(call["model"], dict(call["inputs"]), *call["args"], **call["kwargs"])
        return loss.mean()

    def _watched_clipping(self, clip: Callable[..., Any]) -> Callable[..., Any]:
        def clipping(*args: Any, **kwargs: Any) -> Any:
            self._norm = clip(*args, **kwargs)
            return self._norm

        return clipping


def _creator(trainer: Any, schedule: Plan, controller: AbstractController) -> Callable[..., ControlledLR]:
    def create_scheduler(num_training_steps: int, optimizer: Any = None) -> ControlledLR:
        if trainer.lr_scheduler is None:
            used = trainer.optimizer if optimizer is None else optimizer
            trainer.lr_scheduler = ControlledLR(used, schedule, controller, total_steps=num_training_steps)
            trainer._created_lr_scheduler = True
        made: ControlledLR = trainer.lr_scheduler
        return made

    return create_scheduler


def _parts(whole: float, part: float) -> int:
    """By how many the trainer divided the loss, which is 1 where the model did it."""
    ratio = torch.tensor(whole / part if part else 1.0)
    return max(1, round(float(ratio))) if bool(ratio.isfinite()) else 1

"""`ControlledLR` in the Trainer of transformers."""

from __future__ import annotations

import functools
import math
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import TrainerCallback

from adaptive_lr.controllers import AbstractController
from adaptive_lr.errors import SpecError
from adaptive_lr.integrations.again import Start, Step, devices_of
from adaptive_lr.integrations.minibatch import Minibatch, damping
from adaptive_lr.schedulers.controlled_lr import ControlledLR
from adaptive_lr.schedulers.horizon import checked_mode
from adaptive_lr.schedulers.hyperparameters import Plan


def attach(
    trainer: Any,
    schedule: Plan | None = None,
    controller: AbstractController | None = None,
    *,
    total_steps: int | None = None,
    on_longer: str | None = None,
) -> None:
    """Let a controller see what the trainer does.

    With a schedule and a controller, the trainer makes its own `ControlledLR` as soon as it knows the number of updates, afresh in each
    call of ``train()``. Without, the trainer must have got one as the second of its ``optimizers``. The controller's numbers join the
    logs as ``damping/…``. To probe, ``compute_loss`` is called again on the same inputs as they were, with the same random numbers,
    without logging, and leaving buffers and plain attributes of the model and of the trainer as they are.

    Args:
        trainer: the trainer, before ``train()``.
        schedule: what the controller modulates.
        controller: the rule.
        total_steps: T, if it is not the number of updates that the trainer plans.
        on_longer: how to go on where ``resume_from_checkpoint`` is a run of another length: ``hold``, ``stretch`` or ``continue`` as in
            `ControlledLR.extend`; None refuses it.

    Raises:
        SpecError: only one of schedule and controller is given, or none and the trainer's scheduler is another one; or the trainer has a
            controller already.
    """
    if (schedule is None) != (controller is None):
        raise SpecError("attach needs both a schedule and a controller, or none of them")
    if schedule is None and not isinstance(trainer.lr_scheduler, ControlledLR):
        raise SpecError(
            f"without a schedule, the trainer's scheduler must be a ControlledLR, got {trainer.lr_scheduler!r}"
        )
    if schedule is None and (total_steps, on_longer) != (None, None):
        raise SpecError("give total_steps and on_longer to the ControlledLR that the trainer has got")
    if any(isinstance(callback, ControlledLRCallback) for callback in trainer.callback_handler.callbacks):
        raise SpecError("the trainer has a controller already: call attach once")
    if on_longer is not None:
        checked_mode("on_longer", on_longer)
    _unwatch(trainer)
    callback = ControlledLRCallback(trainer)
    if schedule is not None and controller is not None:
        make = functools.partial(ControlledLR, schedule=schedule, controller=controller, on_longer=on_longer)
        trainer.create_scheduler = _creator(trainer, callback, make, total_steps)
    trainer.add_callback(callback)


class ControlledLRCallback(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """See `attach`."""

    def __init__(self, trainer: Any) -> None:
        self._trainer, self._minibatch = trainer, Minibatch()
        self._step: Step | None = None
        self._seen: list[tuple[Callable[[], Tensor] | None, Tensor]] = []
        self._start: Start | None = None
        self._norm: Any = None
        self._recording = False
        self._parts = 1
        self._compute_loss: Callable[..., Any] = trainer.compute_loss

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Watch the trainer. Nothing is left of an earlier run, which may have ended in the middle of a minibatch."""
        self._watch(self._trainer)
        self._minibatch.clear()
        self._norm = None
        scheduler = self._scheduler
        if scheduler.last_epoch > state.global_step:
            warnings.warn(
                f"the ControlledLR goes on at update {scheduler.last_epoch} of {scheduler.horizon.end}, though the trainer starts at "
                f"{state.global_step}: call attach with a schedule and a controller, then each train() has a scheduler of its own",
                UserWarning,
                stacklevel=2,
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The trainer is its own again."""
        _unwatch(self._trainer)

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
            numbers = damping(self._scheduler)
            logs.update(numbers)
            state.log_history[-1].update(numbers)

    @property
    def _scheduler(self) -> ControlledLR:
        scheduler = self._trainer.lr_scheduler
        scheduler = scheduler if isinstance(scheduler, ControlledLR) else getattr(scheduler, "scheduler", None)
        if not isinstance(scheduler, ControlledLR):
            raise SpecError(
                f"the trainer's scheduler was replaced by a {type(self._trainer.lr_scheduler).__name__}, which no controller knows: remove what "
                "sets trainer.lr_scheduler, such as optimizers=(…, scheduler) or a create_scheduler of your own, and call attach again; "
                "or train without attach"
            )
        return scheduler

    def _watch(self, trainer: Any) -> None:
        _unwatch(trainer)  # a run that raised did not come to its end
        self._compute_loss = trainer.compute_loss
        watched = {"compute_loss": self._watched_loss, "training_step": self._watched_step(trainer.training_step)}
        if hasattr(trainer, "_clip_grad_norm"):
            watched["_clip_grad_norm"] = self._watched_clipping(trainer._clip_grad_norm)
        _OWN[trainer] = {name: vars(trainer)[name] for name in watched if name in vars(trainer)}
        vars(trainer).update(watched)

    def _watched_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if self._start is not None:
            with _silent(self._trainer):
                return self._compute_loss(model, inputs, *args, **kwargs)
        if not self._recording:
            return self._compute_loss(model, inputs, *args, **kwargs)
        again: Callable[[], Tensor] | None = None
        arguments = (model, inputs, *args)
        if self._scheduler.probes:
            step = self._step_of(self._trainer.model)
            result, start = step.first(functools.partial(self._compute_loss, model), arguments[1:], kwargs)
            again = functools.partial(self._repeat, step, model, start)
        else:
            result = self._compute_loss(*arguments, **kwargs)
        loss = result[0] if isinstance(result, tuple) else result
        self._seen.append((again, loss.detach()))
        return result

    def _step_of(self, model: nn.Module) -> Step:
        if self._step is None or self._step.module is not model:
            self._step = Step(model, others=(self._trainer,), devices=devices_of(self._scheduler.optimizer))
        return self._step

    def _repeat(self, step: Step, model: Any, start: Start) -> Tensor:
        positional, keywords = start.copied_arguments()
        self._start = start
        try:
            with self._trainer.compute_loss_context_manager():
                result = step(functools.partial(self._watched_loss, model), positional, keywords, start)
        finally:
            self._start = None
        loss: Tensor = result[0] if isinstance(result, tuple) else result
        return loss.mean()

    def _watched_step(self, training_step: Callable[..., Tensor]) -> Callable[..., Tensor]:
        @functools.wraps(training_step)
        def step(*args: Any, **kwargs: Any) -> Tensor:
            self._seen, self._recording = [], True
            try:
                loss = training_step(*args, **kwargs)
            finally:
                self._recording = False
            if self._seen:
                again, undivided = self._seen[0]
                self._minibatch.add(
                    loss, None if again is None else self._divided(again, float(undivided.mean()), loss)
                )
            return loss

        return step

    def _divided(self, again: Callable[[], Tensor], undivided: float, part: Tensor) -> Callable[[], Tensor]:
        """The loss by as many parts as the trainer divided it, which is 1 where the model did it."""
        ratio = undivided / float(part) if float(part) else math.nan
        if math.isfinite(ratio):
            self._parts = max(1, round(ratio))
        parts = self._parts
        return lambda: again() / parts

    def _watched_clipping(self, clip: Callable[..., Any]) -> Callable[..., Any]:
        def clipping(*args: Any, **kwargs: Any) -> Any:
            self._norm = clip(*args, **kwargs)
            return self._norm

        return clipping


_WATCHED = ("compute_loss", "training_step", "_clip_grad_norm")
_OWN: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()
"""By trainer that is watched, which of these it had itself, apart from its class."""


def _unwatch(trainer: Any) -> None:
    if trainer in _OWN:
        for name in _WATCHED:
            vars(trainer).pop(name, None)
        vars(trainer).update(_OWN.pop(trainer))


def _creator(
    trainer: Any, callback: ControlledLRCallback, make: Callable[..., ControlledLR], total_steps: int | None
) -> Callable[..., Any]:
    own = trainer.create_scheduler

    def create_scheduler(num_training_steps: int, optimizer: Any = None) -> Any:
        if callback not in trainer.callback_handler.callbacks:  # it was taken away
            return own(num_training_steps, optimizer)
        if trainer.lr_scheduler is None:
            used = trainer.optimizer if optimizer is None else optimizer
            trainer.lr_scheduler = make(used, total_steps=total_steps or num_training_steps)
            trainer._created_lr_scheduler = True  # so that the next train() makes another one
        return trainer.lr_scheduler

    return create_scheduler


@contextmanager
def _silent(trainer: Any) -> Iterator[None]:
    """No logging.

    Yields:
        Nothing.
    """
    own = vars(trainer).get("log")
    trainer.log = lambda *_, **__: None
    try:
        yield
    finally:
        del trainer.log
        if own is not None:
            trainer.log = own

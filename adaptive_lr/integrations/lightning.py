"""`ControlledLR` in Lightning."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch import Tensor

from adaptive_lr.controllers import AbstractController
from adaptive_lr.errors import SpecError
from adaptive_lr.integrations.lightning_step import Again, WatchedModule
from adaptive_lr.integrations.minibatch import Minibatch, damping, watching
from adaptive_lr.schedulers.controlled_lr import ControlledLR
from adaptive_lr.schedulers.hyperparameters import Plan


class ControlledLRCallback(Callback):  # type: ignore[misc,unused-ignore]
    """Lets a controller see what the trainer does.

    With a schedule and a controller it makes a `ControlledLR` for the one optimizer that ``configure_optimizers`` returns, over as many
    updates as the trainer will make; Lightning then steps, saves and restores it. Without, ``configure_optimizers`` must return one with
    ``interval: step``. To probe, ``training_step`` is called again on the same batches as they were, with the same random numbers, without
    logging, and leaving metrics, buffers and plain attributes of the module as they are.

    Where something else takes the scheduler's place, such as `StochasticWeightAveraging`, the controller steps aside and says so.

    Args:
        schedule: what the controller modulates.
        controller: the rule.
        total_steps: T, if it is not the number of updates that the trainer expects to make.
        on_longer: how to go on where a checkpoint of a run of another length is resumed: ``hold``, ``stretch`` or ``continue`` as in
            `ControlledLR.extend`; None refuses it.
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
        on_longer: str | None = None,
        log: bool = True,
    ) -> None:
        if (schedule is None) != (controller is None):
            raise SpecError("ControlledLRCallback needs both a schedule and a controller, or none of them")
        if schedule is None and (total_steps, on_longer) != (None, None):
            raise SpecError("give total_steps and on_longer to the ControlledLR that configure_optimizers returns")
        self._schedule, self._controller, self._total_steps, self._log = schedule, controller, total_steps, log
        self._on_longer = on_longer
        self._minibatch = Minibatch()
        self._watched: WatchedModule | None = None
        self._epochs: int | None = None
        self._aside = False
        self._held: ControlledLR | None = None
        """Referred to here too: where another takes its place, it would be gone before that can be told."""

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Watch the module's step: a finder of learning rates runs it before anything else."""
        if stage == "fit":
            self._unwatch()
            self._minibatch.clear()
            self._epochs = trainer.max_epochs  # as planned: the averaging of weights adds one without updates
            self._watched = WatchedModule(trainer, pl_module, self._in_charge, self._after_update)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Watch no more."""
        self._unwatch()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Watch no more."""
        self._unwatch()

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Make the scheduler; a checkpoint is loaded after this.

        Raises:
            SpecError: there is another scheduler of the rate, not just one optimizer, none that Lightning steps, or no known end.
        """
        configs, optimizers = trainer.lr_scheduler_configs, trainer.optimizers
        if not pl_module.automatic_optimization:
            raise SpecError(
                "ControlledLRCallback needs automatic optimization; with manual, call scheduler.step() yourself"
            )
        if self._aside:  # in the run that is resumed, which goes on with what took the place
            return
        if self._schedule is None or self._controller is None:
            own = [config for config in configs if isinstance(config.scheduler, ControlledLR)]
            if len(own) != 1 or (own[0].interval, own[0].frequency, own[0].reduce_on_plateau) != ("step", 1, False):
                raise SpecError(
                    "without a schedule, configure_optimizers must return a ControlledLR with interval: step, frequency: 1 and "
                    "without reduce_on_plateau"
                )
            return
        if len(optimizers) != 1 or configs:
            raise SpecError(
                f"configure_optimizers must return one optimizer and no scheduler, got {len(optimizers)} optimizers and "
                f"{len(configs)} schedulers"
            )
        total_steps = self._total_steps or _updates(trainer, self._epochs)
        scheduler = ControlledLR(
            optimizers[0], self._schedule, self._controller, total_steps=total_steps, on_longer=self._on_longer
        )
        trainer.strategy.lr_scheduler_configs = [LRSchedulerConfig(scheduler, interval="step")]

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """All callbacks have prepared what they do.

        Raises:
            SpecError: one of them has set another rate, which would be overwritten.
        """
        scheduler = _stepped(trainer)
        if scheduler is not None and scheduler.last_epoch == 0:
            meant, present = scheduler.get_lr(), scheduler.get_last_lr()
            if [float(rate) for rate in meant] != [float(rate) for rate in present]:
                raise SpecError(
                    f"the optimizer's rate was set to {present} after the ControlledLR was built for {meant}: list the callback that "
                    "sets it before ControlledLRCallback, and with LearningRateFinder let that make the ControlledLR, or call "
                    "Tuner.lr_find before fit"
                )

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The next call of ``training_step`` is the first one for this batch."""
        assert self._watched is not None
        self._watched.expect()

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Take in one of the batches of an update, with its loss as it is divided for accumulation and scaled."""
        assert self._watched is not None
        first, again = self._watched.taken()
        if first:
            scaler = getattr(trainer.precision_plugin, "scaler", None)
            total = loss.detach() if scaler is None else loss.detach() / scaler.get_scale()
            self._minibatch.add(total, None if again is None else _divided(again, trainer.accumulate_grad_batches))

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """All gradients are there, not yet clipped."""
        scheduler, norm = self._in_charge(trainer), None
        if scheduler is None or self._minibatch.empty:
            return
        if trainer.gradient_clip_val and scheduler.looks:
            gradients = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
        self._minibatch.show(scheduler, norm)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log, once the update is made."""
        scheduler = self._in_charge(trainer)
        if self._minibatch.shown:
            self._minibatch.clear()
            if self._log and trainer.loggers and scheduler is not None:
                pl_module.log_dict(damping(scheduler), on_step=True, on_epoch=False)

    def state_dict(self) -> dict[str, Any]:
        """Whether something else has taken the scheduler's place."""
        return {"aside": self._aside}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._aside = state_dict["aside"]

    def _unwatch(self) -> None:
        if self._watched is not None:
            self._watched.release()
        self._watched = self._held = None

    def _in_charge(self, trainer: Any) -> ControlledLR | None:
        """The scheduler, if it is the one that Lightning steps; otherwise it steps aside."""
        if (scheduler := _stepped(trainer)) is not None:
            self._held = scheduler
            scheduler.resume()
            return scheduler
        scheduler = watching(trainer.optimizers[0]) if trainer.optimizers else None
        if scheduler is not None:
            scheduler.pause()
            self._minibatch.clear()
            # A finder of learning rates leaves all callbacks out, and puts everything back.
            if self in trainer.callbacks and not self._aside:
                self._aside = True
                successors = ", ".join(type(config.scheduler).__name__ for config in trainer.lr_scheduler_configs)
                warnings.warn(
                    f"{successors or 'nothing'} has taken the place of the ControlledLR after {scheduler.last_epoch} updates: the "
                    "controller does nothing from here on",
                    UserWarning,
                    stacklevel=2,
                )
        return None

    def _after_update(self, trainer: Any) -> None:
        """Where ``training_step`` returned None for all batches, there was no update."""
        scheduler = self._in_charge(trainer)
        if scheduler is not None and self._minibatch.empty:
            scheduler.step(skipped=True)


def _stepped(trainer: Any) -> ControlledLR | None:
    """The `ControlledLR` that Lightning steps."""
    schedulers = (config.scheduler for config in trainer.lr_scheduler_configs)
    return next((scheduler for scheduler in schedulers if isinstance(scheduler, ControlledLR)), None)


def _divided(again: Again, parts: int) -> Callable[[], Tensor]:
    def loss() -> Tensor:
        result = again()
        total: Tensor = result["loss"] if isinstance(result, Mapping) else result
        return total / parts

    return loss


def _updates(trainer: Any, epochs: int | None) -> int:
    """How many updates a trainer will make in the epochs that were planned.

    Raises:
        SpecError: nobody knows.
    """
    loop = trainer.fit_loop
    present, loop.max_epochs = loop.max_epochs, epochs
    try:
        count = trainer.estimated_stepping_batches
    finally:
        loop.max_epochs = present
    if not 0 < count < math.inf:
        raise SpecError(
            "the number of updates is not known (max_epochs=-1, or a loader without length): give ControlledLRCallback "
            "total_steps=…, or the Trainer max_steps=…"
        )
    changes = [callback for callback in trainer.callbacks if isinstance(callback, GradientAccumulationScheduler)]
    if changes and epochs is not None and epochs > 0 and trainer.num_training_batches < math.inf:
        parts = [changes[0].get_accumulate_grad_batches(epoch) for epoch in range(epochs)]
        planned = sum(math.ceil(trainer.num_training_batches / part) for part in parts)
        count = planned if trainer.max_steps == -1 else min(planned, trainer.max_steps)
    return int(count)

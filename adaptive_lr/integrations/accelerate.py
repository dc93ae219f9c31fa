"""`ControlledLR` in a training loop with Accelerate."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.integrations.again import Start, Step, devices_of
from adaptive_lr.integrations.minibatch import Minibatch
from adaptive_lr.schedulers.controlled_lr import ControlledLR


class Controlled:
    """Makes the backward passes, and hands what a controller needs through the prepared scheduler.

    Args:
        accelerator: the `accelerate.Accelerator`.
        scheduler: the scheduler, prepared or not.

    Raises:
        SpecError: it is no `ControlledLR`.
    """

    def __init__(self, accelerator: Any, scheduler: Any) -> None:
        inner = scheduler if isinstance(scheduler, ControlledLR) else getattr(scheduler, "scheduler", None)
        if not isinstance(inner, ControlledLR):
            raise SpecError(f"scheduler must be a ControlledLR, prepared or not, got {scheduler!r}")
        self.scheduler = inner
        self._accelerator, self._minibatch = accelerator, Minibatch()
        self._step = Step(devices=devices_of(inner.optimizer))

    def backward(self, loss_function: Callable[..., Tensor], *batch: Any) -> Tensor:
        """Evaluate the loss of a batch and make the backward pass; the loss, detached.

        At steps in which the controller probes, the function is called again on the same batch as it was, with the same random numbers
        of torch, numpy and Python. The buffers of the modules that it calls are put back; other things that it changes are not.
        """
        accelerator, parts = self._accelerator, self._accelerator.gradient_accumulation_steps
        if self._minibatch.shown:
            self._minibatch.close(self.scheduler)
        again: Callable[[], Tensor] | None = None
        loss: Tensor
        with accelerator.autocast():
            if self.scheduler.probes:
                loss, start = self._step.first(loss_function, batch, {})
                again = functools.partial(self._repeat, loss_function, start, parts)
            else:
                loss = loss_function(*batch)
        accelerator.backward(loss)
        self._minibatch.add(loss.detach() / parts, again)
        if accelerator.sync_gradients:
            self._minibatch.show(self.scheduler)
        return loss.detach()

    def clip_grad_norm_(self, parameters: Any, max_norm: float) -> Any:
        """Like Accelerate's, and the controller gets to know the norm."""
        norm = self._accelerator.clip_grad_norm_(parameters, max_norm)
        self.scheduler.show(grad_norm=norm)
        return norm

    def _repeat(self, loss_function: Callable[..., Tensor], start: Start, parts: int) -> Tensor:
        batch, keywords = start.copied_arguments()
        with self._accelerator.autocast():
            loss: Tensor = self._step(loss_function, batch, keywords, start)
        return loss / parts

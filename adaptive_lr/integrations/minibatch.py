"""A minibatch that a trainer cuts into parts, as a loss that can be evaluated again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from adaptive_lr.feedback.attachment import attached
from adaptive_lr.schedulers.controlled_lr import ControlledLR


class Minibatch:
    """Collects the parts between two updates, and shows their sum to the scheduler."""

    def __init__(self) -> None:
        self._parts: list[Callable[[], Tensor] | None] = []
        self._loss: Tensor | float = 0.0
        self._shown_at: int | None = None

    @property
    def shown(self) -> bool:
        """Whether the parts of an update are complete."""
        return self._shown_at is not None

    @property
    def empty(self) -> bool:
        """Whether there is no part yet."""
        return not self._parts

    def clear(self) -> None:
        """Begin anew."""
        self._parts, self._loss, self._shown_at = [], 0.0, None

    def add(self, loss: Tensor | float, again: Callable[[], Tensor] | None) -> None:
        """Take in a part: its loss, as backward() was called on it, and how to evaluate that again, in steps that are probed."""
        if self._shown_at is not None:
            self.clear()
        self._loss = self._loss + (loss.detach() if isinstance(loss, Tensor) else loss)
        self._parts.append(again)

    def show(self, scheduler: ControlledLR, grad_norm: Any = None) -> None:
        """All parts are there, and the optimizer is about to step."""
        parts = [part for part in self._parts if part is not None]
        closure = (lambda: torch.stack([part() for part in parts]).sum()) if parts else None
        scheduler.show(self._loss if self._parts else None, closure, grad_norm=grad_norm)
        scheduler.compared = True  # it is the very step that is repeated, with its minibatch and its random numbers
        self._shown_at = scheduler.last_epoch

    def close(self, scheduler: ControlledLR) -> None:
        """The trainer is done with the update; where it did not step the scheduler, it was skipped."""
        if self._shown_at is not None and scheduler.last_epoch == self._shown_at:
            scheduler.step(skipped=True)
        self.clear()


def watching(optimizer: Any) -> ControlledLR | None:
    """The `ControlledLR` that is called around the steps of an optimizer."""
    scheduler = attached(optimizer)
    return scheduler if isinstance(scheduler, ControlledLR) else None


def damping(scheduler: ControlledLR) -> dict[str, float]:
    """What is worth a curve, by tags for a logger."""
    return {f"damping/{name}": value for name, value in scheduler.readings().items()}

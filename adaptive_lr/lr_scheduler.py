"""The torch face of a schedule."""

from __future__ import annotations

import math
import warnings
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from adaptive_lr.schedules.base import AbstractSchedule, checked_steps, table
from adaptive_lr.spec import encode


class ScheduledLR(LRScheduler):
    """lr_t = base_lr * schedule(t / total_steps) in every parameter group; a `torch.optim.lr_scheduler.LRScheduler`.

    Call ``step()`` after every ``optimizer.step()``. The first update uses m(0); past ``total_steps`` the last value holds.

    Args:
        optimizer: any torch optimizer; its learning rates become the base rates (a group's ``initial_lr``, which an earlier
            scheduler may have left there, goes before its ``lr``, as in torch).
        schedule: the multiplier as a function of progress.
        total_steps: T, the number of updates (or of epochs, if ``step()`` is called once an epoch).
        last_epoch: index of the last finished step when resuming without a state; -1 starts afresh.

    Raises:
        TypeError: ``schedule`` is not a schedule.
        ValueError: ``total_steps`` is below 1, or a learning rate is negative or not finite.

    >>> import torch, adaptive_lr as al
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> scheduler = al.ScheduledLR(optimizer, al.DampedCosine(exponent=2), total_steps=2)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    ...     print(scheduler.get_last_lr())
    [0.025]
    [0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: AbstractSchedule,
        *,
        total_steps: int,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(schedule, AbstractSchedule):
            raise TypeError(f"schedule must be a schedule such as DampedCosine(), got {schedule!r}")
        # Not named total_steps: Accelerate stops stepping schedulers that have an attribute of that name.
        self.horizon = checked_steps(total_steps)
        self.schedule = schedule
        self._multipliers: list[float] = table([schedule], total_steps)[0].tolist()
        if isinstance(optimizer, Optimizer):
            _check_rates(optimizer)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """The rates at ``last_epoch``: a pure function of it and of the base rates."""
        multiplier = self._multipliers[min(max(self.last_epoch, 0), self.horizon)]
        return [base * multiplier for base in self.base_lrs]

    def _get_closed_form_lr(self) -> list[float | Tensor]:
        return self.get_lr()

    def state_dict(self) -> dict[str, Any]:
        """Plain data: where the scheduler stands, the base rates, and the schedule it follows."""
        return {
            "last_epoch": self.last_epoch,
            "step_count": self._step_count,
            "base_lrs": list(self.base_lrs),
            "horizon": self.horizon,
            "schedule": encode(self.schedule),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state and write its rates into the optimizer, whichever of the two is loaded first.

        The schedule and the horizon stay those given at construction; a warning says so where the state has others.

        Raises:
            ValueError: the state belongs to another class, or to an optimizer with other parameter groups.
        """
        missing = [key for key in ("last_epoch", "step_count", "base_lrs") if key not in state_dict]
        if missing:
            raise ValueError(f"this is not the state of a ScheduledLR: it has no {missing[0]!r}")
        if len(state_dict["base_lrs"]) != len(self.optimizer.param_groups):
            raise ValueError(
                f"the state has {len(state_dict['base_lrs'])} base rates, "
                f"the optimizer has {len(self.optimizer.param_groups)} parameter groups"
            )
        mine = {"horizon": self.horizon, "schedule": encode(self.schedule)}
        for key, value in mine.items():
            if key in state_dict and state_dict[key] != value:
                warnings.warn(
                    f"the saved {key} {state_dict[key]} is not the constructed one: continuing with {value}",
                    UserWarning,
                    stacklevel=2,
                )
        self.last_epoch = state_dict["last_epoch"]
        self._step_count = state_dict["step_count"]
        self.base_lrs = list(state_dict["base_lrs"])
        self._write()

    def _write(self) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(float(rate))
            else:
                group["lr"] = float(rate)
        self._last_lr = [_copied(group["lr"]) for group in self.optimizer.param_groups]


def _copied(rate: float | Tensor) -> float | Tensor:
    return rate.clone() if isinstance(rate, Tensor) else rate


def _check_rates(optimizer: Optimizer) -> None:
    for index, group in enumerate(optimizer.param_groups):
        for key in ("lr", "initial_lr"):
            rate = float(group.get(key, 0.0))
            if not (math.isfinite(rate) and rate >= 0.0):
                name = "the learning rate" if key == "lr" else "the initial_lr"
                raise ValueError(f"{name} of parameter group {index} must be finite and >= 0, got {rate}")

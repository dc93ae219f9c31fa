"""Which progress each step has, also after the horizon was changed on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules.base import AbstractSchedule, checked_steps, progress
from adaptive_lr.spec import stack

MODES = ("stretch", "hold", "continue")


def checked_mode(name: str, how: str) -> str:
    """``how`` if it is one of ``MODES``.

    Raises:
        SpecError: it is not.
    """
    if how not in MODES:
        raise SpecError(f"{name} must be one of {', '.join(MODES)}, got {how!r}")
    return how


@dataclass(frozen=True)
class Horizon:
    """The number of steps, and the changes of it so far.

    Attributes:
        total_steps: T as first planned.
        changes: for each change the step at which it was made, the new T, and one of ``MODES``.
    """

    total_steps: int
    changes: tuple[tuple[int, int, str], ...] = ()

    def __post_init__(self) -> None:
        checked_steps(self.total_steps)

    @property
    def end(self) -> int:
        """T as it stands."""
        return self.changes[-1][1] if self.changes else self.total_steps

    def changed(self, step: int, total_steps: int, how: str) -> Horizon:
        """With a new T from ``step`` on.

        Args:
            step: the number of updates done so far.
            total_steps: the new T.
            how: ``stretch``: the schedule is read as if T had been the new one from the start, so the rate may jump.
                ``hold``: the present value is held for the steps that were added, then the rest follows as planned.
                ``continue``: what is left of the schedule is spread over the steps that are left, without a jump.

        Raises:
            SpecError: the mode is unknown, or the new T is not allowed in it.
        """
        checked_steps(total_steps)
        checked_mode("how", how)
        if total_steps <= step:
            raise SpecError(f"total_steps must be above the {step} steps already done, got {total_steps}")
        if how == "hold" and total_steps < self.end:
            raise SpecError(f"how='hold' cannot shorten the run from {self.end} to {total_steps} steps")
        return replace(self, changes=(*self.changes, (min(step, self.end), total_steps, how)))

    def progress(self) -> Tensor:
        """Progress u at every step, shape ``[end + 1]``, float64."""
        u = progress(self.total_steps)
        for step, total_steps, how in self.changes:
            u = _changed(u, step, total_steps, how)
        return u

    def table(self, schedule: AbstractSchedule) -> list[float]:
        """Multipliers of one schedule at every step, ``end + 1`` of them."""
        return stack([self.resolved(schedule)]).multiplier(self.progress().unsqueeze(0))[0].tolist()

    def resolved(self, schedule: AbstractSchedule) -> AbstractSchedule:
        """The schedule with durations in steps turned into fractions of the T that progress is counted in."""
        stretched = [total_steps for _, total_steps, how in self.changes if how == "stretch"]
        return schedule.resolve(stretched[-1] if stretched else self.total_steps)


def _changed(u: Tensor, step: int, total_steps: int, how: str) -> Tensor:
    done = u[: step + 1]
    later = torch.arange(step + 1, total_steps + 1, dtype=torch.float64)
    if how == "stretch":
        return torch.cat([u[:step], torch.arange(step, total_steps + 1, dtype=torch.float64) / total_steps])
    if how == "hold":
        added = total_steps + 1 - len(u)
        return torch.cat([done, u[step].expand(added), u[step + 1 :]])
    rest = u[step] + (1.0 - u[step]) * (later - step) / (total_steps - step)
    rest[-1] = 1.0  # exactly, so that a floor is met exactly
    return torch.cat([done, rest])

"""Which progress each step has, also after the horizon was changed on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules.base import AbstractSchedule, checked_steps, progress

Steps = TypeVar("Steps", float, Tensor)

MODES = ("stretch", "hold", "continue")

ENDLESS = 10**9
"""T of a run without an end, whose schedule does not depend on it: boundaries are compared to 1e-12 of it, a thousandth of a step."""


def checked_mode(name: str, how: str) -> str:
    """``how`` if it is one of ``MODES``.

    Raises:
        SpecError: it is not.
    """
    if how not in MODES:
        raise SpecError(f"{name} must be one of {', '.join(MODES)}, got {how!r}")
    return how


def planned_steps(total_steps: int | None, schedules: list[AbstractSchedule]) -> int:
    """T; None stands for a run without an end, for schedules that need none.

    Raises:
        SpecError: T is no whole number of at least 1, or None with a schedule that ends.
    """
    if total_steps is not None:
        return checked_steps(total_steps)
    ending = [schedule for schedule in schedules if schedule.ends]
    if ending:
        raise SpecError(
            f"total_steps must be a whole number of at least 1, got None: {ending[0]!r} needs it; training without an end needs a "
            "schedule whose durations are in steps, such as Constant(), or Warmup(steps=1000, then=InverseSqrt(steps=1000))"
        )
    return ENDLESS


@dataclass(frozen=True)
class Horizon:
    """The number of steps, and the changes of it so far; u is computed for the steps that are asked for.

    Attributes:
        total_steps: T as first planned.
        changes: for each change the step at which it was made, the new T, and one of ``MODES``.

    Raises:
        SpecError: T or a change is not possible.
    """

    total_steps: int
    changes: tuple[tuple[int, int, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "total_steps", checked_steps(self.total_steps))
        end = self.total_steps
        for step, total_steps, how in self.changes:
            if isinstance(step, bool) or not isinstance(step, int | np.integer) or not 0 <= step <= end:
                raise SpecError(f"the horizon was changed at a step in [0, {end}], got {step!r}")
            end = _checked_change(end, step, total_steps, how)

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

        A `SpecError` where the mode is unknown, or the new T not allowed in it.
        """
        total_steps = _checked_change(self.end, step, total_steps, how)
        return replace(self, changes=(*self.changes, (min(step, self.end), total_steps, how)))

    def at(self, step: int) -> float:
        """Progress u at one step; past the end that of the end."""
        step, pieces = min(max(step, 0), self.end), iter(self._pieces)
        piece = next(pieces)
        while step > piece.last:
            piece = next(pieces)
        return piece.at(float(step))

    def progress(self, start: int, count: int) -> Tensor:
        """Progress u at ``count`` steps from ``start``, shape ``[count]``, float64; the same numbers as `at`."""
        if not self.changes:
            return progress(self.total_steps, start, count)
        steps = (start + torch.arange(count, device="cpu").clamp(max=self.end - start)).to(torch.float64)
        u = torch.empty_like(steps)
        for piece in self._pieces:
            inside = slice(max(piece.first - start, 0), max(piece.last + 1 - start, 0))
            u[inside] = piece.at(steps[inside])
        u[max(self.end + 1 - start, 0) :] = self.at(self.end)
        return u

    def resolved(self, schedule: AbstractSchedule) -> AbstractSchedule:
        """The schedule with durations in steps turned into fractions of the T that progress is counted in."""
        stretched = [total_steps for _, total_steps, how in self.changes if how == "stretch"]
        return schedule.resolve(stretched[-1] if stretched else self.total_steps)

    @cached_property
    def _pieces(self) -> list[_Piece]:
        """Straight parts of u from step 0 to the end, in order."""
        end = self.total_steps
        pieces = [_Piece(0, end, 0.0, 1.0, 0, end)]
        for step, total_steps, how in self.changes:
            before = [replace(piece, last=min(piece.last, step)) for piece in pieces if piece.first <= step]
            reached = before[-1].at(float(step))
            if how == "hold":
                added = total_steps - end
                rest = [piece.later(added, step) for piece in pieces if piece.last > step]
                pieces = [*before, _Piece(step + 1, step + added, reached, 0.0, 0, 1), *rest]
            elif how == "stretch":
                before = [replace(piece, last=min(piece.last, step - 1)) for piece in before if piece.first < step]
                pieces = [*before, _Piece(step, total_steps, 0.0, 1.0, 0, total_steps)]
            else:
                left = _Piece(step + 1, total_steps - 1, reached, 1.0 - reached, step, total_steps - step)
                # The last one exactly, so that a floor is met exactly.
                pieces = [*before, left, _Piece(total_steps, total_steps, 1.0, 0.0, 0, 1)]
            pieces, end = [piece for piece in pieces if piece.first <= piece.last], total_steps
        return pieces


@dataclass(frozen=True)
class _Piece:
    """Steps from ``first`` to ``last``, in which u = base + rise (t - origin) / length."""

    first: int
    last: int
    base: float
    rise: float
    origin: int
    length: int

    def at(self, steps: Steps) -> Steps:
        """Progress at one step or many, as floating numbers."""
        return self.base + self.rise * (steps - self.origin) / self.length

    def later(self, count: int, step: int) -> _Piece:
        """What lies after a step, so many steps later."""
        first = max(self.first, step + 1)
        return replace(self, first=first + count, last=self.last + count, origin=self.origin + count)


def _checked_change(end: int, step: int, total_steps: int, how: str) -> int:
    """The new T of a run of ``end`` steps.

    Raises:
        SpecError: it is not allowed.
    """
    total_steps = checked_steps(total_steps)
    checked_mode("how", how)
    if total_steps <= step:
        raise SpecError(f"total_steps must be above the {step} steps already done, got {total_steps}")
    if how == "hold" and total_steps < end:
        raise SpecError(f"how='hold' cannot shorten the run from {end} to {total_steps} steps")
    return total_steps

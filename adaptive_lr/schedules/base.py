"""What a schedule is: a multiplier of the base learning rate as an elementwise function of progress."""

from __future__ import annotations

import html
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import Scalar, Spec, on_cpu, stack, structure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LANES = 64
"""Rows are evaluated in whole multiples of this, more than any vector register holds."""
WIDTH = 4096
"""Steps that are evaluated at once."""
SHARED = 32768
"""Up to so many numbers torch works on by one thread."""


class AbstractSchedule(Spec, ABC):
    """m(u): the factor on the base learning rate at progress u = t/T, in [0, 1].

    A subclass writes `multiplier` with operations that broadcast over progress *and* over its own fields: a field is a
    number, or a column of shape ``[B, 1]`` when many schedules are evaluated together.
    """

    @abstractmethod
    def multiplier(self, u: Tensor) -> Tensor:
        """The formula, for progress in [0, 1], float64; the fields are columns of shape ``[B, 1]``."""

    def resolve(self, total_steps: int) -> Self:
        """The same schedule with every duration given in steps turned into a fraction of ``total_steps``."""
        return self

    @property
    def ends(self) -> bool:
        """Whether the multiplier at a step depends on the number of steps, so that a run without an end cannot follow it."""
        return True

    def observed(self, metric: float, u: float) -> Self:
        """The schedule after it has seen a metric at progress u; itself, unless a part of it is driven by metrics."""
        return self

    def __call__(self, progress: float | Tensor) -> Tensor:
        """Multipliers at the given progress, float64, in the shape of ``progress``.

        Progress is clamped to [0, 1]: past the horizon the last value holds.
        """
        with on_cpu():
            u = torch.as_tensor(progress, dtype=torch.float64).clamp(0.0, 1.0)
            return stack([self]).multiplier(u.reshape(1, -1)).expand(1, u.numel()).reshape(u.shape)

    def at(self, step: int, total_steps: int) -> float:
        """The multiplier before update ``step`` (0 is the first) of ``total_steps``; for many steps read a `table`.

        >>> from adaptive_lr import DampedCosine
        >>> DampedCosine().at(50, 100)
        0.5

        Raises:
            SpecError: ``step`` is no whole number, or ``total_steps`` below 1.
        """
        if isinstance(step, bool) or not isinstance(step, int | np.integer):
            raise SpecError(f"step must be a whole number, got {step!r}")
        total_steps = checked_steps(total_steps)
        step = min(max(int(step), 0), total_steps)
        start = step // LANES * LANES
        return float(multipliers([self.resolve(total_steps)], progress(total_steps, start, LANES))[0, step - start])

    def plot(self, total_steps: int = 1000, axes: Axes | None = None) -> Axes:
        """Draw m against progress, into ``axes`` if they are given; the matplotlib axes."""
        from adaptive_lr.drawing import draw_multipliers

        return draw_multipliers(
            {repr(self): table([self], total_steps)[0].numpy()}, progress(total_steps).numpy(), axes
        )

    def _repr_png_(self) -> bytes | None:
        """The curve, for notebooks; None for a schedule that cannot be drawn without its number of steps."""
        try:
            return self._thumbnail("png")
        except SpecError:
            return None

    def _repr_html_(self) -> str | None:
        try:
            return f"<code>{html.escape(repr(self))}</code><br>{self._thumbnail('svg').decode()}"
        except SpecError:
            return None

    def _thumbnail(self, ending: str, total_steps: int = 1000) -> bytes:
        from adaptive_lr.drawing import thumbnail

        return thumbnail(table([self], total_steps)[0].numpy(), progress(total_steps).numpy(), repr(self), ending)


def checked_steps(total_steps: int) -> int:
    """``total_steps`` as a Python integer, if it is a whole number of at least 1; NumPy's will do.

    Raises:
        SpecError: it is not, or it does not fit into 64 bits.
    """
    if isinstance(total_steps, bool) or not isinstance(total_steps, int | np.integer) or total_steps < 1:
        raise SpecError(f"total_steps must be a whole number of at least 1, got {total_steps!r}")
    if total_steps > sys.maxsize:
        raise SpecError(f"total_steps must be at most {sys.maxsize}, got {total_steps!r}")
    return int(total_steps)


def resolved_fraction(schedule: AbstractSchedule, fraction: Scalar | None) -> Scalar:
    """``fraction`` if it is known; a schedule given in steps has none before `AbstractSchedule.resolve`.

    Raises:
        SpecError: it is not known.
    """
    if fraction is None:
        raise SpecError(
            f"{type(schedule).__name__} is given in steps: use at(step, total_steps) or resolve(total_steps)"
        )
    return fraction


def progress(total_steps: int, start: int = 0, count: int | None = None) -> Tensor:
    """Progress u = t/T for t = 0 … T, shape ``[T + 1]``, float64; or for ``count`` steps from ``start``, past T that of T.

    The first update uses u = 0, the last u = (T-1)/T, and u = 1 is the value after it.
    """
    # (1) t/T  (2) t/(T-1)  (3) (t+1)/T. We do (1): it is `CosineAnnealingLR(T_max=T)` and optax's count/decay_steps;
    # (2) reaches the end value one update early, (3) never uses the peak.
    total_steps = checked_steps(total_steps)
    ahead = torch.arange(total_steps + 1 if count is None else count, device="cpu")
    # Added to a bound that is clamped before, since T may be the greatest of all integers.
    return (start + ahead.clamp(max=total_steps - start)).to(torch.float64) / total_steps


def table(schedules: Sequence[AbstractSchedule], total_steps: int) -> Tensor:
    """Multipliers of B schedules at every step, shape ``[B, total_steps + 1]``, float64.

    Whoever reads only a part (scheduler, `AbstractSchedule.at`) has the same bits, see `multipliers`.

    >>> from adaptive_lr import DampedCosine, Linear
    >>> table([Linear(), DampedCosine(exponent=2)], 2).tolist()
    [[1.0, 0.5, 0.0], [1.0, 0.25, 0.0]]
    """
    u, unlike = progress(total_steps), list(dict.fromkeys(schedules))
    rows = multipliers([schedule.resolve(int(total_steps)) for schedule in unlike], u)
    if len(unlike) == len(schedules):
        return rows
    places = {schedule: row for row, schedule in enumerate(unlike)}
    return rows[torch.tensor([places[schedule] for schedule in schedules], device="cpu")]


def multipliers(resolved: Sequence[AbstractSchedule], u: Tensor) -> Tensor:
    """Multipliers of B resolved schedules at the same progress ``[n]``; shape ``[B, n]``, float64.

    A value depends on its schedule and its u alone: not on n, on the other values, on the other schedules, or on the number of
    threads.
    """
    # Torch's vectorised kernels leave the remainder of a row, and that of each thread's share, to scalar code, which may differ in the
    # last bit. So a row is filled up to whole vectors, and what is evaluated at once is too small to be shared among threads.
    count = len(u)
    u = torch.cat([u, u[-1:].expand(-count % LANES)])
    rows = torch.empty(len(resolved), len(u), dtype=torch.float64, device="cpu")
    members: dict[object, list[int]] = {}
    for index, schedule in enumerate(resolved):
        members.setdefault(structure(schedule), []).append(index)
    height = max(1, SHARED // min(WIDTH, len(u)))
    with on_cpu():
        for indices in members.values():
            for first in range(0, len(indices), height):
                slab = indices[first : first + height]
                stacked = stack([resolved[index] for index in slab])
                for start in range(0, len(u), WIDTH):
                    rows[slab, start : start + WIDTH] = stacked.multiplier(u[start : start + WIDTH].unsqueeze(0))
    return rows[:, :count]

"""What a schedule is: a multiplier of the base learning rate as an elementwise function of progress."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import Scalar, Spec, stack, structure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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

    def observed(self, metric: float, u: float) -> Self:
        """The schedule after it has seen a metric at progress u; itself, unless a part of it is driven by metrics."""
        return self

    def __call__(self, progress: float | Tensor) -> Tensor:
        """Multipliers at the given progress, float64, in the shape of ``progress``.

        Progress is clamped to [0, 1]: past the horizon the last value holds.
        """
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
        if isinstance(step, bool) or not isinstance(step, int):
            raise SpecError(f"step must be a whole number, got {step!r}")
        # Vectorised and scalar kernels may differ in the last bit, so this too reads the table.
        row = table([self], checked_steps(total_steps))[0]
        return float(row[min(max(step, 0), total_steps)])

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
    """``total_steps`` if it is a whole number of at least 1.

    Raises:
        SpecError: it is not.
    """
    if isinstance(total_steps, bool) or not isinstance(total_steps, int) or total_steps < 1:
        raise SpecError(f"total_steps must be a whole number of at least 1, got {total_steps!r}")
    return total_steps


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


def progress(total_steps: int) -> Tensor:
    """Progress u = t/T for t = 0 … T, shape ``[T + 1]``, float64.

    The first update uses u = 0, the last u = (T-1)/T, and u = 1 is the value after it.
    """
    # (1) t/T  (2) t/(T-1)  (3) (t+1)/T. We do (1): it is `CosineAnnealingLR(T_max=T)` and optax's count/decay_steps;
    # (2) reaches the end value one update early, (3) never uses the peak.
    steps = torch.arange(checked_steps(total_steps) + 1, dtype=torch.float64)
    return steps / total_steps


def table(schedules: Sequence[AbstractSchedule], total_steps: int) -> Tensor:
    """Multipliers of B schedules at every step, shape ``[B, total_steps + 1]``, float64.

    Every consumer (scheduler, trainer, plot) reads this table, so that all of them hold the same bits.

    >>> from adaptive_lr import DampedCosine, Linear
    >>> table([Linear(), DampedCosine(exponent=2)], 2).tolist()
    [[1.0, 0.5, 0.0], [1.0, 0.25, 0.0]]
    """
    u = progress(total_steps).unsqueeze(0)
    rows = torch.empty(len(schedules), u.shape[1], dtype=torch.float64)
    groups: dict[object, list[int]] = {}
    resolved = [schedule.resolve(total_steps) for schedule in schedules]
    for index, schedule in enumerate(resolved):
        groups.setdefault(structure(schedule), []).append(index)
    for members in groups.values():
        rows[members] = stack([resolved[index] for index in members]).multiplier(u)
    return rows

"""What comes of differentiating runs: derivatives of the final loss by numbers of the schedule and by log(base rate)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import torch
from torch import Tensor

from adaptive_lr.errors import InputError


class Way(StrEnum):
    """How derivatives are computed."""

    FORWARD = "forward"
    """Exact, with a tangent for each number: for few of them, in memory that does not depend on the number of steps."""
    REVERSE = "reverse"
    """Exact, by the rate of every step at once: for many numbers, with checkpoints."""
    DIFFERENCES = "differences"
    """Wide central differences of whole runs: no derivative of the loss as it is, but of a smoothed one; never explodes."""


def way_of(name: str) -> Way:
    """The way of this name.

    Raises:
        InputError: there is none.
    """
    if name not in set(Way):
        raise InputError(f"way must be one of {', '.join(Way)}, got {name!r}")
    return Way(name)


@dataclass(frozen=True)
class FinalGradients:
    """Final losses of B trials and their derivatives.

    Attributes:
        numbers: the names of what is differentiated by, P of them.
        final: the selection metric after the last step, ``[B]``, float64.
        gradient: d final / d number, ``[B, P]``, float64.
        norms: forward, the greatest norm of d parameters / d number, ``[B, P]``; reverse, that of d final / d parameters, ``[B, 1]``;
            None for differences.
        per_step: d final / d rate of every step, ``[T, B]``, in reverse mode; else None.
    """

    numbers: tuple[str, ...]
    final: Tensor
    gradient: Tensor
    norms: Tensor | None = field(default=None, repr=False)
    per_step: Tensor | None = field(default=None, repr=False)

    def of(self, number: str) -> Tensor:
        """The derivatives by a number, ``[B]``.

        Raises:
            InputError: it is not among those that were differentiated by.
        """
        if number not in self.numbers:
            raise InputError(f"there is no derivative by {number!r}; there are those by {', '.join(self.numbers)}")
        return self.gradient[:, self.numbers.index(number)]

    def mean(self) -> dict[str, float]:
        """The mean derivative over the trials, by number."""
        return dict(zip(self.numbers, self.gradient.mean(0).tolist(), strict=True))

    def standard_error(self) -> dict[str, float]:
        """The standard error of `mean`, by number; NaN for a single trial."""
        count = len(self.gradient)
        spread = self.gradient.std(0) if count > 1 else torch.full_like(self.gradient[0], torch.nan)
        return dict(zip(self.numbers, (spread / count**0.5).tolist(), strict=True))


@dataclass(frozen=True)
class FinalGradient:
    """The final loss of one run and its derivatives.

    Attributes:
        final: the final loss.
        gradient: d final / d number, by name.
        norms: forward, the greatest norm of d state / d number by name; reverse, of d final / d state under ``state``; none for
            differences.
        per_step: d final / d rate of every step, ``[T]``, in reverse mode; else None.
    """

    final: float
    gradient: Mapping[str, float]
    norms: Mapping[str, float] = field(default_factory=dict, repr=False)
    per_step: Tensor | None = field(default=None, repr=False)

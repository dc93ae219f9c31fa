"""A training run as a chain of pure steps, which derivatives are carried through, forwards or backwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from adaptive_lr.errors import InputError

State = tuple[list[Tensor], list[Tensor]]
"""What a step changes: tensors of floating point, which have derivatives, and all others, which have none."""

Step = Callable[[list[Tensor], list[Tensor], Tensor, Any], State]
"""The state after a step from both parts of the state before it, the rate and whatever else the step is given."""

BOUND = 1e4
"""How many times as long as the parameters a tangent may grow, and an adjoint as it was at the end."""


class Blocks(Protocol):
    """What steps are given beside the rate: a block for each stretch of steps."""

    def __call__(self, ends: Sequence[int], begin: int) -> Iterator[Any]:
        """Blocks of the steps up to each of the ``ends``, from ``begin`` on."""


@dataclass(frozen=True)
class Unrolled:
    """A run of T steps of B trials, or of one without a dimension for it.

    Attributes:
        step: one step.
        start: the state before the first.
        parameters: how many tensors of the state are parameters; they come first, and their derivatives are watched.
        rates: the rate of every step, ``[T, B]`` or ``[T]``.
        blocks: what else the steps are given.
        at: what one step is given, by its index in a block.
        longest: how many steps a block may have, for the memory that it takes.
        final: the final loss of a state, ``[B]`` or a scalar.
        trials: 1 if tensors have a dimension B in front, else 0.
        whose: says of which trial a message speaks, from its index.
    """

    step: Step
    start: State
    parameters: int
    rates: Tensor
    blocks: Blocks
    at: Callable[[Any, int], Any]
    longest: int
    final: Callable[[list[Tensor], list[Tensor]], Tensor]
    trials: int
    whose: Callable[[int], str]

    def lengths(self, vectors: Sequence[Tensor], lead: int = 0) -> Tensor:
        """|v| of the parameters' part of some vectors, ``[B]`` or a scalar; with ``lead`` dimensions of tangents in front of it."""
        before = lead + self.trials
        parts = [vector.reshape(*vector.shape[:before], -1).square().sum(-1) for vector in vectors[: self.parameters]]
        return torch.stack(parts).sum(0).sqrt()

    def final_and_slopes(self, state: State) -> tuple[Tensor, list[Tensor]]:
        """The final loss, detached, and its derivative in each tensor of floating point.

        Raises:
            InputError: nothing of the state reaches the loss in operations that can be differentiated.
        """
        moving = [value.detach().requires_grad_() for value in state[0]]
        with torch.enable_grad():
            loss = self.final(moving, state[1])
            if not loss.requires_grad:
                raise InputError(
                    "the final loss cannot be differentiated: it must come from the parameters by torch's operations, "
                    "without detach(), item() or a count of errors; or use way='differences'"
                )
            slopes = torch.autograd.grad(loss.sum(), moving, allow_unused=True)
        return loss.detach(), [
            torch.zeros_like(value) if slope is None else slope for value, slope in zip(moving, slopes, strict=True)
        ]


def stretches(begin: int, until: int, longest: int) -> list[int]:
    """Where stretches of at most ``longest`` steps end.

    >>> stretches(0, 10, 4)
    [4, 8, 10]
    """
    return [*range(begin + longest, until, longest), until]


@dataclass(frozen=True)
class Watch:
    """What is said where derivatives explode.

    Attributes:
        unrolled: the run.
        numbers: the names of what is differentiated by.
        bound: how much they may grow.
    """

    unrolled: Unrolled
    numbers: Sequence[str]
    bound: float

    def tangents(self, first: int, tangents: Tensor, parameters: Tensor) -> None:
        """Look at the lengths of tangents ``[K, P, B]`` and of the parameters ``[K, B]``, after the steps from ``first`` on.

        One that is more than ``bound`` times as long as the parameters, or not finite, is refused with an `InputError`.
        """
        least = torch.finfo(parameters.dtype).tiny
        lengths = tangents.reshape(*tangents.shape[:2], -1)
        grown = lengths / parameters.reshape(len(parameters), 1, -1).clamp(min=least)
        bad = (~(grown <= self.bound)).nonzero()
        if not len(bad):
            return
        offset, number, trial = bad[0].tolist()
        length = float(lengths[offset, number, trial])
        what = f"d parameters / d {self.numbers[number]} has the norm {length:.3g}"
        share = f"{float(grown[offset, number, trial]):.3g} times that of the parameters"
        raise self._refusal(what, share, first + offset, trial)

    def adjoints(self, first: int, adjoints: Tensor, last: Tensor) -> None:
        """Look at the lengths of adjoints ``[K, B]`` before the steps from ``first`` on, against those at the end ``[B]``.

        One that is more than ``bound`` times as long as at the end, or not finite, is refused with an `InputError`.
        """
        least = torch.finfo(last.dtype).tiny
        lengths = adjoints.reshape(len(adjoints), -1)
        grown = lengths / last.reshape(-1).clamp(min=least)
        bad = (~(grown <= self.bound)).nonzero()
        if not len(bad):
            return
        offset, trial = bad[-1].tolist()  # the first on the way back
        what = f"d final loss / d parameters has the norm {float(lengths[offset, trial]):.3g}"
        raise self._refusal(what, f"{float(grown[offset, trial]):.3g} times that at the end", first + offset, trial)

    def _refusal(self, what: str, share: str, step: int, trial: int) -> InputError:
        rates = self.unrolled.rates
        rate = float(rates.reshape(len(rates), -1)[step, trial])
        return InputError(
            f"{what} at step {step} of {len(rates)}, rate {rate:.3g}{self.unrolled.whose(trial)}: {share}, "
            f"more than bound={self.bound:g}; the derivative through this run is of no use: lower the base rate, "
            "shorten the run, or take wide finite differences (way='differences')"
        )

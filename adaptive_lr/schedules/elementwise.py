"""Operations on progress that hold for numbers and columns, at every legal value, in the value and in the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules.base import AbstractSchedule
from adaptive_lr.spec import Scalar


def column(value: Scalar) -> Tensor:
    """A number as ``[1, 1]``, a column ``[B, 1]`` as it is; float64."""
    if isinstance(value, Tensor):
        return value.to(torch.float64).reshape(-1, 1)
    return torch.tensor([[value]], dtype=torch.float64, device="cpu")


def reached(u: Tensor, boundary: Scalar) -> Tensor:
    """Whether progress is at or past ``boundary``, to 1e-12.

    Inside a warm-up u is (t/T - w)/(1 - w), whose rounding must not put a boundary off by a step.
    """
    return u >= boundary - 1e-12


def whole_periods(u: Tensor, period: Scalar) -> Tensor:
    """How many periods have ended at progress u: the largest j with j period <= u, to 1e-12.

    >>> whole_periods(torch.tensor([[0.29, 0.3, 0.31]], dtype=torch.float64), 0.1).tolist()
    [[2.0, 3.0, 3.0]]
    """
    # 0.3 / 0.1 is 2.9999999999999996: the floor of a rounded quotient is a guess, and the comparisons decide.
    guess = (u / period).floor()
    return guess + reached(u, (guess + 1.0) * period).double() - (~reached(u, guess * period)).double()


def power(base: Tensor, exponent: Scalar) -> Tensor:
    """``base ** exponent`` for base >= 0 and exponent > 0, with gradients that are finite where the base is 0."""
    # Below 1 the exponent makes an infinite slope at 0, and infinity times the zero slope of the base is NaN.
    return torch.where(base > 0.0, base.clamp(min=1e-300) ** exponent, torch.zeros_like(base))


def root(base: Tensor) -> Tensor:
    """``base.sqrt()`` to the last bit for base >= 0, with a gradient of 0 where the base is 0."""
    positive = base > 0.0
    return torch.where(positive, torch.where(positive, base, 1.0).sqrt(), 0.0)


def ratio(numerator: Tensor, denominator: Scalar) -> Tensor:
    """The quotient in [0, 1], with a denominator of 0 taken as 1e-300."""
    return (numerator / column(denominator).clamp(min=1e-300)).clamp(0.0, 1.0)


def check_one_of(schedule: AbstractSchedule, fraction: str, steps: str) -> None:
    """Exactly one of two fields is given.

    Raises:
        SpecError: none or both of them.
    """
    if (getattr(schedule, fraction) is None) == (getattr(schedule, steps) is None):
        raise SpecError(f"{type(schedule).__name__} needs exactly one of {fraction} and {steps}")

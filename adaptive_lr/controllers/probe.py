"""What a probe says: nothing, that the step was short enough, or too long, or so long that it must not be followed at all."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from adaptive_lr.controllers.base import Observation, average, finite

ROUNDINGS = 8.0
"""So many units in the last place of a loss cannot be told from rounding: it is a sum of many terms."""

FAR = 100.0
"""How many typical descents a probe may rise, or a sample of the descent be long, before it is taken for an accident.

A parabola rises by p/(2 edge) - 1 descents at p, so a probe within 200 edges is none; a gradient 1000 times too long rises by 10^5 and more.
"""

DECAY = 0.9
"""Of the running mean of ln <g, D>."""


class Verdict(NamedTuple):
    """What came of a probe at p, each ``[B]`` of bool; with none of the first two it says nothing."""

    heard: Tensor
    """The promised decrease p <g, D> or the change of the loss is more than rounding."""
    short: Tensor
    """There is a decrease to be had along D, but the step is too short for the loss to show anything of it."""
    passed: Tensor
    """Heard, and f(theta - p D) <= f(theta) - decrease p <g, D>."""


def judged(seen: Observation, decrease: float) -> Verdict:
    """The verdict on a probe; a minibatch without a gradient, <g, D> = 0, says nothing.

    ``decrease`` is the share of the promised decrease that the loss must fall by.
    """
    promise, rise = seen.trial * seen.descent, seen.probe_loss - seen.loss
    rounding = ROUNDINGS * seen.resolution * seen.loss.abs()
    usable = finite(seen.loss, seen.descent)
    lost = (promise.abs() <= rounding) & (rise <= rounding)
    heard = usable & (seen.descent != 0.0) & ~lost
    # A step below the rounding of the parameters themselves moves nothing, though there is a gradient.
    along = (promise > 0.0) | (promise == 0.0) & (seen.gradient_square > 0.0)
    passed = heard & (seen.probe_loss <= seen.loss - decrease * seen.trial * seen.descent)
    return Verdict(heard, usable & lost & along, passed)


def far(seen: Observation, log_descent: Tensor) -> Tensor:
    """Where a failed probe is an accident, ``[B]`` of bool.

    The loss rose by more than ``FAR`` times what a step of the typical descent promises, or is not finite; or <g, D> itself is so long.
    """
    near = seen.probe_loss - seen.loss <= FAR * seen.trial * log_descent.exp()
    return ~(near & ordinary(seen.descent, log_descent))


def ordinary(descent: Tensor, log_descent: Tensor) -> Tensor:
    """Where <g, D> is a number other than 0 and no ``FAR`` times longer than is typical, ``[B]`` of bool."""
    return descent.isfinite() & (descent != 0.0) & (descent.abs() <= FAR * log_descent.exp())


def typical(log_descent: Tensor, descent: Tensor, known: Tensor) -> Tensor:
    """The running mean of ln <g, D> after one more reading, ``[B]``; the reading itself where none was ``known``.

    A reading moves it by no more than ln(FAR)/10, so that a single bad one does not matter.
    """
    usable = descent.isfinite() & (descent > 0.0)
    reading = descent.clamp(min=1e-300).log()
    width = math.log(FAR)
    near = torch.minimum(torch.maximum(reading, log_descent - width), log_descent + width)
    return torch.where(known, average(log_descent, near, DECAY, usable), torch.where(usable, reading, log_descent))

"""Forward mode: derivatives of the state by P numbers carried through a run, in memory that does not depend on its length."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.func import jvp, vmap

from adaptive_lr.meta.duals import quiet_forward_mode
from adaptive_lr.meta.unrolled import State, Step, Unrolled, Watch, stretches

_SHARED: Any = (None, 0, None)
"""The state is the same for all tangents."""

LOOKED_AT = 250
"""Steps after which the tangents' lengths are looked at, at the latest."""


class Forward(NamedTuple):
    """What forward mode gives.

    Attributes:
        final: the final loss, ``[B]`` or a scalar.
        gradient: its derivatives, ``[P, B]`` or ``[P]``.
        norms: the greatest norm that each tangent of the parameters had, of the same shape.
    """

    final: Tensor
    gradient: Tensor
    norms: Tensor


class Pushed(NamedTuple):
    """The state and its tangents ``[P, …]`` after K steps; lengths of the tangents ``[K, P, B]`` and parameters ``[K, B]``."""

    state: State
    tangents: list[Tensor]
    lengths: Tensor
    sizes: Tensor


class Push(Protocol):
    """Carries state and tangents through the steps of a block."""

    def __call__(self, state: State, tangents: list[Tensor], rates: Tensor, directions: Tensor, block: Any) -> Pushed:
        """From the rates ``[K, B]`` and their derivatives ``[K, P, B]``."""


def pushed_once(
    step: Step, state: State, tangents: list[Tensor], rate: Tensor, directions: Tensor, given: Any
) -> tuple[State, list[Tensor]]:
    """One step: Z <- (ds'/ds) Z + (ds'/drate) drate/dnumber, for P numbers at once.

    Source:
        The recursion of Franceschi et al. 2017, arXiv:1703.01785, Eq. 13, by forward over reverse mode.

    Args:
        step: the step.
        state: the state s before it.
        tangents: Z, ``[P, …]`` for each tensor of floating point.
        rate: that of the step.
        directions: its derivatives, ``[P, …]``.
        given: what else the step is given.
    """
    moving, rest = state

    def along(tangent: list[Tensor], direction: Tensor) -> Any:
        return jvp(lambda s, r: step(s, rest, r, given), (moving, rate), (tangent, direction), has_aux=True)

    after, changes, others = vmap(along, out_dims=_SHARED, randomness="same")(tangents, directions)
    return (after, others), changes


def eager_push(unrolled: Unrolled) -> Push:
    """Step by step in Python: the reference that compiled loops are held to, and what is used where there is none."""

    def push(state: State, tangents: list[Tensor], rates: Tensor, directions: Tensor, block: Any) -> Pushed:
        lengths, sizes = [], []
        for index, (rate, direction) in enumerate(zip(rates, directions, strict=True)):
            state, tangents = pushed_once(unrolled.step, state, tangents, rate, direction, unrolled.at(block, index))
            lengths.append(unrolled.lengths(tangents, 1))
            sizes.append(unrolled.lengths(state[0]))
        return Pushed(state, tangents, torch.stack(lengths), torch.stack(sizes))

    return push


def forward(unrolled: Unrolled, directions: Tensor, watch: Watch, push: Push) -> Forward:
    """Derivatives d final / d number = (d final / d state) Z after the last step, with Z = 0 before the first.

    Args:
        unrolled: the run.
        directions: d rate / d number, ``[T, P, B]`` or ``[T, P]``.
        watch: what refuses tangents that explode, with an `InputError`.
        push: carries them through a block of steps.
    """
    state, steps = unrolled.start, len(unrolled.rates)
    tangents = [value.new_zeros(directions.shape[1], *value.shape) for value in state[0]]
    norms = torch.zeros_like(directions[0])
    ends, begin = stretches(0, steps, min(LOOKED_AT, unrolled.longest)), 0
    with quiet_forward_mode(), torch.no_grad():
        for end, block in zip(ends, unrolled.blocks(ends, 0), strict=True):
            result = push(state, tangents, unrolled.rates[begin:end], directions[begin:end], block)
            watch.tangents(begin, result.lengths, result.sizes)
            norms = torch.maximum(norms, result.lengths.amax(0))
            state, tangents, begin = result.state, result.tangents, end
    final, slopes = unrolled.final_and_slopes(state)
    before = 1 + unrolled.trials
    parts = [
        (tangent * slope).reshape(*tangent.shape[:before], -1).sum(-1).to(torch.float64)
        for tangent, slope in zip(tangents, slopes, strict=True)
    ]
    return Forward(final, torch.stack(parts).sum(0), norms)

"""Reverse mode with checkpoints: the derivative of the final loss by the rate of every step, in memory that grows like a root."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.func import vjp

from adaptive_lr.meta.unrolled import State, Step, Unrolled, Watch

BYTES_OF_A_SEGMENT = 2**25
"""States of a segment that are held at the same time; a segment has at least sqrt(T) steps."""


class Reverse(NamedTuple):
    """What reverse mode gives.

    Attributes:
        final: the final loss, ``[B]`` or a scalar.
        per_step: d final / d rate of every step, ``[T, B]`` or ``[T]``.
        norms: the greatest norm that d final / d parameters had, ``[B]`` or a scalar.
    """

    final: Tensor
    per_step: Tensor
    norms: Tensor


class Pulled(NamedTuple):
    """Before K steps: d final / d state, by the rates ``[K, B]``, and the length of that by the parameters ``[K, B]``."""

    adjoints: list[Tensor]
    slopes: Tensor
    lengths: Tensor


class Passes(Protocol):
    """The two ways through the steps of a block."""

    def record(self, state: State, rates: Tensor, block: Any) -> tuple[State, Any]:
        """The state after the steps, and the states before each of them."""

    def pull(self, adjoints: list[Tensor], history: Any, rates: Tensor, block: Any) -> Pulled:
        """From d final / d state after the steps."""


def pulled_once(
    step: Step, state: State, adjoints: list[Tensor], rate: Tensor, given: Any
) -> tuple[list[Tensor], Tensor]:
    """One step back: a <- (ds'/ds)' a, and (ds'/drate)' a, which is d final / d rate.

    Source:
        Franceschi et al. 2017, arXiv:1703.01785, Eq. 9 and 10.

    Args:
        step: the step.
        state: the state s before it.
        adjoints: a, d final / d state after it.
        rate: that of the step.
        given: what else the step is given.
    """
    moving, rest = state
    back: Any = vjp(lambda s, r: step(s, rest, r, given), moving, rate, has_aux=True)[1]
    before, slope = back(list(adjoints))
    return list(before), slope


class EagerPasses:
    """Step by step in Python: the reference that compiled loops are held to, and what is used where there is none."""

    def __init__(self, unrolled: Unrolled) -> None:
        self._unrolled = unrolled

    def record(self, state: State, rates: Tensor, block: Any) -> tuple[State, list[State]]:
        """See the protocol."""
        history = []
        for index, rate in enumerate(rates):
            history.append(state)
            state = self._unrolled.step(*state, rate, self._unrolled.at(block, index))
        return state, history

    def pull(self, adjoints: list[Tensor], history: list[State], rates: Tensor, block: Any) -> Pulled:
        """See the protocol."""
        slopes, lengths = [], []
        for index in reversed(range(len(rates))):
            given = self._unrolled.at(block, index)
            adjoints, slope = pulled_once(self._unrolled.step, history[index], adjoints, rates[index], given)
            slopes.append(slope)
            lengths.append(self._unrolled.lengths(adjoints))
        return Pulled(adjoints, torch.stack(slopes[::-1]), torch.stack(lengths[::-1]))


def segment_of(unrolled: Unrolled) -> int:
    """How many steps a segment has: sqrt(T), or more where their states and minibatches need little memory."""
    steps = len(unrolled.rates)
    size = sum(value.nbytes for value in unrolled.start[0])
    return min(steps, max(math.isqrt(steps - 1) + 1, min(unrolled.longest, BYTES_OF_A_SEGMENT // max(1, size))))


def reverse(unrolled: Unrolled, watch: Watch, passes: Passes, segment: int | None = None) -> Reverse:
    """Derivatives d final / d rate of every step, from the last segment to the first; the states of each are computed again from its beginning.

    Checkpoints and the states of one segment are held: some 2 sqrt(T) states, or what ``BYTES_OF_A_SEGMENT`` allows.

    Args:
        unrolled: the run.
        watch: what refuses adjoints that explode, with an `InputError`.
        passes: the ways through a segment.
        segment: steps of a segment; `segment_of` if it is not given.
    """
    steps, rates = len(unrolled.rates), unrolled.rates
    segment = segment or segment_of(unrolled)
    begins = list(range(0, steps, segment))
    checkpoints = [unrolled.start]
    with torch.no_grad():
        for begin, block in zip(begins[:-1], unrolled.blocks(begins[1:], 0), strict=True):
            checkpoints.append(passes.record(checkpoints[-1], rates[begin : begin + segment], block)[0])
    slopes: list[Tensor] = []
    final = last = norms = adjoints = None
    for begin in reversed(begins):
        part = rates[begin : begin + segment]
        (block,) = unrolled.blocks([begin + len(part)], begin)
        with torch.no_grad():
            state, history = passes.record(checkpoints.pop(), part, block)
        if adjoints is None:
            final, adjoints = unrolled.final_and_slopes(state)
            last = norms = unrolled.lengths(adjoints)
        with torch.no_grad():
            result = passes.pull(adjoints, history, part, block)
        assert last is not None
        assert norms is not None
        watch.adjoints(begin, result.lengths, last)
        norms, adjoints = torch.maximum(norms, result.lengths.amax(0)), result.adjoints
        slopes.append(result.slopes)
    assert final is not None
    assert norms is not None
    return Reverse(final, torch.cat(slopes[::-1]), norms)

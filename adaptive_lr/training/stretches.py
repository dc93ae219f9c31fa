"""B trials trained for a stretch of steps by a compiled loop, a few of them at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from adaptive_lr.tasks.base import AbstractTask, Minibatch, on_each
from adaptive_lr.training.base import AbstractOptimizer, FlatState, StackedUpdate
from adaptive_lr.training.compiled_loop import State, Structure, loop

_PARAMETERS_AT_ONCE = 2**16
"""Of the trials that a loop trains at once: parameters, what the optimizer remembers and activations stay in the cache."""

_MOST_AT_ONCE = 512
_FEWEST_THAT_SHARE = 4
"""Trials of a seed for which a loop is made that reads one minibatch for all."""

_BYTES_OF_A_BLOCK = 2**25
"""Minibatches that are drawn before they are used."""


class CompiledSteps:
    """The trials of a batch, in the order of their seeds, as many of each.

    The loop trains a fixed number of trials; the last ones are filled up with copies.

    Args:
        task: what they train.
        optimizer: with a form that can be compiled.
        state: their parameters.
        update: what the optimizer remembers of them.
        buffers: what their modules remember, ``[B, …]`` each.
        seeds: how many there are.
        of_a_seed: how many trials a seed will have, for which the loop is made.
    """

    def __init__(
        self,
        task: AbstractTask,
        optimizer: AbstractOptimizer,
        state: FlatState,
        update: StackedUpdate,
        buffers: Sequence[Tensor],
        seeds: int,
        of_a_seed: int,
    ) -> None:
        slots = [state.views(flat) for flat in update.buffers()]
        self._state = State(state.parameters, slots, list(buffers))
        self._update, self._seeds = update, seeds
        trials = len(state.parameters[0])
        self._each = trials // seeds
        apart = of_a_seed < _FEWEST_THAT_SHARE and seeds > 1
        size = state.flat.numel() // trials
        self._structure = Structure(
            task, optimizer, state.flat.dtype, at_once(size, of_a_seed * seeds if apart else of_a_seed), apart
        )

    def train(self, blocks: Sequence[Minibatch], rates: Tensor) -> Tensor:
        """Train for K steps; the losses ``[K, B]``.

        Args:
            blocks: for each seed the minibatches of the K steps, ``[K, n, …]``.
            rates: ``[K, B]``.
        """
        steps = torch.arange(1, len(rates) + 1, dtype=torch.float64).unsqueeze(1)
        numbers = self._update.counts().to(torch.float64) + steps
        losses = []
        for begin, end, (inputs, targets) in self._parts(blocks):
            rows = torch.arange(begin, begin + self._structure.trials).clamp(max=end - 1)
            exact = len(rows) == end - begin
            part = _each(self._state, (lambda value: value[begin:end]) if exact else (lambda value: value[rows]))  # noqa: B023  # used at once
            run = loop(self._structure, part, inputs, targets)
            columns = (rates[:, begin:end], numbers[:, begin:end]) if exact else (rates[:, rows], numbers[:, rows])
            losses.append(run(part, inputs, targets, *columns)[:, : end - begin])
            if not exact:
                for value, trained in zip(self._state.flat(), part.flat(), strict=True):
                    value[begin:end] = trained[: end - begin]
        return torch.cat(losses, 1) if len(losses) > 1 else losses[0]

    def _parts(self, blocks: Sequence[Minibatch]) -> Sequence[tuple[int, int, Minibatch]]:
        """First and last row of what is trained at once, and the minibatches of these."""
        size = self._structure.trials
        if not self._structure.apart:
            return [
                (begin, min(begin + size, first + self._each), block)
                for first, block in zip(range(0, self._seeds * self._each, self._each), blocks, strict=True)
                for begin in range(first, first + self._each, size)
            ]
        total = self._seeds * self._each
        return [
            (
                begin,
                min(begin + size, total),
                beside([blocks[min(row, total - 1) // self._each] for row in range(begin, begin + size)]),
            )
            for begin in range(0, total, size)
        ]


def beside(blocks: Sequence[Minibatch]) -> Minibatch:
    """Minibatches ``[K, n, …]`` of several trials as ``[K, B, n, …]``."""
    targets = torch.stack([targets for _, targets in blocks], 1)
    first = blocks[0][0]
    if isinstance(first, tuple):
        parts = zip(*(inputs for inputs, _ in blocks), strict=True)
        return tuple(torch.stack(part, 1) for part in parts), targets
    return torch.stack([inputs for inputs, _ in blocks], 1), targets  # type: ignore[misc]


def _each(state: State, function: Callable[[Tensor], Tensor]) -> State:
    slots = [[function(value) for value in slot] for slot in state.slots]
    return State([function(value) for value in state.parameters], slots, [function(value) for value in state.buffers])


def at_once(parameters: int, trials: int) -> int:
    """How many of so many trials a loop trains at once: about equal parts of them, and fewer where a trial has many parameters.

    Rounded up by an eighth at most, so that batches of about the same size need one loop.

    >>> at_once(15_000, 32), at_once(15_000, 25), at_once(100, 1000), at_once(100, 367), at_once(10**6, 8)
    (4, 4, 512, 384, 1)
    """
    limit = max(1, min(_MOST_AT_ONCE, _PARAMETERS_AT_ONCE // parameters))
    part = -(-trials // -(-trials // limit))
    unit = 1 << max(0, part.bit_length() - 4)
    return -(-part // unit) * unit


def steps_of_a_block(task: AbstractTask, seeds: int, dtype: torch.dtype) -> int:
    """How many minibatches of each seed are drawn before they are used."""
    inputs, targets = next(iter(task.minibatches(0, 1, dtype)))
    sizes: list[int] = []

    def measured(part: Tensor) -> Tensor:
        sizes.append(part.nbytes)
        return part

    on_each(measured, inputs)
    return max(1, _BYTES_OF_A_BLOCK // (seeds * (sum(sizes) + targets.nbytes)))


def stretch_ends(
    begin: int, until: int, stops: Sequence[int], quiet: Callable[[int], bool], longest: int
) -> list[tuple[int, bool]]:
    """Where stretches end that begin at ``begin``, and whether all of their steps are quiet: at stops, where it changes, or after ``longest``.

    >>> stretch_ends(0, 10, [4, 10], lambda step: step >= 2, 5)
    [(2, False), (4, True), (9, True), (10, True)]
    """
    ends: list[tuple[int, bool]] = []
    first, stopping = begin, set(stops)
    for step in range(begin, until):
        end = step + 1
        if end == until or end in stopping or end - first == longest or quiet(end) != quiet(step):
            ends.append((end, quiet(step)))
            first = end
    return ends

"""The steps of forward and reverse mode as compiled loops, for trials of this package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from adaptive_lr.meta.forward_mode import Push, Pushed, pushed_once
from adaptive_lr.meta.reverse_mode import Pulled, pulled_once
from adaptive_lr.meta.trial_runs import TrialRuns
from adaptive_lr.meta.unrolled import State
from adaptive_lr.training.compiled_loop import Structure, graph_of
from adaptive_lr.training.packages import Run, package

_LOOPS: dict[tuple[Structure, str, int], Run] = {}
"""Those that this process has, by structure, kind and number of tangents."""


def is_ready(structure: Structure, kind: str, tangents: int = 0) -> bool:
    """Whether this process has such a loop."""
    return (structure, kind, tangents) in _LOOPS


def compiled_push(runs: TrialRuns) -> Push:
    """`eager_push` as one program; where it cannot be compiled, the first call raises a `CompileError`."""
    unrolled = runs.unrolled
    width, others = map(len, unrolled.start)

    def step(*values: Tensor) -> list[Tensor]:
        (moving, rest, tangents), given = _parted(values, (width, others, width))
        *given, rate, directions = given
        (after, changed), moved = pushed_once(unrolled.step, (moving, rest), tangents, rate, directions, given)
        lengths, sizes = unrolled.lengths(moved, 1), unrolled.lengths(after)
        return [*_apart([*after, *changed, *moved], values), torch.cat([sizes.unsqueeze(0), lengths])]

    def push(state: State, tangents: list[Tensor], rates: Tensor, directions: Tensor, block: Any) -> Pushed:
        carried, series = [*state[0], *state[1], *tangents], [*block, rates, directions]
        results = _run(runs, "push", directions.shape[1], step, carried, series)
        (moving, rest, moved), (lengths,) = _parted(results, (width, others, width))
        return Pushed((moving, rest), moved, lengths[:, 1:], lengths[:, 0])

    return push


class CompiledPasses:
    """`EagerPasses` as two programs; where one cannot be compiled, its first call raises a `CompileError`.

    Args:
        runs: what they are for.
    """

    def __init__(self, runs: TrialRuns) -> None:
        self._runs, self._unrolled = runs, runs.unrolled
        self._width, self._others = map(len, runs.unrolled.start)

    def record(self, state: State, rates: Tensor, block: Any) -> tuple[State, list[Tensor]]:
        """See the protocol; the states are stacked."""
        results = _run(self._runs, "record", 0, self._recorded, [*state[0], *state[1]], [*block, rates])
        (moving, rest), history = _parted(results, (self._width, self._others))
        return (moving, rest), history

    def pull(self, adjoints: list[Tensor], history: list[Tensor], rates: Tensor, block: Any) -> Pulled:
        """See the protocol."""
        series = [part.flip(0) for part in (*history, *block, rates)]
        results = _run(self._runs, "pull", 0, self._pulled, adjoints, series)
        (before,), (slopes, lengths) = _parted(results, (self._width,))
        return Pulled(before, slopes.flip(0), lengths.flip(0))

    def _recorded(self, *values: Tensor) -> list[Tensor]:
        (moving, rest), given = _parted(values, (self._width, self._others))
        *given, rate = given
        after, changed = self._unrolled.step(moving, rest, rate, given)
        return [*_apart([*after, *changed], values), *(value.clone() for value in (*moving, *rest))]

    def _pulled(self, *values: Tensor) -> list[Tensor]:
        (adjoints, moving, rest), given = _parted(values, (self._width, self._width, self._others))
        *given, rate = given
        before, slope = pulled_once(self._unrolled.step, (moving, rest), adjoints, rate, given)
        return [*_apart(before, values), slope, self._unrolled.lengths(before)]


def _run(
    runs: TrialRuns,
    kind: str,
    tangents: int,
    step: Callable[..., list[Tensor]],
    carried: Sequence[Tensor],
    series: Sequence[Tensor],
) -> list[Tensor]:
    key = runs.structure, kind, tangents
    # The program takes it for granted that they are contiguous.
    values, given = [value.contiguous() for value in carried], [part.contiguous() for part in series]
    if key not in _LOOPS:
        # The number of steps must be seen to be no constant.
        example = [torch.cat([part, part]) for part in given] if len(given[0]) == 1 else given
        _LOOPS[key] = package(graph_of(step, [*values, *(part[0] for part in example)]), values, example)
    return _LOOPS[key](values, given)


def _parted(values: Sequence[Tensor], sizes: Sequence[int]) -> tuple[list[list[Tensor]], list[Tensor]]:
    """Lists of these lengths, one after another, and what is left."""
    parts, begin = [], 0
    for size in sizes:
        parts.append(list(values[begin : begin + size]))
        begin += size
    return parts, list(values[begin:])


def _apart(results: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
    """The results; what was handed in is copied, since it must not be handed on."""
    return [result.clone() if any(result is value for value in values) else result for result in results]

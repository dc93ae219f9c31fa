"""Hypergradients of trials: d(final loss) / d(numbers of the schedule, log base rate), exact or by wide differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adaptive_lr.errors import CompileError, InputError
from adaptive_lr.meta.compiled_modes import CompiledPasses, compiled_push, is_ready
from adaptive_lr.meta.differences import finite_differences
from adaptive_lr.meta.directions import checked, numbers_of
from adaptive_lr.meta.final_gradients import FinalGradients, Way, way_of
from adaptive_lr.meta.forward_mode import eager_push, forward
from adaptive_lr.meta.reverse_mode import EagerPasses, reverse
from adaptive_lr.meta.trial_runs import TrialRuns, check, trial_runs
from adaptive_lr.meta.unrolled import BOUND, Watch
from adaptive_lr.training.stretches import at_once
from adaptive_lr.training.trial import Trial

WORTH_COMPILING = 4000
"""Steps of all loops together from which on one is compiled, if nothing is said."""


def hypergradients(
    trials: Sequence[Trial],
    numbers: Sequence[str] | None = None,
    *,
    way: str = Way.FORWARD,
    bound: float = BOUND,
    compiled: bool | None = None,
) -> FinalGradients:
    """Derivatives d final / d number of B trials, through the whole unrolled run of each.

    The final loss is the selection metric after the last step. Exact ways follow Franceschi et al. 2017, arXiv:1703.01785: forward
    mode carries a tangent of parameters and optimizer for each number, reverse mode keeps checkpoints and gives the derivative by
    the rate of every step. They are derivatives of the loss as it is: of a network with ReLU units that is jagged, so average over
    seeds, or take ``differences``.

    Args:
        trials: of one task, optimizer (`SGD`, `AdamW` or `Clipped` of these), horizon and precision, without controller.
        numbers: ``log_base_lr`` and numbers of the schedule, such as ``exponent`` or ``then.floor``; those of `numbers_of` by default.
        way: one of `Way`.
        bound: how many times as long as the parameters a tangent may become; in reverse mode, as the adjoint at the end.
        compiled: whether loops are compiled; if nothing is said, where there are many steps and it can be done.

    Trials or numbers that cannot be differentiated are refused with an `InputError`, as is a derivative that explodes; the message
    names the step, the norm and the rate.

    >>> from adaptive_lr import DampedCosine
    >>> from adaptive_lr.tasks import StreamingLogistic
    >>> from adaptive_lr.training import SGD
    >>> task = StreamingLogistic(dimension=5)
    >>> trial = Trial(task=task, schedule=DampedCosine(), optimizer=SGD(), base_lr=0.1, steps=20, seed=0)
    >>> result = hypergradients([trial], ["log_base_lr", "exponent"])
    >>> [round(slope, 3) for slope in result.mean().values()]  # a higher rate helps, and an earlier decay harms
    [-0.044, 0.021]
    """
    way = way_of(way)
    if way is Way.DIFFERENCES:
        return finite_differences(trials, numbers, compiled=bool(compiled))
    check(trials)
    names = checked(numbers_of(trials[0].schedule) if numbers is None else numbers)
    return differentiate(Request(trials, names, lambda runs: runs.directions(names), way, bound, compiled))


@dataclass(frozen=True)
class Request:
    """What is to be differentiated by what.

    Attributes:
        trials: those.
        names: of the numbers.
        directions: d rate / d number of some trials, ``[T, P, B]``.
        way: forward or reverse.
        bound: see `hypergradients`.
        compiled: see `hypergradients`.
    """

    trials: Sequence[Trial]
    names: tuple[str, ...]
    directions: Callable[[TrialRuns], Tensor]
    way: Way
    bound: float
    compiled: bool | None


def differentiate(request: Request) -> FinalGradients:
    """The derivatives that are asked for, a few trials at a time.

    Raises:
        InputError: the bound is none, or the derivative explodes.
    """
    if not request.bound > 0.0:
        raise InputError(f"bound must be above 0, got {request.bound!r}")
    trials, first = request.trials, request.trials[0]
    size = sum(value.numel() for value in first.task.initial(first.seed).values())
    vectors = 1 + len(request.names) if request.way is Way.FORWARD else 2
    each = at_once(size * vectors, len(trials))
    parts = []
    for begin in range(0, len(trials), each):
        # The last part is filled up with copies, since a loop is for a fixed number of trials.
        rows = [min(row, len(trials) - 1) for row in range(begin, begin + each)]
        part = _differentiated(request, trial_runs([trials[row] for row in rows]), -(-len(trials) // each))
        parts.append(_first(part, min(each, len(trials) - begin)))
    return _joined(request.names, parts)


def _differentiated(request: Request, runs: TrialRuns, parts: int) -> FinalGradients:
    compute = _forward if request.way is Way.FORWARD else _reverse
    steps = runs.trials[0].steps
    if request.compiled or (request.compiled is None and runs.structure.task.compilable):
        kind = ("push", len(request.names)) if request.way is Way.FORWARD else ("pull", 0)
        if request.compiled or parts * steps >= WORTH_COMPILING or is_ready(runs.structure, *kind):
            try:
                return compute(request, runs, compiled=True)
            except CompileError as error:
                if request.compiled:
                    raise
                warnings.warn(f"derivatives are computed step by step: {error}", stacklevel=4)
    return compute(request, runs, compiled=False)


def _forward(request: Request, runs: TrialRuns, *, compiled: bool) -> FinalGradients:
    watch = Watch(runs.unrolled, request.names, request.bound)
    push = compiled_push(runs) if compiled else eager_push(runs.unrolled)
    result = forward(runs.unrolled, request.directions(runs), watch, push)
    return FinalGradients(request.names, result.final.to(torch.float64), result.gradient.t(), result.norms.t())


def _reverse(request: Request, runs: TrialRuns, *, compiled: bool) -> FinalGradients:
    watch = Watch(runs.unrolled, request.names, request.bound)
    passes = CompiledPasses(runs) if compiled else EagerPasses(runs.unrolled)
    result = reverse(runs.unrolled, watch, passes)
    per_step = result.per_step.to(torch.float64)
    gradient = torch.einsum("tb,tpb->bp", per_step, request.directions(runs).to(torch.float64))
    return FinalGradients(request.names, result.final.to(torch.float64), gradient, result.norms.unsqueeze(1), per_step)


def _first(part: FinalGradients, count: int) -> FinalGradients:
    """Those of the first trials."""
    assert part.norms is not None
    per_step = None if part.per_step is None else part.per_step[:, :count]
    return FinalGradients(part.numbers, part.final[:count], part.gradient[:count], part.norms[:count], per_step)


def _joined(names: tuple[str, ...], parts: Sequence[FinalGradients]) -> FinalGradients:
    steps = [part.per_step for part in parts if part.per_step is not None]
    return FinalGradients(
        names,
        torch.cat([part.final for part in parts]),
        torch.cat([part.gradient for part in parts]),
        torch.cat([part.norms for part in parts if part.norms is not None]),
        torch.cat(steps, 1) if steps else None,
    )

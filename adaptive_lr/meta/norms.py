"""Gradient norms of an earlier run: one for every step, from whatever was logged, with a sentence about all that was not as it should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptive_lr.analysis.stats import Array
from adaptive_lr.analysis.tables import Flags, Table
from adaptive_lr.errors import InputError

LEAST = 10
"""Steps with a norm that are needed."""

LONGEST_GAP = 0.1
"""The share of the run that may lie between two norms: the width of the filter, which looks no further."""

MOST_STEPS = 10_000_000
"""Steps of a run; each has a number while the schedule is made."""


@dataclass(frozen=True)
class Norms:
    """The gradient norms of one run.

    Attributes:
        values: G_t for the updates t = 0 … T-1, ``[T]``, finite and positive.
        logged: how many of them were logged; between these the logarithm is interpolated.
        notes: sentences about what was left out or assumed.
    """

    values: Array
    logged: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Span:
    """Which updates the numbers in a column of steps are.

    Attributes:
        first: the number of the run's first update; None if it is 0, or 1 where nothing was logged at 0.
        total: T; None if the run ends with what was logged.
    """

    first: int | None = None
    total: int | None = None

    def __post_init__(self) -> None:
        if self.total is not None and not LEAST <= self.total <= MOST_STEPS:
            raise InputError(f"the number of steps must lie in [{LEAST}, {MOST_STEPS}], got {self.total}")


def norms_of(steps: Sequence[float] | Array, norms: Sequence[float] | Array, span: Span | None = None) -> Norms:
    """One norm a step from pairs of a step and a norm.

    | in the log | treatment |
    |---|---|
    | steps that are missing, as with a line every 50 steps | log G is a straight line between the neighbours; up to a tenth of the run in one piece |
    | a step that occurs again, as after resuming | the last one counts; refused if it is so for most steps, which are then several runs |
    | a norm that is NaN, infinite, blank or 0 | left out like a missing one; refused if it is so for half of them |
    | a negative norm | refused |
    | a first step of d, where a line is written every d steps | steps are counted from 1 |
    | a later first step | the run began earlier, and the first norm holds up to a tenth of the run; refused beyond, unless ``span.first`` says where it began |
    | an end before ``span.total`` | the last norm holds up to a tenth of the run; refused beyond |

    Args:
        steps: the number of the update, NaN where there is none (that line is left out).
        norms: of its gradient, in the same order.
        span: where the run begins and ends.

    An `InputError` says why the norms cannot be used.

    >>> norms_of(range(0, 100, 5), [8.0] * 10 + [2.0] * 10).values[[0, 47, 99]].round(3).tolist()
    [8.0, 4.595, 2.0]
    """
    span = span or Span()
    positions, values, notes = _usable(np.asarray(steps, np.float64), np.asarray(norms, np.float64))
    updates, total, remarks = _placed(positions, span)
    _check_gaps(updates, total)
    complete: Array = np.exp(np.interp(np.arange(total), updates, np.log(values)))
    if len(updates) < total:
        remarks.append(f"{len(updates)} of {total} steps have a norm: log G is interpolated between them.")
    return Norms(complete, len(updates), (*notes, *remarks))


def norms_from_table(
    table: Table, *, step: str, norm: str, span: Span | None = None, clip: float | None = None
) -> Norms:
    """See `norms_of`; the columns are given by name.

    Args:
        table: one row a step of one run.
        step: the column of the number of the update.
        norm: the column of its gradient norm.
        span: where the run begins and ends.
        clip: the largest norm that gradients were clipped to, where the column has those before clipping.

    Raises:
        InputError: a column is missing, a cell is no number, or the norms cannot be used.
    """
    values = table.numbers(norm)
    if clip is not None:
        if not 0.0 < clip < np.inf:
            raise InputError(f"gradients are clipped to a norm above 0, got {clip!r}")
        values = np.minimum(values, clip)
    try:
        return norms_of(table.numbers(step), values, span)
    except InputError as error:
        raise InputError(f"{table.source}, {norm}: {error}") from None


def _usable(steps: Array, norms: Array) -> tuple[Array, Array, list[str]]:
    """Steps in ascending order, once each, with finite and positive norms; and what was left out.

    Raises:
        InputError: they cannot be meant, or too few are left.
    """
    if len(steps) != len(norms):
        raise InputError(f"there must be as many steps as norms, got {len(steps)} and {len(norms)}")
    if (norms < 0.0).any():
        raise InputError(
            f"a norm is not negative, got {norms[norms < 0.0][0]:g}: is this the column of the gradient norm?"
        )
    notes = []
    numbered = np.isfinite(steps)
    if not numbered.all():
        notes.append(f"{_rows(~numbered)} without a step: left out.")
    steps, norms = steps[numbered], norms[numbered]
    if wrong := [step for step in steps.tolist() if step != int(step)]:
        raise InputError(
            f"steps are whole numbers, got {wrong[0]:g}: name the column of the update, not of the epoch or the time"
        )
    distinct, last = np.unique(steps[::-1], return_index=True)
    if repeated := len(steps) - len(distinct):
        if repeated >= len(distinct):
            raise InputError(
                f"there are {len(steps)} norms of {len(distinct)} steps: choose one run of several, or name the column that counts updates"
            )
        notes.append(f"{repeated} repeated step{'s' * (repeated > 1)}: the last norm of each counts.")
    values = norms[::-1][last]
    usable = np.isfinite(values) & (values > 0.0)
    if not usable.all():
        zero = int((values == 0.0).sum())
        other = int((~usable).sum()) - zero
        words = [f"{zero} {'are' if zero > 1 else 'is'} 0"] * bool(zero) + [f"{other} not finite or blank"] * bool(
            other
        )
        if usable.sum() <= len(usable) / 2:
            raise InputError(
                f"of {len(usable)} norms {' and '.join(words)}: was the gradient cleared before it was read?"
            )
        notes.append(f"Of {len(usable)} norms {' and '.join(words)}: left out.")
    if usable.sum() < LEAST:
        raise InputError(f"at least {LEAST} steps with a norm are needed, got {int(usable.sum())}")
    return distinct[usable], values[usable], notes


def _rows(flags: Flags) -> str:
    count = int(flags.sum())
    return f"{count} row{'s' * (count > 1)}"


def _placed(steps: Array, span: Span) -> tuple[Array, int, list[str]]:
    """The updates t that the steps are, T, and what was assumed.

    Raises:
        InputError: a step lies outside of the run, or the run is too long.
    """
    notes = []
    spacing = float(np.median(np.diff(steps)))
    if span.first is not None:
        if steps[0] < span.first:
            raise InputError(f"the run begins at step {span.first}, but there is a norm of step {steps[0]:.0f}")
        start = float(span.first)
    else:
        start = 1.0 if 0.0 < steps[0] == spacing else min(float(steps[0]), 0.0)
        if start == 1.0:
            notes.append("Steps are counted from 1, since there is none of 0.")
    updates = steps - start
    # A line every d steps, as d-1, 2d-1, … or 0, d, …: the run ends with the last window of d.
    lead = updates[0] if updates[0] < spacing else 0.0
    total = span.total if span.total is not None else int(updates[-1] + max(spacing - lead, 1.0))
    if total > MOST_STEPS:
        raise InputError(f"a run may have {MOST_STEPS} steps, this one has {total}")
    if updates[-1] >= total:
        raise InputError(
            f"there is a norm of step {steps[-1]:.0f}, but the run has only {total} steps from {start:.0f} on"
        )
    return updates, total, notes


def _check_gaps(updates: Array, total: int) -> None:
    """See that the filter bridges what is missing.

    Raises:
        InputError: the norms leave out more of the run in one piece.
    """
    edges = np.concatenate([[-1.0], updates, [float(total)]])
    widest = int(np.argmax(np.diff(edges)))
    missing = int(edges[widest + 1] - edges[widest] - 1)
    if missing <= max(LONGEST_GAP * total, 1.0):
        return
    if widest == 0:
        raise InputError(
            f"the first norm is of update {int(updates[0])} of {total}: the beginning is missing; if the run began there, say so with the number "
            "of its first step"
        )
    where = f"after update {int(edges[widest])} of {total}"
    raise InputError(f"{missing} steps {where} have no norm: of a run that is not complete no schedule can be made")

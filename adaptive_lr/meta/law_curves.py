"""Recorded curves for a law: tables of step, rate and loss, what is wrong with them, and the rate at every step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from adaptive_lr.analysis.stats import Array, Places
from adaptive_lr.analysis.table_files import read_table
from adaptive_lr.analysis.tables import Table, visible
from adaptive_lr.errors import InputError

MOST_STEPS = 5_000_000
"""Updates of a run, for which every rate is held."""
FEWEST_ROWS = 8
"""Rows after the warm-up that a curve needs."""
MOST_ROWS = 400
"""Rows of a curve that a fit reads; of more, the means over neighbours."""
_GAP = 10.0
_EQUAL = 1e-6


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the columns of a table are called; ``curve`` names the run of a row, if a file holds several."""

    step: str = "step"
    rate: str = "lr"
    loss: str = "loss"
    curve: str | None = None


@dataclass(frozen=True)
class Curve:
    """One recorded run.

    Attributes:
        name: of the file, and of the curve in it.
        rates: the rate at every step from 0 on, warm-up included, ``[T + 1]``.
        warmup: the step at which the rate has risen to its peak.
        steps: of the rows with a loss from then on, ascending, ``[n]``.
        losses: of these rows, ``[n]``.
        notes: what was assumed.
    """

    name: str
    rates: Array
    warmup: int
    steps: Places
    losses: Array
    notes: tuple[str, ...] = field(default=())

    @property
    def peak(self) -> float:
        """The largest rate."""
        return float(self.rates.max())

    def thinned(self, most: int = MOST_ROWS) -> Curve:
        """With means over neighbouring rows where there are more than ``most``."""
        count = len(self.steps)
        if count <= most:
            return self
        edges = np.linspace(0, count, most + 1).astype(np.int_)
        sizes = np.diff(edges)
        steps = np.round(np.add.reduceat(self.steps, edges[:-1]) / sizes).astype(np.int_)
        losses = np.exp(np.add.reduceat(np.log(self.losses), edges[:-1]) / sizes)
        note = f"{self.name}: {count} rows are read as {most} means over neighbours."
        return Curve(self.name, self.rates, self.warmup, steps, losses, (*self.notes, note))


@dataclass(frozen=True)
class Source:
    """A file that was read: its name, the SHA-256 of its bytes."""

    name: str
    sha256: str


def read_curves(paths: Sequence[Path], columns: Columns, warmup: int | None = None) -> tuple[list[Curve], list[Source]]:
    """The curves of tables with a row for every recorded step.

    Args:
        paths: the files, as for `read_table`.
        columns: what their columns are called.
        warmup: the steps of a linear warm-up from 0 that happened before the first row; None if the rows show it.

    Raises:
        InputError: a curve is given twice, or a file or a row in it cannot be used; the line names both and says what to do.
    """
    curves: list[Curve] = []
    sources: list[Source] = []
    for path in paths:
        table = read_table(path)
        sources.append(Source(visible(path.name), hashlib.sha256(path.read_bytes()).hexdigest()))
        for name, part in _runs(table, columns.curve):
            curves.append(_curve(name, part, columns, warmup))
    names = [curve.name for curve in curves]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"the curve {min(twice)} is given twice: a fit would count it twice, so give each curve once")
    return curves, sources


def _runs(table: Table, column: str | None) -> list[tuple[str, Table]]:
    if column is None:
        return [(table.source, table)]
    members: dict[str, list[int]] = {}
    for row, name in enumerate(table.column(column)):
        members.setdefault(name, []).append(row)
    return [(f"{table.source}: {name}", table.rows(rows)) for name, rows in members.items()]


def read_path(path: Path, columns: Columns, warmup: int | None = None) -> tuple[Array, int]:
    """The rate at every step ``[T + 1]`` of a table of steps and rates, and where its warm-up ends.

    Args:
        path: the file, as for `read_table`; a column of losses is not needed.
        columns: what its columns are called.
        warmup: as for `read_curves`.

    An `InputError` says why the file cannot be used.
    """
    table = read_table(path)
    steps, rates, _ = _steps_and_rates(table.source, table, columns)
    return rates_by_step(table.source, steps, rates, warmup)


def _steps_and_rates(name: str, table: Table, columns: Columns) -> tuple[Places, Array, Places]:
    """Steps in order, their rates, and the rows of the table that they come from.

    Raises:
        InputError: a row has no step or rate that can be used, or a step stands twice.
    """
    steps, rates = table.numbers(columns.step), table.numbers(columns.rate)
    for label, values in ((columns.step, steps), (columns.rate, rates)):
        if (wrong := np.flatnonzero(~np.isfinite(values))).size:
            raise InputError(f"{name}, {table.places[wrong[0]]}: {label} is not a finite number; leave that row out")
    if (wrong := np.flatnonzero((steps < 0) | (steps != np.round(steps)) | (steps > MOST_STEPS))).size:
        raise InputError(
            f"{name}, {table.places[wrong[0]]}: {columns.step} must be a whole number from 0 to {MOST_STEPS}, "
            f"got {steps[wrong[0]]:g}; a law counts updates, not epochs or tokens"
        )
    if (wrong := np.flatnonzero(rates < 0)).size:
        raise InputError(
            f"{name}, {table.places[wrong[0]]}: {columns.rate} must be at least 0, got {rates[wrong[0]]:g}"
        )
    order = np.argsort(steps, kind="stable")
    updates, rates = steps[order].astype(np.int_), rates[order]
    if (twice := np.flatnonzero(np.diff(updates) == 0)).size:
        first, second = (table.places[order[twice[0] + shift]] for shift in (0, 1))
        raise InputError(
            f"{name} has the step {updates[twice[0]]} twice ({first} and {second}): "
            "if these are several runs, name the column that tells them apart with --curve, else keep one row a step"
        )
    if not rates.max() > 0.0:
        raise InputError(f"{name}: {columns.rate} is 0 in every row")
    return updates, rates, order


def _curve(name: str, table: Table, columns: Columns, warmup: int | None) -> Curve:
    steps, rates, order = _steps_and_rates(name, table, columns)
    if len(steps) < FEWEST_ROWS:
        raise InputError(f"{name} has {len(steps)} rows: too few, a curve needs at least {FEWEST_ROWS}")
    losses, blank = table.numbers(columns.loss)[order], table.blank(columns.loss)[order]
    if (wrong := np.flatnonzero(~blank & ~np.isfinite(losses))).size:
        raise InputError(
            f"{name}, {table.places[order[wrong[0]]]}: {columns.loss} is not a finite number: no law holds for a run "
            "that diverged; leave out the run, or the row if only its record is damaged"
        )
    if (wrong := np.flatnonzero(~blank & (losses <= 0.0))).size:
        raise InputError(
            f"{name}, {table.places[order[wrong[0]]]}: {columns.loss} must be above 0, got {losses[wrong[0]]:g}; "
            "a law is fitted to its logarithm"
        )
    notes = _check_gaps(name, steps, rates)
    path, peak_at = rates_by_step(name, steps, rates, warmup)
    used = ~blank & (steps >= peak_at) & (np.cumsum(path)[steps] > 0.0)
    if used.sum() < FEWEST_ROWS:
        raise InputError(
            f"{name} has {used.sum()} rows with a loss after its warm-up, which ends at step {peak_at}: "
            f"too few, a curve needs at least {FEWEST_ROWS}"
        )
    return Curve(name, path, peak_at, steps[used], losses[used], tuple(notes))


def _check_gaps(name: str, steps: Places, rates: Array) -> list[str]:
    """Notes about gaps over which the rate stays.

    Raises:
        InputError: the rate changes over a gap, and nobody knows when.
    """
    strides = np.diff(steps)
    notes = []
    for index in np.flatnonzero(strides > _GAP * np.median(strides)):
        start, end = steps[index], steps[index + 1]
        if abs(rates[index + 1] - rates[index]) > _EQUAL * rates.max():
            raise InputError(
                f"{name} has a gap: no rows between the steps {start} and {end}, where the rate goes from {rates[index]:g} to "
                f"{rates[index + 1]:g}; add rows with the rate in between (their loss may be blank)"
            )
        notes.append(f"{name} has a gap from step {start} to {end}; the rate is taken to stay at {rates[index]:g}.")
    return notes


def rates_by_step(name: str, steps: Places, rates: Array, warmup: int | None) -> tuple[Array, int]:
    """The rate at every step from 0 to the last row, ``[T + 1]``, and the step at which it has risen to its peak.

    Between rows the rate is a straight line, except where it changes between two rows and is steady before and after: then it
    has jumped, and the new rate holds from the row that first shows it on.

    Args:
        name: of the run, for messages.
        steps: of the rows, ascending.
        rates: of the rows.
        warmup: steps of a linear warm-up from 0 before the first row, None if the rows show it.

    An `InputError` says that the warm-up is neither given nor shown, or that the rate rises after it.
    """
    steps, rates = _with_warmup(name, steps, rates, warmup)
    at, level = _with_jumps(steps, rates)
    path = np.interp(np.arange(steps[-1] + 1), at, level)
    return path, end_of_warmup(name, path)


def end_of_warmup(name: str, path: Array) -> int:
    """The step at which the rate first reaches its peak.

    Raises:
        InputError: the rate falls before that, or rises after it.
    """
    tolerance = _EQUAL * path.max()
    peak = int(np.argmax(path >= path.max() - tolerance))
    rises = np.diff(path)
    if (wrong := np.flatnonzero(rises[:peak] < -tolerance)).size:
        raise InputError(
            f"{name}: the rate rises again after step {wrong[0] + 1}, where it had fallen: these laws hold for rates that "
            "rise once, in a warm-up, and fall or stay from then on"
        )
    if (wrong := np.flatnonzero(rises[peak:] > tolerance)).size:
        raise InputError(
            f"{name}: the rate rises after step {peak + wrong[0]}, which is after its warm-up: these laws hold for rates that "
            "rise once and fall or stay from then on; leave out the rows from there on"
        )
    return peak


def _with_warmup(name: str, steps: Places, rates: Array, warmup: int | None) -> tuple[Places, Array]:
    first, stride = int(steps[0]), float(np.median(np.diff(steps))) if len(steps) > 1 else np.inf
    if warmup is not None:
        if warmup > first and not (warmup == first + 1 or rates[0] < rates.max() * (1.0 - _EQUAL)):
            raise InputError(
                f"{name} has its full rate at step {first}, but the warm-up is said to last {warmup} steps: say fewer, or 0 for none"
            )
        if first == 0:
            return steps, rates
        if warmup == 0:
            return np.append(0, steps), np.append(rates[0], rates)
        if warmup < first:
            return np.append([0, warmup], steps), np.append([0.0, rates[0]], rates)
        return np.append(0, steps), np.append(0.0, rates)
    if first == 0:
        return steps, rates
    rising = bool(rates[0] < rates.max() * (1.0 - _EQUAL))
    if rising and _through_zero(steps, rates):
        return np.append(0, steps), np.append(0.0, rates)
    if not rising and first <= stride:
        return np.append(0, steps), np.append(rates[0], rates)
    raise InputError(
        f"the warm-up of {name} is missing: its first row is step {first} with a rate of {rates[0]:g}; "
        "say how many steps the rate rose from 0 with --warmup (0 if it did not), because the law counts these steps too"
    )


def _through_zero(steps: Places, rates: Array) -> bool:
    """Whether the first two rows lie on a line from 0 at step 0, up to a tenth, or from the step before it."""
    slope = (rates[1] - rates[0]) / (steps[1] - steps[0])
    return bool(slope > 0.0 and abs(rates[0] - slope * steps[0]) <= max(0.1 * rates[0], slope))


def _with_jumps(steps: Places, rates: Array) -> tuple[Array, Array]:
    """Places and levels for linear interpolation: a jump has a second place one step before its row."""
    tolerance = _EQUAL * rates.max()
    changed = np.abs(np.diff(rates)) > tolerance
    alone = changed.copy()
    alone[1:] &= ~changed[:-1]
    alone[:-1] &= ~changed[1:]
    alone &= (np.diff(steps) > 1) & (np.diff(rates) < 0.0)
    rows = np.flatnonzero(alone)
    if len(rows) and rows[0] == 0:
        rows = rows[1:]
    at = np.concatenate([steps, steps[rows + 1] - 1])
    level = np.concatenate([rates, rates[rows]])
    order = np.argsort(at, kind="stable")
    return at[order].astype(np.float64), level[order]

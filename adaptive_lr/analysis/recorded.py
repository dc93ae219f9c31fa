"""Groups of comparable runs from a table of recorded ones; what would be mixed in silence is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adaptive_lr.analysis.confounders import Cells, unmixed
from adaptive_lr.analysis.direction import doubt
from adaptive_lr.analysis.outcomes import Outcomes, clipped, count_of_runs, only, outcomes
from adaptive_lr.analysis.recorded_noise import Noise
from adaptive_lr.analysis.recorded_sweep import RecordedSweep
from adaptive_lr.analysis.request import Request
from adaptive_lr.analysis.stats import Array
from adaptive_lr.analysis.tables import Flags, Table, shortened
from adaptive_lr.analysis.tables import quoted as cell_in_words
from adaptive_lr.errors import InputError

__all__ = ["Request", "Selection", "quoted", "select"]

EVERYTHING = "all runs"
"""The label of the one group if nothing is grouped by."""

SAME_RATE = 1e-6
"""Rates nearer to each other than this share of them are one: that is what single precision leaves of them."""

LEAST_RATE, GREATEST_RATE = 1e-30, 1e30


@dataclass(frozen=True)
class Selection:
    """Runs by group, and what a reader has to know about them.

    Attributes:
        sweeps: by label, in the order of the table; less is better, the sign of another metric is changed.
        notes: sentences.
        noise: between runs that should be alike, over all groups.
        doubt: a sentence if the metric may have been read upside down.
    """

    sweeps: Mapping[str, RecordedSweep]
    notes: Sequence[str]
    noise: Noise | None
    doubt: str | None = None


def select(table: Table, request: Request) -> Selection:
    """The groups of a table.

    Raises:
        InputError: a column is missing or holds what it should not, nothing is left, runs would be mixed that differ in another
            column, or there are not two learning rates.
    """
    request.check()
    named = (*request.told, *(name for name, _ in request.diverged))
    for name in named:
        table.column(name)
    runs, notes = outcomes(only(table, request), request)
    runs, rates, remarks = _with_rates(runs, request)
    notes += remarks
    cells = _cells(runs.table, rates, request)
    notes += unmixed(runs.table, rates, cells, request)
    notes += _repeats(runs.table, cells, request)
    losses, diverged, remarks = clipped(runs, request)
    notes += remarks
    noise = _noise(runs.table, cells, losses, diverged, request)
    sweeps = {}
    for label, group in cells.items():
        if len(group) < 2:
            notes.append(f"«{label}» has one learning rate only ({min(group):g}) and is left out.")
        elif not any(np.isfinite(losses[rows]).all() for rows in group.values()):
            notes.append(f"«{label}» diverged at every rate and is left out.")
        else:
            sweeps[label] = _sweep(runs.table, group, losses, diverged, noise, request)
    if not sweeps:
        raise InputError(_too_few(runs.table, cells, rates, request))
    notes += _gaps(sweeps)
    return Selection(sweeps, notes, noise, doubt(request.loss, request.direction))


def _with_rates(runs: Outcomes, request: Request) -> tuple[Outcomes, Array, list[str]]:
    """The runs inside the window, their rates, and sentences.

    Raises:
        InputError: a rate is none, or no run is left.
    """
    rates = runs.table.numbers(request.rate)
    usable = (rates >= LEAST_RATE) & (rates <= GREATEST_RATE)
    if request.window is None:
        _check_rates(runs.table, usable, request)
        return runs, one_of_each(rates), []
    low, high = request.window
    inside = usable & (rates >= low * (1.0 - SAME_RATE)) & (rates <= high * (1.0 + SAME_RATE))
    if not inside.any():
        raise InputError(f"{runs.table.source}: no run has {request.rate} between {low:g} and {high:g}")
    notes = [] if inside.all() else [f"Outside the window, and left out: {count_of_runs(int((~inside).sum()))}."]
    return runs.rows(inside), one_of_each(rates[inside]), notes


def _check_rates(table: Table, usable: Flags, request: Request) -> None:
    wrong = np.flatnonzero(~usable)
    if not len(wrong):
        return
    text = table.column(request.rate)[wrong[0]]
    where = f"{table.source}, {table.places[wrong[0]]}: {request.rate} is {cell_in_words(text)}, a learning rate must be above 0"
    bounds = f" (from {LEAST_RATE:g} to {GREATEST_RATE:g})"
    raise InputError(f"{where}{bounds}; --window LOWEST:HIGHEST leaves out runs without one, such as a baseline")


def one_of_each(rates: Array) -> Array:
    """Rates that differ by rounding alone made one: the one of them that is written in the fewest digits."""
    if not len(rates):
        return rates
    distinct = np.unique(rates)
    starts = [0]
    for index, rate in enumerate(distinct.tolist()):
        if rate > distinct[starts[-1]] * (1.0 + SAME_RATE):
            starts.append(index)
    representatives = np.empty_like(distinct)
    for start, end in zip(starts, [*starts[1:], len(distinct)], strict=True):
        representatives[start:end] = min(distinct[start:end].tolist(), key=lambda rate: (len(repr(rate)), rate))
    return representatives[np.searchsorted(distinct, rates)]


def _cells(table: Table, rates: Array, request: Request) -> Cells:
    """Rows by group and rate.

    Raises:
        InputError: there are more groups than allowed.
    """
    columns = [table.column(name) for name in request.by]
    groups: Cells = {}
    for row, rate in enumerate(rates.tolist()):
        values = [column[row] or "(empty)" for column in columns]
        named = (
            values if len(values) == 1 else [f"{name}={value}" for name, value in zip(request.by, values, strict=True)]
        )
        groups.setdefault(", ".join(named) or EVERYTHING, {}).setdefault(rate, []).append(row)
    if len(groups) > request.most_groups:
        raise InputError(
            f"{table.source}: {', '.join(request.by)} make {len(groups)} groups, more than {request.most_groups}; group by fewer columns, or "
            f"say --most-groups {len(groups)} and wait"
        )
    return {label: dict(sorted(group.items())) for label, group in groups.items()}


def _repeats(table: Table, cells: Cells, request: Request) -> Iterator[str]:
    if request.deviation is not None:
        yield f"Each row is a mean of {request.repeats} runs, whose standard deviation is {request.deviation}."
        return
    several = [rows for group in cells.values() for rows in group.values() if len(rows) > 1]
    if not several:
        yield "One run at each rate of each group: nothing is known of the noise between runs, and there are no intervals."
        return
    yield (
        f"Several runs at one rate of one group: in {len(several)} of {sum(map(len, cells.values()))} cases (up to "
        f"{max(map(len, several))} runs); means over them."
    )
    if request.seed is not None:
        seeds = table.column(request.seed)
        if any(len({seeds[row] for row in rows}) < len(rows) for rows in several):
            yield (
                f"Some runs at one rate share their {request.seed}: what differs between those is not the seed, and intervals that "
                "rest on them may be too narrow."
            )


def _noise(table: Table, cells: Cells, losses: Array, diverged: Flags, request: Request) -> Noise | None:
    """From the runs at each rate, or from the standard deviations that the table has of its means."""
    if request.deviation is None:
        return Noise.pooled([_alike(group, losses, diverged) for group in cells.values()])
    squares = _variances(table, diverged, request) * (request.repeats - 1)
    squares = np.where(diverged | np.isnan(squares), np.inf, squares)
    return Noise.reported(
        [
            [(float(losses[row]), float(squares[row]), request.repeats) for rows in group.values() for row in rows]
            for group in cells.values()
        ]
    )


def _variances(table: Table, diverged: Flags, request: Request) -> Array:
    """Of the runs of each row, NaN where they are not known; 0 where they count as untrained, since that is one number.

    Raises:
        InputError: a standard deviation is below 0.
    """
    deviations = table.numbers(str(request.deviation))
    negative = np.flatnonzero(deviations < 0.0)
    if len(negative):
        raise InputError(
            f"{table.source}, {table.places[negative[0]]}: {request.deviation} is {deviations[negative[0]]:g}, a standard deviation is not "
            "below 0"
        )
    return np.where(diverged, 0.0, np.square(deviations))


def _alike(group: Mapping[float, list[int]], losses: Array, diverged: Flags) -> list[Array]:
    """The losses at each rate, infinite where one diverged, so that noise is not taken from there."""
    return [np.where(diverged[rows].any(), np.inf, np.sort(losses[rows])) for rows in group.values()]


def _sweep(
    table: Table,
    group: Mapping[float, list[int]],
    losses: Array,
    diverged: Flags,
    noise: Noise | None,
    request: Request,
) -> RecordedSweep:
    cells = list(group.values())
    paired, seeds = _paired(table, cells, losses, request)
    return RecordedSweep(
        rates=np.array(list(group)),
        # Sorted, so that the last bit does not depend on the order of the rows.
        losses=np.array([np.sort(losses[rows]).mean() for rows in cells]),
        counts=np.array([len(rows) * request.repeats for rows in cells]),
        diverged=np.array([diverged[rows].mean() for rows in cells]),
        paired=paired,
        seeds=seeds,
        noise=noise,
        optimum=request.signed(request.optimum),
        initial=request.signed(request.initial),
        variances=None
        if request.deviation is None
        else _of_means(_variances(table, diverged, request), cells, request),
    )


def _of_means(variances: Array, cells: Sequence[list[int]], request: Request) -> Array:
    """The variance of the mean over all rows at each rate, ``[L]``: each row is the mean of as many runs."""
    return np.array([variances[rows].sum() / len(rows) ** 2 / request.repeats for rows in cells])


def _paired(
    table: Table, cells: Sequence[list[int]], losses: Array, request: Request
) -> tuple[Array | None, tuple[str, ...]]:
    """Losses by seed, ``[S, L]``, and the names of the seeds; None where some rate lacks one or has it twice."""
    if request.seed is None:
        return None, ()
    seeds = table.column(request.seed)
    by_seed = [{seeds[row]: losses[row] for row in rows} for rows in cells]
    names = sorted(by_seed[0])
    complete = all(sorted(at) == names and len(at) == len(rows) for at, rows in zip(by_seed, cells, strict=True))
    if not complete or len(names) < 2:
        return None, ()
    return np.array([[at[name] for at in by_seed] for name in names]), tuple(names)


def _gaps(sweeps: Mapping[str, RecordedSweep]) -> list[str]:
    """Which rates some groups lack."""
    everywhere = sorted({rate for sweep in sweeps.values() for rate in sweep.rates.tolist()})
    lacking: dict[tuple[float, ...], list[str]] = {}
    for label, sweep in sweeps.items():
        present = set(sweep.rates.tolist())
        missing = tuple(rate for rate in everywhere if rate not in present)
        lacking.setdefault(missing, []).append(label)
    gaps = [(missing, labels) for missing, labels in lacking.items() if missing]
    if len(gaps) > _GAPS:
        return [f"Each of {len(sweeps)} groups has rates of its own: {len(gaps)} different sets of rates are lacking."]
    return [
        f"No run at {shortened([f'{rate:g}' for rate in missing], 6)} in {quoted(labels)}." for missing, labels in gaps
    ]


_GAPS = 20


def quoted(labels: Sequence[str]) -> str:
    """Some labels in a sentence, not all of them if there are many."""
    marked = [f"«{label}»" for label in labels]
    return ", ".join(marked) if len(marked) <= 4 else f"{', '.join(marked[:3])} and {len(marked) - 3} other groups"


def _too_few(table: Table, cells: Cells, rates: Array, request: Request) -> str:
    distinct = sorted(set(rates.tolist()))
    if len(distinct) == 1:
        return f"{table.source}: there is one learning rate only ({request.rate} = {distinct[0]:g}); it takes two to say anything"
    if all(len(group) == 1 for group in cells.values()):
        return f"{table.source}: no group has two learning rates; group by fewer columns than {', '.join(request.by)}"
    return f"{table.source}: every group diverged, or has one learning rate only"

"""From one row a step to one row a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adaptive_lr.analysis.stats import Array
from adaptive_lr.analysis.tables import Table, from_records, shortened
from adaptive_lr.errors import InputError

REDUCTIONS = ("last", "min", "max")


@dataclass(frozen=True, kw_only=True)
class Steps:
    """How the rows of a run become one.

    Attributes:
        run: the column that names the run; unused for event files.
        step: the column to sort by; the order of the file if it is None.
        reduce: the loss of a run is its ``last``, or its best over all steps: ``min``, or ``max`` where more is better.
        least_step: runs whose last step lies below it are left out.
    """

    run: str | None = None
    step: str | None = None
    reduce: str = "last"
    least_step: float | None = None

    def __post_init__(self) -> None:
        if self.reduce not in REDUCTIONS:
            raise InputError(f"the loss of a run is its last or min, or max where more is better, got {self.reduce!r}")

    def check(self, *, maximise: bool) -> None:
        """Refuse what cannot be meant.

        Raises:
            InputError: ``reduce`` takes the worst step of a run.
        """
        if self.reduce != "last" and (self.reduce == "max") != maximise:
            opposite = "minimize" if maximise else "maximize"
            raise InputError(
                f"--reduce {self.reduce} takes the worst step of each run; "
                f"write --reduce {'max' if maximise else 'min'}, or --direction {opposite}"
            )


def reduced(values: Sequence[float], reduce: str) -> float:
    """The loss of a run from those of its steps in order: the last, or the best finite one, NaN if none is finite."""
    if reduce == "last":
        return values[-1]
    finite = [value for value in values if math.isfinite(value)]
    return max(finite, default=math.nan) if reduce == "max" else min(finite, default=math.nan)


def one_row_a_run(
    table: Table, *, rate: str, loss: str, steps: Steps, beside: Sequence[str] = ()
) -> tuple[Table, list[str]]:
    """One row a run, and sentences about what was done.

    The loss is that of the last step that has one, or the best of all; the rate is the largest, which is the peak of a schedule.
    Other columns stay if they have one value in each run (blank cells aside), and are left out otherwise.

    Args:
        table: one row a step.
        rate: the column of the learning rate.
        loss: the column of the loss.
        steps: what names a run, and what becomes of its rows.
        beside: columns that go with the loss, as its standard deviation does: a run has those of the step that its loss is of.

    An `InputError` says if a column is missing, a number is none, or no run is long enough.
    """
    run = steps.run or ""
    losses, rates, blank = table.numbers(loss), table.numbers(rate), table.blank(loss)
    positions = table.numbers(steps.step) if steps.step else np.arange(len(table), dtype=np.float64)
    members: dict[str, list[int]] = {}
    # A row without a step stands before all others, so that it is not taken for a run's last.
    for row in np.argsort(np.where(np.isnan(positions), -np.inf, positions), kind="stable").tolist():
        members.setdefault(table.column(run)[row], []).append(row)
    with_loss = {column: table.column(column) for column in beside}
    steady = _steady(table, members, (loss, rate, run, *beside))
    records, ends = [], {}
    for name, rows in members.items():
        # A row without the loss (of training only, say) does not end a run; a run that never has one has no result.
        valued = [row for row in rows if not blank[row]]
        ends[name] = float(positions[(valued or rows)[-1]]) if steps.step else float(len(rows))
        value = repr(float(reduced(losses[valued].tolist(), steps.reduce))) if valued else ""
        peak = rates[rows][np.isfinite(rates[rows])]
        record = {column: next(iter(values[name]), "") for column, values in steady.items()}
        record |= {run: name, loss: value, rate: repr(float(peak.max())) if len(peak) else ""}
        source = next((row for row in reversed(valued) if repr(float(losses[row])) == value), None)
        record |= {column: "" if source is None else texts[source] for column, texts in with_loss.items()}
        records.append(record)
    notes = [_words(table, steps, (rate, loss), len(members), [*steady, *beside])]
    if steps.step and np.isnan(positions).any():
        count = int(np.isnan(positions).sum())
        notes.append(f"{count} row{'s have' if count > 1 else ' has'} no {steps.step}: taken as before the others.")
    keep, remarks = long_enough(ends, steps, steps.step or "row")
    complete = [record for record, name in zip(records, members, strict=True) if name in keep]
    return from_records(complete, [f"run {name}" for name in members if name in keep], table.source), [*notes, *remarks]


def _steady(
    table: Table, members: Mapping[str, Sequence[int]], excluded: Sequence[str]
) -> dict[str, dict[str, set[str]]]:
    """Columns with at most one value in each run: their values by run."""
    steady = {}
    for column, texts in table.columns.items():
        values = {name: {texts[row] for row in rows} - {""} for name, rows in members.items()}
        if column not in excluded and max(map(len, values.values())) <= 1:
            steady[column] = values
    return steady


def _words(table: Table, steps: Steps, names: tuple[str, str], runs: int, steady: Sequence[str]) -> str:
    rate, loss = names
    dropped = [name for name in table.columns if name not in {*steady, loss, rate, steps.run}]
    kind = {"last": "last", "min": "least", "max": "greatest"}[steps.reduce]
    words = f"{len(table)} rows of {runs} runs: {loss} is the {kind} of each run, {rate} the largest"
    if dropped:
        words += f"; left out, because they change within a run: {', '.join(dropped)}"
    return f"{words}."


def long_enough(ends: Mapping[str, float], steps: Steps, unit: str) -> tuple[set[str], list[str]]:
    """The runs that count, and what a reader must know about runs of different length.

    Args:
        ends: the last step of each run that has a loss.
        steps: has the least step that counts.
        unit: what is counted.

    Raises:
        InputError: no run is as long as that.
    """
    least = -math.inf if steps.least_step is None else steps.least_step
    short = [name for name, end in ends.items() if not end >= least] if steps.least_step is not None else []
    keep = {name: end for name, end in ends.items() if name not in set(short)}
    if ends and not keep:
        raise InputError(f"no run gets to {unit} {least:g}; the longest ends at {np.nanmax(list(ends.values())):g}")
    notes = []
    if short:
        notes.append(f"Ended before {unit} {least:g}, and left out: {shortened(short, 6)}.")
    finite: Array = np.array([end for end in keep.values() if math.isfinite(end)])
    if len(finite) and finite.max() > finite.min():
        first = min(keep, key=lambda name: keep[name])
        last = max(keep, key=lambda name: keep[name])
        advice = (
            "Name the step with --step to leave those out."
            if unit == "row"
            else f"--least-step {finite.max():g} leaves those out."
        )
        fewer = sum(end < finite.max() for end in keep.values())
        notes.append(
            f"Runs of different length are compared: the last {unit} with a loss lies between {finite.min():g} ({first}) and {finite.max():g} "
            f"({last}), and {fewer} of {len(keep)} runs ended before the longest. {advice}"
        )
    return set(keep), notes

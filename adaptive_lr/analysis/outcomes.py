"""What came of each run: a number, a divergence, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from adaptive_lr.analysis.request import Request
from adaptive_lr.analysis.run_states import UNFINISHED, left_out, state_of
from adaptive_lr.analysis.stats import Array
from adaptive_lr.analysis.tables import Flags, Table, number, shortened
from adaptive_lr.errors import InputError

_ABSURD = 1000.0


@dataclass(frozen=True)
class Outcomes:
    """Runs that have a result.

    Attributes:
        table: one row a run.
        losses: less is better, NaN where a run diverged; a metric of which more is better has its sign changed.
    """

    table: Table
    losses: Array

    def rows(self, keep: np.ndarray) -> Outcomes:
        """Some of the runs."""
        return Outcomes(self.table.rows(np.flatnonzero(keep).tolist()), self.losses[keep])


def only(table: Table, request: Request) -> Table:
    """The rows that have the values asked for.

    Raises:
        InputError: none has; the message has the values that there are.
    """
    for name, value in request.where:
        keep = [row for row, text in enumerate(table.column(name)) if same(text, value)]
        if not keep:
            raise InputError(_none_with(table, name, value))
        table = table.rows(keep)
    return table


def _none_with(table: Table, name: str, value: str) -> str:
    known = sorted(set(table.column(name)), key=order)
    shown = shortened([text or "(empty)" for text in known], 8)
    return f"{table.source}: no run with {name}={value}; {name} is one of {shown}"


def same(text: str, value: str) -> bool:
    """Whether two texts are one value: the same number, or the same letters; ``nan`` is ``nan``."""
    left, right = number(text), number(value)
    if left is not None and left == right:
        return True
    return text.strip() == value.strip() or (text.strip().lower() == value.strip().lower() == "nan")


def order(text: str) -> tuple[float, str]:
    """By number, then by letter; texts that are no numbers come last."""
    value = number(text)
    return (float("inf") if value is None or np.isnan(value) else value), text


def outcomes(table: Table, request: Request) -> tuple[Outcomes, list[str]]:
    """The runs that have a result, and sentences about those that have none.

    A run that is not over, that a tracker calls failed, or whose loss is blank, has no result. A loss that is not finite, or a
    column that somebody declared (``--diverged State=crashed``), means that the run diverged.

    Raises:
        InputError: no run with a declared value, or no run has a result.
    """
    losses, blank = table.numbers(request.loss), table.blank(request.loss)
    declared = _declared(table, request)
    diverged = declared | (np.isnan(losses) & ~blank)
    notes = []
    keep = np.ones(len(table), dtype=np.bool_)
    for name, text, rows in left_out(table, request.told, declared.tolist()):
        # What was broken off with a loss that is not finite diverged, whatever the tracker calls it.
        without = [row for row in rows if state_of(text) in UNFINISHED or not diverged[row]]
        if not without:
            continue
        keep[without] = False
        advice = "" if state_of(text) in UNFINISHED else f" If they diverged, say --diverged {name}={text}."
        notes.append(f"No result, since {name} is {text}: {_named(table, without)}; left out.{advice}")
    missing = np.flatnonzero(blank & ~diverged & keep).tolist()
    if missing:
        keep[missing] = False
        notes.append(
            f"No result, since {request.loss} is blank: {_named(table, missing)}; left out. If blank means that a run diverged, say "
            f"--diverged {request.loss}=."
        )
    if not keep.any():
        raise InputError(f"{table.source}: no run has a result. {' '.join(notes)}")
    signed = -losses if request.maximise else losses
    return Outcomes(table, np.where(diverged, np.nan, signed)).rows(keep), notes


def _declared(table: Table, request: Request) -> Flags:
    declared = np.zeros(len(table), dtype=np.bool_)
    for name, value in request.diverged:
        rows = np.array([same(text, value) for text in table.column(name)], dtype=np.bool_)
        if not rows.any():
            raise InputError(_none_with(table, name, value))
        declared |= rows
    return declared


def _named(table: Table, rows: list[int]) -> str:
    return f"{count_of_runs(len(rows))} ({shortened([table.places[row] for row in rows], 6)})"


def count_of_runs(count: int) -> str:
    """``1 run``, ``3 runs``, ``no runs``."""
    return "1 run" if count == 1 else f"{count or 'no'} runs"


def clipped(runs: Outcomes, request: Request) -> tuple[Array, Flags, list[str]]:
    """Losses with what diverged at the loss before training, or infinite where that is not known; which those are; and sentences.

    Raises:
        InputError: a loss lies below the least possible one.
    """
    losses, diverged = runs.losses, np.isnan(runs.losses)
    optimum, initial = request.signed(request.optimum), request.signed(request.initial)
    below = np.flatnonzero(losses < (-np.inf if optimum is None else optimum))
    if len(below):
        text = runs.table.column(request.loss)[below[0]]
        beyond = "above the greatest possible value" if request.maximise else "below the least possible loss"
        where = f"{runs.table.source}, {runs.table.places[below[0]]}"
        raise InputError(f"{where}: {request.loss} is {text}, {beyond} {request.optimum!r}")
    notes = list(_notes(losses, diverged, request))
    if initial is None:
        return np.where(diverged, np.inf, losses), diverged, notes
    diverged = diverged | (losses > initial)
    return np.where(diverged, initial, losses), diverged, notes


def _notes(losses: Array, diverged: Flags, request: Request) -> Iterator[str]:
    count, initial = int(diverged.sum()), request.signed(request.initial)
    before = "value before training" if request.maximise else "loss before training"
    if initial is None:
        middle = abs(float(np.median(losses[~diverged]))) if count < len(losses) else 0.0
        absurd = int((losses[~diverged] > _ABSURD * middle).sum()) if middle else 0
        if absurd:
            size = "far below the median" if request.maximise else f"with more than {_ABSURD:g} times the median loss"
            yield f"{count_of_runs(absurd)} ended {size}: if these diverged, give the {before}."
        if count:
            yield (
                f"{count_of_runs(count)} diverged ({_what(request)}): their rates count as useless. With the {before} they would count as "
                "untrained, and a mean over the window would be defined."
            )
        return
    worse = int((losses > initial).sum())
    if count or worse:
        side = "below" if request.maximise else "above"
        yield (
            f"{count_of_runs(count)} diverged ({_what(request)}), and {count_of_runs(worse)} ended {side} the {before}, {request.initial:g}: "
            f"counted as that {before.split()[0]}."
        )


def _what(request: Request) -> str:
    declared = "".join(f", or {name} is {value or 'blank'}" for name, value in request.diverged)
    return f"{'no finite value' if request.maximise else 'no finite loss'}{declared}"

"""Tables of other people's runs, from CSV and JSON lines: every cell stays text until somebody asks for numbers."""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adaptive_lr.analysis.stats import Array
from adaptive_lr.errors import InputError

NOTHING = ("", "nan", "none", "null", "na", "n/a", "inf", "+inf", "-inf", "infinity", "-infinity")
"""What stands for a loss that is not a number, in any case of letters."""


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        source: the name of the file, for messages.
        columns: by name, all of one length.
        places: where each row stands, for messages: ``line 7``.
    """

    source: str
    columns: Mapping[str, Sequence[str]]
    places: Sequence[str]

    def __len__(self) -> int:
        return len(self.places)

    def column(self, name: str) -> Sequence[str]:
        """The texts of a column.

        Raises:
            InputError: there is none of that name; the message has the nearest one.
        """
        if name in self.columns:
            return self.columns[name]
        near = nearest(name, list(self.columns))
        hint = f"did you mean {near!r}?" if near else f"it has {', '.join(self.columns)}"
        raise InputError(f"{self.source} has no column {name!r}; {hint}")

    def numbers(self, name: str) -> Array:
        """A column as numbers, NaN where a cell is empty or says that it is not a finite number.

        Raises:
            InputError: a cell holds another text; the message says where.
        """
        found = np.full(len(self), np.nan)
        for place, (text, where) in enumerate(zip(self.column(name), self.places, strict=True)):
            if text.strip().lower() not in NOTHING:
                try:
                    value = float(text)
                except ValueError:
                    raise InputError(f"{self.source}, {where}: {name} is {text!r}, not a number") from None
                found[place] = value if math.isfinite(value) else np.nan
        return found

    def rows(self, keep: Sequence[int]) -> Table:
        """The given rows."""
        columns = {name: [texts[place] for place in keep] for name, texts in self.columns.items()}
        return Table(self.source, columns, [self.places[place] for place in keep])


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that somebody may have meant; None if nothing is near.

    >>> nearest("Lr", ["seed", "peak_lr", "loss"])
    'peak_lr'
    """
    inside = [one for one in known if name and (name.lower() in one.lower() or one.lower() in name.lower())]
    close = difflib.get_close_matches(name.lower(), [one.lower() for one in known], n=1, cutoff=0.5)
    typed = [one for one in known if close and one.lower() == close[0]]
    return next(iter([*typed, *sorted(inside, key=len)]), None)


def read_table(path: Path) -> Table:
    """Rows from a file: JSON lines if it ends in ``.jsonl`` or ``.ndjson``, CSV otherwise; both also with ``.gz``.

    A CSV may be separated by commas, semicolons or tabs. In JSON lines, ``{"config": {"lr": 0.1}}`` gives a column ``config.lr``.

    Raises:
        InputError: there is no such file, it is empty, or it is not what its name says.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file" if path.exists() else f"there is no file {path}")
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = raw.decode("utf-8-sig")
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise InputError(f"{path.name} is not a text file in UTF-8 ({error})") from None
    if not text.strip():
        raise InputError(f"{path.name} is empty")
    name = path.name.removesuffix(".gz")
    table = _from_json_lines(text, path.name) if name.endswith((".jsonl", ".ndjson")) else _from_csv(text, path.name)
    if not len(table):
        raise InputError(f"{path.name} has a header and no rows")
    return table


def from_records(records: Sequence[Mapping[str, str]], places: Sequence[str], source: str) -> Table:
    """Rows from mappings that need not all have the same names; what is missing is empty."""
    names = list(dict.fromkeys(name for one in records for name in one))
    return Table(source, {name: [one.get(name, "") for one in records] for name in names}, places)


def _from_csv(text: str, source: str) -> Table:
    header = text.lstrip().splitlines()[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    names: list[str] = []
    rows: list[list[str]] = []
    places: list[str] = []
    try:
        for row in reader:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if not names:
                names = [one.strip() for one in row]
                if twice := {one for one in names if names.count(one) > 1}:
                    raise InputError(f"{source} has the column {min(twice)!r} twice")
                continue
            if len(row) != len(names):
                raise InputError(f"{source}, line {reader.line_num}: {len(row)} cells, but {len(names)} columns")
            rows.append(row)
            places.append(f"line {reader.line_num}")
    except csv.Error as error:
        raise InputError(f"{source}, line {reader.line_num}: {error}") from None
    return Table(source, {name: [row[place] for row in rows] for place, name in enumerate(names)}, places)


def _from_json_lines(text: str, source: str) -> Table:
    records, places = [], []
    for place, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{source}, line {place}: not JSON ({error.msg})") from None
        if not isinstance(found, dict):
            raise InputError(f"{source}, line {place}: not an object")
        records.append(_flat(found))
        places.append(f"line {place}")
    return from_records(records, places, source)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = "" if value is None else str(value)
    return found


def one_row_a_run(table: Table, *, run: str, loss: str, rate: str, step: str | None, reduce: str) -> tuple[Table, str]:
    """From one row a step to one row a run, and a sentence about what was done.

    The loss is that of the last step, or the least of all; the rate is the largest, which is the peak of a schedule. Other columns
    stay if they have one value in each run (empty cells aside), and are left out otherwise.

    Args:
        table: one row a step.
        run: the column that names the run.
        loss: the column of the loss.
        rate: the column of the learning rate.
        step: the column to sort by; the order of the file if it is None.
        reduce: ``last`` or ``min``.

    Raises:
        InputError: a column is missing, a number is none, or ``reduce`` is neither.
    """
    if reduce not in ("last", "min"):
        raise InputError(f"the loss of a run is its last or min, got {reduce!r}")
    losses, rates = table.numbers(loss), table.numbers(rate)
    order = np.argsort(table.numbers(step), kind="stable") if step else np.arange(len(table))
    members: dict[str, list[int]] = {}
    for place in order.tolist():
        members.setdefault(table.column(run)[place], []).append(place)
    values: dict[str, list[set[str]]] = {
        name: [{texts[place] for place in places} - {""} for places in members.values()]
        for name, texts in table.columns.items()
    }
    steady = [name for name in values if name not in (loss, rate, run) and max(map(len, values[name])) <= 1]
    records = []
    for place, (name, places) in enumerate(members.items()):
        # A row without the loss (of training only, say) does not end a run; a run that never has one diverged.
        said = [one for one in places if table.column(loss)[one].strip()] or places
        least = losses[said][np.isfinite(losses[said])].min(initial=np.inf)
        value = losses[said[-1]] if reduce == "last" else (least if np.isfinite(least) else np.nan)
        peak = rates[places][np.isfinite(rates[places])].max(initial=-np.inf)
        record = {one: next(iter(values[one][place]), "") for one in steady}
        records.append(record | {run: name, loss: repr(float(value)), rate: repr(float(peak))})
    dropped = [name for name in table.columns if name not in {*steady, loss, rate, run}]
    words = (
        f"{len(table)} rows of {len(records)} runs: {loss} is the {'last' if reduce == 'last' else 'least'} of each run, "
        f"{rate} the largest"
    )
    if dropped:
        words += f"; left out, because they change within a run: {', '.join(dropped)}"
    return from_records(records, [f"run {name}" for name in members], table.source), f"{words}."

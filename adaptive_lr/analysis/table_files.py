"""Tables from files: CSV, JSON and JSON lines, plain or compressed, and what is wrong with a file in one line."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adaptive_lr.analysis.tables import Table, from_records, visible
from adaptive_lr.errors import InputError

LARGEST_FILE = 512 * 2**20
"""Bytes of text that are read at most, after decompression."""

_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}
_LAYOUTS = "an array of objects, an object of columns, or one object a line"

Records = list[dict[str, str]]


def read_table(path: Path) -> Table:
    """Rows from a file, by the end of its name; all also with ``.gz``.

    ``.jsonl`` and ``.ndjson`` are JSON lines. ``.json`` is an array of objects, an object of columns, an object with one array of
    objects in it, or JSON lines. ``.tsv`` is separated by tabs, and everything else by commas, semicolons or tabs, whichever the
    header has most of. In JSON, ``{"config": {"lr": 0.1}}`` gives a column ``config.lr``.

    Raises:
        InputError: there is no such file, it is empty or too large, or it is not what its name says.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a file" if path.exists() else f"there is no file {path}")
    source = visible(path.name)
    text = _text(path, source)
    if not text.strip():
        raise InputError(f"{source} is empty")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson")):
        table = _from_json_lines(text, source)
    elif name.endswith(".json"):
        table = _from_json(text, source)
    else:
        table = _from_csv(text, source, "\t" if name.endswith((".tsv", ".tab")) else None)
    if not len(table):
        raise InputError(f"{source} has a header and no rows")
    return table


def _text(path: Path, source: str) -> str:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
        if len(raw) > LARGEST_FILE:
            raise InputError(
                f"{source} holds more than {LARGEST_FILE // 2**20} MiB of text; leave out columns or steps that are not needed"
            )
        return raw.decode("utf-8-sig")
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{source} is not a text file in UTF-8 ({error})") from None


def _from_csv(text: str, source: str, delimiter: str | None) -> Table:
    separator = delimiter or _separator(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    names: list[str] = []
    rows: list[list[str]] = []
    places: list[str] = []
    try:
        for row in reader:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if not names:
                names = [visible(name.strip()) for name in row]
                if twice := {name for name in names if names.count(name) > 1}:
                    raise InputError(f"{source} has the column {min(twice)!r} twice")
                continue
            if len(row) != len(names):
                raise InputError(
                    f"{source}, line {reader.line_num}: {len(row)} cells, but {len(names)} columns (separated by {_NAMES[separator]})"
                )
            rows.append([visible(cell.strip()) for cell in row])
            places.append(f"line {reader.line_num}")
    except csv.Error as error:
        raise InputError(f"{source}, line {reader.line_num}: {error}") from None
    return Table(source, {name: [row[index] for row in rows] for index, name in enumerate(names)}, places)


def _separator(text: str) -> str:
    """What the header has most of, quoted names aside."""
    header = re.sub(r'"[^"]*"', "", re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0])
    return max(_NAMES, key=header.count)


def _from_json(text: str, source: str) -> Table:
    try:
        document = _parsed(text)
    except json.JSONDecodeError as error:
        first = next(line for line in text.split("\n") if line.strip())
        if error.msg == "Extra data" and first.lstrip().startswith("{"):
            return _from_json_lines(text, source)
        raise InputError(f"{source}, line {error.lineno}: not JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source}: {_reason(error)}") from None
    if isinstance(document, dict):
        if columns := _columns(document):
            return from_records(*columns, source)
        inner = [value for value in document.values() if _is_records(value)]
        document = inner[0] if len(inner) == 1 else None if not _is_row(document) else [document]
    if not _is_records(document):
        raise InputError(f"{source} is JSON, but not rows: it takes {_LAYOUTS}")
    return _records([(f"item {index}", row) for index, row in enumerate(document, start=1)], source)


def _is_records(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _is_row(document: Mapping[str, Any]) -> bool:
    """Whether an object is one run: at least one of its values is a plain one."""
    return any(not isinstance(value, list | dict) for value in document.values())


def _columns(document: Mapping[str, Any]) -> tuple[Records, list[str]] | None:
    """Rows of an object of columns: lists of one length, or objects with the same keys; None if it is not one."""
    values = list(document.values())
    if not values:
        return None
    if all(isinstance(column, list) for column in values) and len({len(column) for column in values}) == 1:
        if any(isinstance(cell, list | dict) for column in values for cell in column):
            return None
        keys: list[Any] = list(range(len(values[0])))
        places = [f"item {key + 1}" for key in keys]
    elif all(isinstance(column, dict) and list(column) == list(values[0]) for column in values):
        if any(isinstance(cell, list | dict) for column in values for cell in column.values()):
            return None
        keys = list(values[0])
        places = [f"row {key}" for key in keys]
    else:
        return None
    return [{name: _cell(column[key]) for name, column in document.items()} for key in keys], places


def _from_json_lines(text: str, source: str) -> Table:
    rows = []
    # A line ends at \n alone: JSON may hold U+2028 and U+0085 inside of its strings.
    for index, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = _parsed(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{source}, line {index}: {_reason(error)}") from None
        if not isinstance(row, dict):
            raise InputError(f"{source}, line {index}: not an object")
        rows.append((f"line {index}", row))
    return _records(rows, source)


def _records(rows: Sequence[tuple[str, Mapping[str, Any]]], source: str) -> Table:
    records = []
    for location, row in rows:
        try:
            records.append(_flat(row))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{source}, {location}: {_reason(error)}") from None
    return from_records(records, [location for location, _ in rows], source)


class _TwiceError(ValueError):
    """A name stands twice in one object."""


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_pairs)


def _pairs(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(visible(next(name for name in names if names.count(name) > 1)))
    return row


def _reason(error: Exception) -> str:
    if isinstance(error, _TwiceError):
        return f"{error.args[0]!r} is given twice"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON ({error.msg})"
    if isinstance(error, RecursionError):
        return "brackets are nested too deeply"
    return "a number has too many digits"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    row: dict[str, str] = {}
    for name, value in values.items():
        cells = _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": _cell(value)}
        if twice := row.keys() & cells.keys():
            raise _TwiceError(visible(min(twice)))
        row |= cells
    return row


def _cell(value: object) -> str:
    return "" if value is None else str(value).strip()

"""Ratios of speed against the usual ways, and what else is held to an aim: ``make bench``.

Absolute times depend on the machine and on who else uses it; a ratio of two things timed in turn, in processor time, hardly does.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from page import PAGE, written
from results import RESULTS, TABLES, conditions, merged, stored
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rows import IncomparableError, cells, measured, missed

PAIRS = 5

WIDTH = 200
"""Of a table that goes into a file."""


def table(name: str, pairs: int, *, quick: bool, console: Console) -> dict[str, Any]:
    """Measure a table: its title, what it is about, the conditions, and its rows."""
    module = importlib.import_module(TABLES[name])
    cases = module.cases(quick=quick)
    rows = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    load = os.getloadavg()[0] if "getloadavg" in dir(os) else None
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task(name, total=len(cases))
        for case in cases:
            progress.update(bar, description=f"{name}: {case.what}")
            rows.append(measured(case, pairs))
            progress.advance(bar)
            if not console.is_terminal:
                console.print(f"{name}: {case.what}", soft_wrap=True, markup=False)
    return {"title": module.TITLE, "about": module.ABOUT, "measured": conditions(load), "rows": rows}


def drawn(content: dict[str, Any]) -> Table:
    """A measured table for the terminal."""
    grid = Table("what", "median", "spread", "aim", "", title=content["title"])
    for row in content["rows"]:
        grid.add_row(*cells(row), style="yellow" if missed(row) else "")
    return grid


def chosen(names: str) -> list[str]:
    """The tables named in a list with commas.

    Raises:
        argparse.ArgumentTypeError: one of them does not exist.
    """
    tables = [name.strip() for name in names.split(",") if name.strip()]
    for name in tables:
        if name not in TABLES:
            raise argparse.ArgumentTypeError(f"there is no table {name!r}: choose from {', '.join(TABLES)}")
    return tables


def positive(text: str) -> int:
    """A whole number above 0.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=chosen, default=list(TABLES), metavar="NAME,…", help=f"of {', '.join(TABLES)}")
    parser.add_argument(
        "--pairs", type=positive, default=PAIRS, help="pairs, or repetitions, of each row (default: %(default)s)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short pair of each row; nothing is stored, the numbers mean little"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help=f"measure nothing: write docs/{PAGE.name} from {RESULTS.name}"
    )
    return parser.parse_args(words)


def tables(options: argparse.Namespace, console: Console) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure the chosen tables.

    Yields:
        The name of a table and what was measured.
    """
    for name in options.only:
        yield name, table(name, 1 if options.quick else options.pairs, quick=options.quick, console=console)


def main() -> int:
    """Measure, print and store; 1 where two computations that are to be compared are not the same."""
    options, console = arguments(), Console(stderr=True)
    if not options.write_docs:
        try:
            for name, content in tables(options, console):
                output = Console()
                output.print(drawn(content), width=output.width if output.is_terminal else WIDTH)
                if not options.quick:
                    merged({name: content})
        except IncomparableError as error:
            console.print(f"error: {error}", soft_wrap=True, markup=False)
            return 1
    if options.write_docs or not options.quick:
        PAGE.write_text(written(stored()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

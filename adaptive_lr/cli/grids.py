"""Tables of numbers in a terminal, of which no digit is cut however narrow it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adaptive_lr.cli.common import out

_GAP = 2
_WIDEST_LABEL = 0.4
"""Of the terminal, before labels are folded."""


@dataclass(frozen=True)
class Grid:
    """Rows of cells with a label each.

    Attributes:
        title: above the grid.
        corner: the heading of the labels.
        columns: the headings of the cells.
        rows: a label and its cells.
        left: headings of columns that are text.
    """

    title: str
    corner: str
    columns: Sequence[str]
    rows: list[tuple[str, Sequence[str]]] = field(default_factory=list)
    left: Sequence[str] = ()

    def print(self) -> None:
        """Print the grid: in one piece where the output is a file, below each other where the terminal is too narrow."""
        widths = [
            max(map(cell_len, (name, *(cells[index] for _, cells in self.rows)))) + _GAP
            for index, name in enumerate(self.columns)
        ]
        labels = max(map(cell_len, (self.corner, *(label for label, _ in self.rows)))) + _GAP
        if not out.is_terminal:
            self._part(range(len(widths)), labels, width=labels + sum(widths))
            return
        labels = min(labels, max(int(out.width * _WIDEST_LABEL), cell_len(self.corner) + _GAP))
        parts: list[list[int]] = [[]]
        for index, width in enumerate(widths):
            if parts[-1] and labels + sum(widths[column] for column in parts[-1]) + width > out.width:
                parts.append([])
            parts[-1].append(index)
        for part in parts:
            self._part(part, labels, width=out.width)

    def _part(self, part: Sequence[int], labels: int, *, width: int) -> None:
        table = Table(title=escape(self.title), title_justify="left", box=None, padding=(0, _GAP, 0, 0))
        table.add_column(escape(self.corner), overflow="fold", width=labels - _GAP)
        for index in part:
            heading = self.columns[index]
            table.add_column(escape(heading), justify="left" if heading in self.left else "right", overflow="fold")
        for label, cells in self.rows:
            table.add_row(escape(label), *(escape(cells[index]) for index in part))
        # A console never prints wider than itself, so a file gets one that is wide enough.
        console = out if out.is_terminal else Console(file=out.file, width=width, highlight=False)
        console.print(table)
        console.print()

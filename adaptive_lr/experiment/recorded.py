"""How much results depend on the learning rate, from runs that others recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptive_lr.analysis import robustness
from adaptive_lr.analysis.recorded import Request
from adaptive_lr.analysis.recorded_summary import summarise
from adaptive_lr.analysis.run_steps import Steps, one_row_a_run
from adaptive_lr.analysis.table_files import read_table
from adaptive_lr.analysis.tables import Table
from adaptive_lr.experiment.base import AbstractExperiment
from adaptive_lr.reporting.tensorboard import Run
from adaptive_lr.training import Trial
from adaptive_lr.trials.store import Store

KIND = "recorded"

RATIOS = tuple(sorted({2.0, *robustness.RATIOS.values(), 5.0}))
"""The grid ratios of the other experiments, and 2 and 5."""


@dataclass(frozen=True, kw_only=True)
class Names:
    """A column that says in words what several columns say together.

    Attributes:
        column: what it is called.
        of: the columns that it takes the place of.
        words: by their values; other values stand as they are, with a space between them.
    """

    column: str
    of: tuple[str, ...]
    words: Mapping[tuple[str, ...], str]

    def applied(self, table: Table) -> Table:
        """A table with this column instead of the others; an `InputError` says which of them is missing."""
        values = list(zip(*(table.column(name) for name in self.of), strict=True))
        columns = {name: texts for name, texts in table.columns.items() if name not in self.of}
        columns[self.column] = [self.words.get(key, " ".join(key)) for key in values]
        return Table(table.source, columns, table.places)


@dataclass(frozen=True, kw_only=True)
class RecordedStudy:
    """Comparable runs in one file.

    Attributes:
        name: as in the address of its section.
        title: a line for the report.
        file: below the folder of the experiment.
        request: which runs, and by what they are grouped.
        steps: how the rows of a run become one, if a row is a step.
        names: words for what several columns say together.
        ratios: of the grids that are asked for.
    """

    name: str
    title: str
    file: str
    request: Request
    steps: Steps | None = None
    names: Names | None = None
    ratios: Sequence[float] = RATIOS

    def summary(self, table: Table) -> dict[str, Any]:
        """All numbers, and notes on what was done with the rows; an `InputError` says what is wrong with the table."""
        notes: list[str] = []
        if self.steps is not None:
            table, notes = one_row_a_run(
                table,
                rate=self.request.rate,
                loss=self.request.loss,
                steps=self.steps,
                beside=self.request.beside,
            )
        if self.names is not None:
            table = self.names.applied(table)
        numbers = summarise(table, self.request, ratios=self.ratios)
        return {"title": self.title, **numbers, "notes": [*notes, *numbers["notes"]]}


@dataclass(frozen=True, kw_only=True)
class RecordedRuns(AbstractExperiment):
    """An experiment that trains nothing: it reads what was recorded elsewhere, and is skipped where that is absent.

    Attributes:
        folder: where the files are.
        absent: what to do if they are not there, a sentence for the report.
        about: where the runs come from, sentences for the report.
        studies: what to look at.
    """

    kind = KIND

    folder: Path
    absent: str
    about: Sequence[str]
    studies: Sequence[RecordedStudy]

    def trials(self) -> list[Trial]:
        """None."""
        return []

    def smoke(self) -> RecordedRuns:
        """The same: it takes no time."""
        return self

    def analyse(self, store: Store) -> dict[str, Any]:
        """See the base class; the store is not looked at, and an `InputError` says what is wrong with a file that is there."""
        page = page_numbers(
            name=self.name,
            title=self.title,
            question=self.question,
            about=self.about,
            rerun=f"adaptive-lr run {self.name}",
        )
        missing = [study.file for study in self.studies if not (self.folder / study.file).is_file()]
        if missing:
            return page | {"skipped": f"{missing[0]} is not there. {self.absent}", "is_experiment": True}
        tables = {file: read_table(self.folder / file) for file in {study.file for study in self.studies}}
        studies = {study.name: study.summary(tables[study.file]) for study in self.studies}
        return page | {"studies": studies, "is_experiment": True}

    def runs_to_show(self, numbers: Mapping[str, Any], *, everything: bool) -> list[Run]:
        """None."""
        return []


def page_numbers(*, name: str, title: str, question: str, about: Sequence[str], rerun: str) -> dict[str, Any]:
    """What the page of recorded runs needs besides its studies."""
    return {
        "kind": KIND,
        "name": name,
        "title": title,
        "question": question,
        "about": list(about),
        "rerun": rerun,
        "skipped": None,
        "is_experiment": False,
        "studies": {},
    }

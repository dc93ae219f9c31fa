"""How much results depend on the learning rate, from runs that others recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptive_lr.analysis.recorded import Request
from adaptive_lr.analysis.recorded_summary import summarise
from adaptive_lr.analysis.table_files import read_table
from adaptive_lr.experiment.base import AbstractExperiment
from adaptive_lr.reporting.tensorboard import Run
from adaptive_lr.training import Trial
from adaptive_lr.trials.store import Store

KIND = "recorded"


@dataclass(frozen=True, kw_only=True)
class RecordedStudy:
    """Comparable runs in one file.

    Attributes:
        name: as in the address of its section.
        title: a line for the report.
        file: below the folder of the experiment.
        request: which runs, and by what they are grouped.
    """

    name: str
    title: str
    file: str
    request: Request


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
        studies = {
            study.name: {"title": study.title, **summarise(tables[study.file], study.request)} for study in self.studies
        }
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

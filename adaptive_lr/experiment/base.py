"""What an experiment is, wherever its question comes from."""

from __future__ import annotations

import ast
import io
import itertools
import re
import tokenize
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.errors import ExperimentError
from adaptive_lr.reporting.tensorboard import Run
from adaptive_lr.training import Trial
from adaptive_lr.trials.planning import Choice
from adaptive_lr.trials.processes import Processes
from adaptive_lr.trials.runner import Job, run_trials
from adaptive_lr.trials.scripts import load_script
from adaptive_lr.trials.store import Store

FOLDER = Path("experiments")
"""Where experiments are declared, below the working directory."""

_HEAD = 4000
"""Characters of a file among which its docstring is looked for."""

_BEFORE_A_DOCSTRING = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING)


@dataclass(frozen=True, kw_only=True)
class AbstractExperiment(ABC):
    """A question, the trials that answer it, and the numbers that they give.

    Attributes:
        name: as in the name of its file.
        title: a line for the report.
        question: what is asked, in a sentence.
    """

    kind: ClassVar[str]
    """Which page of the report shows it."""

    name: str
    title: str
    question: str

    def __post_init__(self) -> None:
        """The name becomes that of folders, which are replaced.

        Raises:
            ExperimentError: it cannot.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", self.name):
            raise ExperimentError(f"the name of an experiment must be letters, digits, _, - and ., got {self.name!r}")

    @abstractmethod
    def trials(self) -> list[Trial]:
        """Every trial that is known before any is trained, in a fixed order."""

    def following(self, store: Store) -> list[Trial]:
        """Trials that are known only once those of `trials` are in the store, in a fixed order; none by default."""
        return []

    def stages(self, store: Store) -> Iterator[list[Trial]]:
        """Give out trials in the order in which they can be known.

        Yields:
            Those of `trials`, and when these are stored those that follow, if there are any.
        """
        yield self.trials()
        if following := self.following(store):
            yield following

    def left_out(self) -> dict[str, str]:
        """Studies that cannot be run here, by name, and why, in a line each; none by default."""
        return {}

    @abstractmethod
    def smoke(self) -> Self:
        """The same experiment, small enough to finish in seconds; its numbers mean nothing."""

    @abstractmethod
    def analyse(self, store: Store) -> dict[str, Any]:
        """The numbers as plain data: what ``report.json`` holds; a `StoreError` if trials are missing."""

    @abstractmethod
    def runs_to_show(self, numbers: Mapping[str, Any], *, everything: bool) -> list[Run]:
        """Trials for TensorBoard, a selection or all of them, given what `analyse` returned."""


def geometric_grid(low: float, high: float, per_decade: int) -> NDArray[np.float64]:
    """Learning rates from ``low`` to ``high``, ``per_decade`` of them a decade, both ends included.

    Raises:
        ExperimentError: the grid would be empty, or the ends are not a whole number of steps apart.

    >>> [round(float(rate), 3) for rate in geometric_grid(0.01, 1.0, 2)]
    [0.01, 0.032, 0.1, 0.316, 1.0]
    """
    if not (np.isfinite([low, high]).all() and 0.0 < low < high):
        raise ExperimentError(f"a learning-rate grid needs 0 < low < high, got low={low!r}, high={high!r}")
    steps = per_decade * float(np.log10(high / low))
    if per_decade < 1 or abs(steps - round(steps)) > 1e-9:
        raise ExperimentError(f"{low:g} to {high:g} is not a whole number of steps at {per_decade} a decade")
    return low * 10.0 ** (np.arange(round(steps) + 1) / per_decade)


def experiment_path(name: str) -> Path:
    """The file of an experiment: ``experiments/NAME.py``, or the file NAME itself.

    Raises:
        ExperimentError: there is no such file.
    """
    path = Path(name) if name.endswith(".py") else FOLDER / f"{name}.py"
    if not path.is_file():
        known = ", ".join(experiment_names()) or f"no experiments in {FOLDER.resolve()}"
        raise ExperimentError(f"unknown experiment {name!r}; known: {known}")
    return path


def load_experiment(name: str) -> AbstractExperiment:
    """The experiment declared in ``experiments/NAME.py`` or in the file NAME, as its ``EXPERIMENT``; the file is executed.

    Raises:
        ExperimentError: there is no such file, it cannot be imported, or it declares no experiment.
    """
    path = experiment_path(name)
    experiment = getattr(load_script(path), "EXPERIMENT", None)
    if not isinstance(experiment, AbstractExperiment):
        raise ExperimentError(f"{path} declares no EXPERIMENT")
    return experiment


def experiment_names() -> list[str]:
    """The experiments declared below the working directory, by the names of their files, none of which is opened."""
    return sorted(path.stem for path in FOLDER.glob("e[0-9]*.py"))


def stated_question(name: str) -> str:
    """The first line of the docstring of an experiment's file, which is read and not executed; nothing if it has none."""
    path = FOLDER / f"{name}.py"
    try:
        if not path.is_file():
            return ""
        with path.open(encoding="utf-8") as file:
            tokens = tokenize.generate_tokens(io.StringIO(file.read(_HEAD)).readline)
            first = next(token for token in tokens if token.type not in _BEFORE_A_DOCSTRING)
        text = ast.literal_eval(first.string) if first.type == tokenize.STRING else ""
    except (OSError, ValueError, SyntaxError, tokenize.TokenError, StopIteration, RecursionError, MemoryError):
        return ""
    return " ".join(text.strip().split("\n")[0].split()) if isinstance(text, str) else ""


def run_experiment(
    experiment: AbstractExperiment,
    store: Store,
    *,
    workers: int,
    processes: Processes[Job, Any] | None = None,
    advance: Callable[[int], None] = lambda count: None,
    chosen: Callable[[Choice, Trial], None] = lambda choice, trial: None,
) -> int:
    """Run the trials that are not stored yet; how many those were. A `RunError` says why it could not go on.

    Args:
        experiment: whose trials.
        store: see `run_trials`, as for the rest.
        workers: processes.
        processes: these, for several experiments.
        advance: called with the number of trials after each batch.
        chosen: called with each choice how to train.
    """
    return sum(
        run_trials(trials, store, workers=workers, processes=processes, advance=advance, chosen=chosen)
        for trials in experiment.stages(store)
    )


def slug(label: str) -> str:
    """A label as the name of a folder."""
    return "".join(letter if letter.isalnum() or letter in ".=^-" else "_" for letter in label)


def smoke_seeds() -> Iterator[int]:
    """How many report seeds a study has at smoke size: two for the first, so that there are intervals, one for each other."""
    return itertools.chain((2,), itertools.repeat(1))


def check_study_name(name: str) -> str:
    """A study's name, which becomes that of files and of places on the page.

    Raises:
        ExperimentError: it cannot.

    >>> check_study_name("digits, AdamW")
    'digits, AdamW'
    """
    if not name or not name.isprintable() or set(name) & set('/\\"<>:|?*') or name.startswith(".") or len(name) > 100:
        raise ExperimentError(f"the name of a study must be usable as that of a file, got {name!r}")
    return name


def refuse_repeated(what: str, names: Iterable[str]) -> None:
    """Refuse a name that stands for two things.

    Raises:
        ExperimentError: there is one.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise ExperimentError(f"two {what} are called {name!r}: give each a name of its own")

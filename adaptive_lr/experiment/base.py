"""What an experiment is, wherever its question comes from."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.errors import ExperimentError
from adaptive_lr.reporting.tensorboard import Run
from adaptive_lr.training import Trial
from adaptive_lr.trials.runner import run_trials
from adaptive_lr.trials.store import Store

FOLDER = Path("experiments")
"""Where experiments are declared, below the working directory."""


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

    @abstractmethod
    def trials(self) -> list[Trial]:
        """Every trial, in a fixed order."""

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


def load_experiment(name: str) -> AbstractExperiment:
    """The experiment declared in ``experiments/NAME.py`` or in the file NAME, as its ``EXPERIMENT``.

    Raises:
        ExperimentError: there is no such file, or it declares no experiment.
    """
    path = Path(name) if name.endswith(".py") else FOLDER / f"{name}.py"
    if not path.is_file():
        known = ", ".join(experiment_names()) or f"no experiments in {FOLDER.resolve()}"
        raise ExperimentError(f"unknown experiment {name!r}; known: {known}")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    found = getattr(module, "EXPERIMENT", None)
    if not isinstance(found, AbstractExperiment):
        raise ExperimentError(f"{path} declares no EXPERIMENT")
    return found


def experiment_names() -> list[str]:
    """The experiments declared below the working directory."""
    return sorted(path.stem for path in FOLDER.glob("e[0-9]*.py"))


def run_experiment(
    experiment: AbstractExperiment,
    store: Store,
    *,
    workers: int,
    advance: Callable[[int], None] = lambda count: None,
) -> int:
    """Run the trials that are not stored yet; how many those were. A `RunError` says why it could not go on."""
    return run_trials(experiment.trials(), store, workers=workers, advance=advance)


def slug(label: str) -> str:
    """A label as the name of a folder."""
    return "".join(c if c.isalnum() or c in ".=^-" else "_" for c in label)

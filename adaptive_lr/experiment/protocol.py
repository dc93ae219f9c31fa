"""The protocol: on which tasks something may be tuned, on which it is judged, and which nobody has looked at.

A task is a model on its data, with an optimizer, a horizon, a width and a batch: whoever changes one of them has another task. Tasks of one
model on one data set are a family, and no family is in two of the three groups, so that what was tuned is judged on other data or on
other models, and not on other seeds alone.

- ``DEVELOPMENT``: constants may be chosen here, by whatever these tasks give.
- ``REPORT``: what is judged in public; nothing may be chosen by what they give.
- ``UNTOUCHED``: nobody has trained a controller on them; kept for whoever doubts the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from adaptive_lr.errors import ExperimentError
from adaptive_lr.tasks import (
    AbstractTask,
    BayesianLogistic,
    BayesianNetwork,
    ByteGRU,
    ByteTransformer,
    CharacterModel,
    ConvolutionalNetwork,
    FineTunedConvolution,
    FineTunedGRU,
    Perceptron,
    ResidualNetwork,
    StreamingLeastAbsolute,
    StreamingLeastSquares,
    StreamingLogistic,
    StridedConvolution,
    VariationalAutoencoder,
    WordLSTM,
)
from adaptive_lr.training import SGD, AbstractOptimizer, AdamW, Clipped, Muon
from adaptive_lr.training.random_workloads import random_workload

HORIZONS = (0.25, 1.0, 4.0)
"""Every task is trained for a quarter of its horizon, for its horizon and for four times of it."""

DECADES = 4
"""Starting rates reach over so many decades, with the rate that one would take in the middle, and are a decade apart: one grid for all."""

PLAIN, MOMENTUM, ADAM = SGD(), SGD(momentum=0.9), AdamW(weight_decay=0.0)
TRANSFORMER = Clipped(then=AdamW(beta2=0.95, weight_decay=0.1, decayed="matrices"), norm=1.0)
CLASSIC = Clipped(then=SGD(), norm=0.25)


@dataclass(frozen=True, kw_only=True)
class ProtocolTask:
    """A task of the protocol.

    Attributes:
        name: of the task, and of its study.
        area: under which it is counted: ``convex``, ``networks``, ``images``, ``language``, ``inference`` or ``fine-tuning``.
        family: model and data; tasks of one family are in one group.
        task: what is trained.
        optimizer: its recipe's.
        steps: T.
        rate: the recipe's, or a rule of thumb; not tuned.
        dtype: in which it is trained.
    """

    name: str
    area: str
    family: str
    task: AbstractTask
    optimizer: AbstractOptimizer
    steps: int
    rate: float
    dtype: str = "float32"

    @property
    def low(self) -> float:
        """The lowest starting rate."""
        return float(self.rate * 10.0 ** (-DECADES / 2))

    @property
    def high(self) -> float:
        """The highest starting rate."""
        return float(self.rate * 10.0 ** (DECADES / 2))


def drawn(index: int, kind: str) -> ProtocolTask:
    """The random task of an index, ``convex`` or ``network``, which is a family of its own.

    A `SpecError` where there is no such kind or index.
    """
    trial = random_workload(index, kind).trial()
    return ProtocolTask(
        name=f"{kind}-{index}",
        area="convex" if kind == "convex" else "networks",
        family=f"random {kind} {index}",
        task=trial.task,
        optimizer=trial.optimizer,
        steps=trial.steps,
        rate=trial.base_lr,
        dtype="float64" if kind == "convex" else "float32",
    )


def _named(*tasks: ProtocolTask) -> dict[str, ProtocolTask]:
    return {task.name: task for task in tasks}


def _task(
    name: str,
    area: str,
    family: str,
    task: AbstractTask,
    optimizer: AbstractOptimizer,
    steps: int,
    rate: float,
    dtype: str = "float32",
) -> ProtocolTask:
    return ProtocolTask(
        name=name, area=area, family=family, task=task, optimizer=optimizer, steps=steps, rate=rate, dtype=dtype
    )


def _perceptron(name: str, task: Perceptron, optimizer: AbstractOptimizer, steps: int, rate: float) -> ProtocolTask:
    return _task(name, "networks", f"{task.dataset} perceptron", task, optimizer, steps, rate)


_SQUARES = "streaming least squares"
_DIGITS = Perceptron(dataset="digits", hidden=(48, 48), activation="tanh")
_MNIST1D = Perceptron(dataset="mnist1d", hidden=(100, 100), batch=100, metric="error")
_HELP, _SOURCE = "python_help", "python_source"
_FEW: dict[str, Any] = {"layers": 1, "width": 32, "heads": 2, "context": 32, "batch": 8}
_SMALL: dict[str, Any] = {"width": 32, "context": 32, "batch": 8}

DEVELOPMENT_INDICES = range(4000)
"""Random convex tasks and networks with such an index are development tasks, too: ``convex-0``, ``network-21``."""

DEVELOPMENT: dict[str, ProtocolTask] = _named(
    _task("squares", "convex", _SQUARES, StreamingLeastSquares(), PLAIN, 2000, 0.1, "float64"),
    _task("squares-noise-3-batch-1", "convex", _SQUARES, StreamingLeastSquares(noise=3, batch=1), PLAIN, 2000, 0.1, "float64"),
    _task("squares-noise-3-batch-16", "convex", _SQUARES, StreamingLeastSquares(noise=3, batch=16), PLAIN, 2000, 0.1, "float64"),
    _task("squares-noiseless", "convex", _SQUARES, StreamingLeastSquares(noise=0), PLAIN, 2000, 1.0, "float64"),
    _task("logistic", "convex", "streaming logistic", StreamingLogistic(), PLAIN, 2000, 1.0, "float64"),
    _task("absolute", "convex", "streaming least absolute", StreamingLeastAbsolute(), PLAIN, 2000, 0.1, "float64"),
    _perceptron("digits-sgd", _DIGITS, MOMENTUM, 600, 0.05),
    _perceptron("digits-adamw", _DIGITS, AdamW(), 600, 3e-3),
    _perceptron("digits-batch-16", Perceptron(dataset="digits", hidden=(48, 48), batch=16), MOMENTUM, 600, 0.05),
    _perceptron("mnist1d-sgd", _MNIST1D, MOMENTUM, 2000, 0.05),
    _perceptron("mnist1d-adamw", _MNIST1D, AdamW(), 2000, 3e-3),
    _perceptron("tumours", Perceptron(dataset="breast_cancer", hidden=(32, 32)), MOMENTUM, 400, 0.01),
    _task("characters-sgd", "language", "python_help characters", CharacterModel(), MOMENTUM, 1500, 0.05),
    _task("characters-adamw", "language", "python_help characters", CharacterModel(), AdamW(), 1500, 3e-3),
    _task("byte-transformer-python_help", "language", "python_help byte transformer", ByteTransformer(text=_HELP), TRANSFORMER, 600, 3e-3),
    _task("byte-transformer-python_help-muon", "language", "python_help byte transformer", ByteTransformer(text=_HELP), Muon(), 500, 0.03),
    _task("byte-gru-python_help", "language", "python_help byte GRU", ByteGRU(text=_HELP), Clipped(then=ADAM), 600, 0.01),
    _task("word-lstm-python_help", "language", "python_help word LSTM", WordLSTM(text=_HELP), CLASSIC, 500, 20.0),
    _task("autoencoder-digits", "inference", "digits autoencoder", VariationalAutoencoder(), ADAM, 1000, 3e-3),
    _task("bayesian-network-diabetes", "inference", "diabetes Bayesian network", BayesianNetwork(), ADAM, 2000, 0.01),
    _task("mnist1d-conv", "images", "mnist1d convolution", ConvolutionalNetwork(dataset="mnist1d", channels=(25, 25, 25), batch=100), MOMENTUM, 1280, 0.05),
    _task("mnist1d-conv-fine-tuned", "fine-tuning", "mnist1d fine-tuned convolution", FineTunedConvolution(channels=(25, 25, 25), norm="none", pretraining=1500), MOMENTUM, 150, 0.03),
)  # fmt: skip
"""Tasks that constants were chosen on, by name; random tasks aside."""

REPORT: dict[str, ProtocolTask] = _named(
    *(drawn(index, "convex") for index in (4000, 4002, 4003, 4004, 4005, 4009, 4012, 4017, 4023)),
    *(drawn(index, "network") for index in (4003, 4007, 4009, 4014)),
    _task("digits-conv", "images", "digits convolution", ConvolutionalNetwork(dataset="digits", channels=(8, 16), batch=32), MOMENTUM, 100, 0.05),
    _task("tumours-inference", "inference", "breast_cancer Bayesian logistic regression", BayesianLogistic(), ADAM, 375, 0.05),
    _task("digits-fine-tuned", "fine-tuning", "digits fine-tuned convolution", FineTunedConvolution(dataset="digits", channels=(8, 16), pretraining=300), MOMENTUM, 100, 0.03),
)  # fmt: skip
"""What is judged, at `HORIZONS`, by name: of the random convex tasks from index 4000 on, the first of each loss and optimizer; of the random
networks, the first four that learn from a teacher of their own, since the other data sets are development tasks', too; and three on data
that come with scikit-learn."""

REPORT_LONGER: dict[str, ProtocolTask] = _named(
    _task("mnist1d-strided", "images", "mnist1d strided convolution", StridedConvolution(metric="error"), MOMENTUM, 160, 0.05),
    _task("transformer-source", "language", "python_source byte transformer", ByteTransformer(text=_SOURCE, **_FEW), TRANSFORMER, 160, 3e-3),
    _task("transformer-source-muon", "language", "python_source byte transformer", ByteTransformer(text=_SOURCE, **_FEW), Muon(), 160, 0.03),
    _task("gru-source", "language", "python_source byte GRU", ByteGRU(text=_SOURCE, **_SMALL), Clipped(then=ADAM), 160, 0.01),
    _task("lstm-source", "language", "python_source word LSTM", WordLSTM(text=_SOURCE, words=1000, width=32, batch=10, context=20), CLASSIC, 160, 20.0),
    _task("gru-help-to-source", "fine-tuning", "python_source fine-tuned GRU", FineTunedGRU(source=_HELP, text=_SOURCE, pretraining=600, **_SMALL), Clipped(then=AdamW(beta2=0.95, weight_decay=0.1)), 100, 3e-3),
)  # fmt: skip
"""What is judged, too, where a step takes milliseconds; the text is the program source that comes with Python."""

UNTOUCHED_INDICES = range(4500, 5000)
"""Random tasks with such an index are not looked at, either."""

UNTOUCHED: dict[str, ProtocolTask] = _named(
    _task("concrete-network", "inference", "concrete Bayesian network", BayesianNetwork(dataset="concrete"), ADAM, 2000, 0.03),
    _task("spam-inference", "inference", "spam Bayesian logistic regression", BayesianLogistic(dataset="spam"), ADAM, 1500, 0.05),
    _task("fashion-mnist-resnet9", "images", "fashion_mnist residual network", ResidualNetwork(dataset="fashion_mnist", width=8, batch=128), MOMENTUM, 390, 0.05),
    _task("transformer-king-james", "language", "king_james_bible byte transformer", ByteTransformer(text="king_james_bible"), TRANSFORMER, 2500, 3e-3),
)  # fmt: skip
"""Nobody has trained a controller on these."""


def judged() -> dict[str, ProtocolTask]:
    """All tasks of `REPORT` and `REPORT_LONGER`, by name."""
    return REPORT | REPORT_LONGER


def provenance(entries: Iterable[str]) -> set[str]:
    """The names of the development tasks that the constants of a controller come from.

    Args:
        entries: its ``tuned_on``: names of `DEVELOPMENT`, or ``random-convex 0..21`` and ``random-network 3``, each perhaps with
            `` seed 100`` or `` seeds 100..104`` behind it.

    Raises:
        ExperimentError: an entry names no development task.

    >>> sorted(provenance(["squares seeds 100..104", "random-network 3..4"]))
    ['network-3', 'network-4', 'squares']
    """
    names: set[str] = set()
    for entry in entries:
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise ExperimentError(f"{entry!r} is no development task: write its name and 'seeds 100..104', say")
        if match["kind"] is None:
            known = {match["name"]}
        else:
            last = match["last"] or match["first"]
            indices = range(int(match["first"]), int(last) + 1)
            if not indices or indices[-1] not in DEVELOPMENT_INDICES:
                raise ExperimentError(f"{entry!r}: development tasks have indices below {DEVELOPMENT_INDICES.stop}")
            known = {f"{match['kind']}-{index}" for index in indices}
        if match["kind"] is None and not known <= set(DEVELOPMENT):
            raise ExperimentError(f"{entry!r} is no development task; known: {', '.join(DEVELOPMENT)}")
        names |= known
    return names


_ENTRY = re.compile(
    r"(?:random-(?P<kind>convex|network) (?P<first>\d+)(?:\.\.(?P<last>\d+))?|(?P<name>[a-z0-9_-]+))(?: seeds? \d+(?:\.\.\d+)?)?"
)

"""The batched trainer against the sequential loop, by task."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pairs import one_core, ratios, seconds, without_evaluation
from rows import Aim, Case, Measured

from adaptive_lr import DampedCosine
from adaptive_lr.tasks import (
    AbstractTask,
    BayesianNetwork,
    ByteTransformer,
    ConvolutionalNetwork,
    Perceptron,
    StreamingLogistic,
)
from adaptive_lr.training import (
    SGD,
    AbstractOptimizer,
    AdamW,
    Backend,
    Clipped,
    RunResult,
    Trial,
    backends,
    train,
    train_batch,
)

TITLE = "The batched trainer against the sequential loop"
ABOUT = """Processor time of `train` for one trial after another over that of `train_batch` with a compiled loop, a trial; steps alone,
without evaluation. The first call, in which the loop is compiled or loaded, is not in the ratio. Both are said beside it: the seconds
of the first call, and how many times faster `train_batch` is without compiling, step by step."""

MOMENTUM = SGD(momentum=0.9)
TRANSFORMER = Clipped(then=AdamW(beta2=0.95, weight_decay=0.1, decayed="matrices"), norm=1.0)


@dataclass(frozen=True, kw_only=True)
class Load:
    """Some trials of one task: rates from ``low`` to ``high``, evenly spaced in the logarithm; seed 0, a cosine."""

    what: str
    task: AbstractTask
    count: int
    steps: int
    optimizer: AbstractOptimizer = MOMENTUM
    low: float = 1e-3
    high: float = 1e-1

    def trials(self, steps: int | None = None) -> list[Trial]:
        """The trials, as long as they are or of so many steps."""
        spread = torch.linspace(0.0, 1.0, self.count, dtype=torch.float64)
        rates = (self.low * (self.high / self.low) ** spread).tolist()
        return [
            Trial(
                task=self.task,
                schedule=DampedCosine(),
                optimizer=self.optimizer,
                base_lr=rate,
                steps=steps or self.steps,
                seed=0,
            )
            for rate in rates
        ]


def perceptron(batch: int) -> Perceptron:
    """40-100-100-10 on MNIST-1D, 15 110 parameters."""
    return Perceptron(dataset="mnist1d", hidden=(100, 100), batch=batch)


def transformer() -> ByteTransformer:
    """Two layers of width 64 on windows of 64 bytes, eight at a time."""
    return ByteTransformer(batch=8)


def convolutional(norm: str) -> ConvolutionalNetwork:
    """Three convolutions of 25 channels on MNIST-1D."""
    return ConvolutionalNetwork(dataset="mnist1d", channels=(25, 25, 25), batch=100, norm=norm)


LONE_TRANSFORMER = Load(
    what="byte transformer, 2 layers of width 64, batch 8, 1 trial",
    task=transformer(),
    count=1,
    steps=100,
    optimizer=TRANSFORMER,
    low=3e-3,
)
TRANSFORMERS = Load(
    what="byte transformer, 2 layers of width 64, batch 8, 4 trials",
    task=transformer(),
    count=4,
    steps=100,
    optimizer=TRANSFORMER,
    high=3e-3,
)

LOADS: tuple[tuple[Load, float], ...] = (
    (Load(what="MNIST-1D perceptron, batch 100, 32 trials", task=perceptron(100), count=32, steps=800), 3.5),
    (Load(what="MNIST-1D perceptron, batch 32, 32 trials", task=perceptron(32), count=32, steps=1600), 7.0),
    (Load(what="MNIST-1D perceptron, batch 10, 32 trials", task=perceptron(10), count=32, steps=2000), 10.0),
    (
        Load(
            what="streaming logistic regression, d = 100, batch 4, 512 trials",
            task=StreamingLogistic(),
            count=512,
            steps=2000,
            optimizer=SGD(),
        ),
        150.0,
    ),
    (
        Load(
            what="MNIST-1D convolutional network, batch 100, 8 trials", task=convolutional("batch"), count=8, steps=160
        ),
        2.0,
    ),
    (LONE_TRANSFORMER, 1.4),
    (TRANSFORMERS, 1.4),
    (
        Load(
            what="Bayesian network, diabetes, batch 32, 32 trials",
            task=BayesianNetwork(),
            count=32,
            steps=600,
            optimizer=AdamW(weight_decay=0.0),
        ),
        5.0,
    ),
)
"""What is trained, and how many times faster it should be."""


def trained(trials: list[Trial]) -> list[RunResult]:
    """With a compiled loop, where there can be one."""
    return train_batch(trials, Backend.COMPILED if Backend.COMPILED in backends(trials[0]) else None)


def speedup(load: Load, count: int, *, sequential: int = 2) -> Measured:
    """Times that `train_batch` is faster a trial; ``sequential`` of the trials stand for all in the loop."""
    trials = load.trials()
    few = trials[:: max(1, len(trials) // sequential)][:sequential]
    with one_core(), without_evaluation(load.task):
        work = len(trials) / len(few)
        first = seconds(lambda: trained(trials))
        stacked = work * seconds(lambda: [train(trial) for trial in few]) / seconds(lambda: train_batch(trials))
        values = ratios(lambda: [train(trial) for trial in few], lambda: trained(trials), count, work=work)
    return Measured(values, f"first call {first:.1f} s; step by step {stacked:.2g}")


def cases(*, quick: bool) -> list[Case]:
    """A row for each load."""
    rows = []
    for load, aim in LOADS:
        smaller = _shorter(load) if quick else load
        rows.append(
            Case(what=load.what, aim=Aim(aim), measure=lambda count, load=smaller: speedup(load, count))  # type: ignore[misc]
        )
    return rows


def _shorter(load: Load) -> Load:
    return Load(**{**vars(load), "steps": max(40, load.steps // 10)})

"""Tasks small enough for tests, their population losses written out literally, and tasks that misbehave."""

import importlib.util
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import quad
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from adaptive_lr.spec import number, spec
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
    PowerLawLeastAbsolute,
    PowerLawLeastSquares,
    PowerLawLogistic,
    ResidualNetwork,
    RidgeRegression,
    SoftmaxRegression,
    StreamingLeastAbsolute,
    StreamingLeastSquares,
    StreamingLogistic,
    StridedConvolution,
    TeacherPerceptron,
    TokenTransformer,
    VariationalAutoencoder,
    WordLSTM,
)
from adaptive_lr.tasks.data import load
from adaptive_lr.tasks.power_law import AbstractPowerLaw
from adaptive_lr.tasks.streaming import AbstractStreaming

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A small task, a rate at which plain SGD on it is stable, and in how many steps it learns."""

    task: AbstractTask
    rate: float
    steps: int = 200


STREAMING: dict[str, AbstractStreaming] = {
    "least_squares": StreamingLeastSquares(dimension=20),
    "least_absolute": StreamingLeastAbsolute(dimension=20),
    "logistic": StreamingLogistic(dimension=20),
    "flat_squares": PowerLawLeastSquares(dimension=9, exponent=0.25, direction=3, batch=2),
    "steep_absolute": PowerLawLeastAbsolute(dimension=9, exponent=1.75, decay=1.5, direction=4),
    "steep_logistic": PowerLawLogistic(dimension=9, exponent=1.5, decay=0.5, direction=5, signal=1.5),
}
SOFTMAX = {f"softmax_{name}": SoftmaxRegression(dataset=name) for name in ("digits", "breast_cancer")}
PERCEPTRONS = {
    f"perceptron_{name}_{activation}": Perceptron(dataset=name, activation=activation, hidden=(12, 9), batch=20)
    for name in ("digits", "breast_cancer", "mnist1d")
    for activation in ("relu", "tanh")
}
CLASSIFICATION = SOFTMAX | PERCEPTRONS
CASES = {
    "least_squares": Case(STREAMING["least_squares"], 0.1),
    "least_absolute": Case(STREAMING["least_absolute"], 0.05),
    "logistic": Case(STREAMING["logistic"], 0.3),
    "flat_squares": Case(STREAMING["flat_squares"], 0.05),
    "steep_absolute": Case(STREAMING["steep_absolute"], 0.05),
    "steep_logistic": Case(STREAMING["steep_logistic"], 0.3),
    "teacher": Case(TeacherPerceptron(dimension=7, units=5, hidden=(9,), batch=20, examples=300), 0.3),
    **{name: Case(task, 0.05) for name, task in CLASSIFICATION.items()},
    "convolution": Case(ConvolutionalNetwork(channels=(2, 3), batch=20), 0.05, 16),
    "dropout": Case(ConvolutionalNetwork(channels=(2,), norm="none", dropout=0.3, batch=20), 0.05, 16),
    "transformer": Case(ByteTransformer(context=6, batch=4, layers=1, width=8, heads=2), 0.5, 16),
    "gru": Case(ByteGRU(context=6, batch=4, width=6), 3.0, 16),
    "lstm": Case(WordLSTM(context=5, batch=4, words=30, width=5, layers=2, dropout=0.2), 1.0, 16),
    "bayesian_logistic": Case(BayesianLogistic(), 0.3, 16),
    "bayesian_network": Case(BayesianNetwork(hidden=4, batch=20), 0.1, 16),
    "autoencoder": Case(VariationalAutoencoder(hidden=8, latents=2, batch=20), 0.01, 16),
    "ridge": Case(RidgeRegression(examples=60, dimension=9, rank=7, batch=4), 0.05),
    "fine_tuned_gru": Case(FineTunedGRU(context=6, batch=4, width=6, pretraining=3), 3.0, 16),
    "fine_tuned_convolution": Case(
        FineTunedConvolution(dataset="digits", channels=(2, 3), batch=20, shots=60, pretraining=5), 0.05, 16
    ),
    "strided": Case(StridedConvolution(width=3, batch=20), 0.3, 32),
    "residual": Case(ResidualNetwork(dataset="digits", width=2, shift=1, batch=20), 0.05, 48),
    "characters": Case(CharacterModel(context=3, hidden=(9,), batch=20), 0.1),
}
if importlib.util.find_spec("tokenizers") is not None:  # the extra bpe
    CASES["token_transformer"] = Case(
        TokenTransformer(context=6, batch=4, layers=1, width=8, heads=2, vocabulary=300), 0.5, 16
    )


def spectrum(task: AbstractStreaming) -> Array:
    """Variances of the inputs."""
    exponent = task.exponent if isinstance(task, AbstractPowerLaw) else 1.0
    variances: Array = np.arange(1, task.dimension + 1, dtype=np.float64) ** -exponent
    return variances


def population_target(task: AbstractStreaming) -> Array:
    """w*, solved for in noiseless examples of the same dimension and signal."""
    count = 2 * task.dimension
    noiseless: AbstractStreaming = StreamingLeastSquares(
        dimension=task.dimension, signal=task.signal, noise=0.0, batch=count
    )
    if isinstance(task, AbstractPowerLaw):
        noiseless = PowerLawLeastSquares(
            dimension=task.dimension,
            signal=task.signal,
            noise=0.0,
            batch=count,
            exponent=task.exponent,
            decay=task.decay,
            direction=task.direction,
        )
    inputs, targets = next(iter(noiseless.minibatches(0, 1, torch.float64)))
    solution: Array = np.linalg.lstsq(inputs.numpy(), targets.numpy()[:, 0])[0]
    return solution


def sampled_losses(task: AbstractStreaming, weights: Array, *, examples: int) -> Array:
    """Losses ``[K, examples]`` of the K rows of ``weights`` on examples drawn as the docstrings of the tasks say."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((examples, task.dimension)) * np.sqrt(spectrum(task))
    clean, outputs = x @ population_target(task), weights @ x.T
    if isinstance(task, StreamingLogistic):
        y = np.where(generator.random(examples) < 1.0 / (1.0 + np.exp(-clean)), 1.0, -1.0)
        return np.logaddexp(0.0, -y * outputs)
    assert isinstance(task, StreamingLeastSquares | StreamingLeastAbsolute)
    y = clean + task.noise * generator.standard_normal(examples)
    return 0.5 * (outputs - y) ** 2 if isinstance(task, StreamingLeastSquares) else np.abs(outputs - y)


def logistic_excess(signal: float, variance: float, covariance: float) -> float:
    """E log(1 + exp(b)) - E sigmoid(a) b less its value for b = a, by adaptive quadrature."""

    def density(z: float) -> float:
        return math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)

    def softplus(deviation: float) -> float:
        def integrand(z: float) -> float:
            b = deviation * z
            return (max(b, 0.0) + math.log1p(math.exp(-abs(b)))) * density(z)

        return integral(integrand, -38.0, deviation)

    def integral(integrand: object, low: float, deviation: float) -> float:
        bends = {sign * width / max(deviation, 1.0) for sign in (-1.0, 1.0) for width in (0.0, 1.0, 30.0)}
        edges = [low, *sorted(bend for bend in bends if low < bend < 38.0), 38.0]
        parts = (
            quad(integrand, left, right, epsabs=1e-15, epsrel=1e-12, limit=500)[0]  # type: ignore[call-overload]
            for left, right in pairwise(edges)
        )
        return math.fsum(parts)

    # E sigmoid(a) a = s E z (1 + tanh(s z / 2)) / 2, whose even part vanishes.
    product = signal * integral(lambda z: z * math.tanh(0.5 * signal * z) * density(z), 0.0, signal)
    best = softplus(signal) - product
    return softplus(math.sqrt(variance)) - covariance / signal**2 * product - best


def softmax_optimum(dataset: str) -> dict[str, Tensor]:
    """Parameters of the least objective, stacked with B = 1, by scikit-learn's Newton method."""
    train, classes = load(dataset).train, load(dataset).classes
    ones = np.ones((len(train.targets), 1))
    # Two classes are one vector w there and -w/2, w/2 here, which halves the penalty.
    solver = LogisticRegression(
        C=2.0 if classes == 2 else 1.0, fit_intercept=False, tol=1e-11, solver="newton-cg", max_iter=1000
    )
    found = solver.fit(np.hstack([train.inputs.numpy(), ones]), train.targets.numpy()).coef_
    rows = torch.from_numpy(np.vstack([-found / 2.0, found / 2.0]) if classes == 2 else found)
    return {"0.weight": rows[None, :, :-1].contiguous(), "0.bias": rows[None, :, -1].contiguous()}


@spec
class RaisingTask(StreamingLeastSquares):
    """Raises an error in the middle of the data of one seed."""

    kind = "raising"
    bad_seed: int = number("[0, inf)", integer=True)

    def minibatches(self, seed: int, steps: int, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        """See the class."""
        for step, minibatch in enumerate(super().minibatches(seed, steps, dtype)):
            if seed == self.bad_seed and step == steps // 2:
                raise FloatingPointError("no more data")
            yield minibatch


@spec
class DyingTask(StreamingLeastSquares):
    """Ends its process at the data of one seed, as a process that runs out of memory does."""

    kind = "dying"
    bad_seed: int = number("[0, inf)", integer=True)

    def minibatches(self, seed: int, steps: int, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
        """See the class."""
        if seed == self.bad_seed:
            os._exit(1)
        return super().minibatches(seed, steps, dtype)

"""Workloads: what is trained in practice, each with its recipe, at three sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from adaptive_lr.schedules import AbstractSchedule, DampedCosine, Linear, Warmup
from adaptive_lr.spec import lookup
from adaptive_lr.tasks import (
    AbstractTask,
    BayesianLogistic,
    BayesianNetwork,
    ByteGRU,
    ByteTransformer,
    ConvolutionalNetwork,
    FineTunedConvolution,
    FineTunedGRU,
    Perceptron,
    ResidualNetwork,
    RidgeRegression,
    SectionClassifier,
    SoftmaxRegression,
    StridedConvolution,
    TokenTransformer,
    VariationalAutoencoder,
    WordLSTM,
)
from adaptive_lr.training.optimizers import SGD, AbstractOptimizer, AdamW, Clipped
from adaptive_lr.training.trial import Trial

SIZES = ("smoke", "standard", "gpu")
"""In a second, in a minute or two on one core, and what an accelerator is for."""

COSINE = DampedCosine()
WARM = Warmup(fraction=0.05, then=DampedCosine())

MOMENTUM = SGD(momentum=0.9)
ADAM = AdamW(weight_decay=0.0)
TRANSFORMER = Clipped(then=AdamW(beta2=0.95, weight_decay=0.1, decayed="matrices"), norm=1.0)
NESTEROV = SGD(momentum=0.9, nesterov="on", weight_decay=5e-4, decayed="matrices")
CLASSIC = Clipped(then=SGD(), norm=0.25)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A task with the recipe it is usually trained with.

    Attributes:
        name: what it is called on the command line.
        area: ``images``, ``language``, ``inference``, ``convex``, ``fine-tuning`` or, drawn from an index, ``random``.
        sizes: a trial for each of ``SIZES`` that there is, with the seed 0.
    """

    name: str
    area: str
    sizes: Mapping[str, Trial]

    def trial(self, size: str = "standard", **changes: Any) -> Trial:
        """The trial of a size, with some fields changed; a `SpecError` where there is no such size, or a field cannot have that value."""
        return replace(self.sizes[lookup(size, self.sizes, "size")], **changes)


def _trial(
    task: AbstractTask, optimizer: AbstractOptimizer, base_lr: float, steps: int, schedule: AbstractSchedule = COSINE
) -> Trial:
    return Trial(task=task, schedule=schedule, optimizer=optimizer, base_lr=base_lr, steps=steps, seed=0)


def _at_two_lengths(
    name: str,
    area: str,
    task: AbstractTask,
    optimizer: AbstractOptimizer,
    base_lr: float,
    steps: tuple[int, int],
    schedule: AbstractSchedule = COSINE,
    gpu: Trial | None = None,
) -> Workload:
    smoke, standard = (_trial(task, optimizer, base_lr, count, schedule) for count in steps)
    sizes = {"smoke": smoke, "standard": standard} | ({} if gpu is None else {"gpu": gpu})
    return Workload(name=name, area=area, sizes=sizes)


def _transformer(text: str) -> Workload:
    large = ByteTransformer(text=text, layers=6, width=384, heads=6, context=256, batch=64)
    task = ByteTransformer(text=text)
    gpu = _trial(large, TRANSFORMER, 1e-3, 5000, WARM)
    return _at_two_lengths(f"byte-transformer-{text}", "language", task, TRANSFORMER, 3e-3, (50, 2500), WARM, gpu)


def _convex(dataset: str, base_lr: float, steps: int) -> Workload:
    task = SoftmaxRegression(dataset=dataset)
    return _at_two_lengths(f"softmax-{dataset}", "convex", task, SGD(), base_lr, (100, steps))


def _ridge() -> Workload:
    steps = {"smoke": 200, "standard": 5 * RidgeRegression().examples}
    trials = {size: _trial(RidgeRegression(), SGD(), 0.025, count) for size, count in steps.items()}
    exact = {size: replace(trial, dtype="float64") for size, trial in trials.items()}
    return Workload(name="ridge", area="convex", sizes=exact)


def _tokens(text: str, vocabulary: int) -> Workload:
    large = TokenTransformer(text=text, vocabulary=4096, layers=6, width=384, heads=6, context=256, batch=64)
    task = TokenTransformer(text=text, vocabulary=vocabulary)
    gpu = _trial(large, TRANSFORMER, 1e-3, 5000, WARM)
    return _at_two_lengths(f"token-transformer-{text}", "language", task, TRANSFORMER, 3e-3, (50, 2500), WARM, gpu)


def _residual(dataset: str, name: str) -> Workload:
    """ResNet-9 with a quarter of its width or less on a core, and at the usual size of 24 epochs of 512 images for an accelerator."""
    small, middle, large = (
        ResidualNetwork(dataset=dataset, width=width, batch=batch) for width, batch in ((4, 32), (8, 128), (64, 512))
    )
    sizes = {
        "smoke": _trial(small, NESTEROV, 0.05, 20, WARM),
        "standard": _trial(middle, NESTEROV, 0.05, 390, WARM),
        "gpu": _trial(large, NESTEROV, 0.2, 2100, Warmup(fraction=0.2, then=DampedCosine())),
    }
    return Workload(name=name, area="images", sizes=sizes)


_MLP = Perceptron(dataset="fashion_mnist", hidden=(128,), batch=128)
_CONV = ConvolutionalNetwork(dataset="fashion_mnist", channels=(16, 32), batch=128)

WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        _at_two_lengths(
            "mnist1d-conv",
            "images",
            ConvolutionalNetwork(dataset="mnist1d", channels=(25, 25, 25), batch=100),
            MOMENTUM,
            0.05,
            (50, 1280),
        ),
        _at_two_lengths(
            "mnist1d-strided", "images", StridedConvolution(metric="error"), MOMENTUM, 0.05, (50, 1280), WARM
        ),
        _at_two_lengths("digits-conv", "images", ConvolutionalNetwork(dataset="digits"), MOMENTUM, 0.05, (50, 420)),
        _at_two_lengths("fashion-mnist-mlp", "images", _MLP, MOMENTUM, 0.1, (50, 1170)),
        _at_two_lengths("fashion-mnist-conv", "images", _CONV, MOMENTUM, 0.05, (20, 1170)),
        _residual("fashion_mnist", "fashion-mnist-resnet9"),
        _residual("cifar10", "cifar10-resnet9"),
        *(_transformer(text) for text in ("python_help", "shakespeare", "king_james_bible", "state_of_the_union")),
        *(_tokens(text, size) for text, size in (("python_help", 1024), ("state_of_the_union", 2048))),
        _at_two_lengths("byte-gru-python_help", "language", ByteGRU(), Clipped(then=ADAM), 1e-2, (50, 600), WARM),
        _at_two_lengths("word-lstm-python_help", "language", WordLSTM(), CLASSIC, 20.0, (20, 600)),
        _at_two_lengths("bayesian-logistic-breast_cancer", "inference", BayesianLogistic(), ADAM, 0.05, (100, 1500)),
        _at_two_lengths(
            "bayesian-logistic-spam", "inference", BayesianLogistic(dataset="spam"), ADAM, 0.05, (100, 1500)
        ),
        _at_two_lengths("bayesian-network-diabetes", "inference", BayesianNetwork(), ADAM, 0.01, (100, 2000)),
        _at_two_lengths(
            "bayesian-network-concrete", "inference", BayesianNetwork(dataset="concrete"), ADAM, 0.03, (100, 2000)
        ),
        _at_two_lengths("autoencoder-digits", "inference", VariationalAutoencoder(), ADAM, 3e-3, (50, 1000)),
        _at_two_lengths(
            "autoencoder-fashion_mnist",
            "inference",
            VariationalAutoencoder(dataset="fashion_mnist", batch=128),
            ADAM,
            3e-3,
            (50, 2000),
        ),
        _convex("breast_cancer", 1.0, 1020),
        _convex("spam", 1.0, 2760),
        _convex("letter", 2.0, 24000),
        _ridge(),
        _at_two_lengths(
            "mnist1d-conv-fine-tuned",
            "fine-tuning",
            FineTunedConvolution(channels=(25, 25, 25), norm="none", pretraining=1500),
            MOMENTUM,
            0.03,
            (30, 150),
        ),
        _at_two_lengths(
            "byte-gru-fine-tuned",
            "fine-tuning",
            FineTunedGRU(source="state_of_the_union", text="shakespeare", pretraining=2000),
            Clipped(then=AdamW(beta2=0.95, weight_decay=0.1)),
            1e-2,
            (50, 150),
        ),
        _at_two_lengths("minilm-sections", "fine-tuning", SectionClassifier(), AdamW(), 3e-4, (4, 150), Linear()),
    )
}
"""Every workload by its name."""

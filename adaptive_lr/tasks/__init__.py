"""Tasks: one class a workload, all of them in ``TASKS``."""

from adaptive_lr.tasks.base import AbstractTask
from adaptive_lr.tasks.classification import Perceptron, SoftmaxRegression
from adaptive_lr.tasks.finetuning import FineTunedConvolution, FineTunedGRU
from adaptive_lr.tasks.images import ConvolutionalNetwork, StridedConvolution
from adaptive_lr.tasks.inference import BayesianLogistic, BayesianNetwork, VariationalAutoencoder
from adaptive_lr.tasks.language import ByteGRU, ByteTransformer, TokenTransformer, WordLSTM
from adaptive_lr.tasks.power_law import PowerLawLeastAbsolute, PowerLawLeastSquares, PowerLawLogistic
from adaptive_lr.tasks.residual import ResidualNetwork
from adaptive_lr.tasks.ridge import RidgeRegression
from adaptive_lr.tasks.sections import SectionClassifier
from adaptive_lr.tasks.streaming import (
    StreamingLeastAbsolute,
    StreamingLeastSquares,
    StreamingLogistic,
)
from adaptive_lr.tasks.teacher import TeacherPerceptron
from adaptive_lr.tasks.text import CharacterModel

TASKS: tuple[type[AbstractTask], ...] = (
    StreamingLeastSquares,
    StreamingLogistic,
    StreamingLeastAbsolute,
    SoftmaxRegression,
    Perceptron,
    CharacterModel,
    ConvolutionalNetwork,
    ByteTransformer,
    ByteGRU,
    WordLSTM,
    BayesianLogistic,
    BayesianNetwork,
    VariationalAutoencoder,
    PowerLawLeastSquares,
    PowerLawLogistic,
    PowerLawLeastAbsolute,
    TeacherPerceptron,
    RidgeRegression,
    FineTunedGRU,
    FineTunedConvolution,
    SectionClassifier,
    StridedConvolution,
    ResidualNetwork,
    TokenTransformer,
)
"""Every task. A new one is added here, and with that gets its tests."""

__all__ = [
    "TASKS",
    "AbstractTask",
    "BayesianLogistic",
    "BayesianNetwork",
    "ByteGRU",
    "ByteTransformer",
    "CharacterModel",
    "ConvolutionalNetwork",
    "FineTunedConvolution",
    "FineTunedGRU",
    "Perceptron",
    "PowerLawLeastAbsolute",
    "PowerLawLeastSquares",
    "PowerLawLogistic",
    "ResidualNetwork",
    "RidgeRegression",
    "SectionClassifier",
    "SoftmaxRegression",
    "StreamingLeastAbsolute",
    "StreamingLeastSquares",
    "StreamingLogistic",
    "StridedConvolution",
    "TeacherPerceptron",
    "TokenTransformer",
    "VariationalAutoencoder",
    "WordLSTM",
]

"""What a task gets: one data set in three parts without overlap, the same for every seed of a trial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Inputs ``[n, d]``, float64, and class numbers ``[n]``."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Dataset:
    """Three disjoint splits of one data set."""

    train: Split
    validation: Split
    test: Split

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.train.targets.max()) + 1


def split(x: np.ndarray, y: np.ndarray) -> Dataset:
    """60 % / 20 % / 20 %, stratified, the same for every seed of a trial; standardised with the training statistics."""
    x_train, x_rest, y_train, y_rest = train_test_split(x, y, test_size=0.4, random_state=0, stratify=y)
    x_validation, x_test, y_validation, y_test = train_test_split(
        x_rest, y_rest, test_size=0.5, random_state=0, stratify=y_rest
    )
    mean, deviation = x_train.mean(0), x_train.std(0)
    deviation = np.where(deviation < 1e-6, 1.0, deviation)  # pixels that are always empty

    def standardised(values: np.ndarray, targets: np.ndarray) -> Split:
        return as_split((values - mean) / deviation, targets)

    return Dataset(
        standardised(x_train, y_train),
        standardised(x_validation, y_validation),
        standardised(x_test, y_test),
    )


def as_split(x: np.ndarray, y: np.ndarray) -> Split:
    """The arrays as they are, as tensors."""
    return Split(torch.from_numpy(x).to(torch.float64), torch.from_numpy(y).to(torch.int64))

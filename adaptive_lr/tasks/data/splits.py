"""What a task gets: a data set in three parts without overlap, the same for every seed of a trial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adaptive_lr.tasks.data.formats.texts import Verse

RULE = "60 / 20 / 20 %, at random with seed 0"
STRATIFIED = f"{RULE}, each class in proportion"
BY_POSITION = "by position: the first 90 %, the next 5 %, the last 5 %"


@dataclass(frozen=True)
class Split:
    """Inputs ``[n, …]``: features ``[n, d]``, float64, or images of bytes. Targets ``[n]``: class numbers, int64, or values, float64."""

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
        """The number of classes, 0 where values are predicted."""
        return 0 if self.train.targets.is_floating_point() else int(self.train.targets.max()) + 1


@dataclass(frozen=True)
class Text:
    """Three parts of one text, each after the other."""

    train: str
    validation: str
    test: str


@dataclass(frozen=True)
class Verses:
    """Three disjoint splits of the verses of the Bible, each in the order of the Bible."""

    train: tuple[Verse, ...]
    validation: tuple[Verse, ...]
    test: tuple[Verse, ...]


def split(x: np.ndarray, y: np.ndarray, *, standardised: bool = True) -> Dataset:
    """60 % / 20 % / 20 %, stratified by class, the same for every seed of a trial; features standardised as in training, or not.

    Targets that are no whole numbers are left as they are, and not stratified.
    """
    from sklearn.model_selection import train_test_split

    classes = np.issubdtype(y.dtype, np.integer)
    x_train, x_rest, y_train, y_rest = train_test_split(
        x, y, test_size=0.4, random_state=0, stratify=y if classes else None
    )
    x_validation, x_test, y_validation, y_test = train_test_split(
        x_rest, y_rest, test_size=0.5, random_state=0, stratify=y_rest if classes else None
    )
    parts = (x_train, y_train), (x_validation, y_validation), (x_test, y_test)
    if not standardised:
        return Dataset(*(as_split(values, targets) for values, targets in parts))
    mean, deviation = x_train.mean(0), x_train.std(0)
    deviation = np.where(deviation < 1e-6, 1.0, deviation)  # pixels that are always empty
    return Dataset(*(as_split((values - mean) / deviation, targets) for values, targets in parts))


def as_split(x: np.ndarray, y: np.ndarray) -> Split:
    """The arrays as they are, as tensors in double precision."""
    dtype = torch.int64 if np.issubdtype(y.dtype, np.integer) else torch.float64
    return Split(torch.from_numpy(x).to(torch.float64), torch.from_numpy(y).to(dtype))


def images(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, *, validation: int) -> Dataset:
    """Images as bytes; the last ``validation`` of the training images are for validation, and the test images for testing."""
    x, y, x_test, y_test = (
        np.array(values) for values in (x, y, x_test, y_test)
    )  # tensors of arrays that can be written to
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y).to(torch.int64)
    first = len(targets) - validation
    test = Split(torch.from_numpy(x_test), torch.from_numpy(y_test).to(torch.int64))
    return Dataset(Split(inputs[:first], targets[:first]), Split(inputs[first:], targets[first:]), test)


def cut(text: str, train: int = 90, validation: int = 5) -> Text:
    """The first ``train`` per cent of the characters, the next ``validation`` per cent, and the rest.

    >>> cut("twelve signs", 50, 25)
    Text(train='twelve', validation=' si', test='gns')
    """
    first, second = len(text) * train // 100, len(text) * (train + validation) // 100
    return Text(text[:first], text[first:second], text[second:])


def split_verses(verses: tuple[Verse, ...]) -> Verses:
    """80 % / 10 % / 10 %, at random with seed 0, each section in proportion: by position, a split would have few of the sections."""
    from sklearn.model_selection import train_test_split

    numbers, sections = np.arange(len(verses)), np.array([verse.section for verse in verses])
    train, rest = train_test_split(numbers, test_size=0.2, random_state=0, stratify=sections)
    validation, test = train_test_split(rest, test_size=0.5, random_state=0, stratify=sections[rest])
    return Verses(*(tuple(verses[index] for index in np.sort(part)) for part in (train, validation, test)))

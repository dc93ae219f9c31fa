"""Data sets as tasks take them, each read, checked and split once in a process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from adaptive_lr.errors import DataError
from adaptive_lr.tasks.data import splits
from adaptive_lr.tasks.data.catalogue import find
from adaptive_lr.tasks.data.formats import texts, weights
from adaptive_lr.tasks.data.resolver import read
from adaptive_lr.tasks.data.splits import Dataset, Text, Verses

VALIDATION = {"fashion-mnist": 10_000, "cifar10": 5_000}
"""Training images that are for validation, the last ones."""

_BIBLE = "king-james-bible"


@dataclass(frozen=True)
class Encoder:
    """A model of text: its parameters by their names, its word pieces by their numbers, and what its authors wrote about its shape."""

    weights: dict[str, Tensor]
    vocabulary: tuple[str, ...]
    configuration: dict[str, Any]


@lru_cache
def load(name: str, folder: str | Path | None = None, *, standardised: bool = True) -> Dataset:
    """Inputs and targets of a set of examples; fetched if it is not here.

    Args:
        name: of images or of a table.
        folder: a person's own files, instead of those that would be fetched.
        standardised: whether the features of a table are; if not, they are as they came, pixels of digits between 0 and 1.

    Raises:
        DataError: there is no such set, or it cannot be had.
    """
    info = find(name)
    content = read(info, folder)
    if info.name in VALIDATION:
        names = ("train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy")
        return splits.images(*(content[part] for part in names), validation=VALIDATION[info.name])
    if info.name == "mnist1d":
        return _mnist1d(content)
    if "inputs.npy" not in content:
        raise DataError(f"{info.name} has no inputs and targets: it is a text, or a model of one")
    scale = 16.0 if info.name == "digits" else 1.0
    return splits.split(content["inputs.npy"] / scale, content["targets.npy"], standardised=standardised)


@lru_cache
def text(name: str, folder: str | Path | None = None) -> Text:
    """A text in three parts; of the Bible, the verses without their references, one a line.

    Raises:
        DataError: there is no such text, or it cannot be had.
    """
    info = find(name)
    content = read(info, folder)
    if texts.TEXT not in content:
        raise DataError(f"{info.name} is no text")
    letters = content[texts.TEXT].tobytes().decode()
    if info.name == "python-help":
        return splits.cut(letters, 80, 10)
    if info.name == _BIBLE:
        letters = "".join(f"{verse.text}\n" for verse in texts.verses(letters))
    return splits.cut(letters)


@lru_cache
def verses(folder: str | Path | None = None) -> Verses:
    """The verses of the Bible, whose sections can be told apart."""
    content = read(find(_BIBLE), folder)
    return splits.split_verses(texts.verses(content[texts.TEXT].tobytes().decode()))


@lru_cache
def minilm(folder: str | Path | None = None) -> Encoder:
    """A small pretrained model of text. Whoever trains it takes copies of its tensors."""
    content = read(find("minilm"), folder)
    return Encoder(
        weights.tensors(content["model.safetensors"], "model.safetensors"),
        tuple(content["vocab.txt"].tobytes().decode().splitlines()),
        json.loads(content["config.json"].tobytes()),
    )


def _mnist1d(content: dict[str, np.ndarray]) -> Dataset:
    x, y = content["train_inputs.npy"], content["train_targets.npy"]  # 4000, already in random order
    test = splits.as_split(content["test_inputs.npy"], content["test_targets.npy"])
    return Dataset(splits.as_split(x[:3200], y[:3200]), splits.as_split(x[3200:], y[3200:]), test)


DATASETS: dict[str, Callable[[], Dataset]] = {
    name: partial(load.__wrapped__, name) for name in ("digits", "breast_cancer", "mnist1d")
}
"""The sets that the classification tasks take, by their names there: 1797 digits of 8x8 pixels, 569 tumours with 30 features, 5000
one-dimensional digits of length 40.
"""

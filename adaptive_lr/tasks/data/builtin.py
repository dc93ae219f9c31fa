"""Data sets that come with a package, or are made by one."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import platformdirs
from sklearn.datasets import load_breast_cancer, load_digits

from adaptive_lr.tasks.data.splits import Dataset, as_split, split


@lru_cache
def load(name: str) -> Dataset:
    """The data set ``name``, one of ``DATASETS``."""
    return DATASETS[name]()


def _digits() -> Dataset:
    loaded = load_digits()
    return split(loaded.data / 16.0, loaded.target)


def _breast_cancer() -> Dataset:
    loaded = load_breast_cancer()
    return split(loaded.data, loaded.target)


def _mnist1d() -> Dataset:
    arrays = _mnist1d_arrays()
    test = as_split(arrays["x_test"], arrays["y_test"])
    x, y = arrays["x"], arrays["y"]  # 4000, already in random order
    return Dataset(as_split(x[:3200], y[:3200]), as_split(x[3200:], y[3200:]), test)


DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": _digits,
    "breast_cancer": _breast_cancer,
    "mnist1d": _mnist1d,
}
"""Every data set: 1797 digits of 8x8 pixels, 569 tumours with 30 features, 5000 one-dimensional digits of length 40."""


def _mnist1d_arrays() -> dict[str, np.ndarray]:
    """The generator's output with its default arguments, kept in the user's cache since it takes seconds to make."""
    path = Path(platformdirs.user_cache_dir("adaptive_lr")) / "mnist1d-0.0.2.npz"
    with (
        contextlib.suppress(Exception),
        path.open("rb") as file,
        np.load(file) as stored,
    ):  # absent or torn: make it again
        return {name: stored[name] for name in ("x", "y", "x_test", "y_test")}
    with _global_generators_restored():
        from mnist1d.data import get_dataset_args, make_dataset

        made = make_dataset(get_dataset_args())
    arrays = {name: np.asarray(made[name]) for name in ("x", "y", "x_test", "y_test")}
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, not results
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{random.SystemRandom().getrandbits(32):08x}.npz")
        np.savez(part, **arrays)  # type: ignore[arg-type]
        part.replace(path)
    return arrays


@contextlib.contextmanager
def _global_generators_restored() -> Iterator[None]:
    """`make_dataset` seeds the global generators; put them back as they were."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)

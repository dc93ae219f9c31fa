"""Data sets that come with a package, or are made by one."""

from __future__ import annotations

import contextlib
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from adaptive_lr.errors import DataError
from adaptive_lr.tasks.data.formats.files import Content
from adaptive_lr.tasks.data.formats.texts import TEXT
from adaptive_lr.tasks.data.resolver import root


def digits() -> Content:
    """1797 digits of 8x8 pixels from 0 to 16."""
    from sklearn.datasets import load_digits

    return _table(load_digits())


def breast_cancer() -> Content:
    """569 tumours with 30 features, malignant or benign."""
    from sklearn.datasets import load_breast_cancer

    return _table(load_breast_cancer())


def diabetes() -> Content:
    """442 patients with 10 features in their units, and how far the disease has gone a year later."""
    from sklearn.datasets import load_diabetes

    return _table(load_diabetes(scaled=False))


def _table(loaded: Any) -> Content:
    targets = loaded.target
    if np.issubdtype(targets.dtype, np.integer):
        targets = targets.astype(np.int64)  # as it is, but on some systems
    return {"inputs.npy": loaded.data, "targets.npy": targets}


def python_help() -> str:
    """The text of `pydoc_data.topics`.

    Topics in the order of their names; of the paragraphs, a fifth of which repeat an earlier one, each stands once.
    """
    from pydoc_data.topics import topics

    text = "\n\n".join(topics[name] for name in sorted(topics))
    return "\n\n".join(dict.fromkeys(text.split("\n\n")))


def python_help_content() -> Content:
    """The same text as bytes."""
    return {TEXT: np.frombuffer(python_help().encode(), np.uint8)}


SOURCES = (
    "argparse", "ast", "bdb", "calendar", "codecs", "configparser", "copy", "csv", "dataclasses", "difflib", "doctest", "enum",
    "fractions", "functools", "gettext", "heapq", "inspect", "locale", "mailbox", "mimetypes", "optparse", "os", "pickle", "platform",
    "plistlib", "pprint", "random", "selectors", "shlex", "shutil", "smtplib", "socket", "ssl", "statistics", "string", "subprocess",
    "tarfile", "tempfile", "textwrap", "threading", "tokenize", "traceback", "typing", "uuid", "warnings", "weakref",
)  # fmt: skip
"""Modules of Python's standard library that are one file each, from 3.11 on."""


def python_source_content() -> Content:
    """The source of ``SOURCES``, one after another, as bytes.

    Raises:
        DataError: this Python comes without the source of its standard library.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    texts = []
    for name in SOURCES:
        try:
            texts.append((folder / f"{name}.py").read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(
                f"python-source: this Python has no source of its module {name!r} in {folder} ({error}): install Python with its standard "
                "library as .py files"
            ) from error
    return {TEXT: np.frombuffer("\n\n".join(texts).encode(), np.uint8)}


def mnist1d() -> Content:
    """5000 one-dimensional digits of length 40: the generator's output with its default arguments.

    It is kept in the folder of all sets, since it takes seconds to make.
    """
    path = root() / "mnist1d-0.0.2.npz"
    with (
        contextlib.suppress(Exception),
        path.open("rb") as file,
        np.load(file) as stored,
    ):  # absent or torn: make it again
        return _mnist1d_parts({name: stored[name] for name in _MNIST1D.values()})
    with _global_generators_restored():
        from mnist1d.data import get_dataset_args, make_dataset

        made = make_dataset(get_dataset_args())
    arrays = {name: np.asarray(made[name]) for name in _MNIST1D.values()}
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, not results
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{random.SystemRandom().getrandbits(32):08x}.npz")
        np.savez(part, **arrays)  # type: ignore[arg-type]
        part.replace(path)
    return _mnist1d_parts(arrays)


_MNIST1D = {
    "train_inputs.npy": "x",
    "train_targets.npy": "y",
    "test_inputs.npy": "x_test",
    "test_targets.npy": "y_test",
}
"""Our names of the parts, and the generator's."""


def _mnist1d_parts(arrays: dict[str, np.ndarray]) -> Content:
    return {part: arrays[name] for part, name in _MNIST1D.items()}


@contextlib.contextmanager
def _global_generators_restored() -> Iterator[None]:
    """`make_dataset` seeds the global generators; put them back as they were."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)

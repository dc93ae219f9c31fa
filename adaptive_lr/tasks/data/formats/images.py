"""Images as they are published: the files of Fashion-MNIST, and the batches of CIFAR-10 in both of their formats."""

from __future__ import annotations

import hashlib
import io
import pickle
from typing import Any

import numpy as np

from adaptive_lr.errors import DataError
from adaptive_lr.tasks.data.formats.files import Content, Files

IDX_FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))

CIFAR_BATCHES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""The MD5 of each batch in the Python format, which is in use everywhere: they are checked before a batch is opened."""

_PER_BATCH = 10_000
_PIXELS = 3 * 32 * 32


def idx(content: bytes, name: str) -> np.ndarray:
    """An array of bytes in the format of MNIST: two zeros, 8 for bytes, the number of dimensions, each of them, the values.

    >>> idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]), "three")
    array([[7, 8, 9]], dtype=uint8)

    Raises:
        DataError: it is not in this format, or is cut.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise DataError(f"{name} is not in the format idx: it begins with {content[:4].hex() or 'nothing'}, not 000008")
    header = 4 + 4 * content[3]
    shape = tuple(int(size) for size in np.frombuffer(content[4:header], ">u4"))
    values = np.frombuffer(content, np.uint8, offset=header)
    if len(values) != int(np.prod(shape, dtype=np.int64)):
        raise DataError(
            f"{name} is cut or damaged: {len(values)} values where {'x'.join(map(str, shape))} are announced"
        )
    return values.reshape(shape)


def fashion_mnist(files: Files) -> Content:
    """The four files of Fashion-MNIST, or of anything else in the same files."""
    files.need(IDX_FILES)
    arrays = [idx(files.read(name), name) for name in IDX_FILES]
    return dict(
        zip(("train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy"), arrays, strict=True)
    )


def cifar10(files: Files) -> Content:
    """The six batches, in the Python format or the binary one; images ``[n, 3, 32, 32]``.

    Raises:
        DataError: a batch is missing, damaged, or of something else.
    """
    binary = not files.has("data_batch_1") and files.has("data_batch_1.bin")
    names = [f"{name}.bin" if binary else name for name in CIFAR_BATCHES]
    files.need(names)
    read = _binary_batch if binary else _python_batch
    batches = [read(files.read(name), name) for name in names]
    content = {
        "train_images.npy": np.concatenate([images for images, _ in batches[:-1]]),
        "train_labels.npy": np.concatenate([labels for _, labels in batches[:-1]]),
        "test_images.npy": batches[-1][0],
        "test_labels.npy": batches[-1][1],
    }
    for part in ("train", "test"):
        counts = np.bincount(content[f"{part}_labels.npy"], minlength=10)
        if set(counts) != {counts.sum() // 10}:
            raise DataError(
                f"{files.folder} is not CIFAR-10: its classes have {', '.join(map(str, counts))} images for {part}"
            )
    return content


def _binary_batch(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    if len(content) != _PER_BATCH * (1 + _PIXELS):
        raise DataError(f"{name} is cut or damaged: {len(content)} bytes, expected {_PER_BATCH * (1 + _PIXELS)}")
    rows = np.frombuffer(content, np.uint8).reshape(_PER_BATCH, 1 + _PIXELS)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]


def _python_batch(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    if (md5 := hashlib.md5(content, usedforsecurity=False).hexdigest()) != CIFAR_BATCHES[name]:
        raise DataError(f"{name} has MD5 {md5}, expected {CIFAR_BATCHES[name]}: it is cut, damaged or another file")
    return unpickled_batch(content)


def unpickled_batch(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images and class numbers of a batch in the Python format."""
    batch = _Arrays(io.BytesIO(content), encoding="bytes").load()
    return batch[b"data"].reshape(-1, 3, 32, 32), np.asarray(batch[b"labels"], np.uint8)


class _Arrays(pickle.Unpickler):
    """Makes arrays, and calls nothing else that a file may name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module.replace("_core", "core"), name) == ("numpy.core.multiarray", "_reconstruct"):
            return np.empty(0).__reduce__()[0]  # wherever this version of numpy has it
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        raise DataError(f"a batch of CIFAR-10 asks for {module}.{name}: this is not one")

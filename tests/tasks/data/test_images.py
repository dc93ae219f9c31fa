import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from adaptive_lr.errors import DataError
from adaptive_lr.tasks.data import splits
from adaptive_lr.tasks.data.formats import images
from adaptive_lr.tasks.data.formats.files import Files
from tests.tasks.data.made import ARRAYS, ORIGINALS, as_idx, write

PER_BATCH = 20
RANDOM = np.random.default_rng(2)
LABELS = {name: RANDOM.permutation(PER_BATCH).astype(np.uint8) % 10 for name in images.CIFAR_BATCHES}
PIXELS = {name: RANDOM.integers(0, 256, (PER_BATCH, 3 * 32 * 32), dtype=np.uint8) for name in images.CIFAR_BATCHES}


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_PER_BATCH", PER_BATCH)


def binary() -> dict[str, bytes]:
    return {f"{name}.bin": np.column_stack([LABELS[name], PIXELS[name]]).tobytes() for name in images.CIFAR_BATCHES}


class Python2Pickler(pickle._Pickler):
    """Writes byte strings as Python 2 wrote its strings, which is how the batches are pickled."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(value)) + value)  # type: ignore[attr-defined]
        self.memoize(value)  # type: ignore[attr-defined]

    dispatch[bytes] = save_bytes


def pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()


def test_the_files_of_fashion_mnist_are_read_packed_and_unpacked(tmp_path: Path) -> None:
    packed = write(tmp_path / "packed", ORIGINALS)
    names = zip(images.IDX_FILES, ARRAYS.values(), strict=True)
    plain = write(tmp_path / "FashionMNIST/raw", {name: as_idx(values) for name, values in names})
    for folder in (packed, plain, tmp_path / "FashionMNIST"):
        content = images.fashion_mnist(Files(folder))
        assert list(content) == list(ARRAYS)
        for name, values in ARRAYS.items():
            np.testing.assert_array_equal(content[name], values)


def test_missing_files_are_named(tmp_path: Path) -> None:
    write(tmp_path, {name: content for name, content in ORIGINALS.items() if "labels" not in name})
    with pytest.raises(DataError, match=r"has no train-labels-idx1-ubyte, t10k-labels-idx1-ubyte$"):
        images.fashion_mnist(Files(tmp_path))


def test_the_binary_batches_of_cifar10_are_read(tmp_path: Path) -> None:
    write(tmp_path / "cifar-10-batches-bin", binary())
    content = images.cifar10(Files(tmp_path))
    training = [name for name in images.CIFAR_BATCHES if name != "test_batch"]
    np.testing.assert_array_equal(content["test_labels.npy"], LABELS["test_batch"])
    np.testing.assert_array_equal(content["train_labels.npy"], np.concatenate([LABELS[name] for name in training]))
    assert content["train_images.npy"].shape == (5 * PER_BATCH, 3, 32, 32)
    for index, name in enumerate(training):
        rows = content["train_images.npy"][index * PER_BATCH : (index + 1) * PER_BATCH]
        np.testing.assert_array_equal(rows.reshape(PER_BATCH, -1), PIXELS[name])
        np.testing.assert_array_equal(rows[0, 1, 2], PIXELS[name][0, 1024 + 64 : 1024 + 96])  # green, third line


def test_cut_batches_and_other_pictures_are_refused(tmp_path: Path) -> None:
    files = binary()
    write(tmp_path / "cut", files | {"test_batch.bin": files["test_batch.bin"][:-1]})
    with pytest.raises(DataError, match=r"test_batch\.bin is cut or damaged: 61459 bytes, expected 61460"):
        images.cifar10(Files(tmp_path / "cut"))
    write(tmp_path / "other", files | {"test_batch.bin": bytes(PER_BATCH * (1 + 3 * 32 * 32))})
    with pytest.raises(
        DataError, match="is not CIFAR-10: its classes have 20, 0, 0, 0, 0, 0, 0, 0, 0, 0 images for test"
    ):
        images.cifar10(Files(tmp_path / "other"))
    write(tmp_path / "few", {"data_batch_1.bin": files["data_batch_1.bin"]})
    with pytest.raises(DataError, match=r"has no data_batch_2\.bin, .*, test_batch\.bin$"):
        images.cifar10(Files(tmp_path / "few"))


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_a_batch_that_python_2_pickled_is_read(module: str) -> None:
    name = "data_batch_3"
    content = pickled(
        {b"data": PIXELS[name], b"labels": LABELS[name].tolist(), b"batch_label": b"training batch 3 of 5"}
    )
    for written in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        content = content.replace(written, module.encode())
    pixels, labels = images.unpickled_batch(content)
    np.testing.assert_array_equal(pixels.reshape(PER_BATCH, -1), PIXELS[name])
    np.testing.assert_array_equal(labels, LABELS[name])
    assert labels.dtype == np.uint8


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    for harmful in (Harmful(), {b"data": Harmful()}):
        with pytest.raises(DataError, match=r"a batch of CIFAR-10 asks for \w+\.mkdir: this is not one"):
            images.unpickled_batch(pickled(harmful))
    assert not (tmp_path / "ran").exists()


def test_a_python_batch_is_not_opened_unless_its_checksum_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "unpickled_batch", lambda content: pytest.fail("opened"))
    write(tmp_path, {name: pickled({b"data": 1}) for name in images.CIFAR_BATCHES})
    with pytest.raises(DataError, match=r"data_batch_1 has MD5 \w{32}, expected c99cafc152244af753f735de768cd75f"):
        images.cifar10(Files(tmp_path))


def test_the_last_training_images_are_for_validation() -> None:
    data = splits.images(*ARRAYS.values(), validation=5)
    assert [len(split.targets) for split in (data.train, data.validation, data.test)] == [15, 5, 10]
    together = torch.cat([data.train.inputs, data.validation.inputs]).numpy()
    np.testing.assert_array_equal(together, ARRAYS["train_images.npy"])
    np.testing.assert_array_equal(data.validation.targets.numpy(), ARRAYS["train_labels.npy"][-5:])
    np.testing.assert_array_equal(data.test.inputs.numpy(), ARRAYS["test_images.npy"])
    for split in (data.train, data.validation, data.test):
        assert split.inputs.dtype == torch.uint8
        assert split.targets.dtype == torch.int64

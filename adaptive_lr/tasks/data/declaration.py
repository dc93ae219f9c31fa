"""What is declared about a data set, and how its content is compared with that."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from adaptive_lr.errors import DataError
from adaptive_lr.tasks.data.formats.files import Content, Files

Progress = Callable[[int], None]
"""Told now and then how many bytes have come so far."""

VARIES = -1
"""A size that is not the same everywhere."""


class Origin(Protocol):
    """Where the original files come from: a class in `origins`."""

    @property
    def bytes(self) -> int:
        """The size of what is fetched, once it was measured."""

    @property
    def label(self) -> str:
        """A few words for tables and messages."""

    def fetch(self, folder: Path, progress: Progress) -> None:
        """Bring the files into an empty folder; raises `DataError` in one clause."""


@dataclass(frozen=True)
class Part:
    """One array, or one file, of a data set.

    Attributes:
        name: see `Content`.
        dtype: as numpy writes it.
        shape: one number for a file.
        sha256: of the values in C order, little-endian; of a file, its checksum as ``sha256sum`` prints it. None where nobody has
            published it, or where it differs from place to place.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str | None = None

    @property
    def bytes(self) -> int:
        """The size in memory, 0 if it varies."""
        return 0 if VARIES in self.shape else int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """A data set: what it is, and whose. One of the two classes below says where it comes from.

    Attributes:
        name: in lower case, with hyphens.
        title: for tables.
        summary: what is in it, in a few words.
        classes: their names in the order of their numbers; none for texts and regression.
        licence: of the data, and of the package where that is another one.
        reference: whom to cite.
        splits: how it is divided into training, validation and test.
        parts: what is in the decoded content.
    """

    name: str
    title: str
    summary: str
    licence: str
    reference: str
    splits: str
    parts: tuple[Part, ...]
    classes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """What the decoded content takes, in memory as on disk."""
        return sum(part.bytes for part in self.parts)

    @property
    def sha256(self) -> str | None:
        """One checksum for all parts: of lines such as ``sha256sum`` prints. None if a part has none."""
        lines = [f"{part.sha256}  {part.name}\n" for part in self.parts]
        known = all(part.sha256 for part in self.parts)
        return hashlib.sha256("".join(lines).encode()).hexdigest() if known else None


@dataclass(frozen=True, kw_only=True)
class InstalledDataset(DatasetInfo):
    """A set that comes with a package that is installed anyway.

    Attributes:
        package: its name.
        make: the content.
    """

    package: str
    make: Callable[[], Content]


@dataclass(frozen=True, kw_only=True)
class FetchedDataset(DatasetInfo):
    """A set that is fetched when it is wanted, or that a person has.

    Attributes:
        origins: in the order in which they are tried.
        decode: the content from the original files.
        originals: the files that a folder of a person's own must have.
        needs: modules that decoding imports and that an extra of this package installs.
    """

    origins: tuple[Origin, ...]
    decode: Callable[[Files], Content]
    originals: tuple[str, ...]
    needs: tuple[str, ...] = ()

    @property
    def download_bytes(self) -> int:
        """What the first origin sends."""
        return self.origins[0].bytes


AnyDataset = InstalledDataset | FetchedDataset


def checksum(values: np.ndarray) -> str:
    """The SHA-256 of the values in C order, little-endian."""
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(np.ascontiguousarray(little).data).hexdigest()


def check(info: DatasetInfo, content: Mapping[str, np.ndarray], expected: Mapping[str, str]) -> None:
    """Do nothing if the content is what is declared, and each part has the checksum that is ``expected`` of it, if any.

    Raises:
        DataError: in one clause, what differs.
    """
    for part in info.parts:
        values = content.get(part.name)
        if values is None:
            raise DataError(f"{part.name} is missing")
        shape = "x".join(map(str, values.shape))
        if not _fits(values.shape, part.shape) or values.dtype != np.dtype(part.dtype):
            wanted = "x".join(map(str, part.shape))
            raise DataError(
                f"{part.name} is {values.dtype} {shape}, expected {part.dtype} {wanted}: it is cut, damaged or another"
            )
        wanted_sum = part.sha256 or expected.get(part.name)
        if wanted_sum is not None and (actual := checksum(values)) != wanted_sum:
            raise DataError(
                f"{part.name} has SHA-256 {actual}, expected {wanted_sum}: it is damaged, or another version"
            )


def _fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    return len(shape) == len(declared) and all(
        size in (actual, VARIES) for actual, size in zip(shape, declared, strict=True)
    )

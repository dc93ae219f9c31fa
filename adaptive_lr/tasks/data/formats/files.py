"""The original files of a data set, wherever in a folder or in the archives in it they lie."""

from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from adaptive_lr.errors import DataError

Content = dict[str, np.ndarray]
"""The decoded parts of a data set by their names: an array where the name ends in ``.npy``, the bytes of a file elsewhere."""

DEPTH = 8
"""Folders below each other in which files are looked for."""

MOST = 20_000
"""Files in all of them: a person may have named the wrong folder, with everything in it."""

_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile)


class Files:
    """Files by their names, each read when it is asked for; archives are looked into, never unpacked.

    Args:
        folder: where they are.

    Raises:
        DataError: it is no folder, or one with far too much in it, or an archive in it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._readers: dict[str, Callable[[], bytes]] = {}
        for path in _walk(folder):
            relative = path.relative_to(folder).as_posix()
            if path.name.endswith((".tar", ".tar.gz", ".tgz")):
                self._readers |= {f"{relative}/{name}": reader for name, reader in _tar(path)}
            elif path.name.endswith((".whl", ".zip")):
                self._readers |= {f"{relative}/{name}": reader for name, reader in _zip(path)}
            else:
                self._readers[relative] = partial(_content, path)

    def matching(self, pattern: str) -> dict[str, bytes]:
        """The files whose path in the folder fits, in the order of their last names; ``*`` is anything, slashes too."""
        paths = [path for path in self._readers if fnmatch(path, pattern)]
        return {
            name: self._readers[path]() for name, path in sorted((PurePosixPath(path).name, path) for path in paths)
        }

    def need(self, names: Sequence[str]) -> None:
        """Do nothing if all are there, as they are or with ``.gz``.

        Raises:
            DataError: some are not; it names them.
        """
        if missing := [name for name in names if self._path(name) is None]:
            raise DataError(f"{self.folder} has no {', '.join(missing)}")

    def has(self, name: str) -> bool:
        """Whether the file is there, as it is or with ``.gz``."""
        return self._path(name) is not None

    def read(self, name: str) -> bytes:
        """The content of a file by its last name; of a file that has ``.gz`` besides, what is in it.

        Raises:
            DataError: it is not there, or is damaged.
        """
        path = self._path(name)
        if path is None:
            raise DataError(f"{self.folder} has no {name}")
        content = self._readers[path]()
        if not path.endswith(".gz"):
            return content
        if not content:  # which gzip takes for nothing, packed
            raise DataError(f"{self.folder / path} is cut or damaged: it is empty")
        try:
            return gzip.decompress(content)
        except _DAMAGED as error:
            raise DataError(f"{self.folder / path} is cut or damaged: {error}") from None

    def _path(self, name: str) -> str | None:
        names = (name, f"{name}.gz")
        paths = [path for path in self._readers if PurePosixPath(path).name in names]
        return min(paths, key=lambda path: (path.count("/"), path), default=None)


def _walk(folder: Path) -> Iterator[Path]:
    """Every file, no deeper than DEPTH; links to folders are not followed.

    Yields:
        Paths, those of a folder before those in its folders.

    Raises:
        DataError: there is no such folder, or it holds more than MOST files.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    count = 0
    for parent, folders, names in os.walk(folder):
        folders.sort()
        if len(Path(parent).relative_to(folder).parts) >= DEPTH:
            folders.clear()
        count += len(names)
        if count > MOST:
            raise DataError(f"{folder} holds more than {MOST} files: name the folder of the data set itself")
        yield from (Path(parent) / name for name in sorted(names) if (Path(parent) / name).is_file())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _tar(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    # All members at once: to go back in a compressed archive is to read it again from its beginning.
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if (file := archive.extractfile(member) if member.isfile() else None) is not None:
                    yield member.name, partial(bytes, file.read())
    except (*_DAMAGED, OSError) as error:
        raise DataError(f"{path} is cut or damaged: {error}") from None


def _zip(path: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [member.filename for member in archive.infolist() if not member.is_dir()]
    except (*_DAMAGED, OSError) as error:
        raise DataError(f"{path} is cut or damaged: {error}") from None
    for name in names:
        yield name, partial(_zip_member, path, name)


def _zip_member(path: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)
    except (*_DAMAGED, OSError) as error:
        raise DataError(f"{path} is cut or damaged: {error}") from None

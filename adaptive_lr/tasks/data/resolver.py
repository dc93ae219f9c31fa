"""Where a data set is found, in this order: a person's folder, the cache, a package, an official download.

The cache has a folder for each set, which appears in it whole or not at all, and whose content is compared with the checksums whenever
it is read. What is fetched is fetched once, whatever the number of processes that want it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import platformdirs
from filelock import FileLock

from adaptive_lr.errors import DataError, OutputError
from adaptive_lr.files import make_folder
from adaptive_lr.tasks.data.declaration import (
    AnyDataset,
    DatasetInfo,
    FetchedDataset,
    InstalledDataset,
    Progress,
    check,
    checksum,
)
from adaptive_lr.tasks.data.formats.files import Content, Files
from adaptive_lr.tasks.data.formats.tables import not_installed

VARIABLE = "ADAPTIVE_LR_DATA"
"""The environment variable that names another folder than the user's cache."""

RECORD = "origin.json"
"""The last file of a set in the cache: where it came from, and the checksum of each part."""


def root() -> Path:
    """The folder of all sets."""
    return Path(os.environ.get(VARIABLE) or platformdirs.user_cache_dir("adaptive_lr")).expanduser()


def home(info: DatasetInfo) -> Path:
    """The folder of a set: what was fetched, or a person's own files."""
    return root() / info.name


def is_here(info: DatasetInfo) -> bool:
    """Whether the set can be read without fetching it, as far as one can tell without reading it."""
    return isinstance(info, InstalledDataset) or _is_cached(info) or _has_files(home(info))


def read(
    info: AnyDataset, folder: str | Path | None = None, *, fetch: bool = True, progress: Progress | None = None
) -> Content:
    """The content of a set, checked.

    Args:
        info: its declaration.
        folder: a person's own files, in it or in a folder in it that has the set's name; nothing else is looked at then.
        fetch: whether to fetch it if it is not here.
        progress: told how many bytes have come, while it is fetched.

    Raises:
        DataError: it is not here, cannot be fetched, or is not what it should be.
    """
    if isinstance(info, InstalledDataset):
        return _made(info)
    if folder is not None:
        own = Path(folder).expanduser()
        return _own(info, own / info.name if (own / info.name).is_dir() else own)
    damage = ""
    if _is_cached(info):
        try:
            return _kept(info, home(info))
        except DataError as error:
            damage = f"{error}; "
    elif _has_files(home(info)):
        return _own(info, home(info))
    if not fetch:
        raise DataError(f"{damage}{info.name} is not in {root()}: adaptive-lr data fetch {info.name}")
    return _fetched(info, progress or (lambda count: None), damage)


def _made(info: InstalledDataset) -> Content:
    """What comes with an installed package.

    Raises:
        DataError: this version of the package has something else.
    """
    content = info.make()
    try:
        check(info, content, {})
    except DataError as error:
        raise DataError(f"the {info.name} of {info.package}: {error}") from None
    return content


def _is_cached(info: DatasetInfo) -> bool:
    return (home(info) / RECORD).is_file()


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _own(info: FetchedDataset, folder: Path) -> Content:
    """What a person's folder holds: the original files, or a copy of the cache.

    Raises:
        DataError: it holds something else.
    """
    if (folder / RECORD).is_file():
        return _kept(info, folder)
    try:
        content = info.decode(Files(folder))
        check(info, content, {})
    except DataError as error:
        raise DataError(
            f"{info.name} cannot be read from {folder}: {error}; expected {', '.join(info.originals)}"
        ) from error
    return content


def _kept(info: DatasetInfo, folder: Path) -> Content:
    """The parts in a folder of the cache.

    Raises:
        DataError: one is missing or damaged.
    """
    try:
        expected = json.loads((folder / RECORD).read_bytes())["sha256"]
        content = {part.name: _array(folder / part.name) for part in info.parts}
        check(info, content, dict(expected))
    except DataError as error:
        raise DataError(f"{folder} is damaged: {error}") from None
    except OSError as error:
        raise DataError(f"{folder} is damaged: cannot read {error.filename}: {error.strerror or error}") from None
    except (ValueError, EOFError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{folder} is damaged: a file in it is cut ({error})") from None
    return content


def _array(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.fromfile(path, np.uint8)


def _fetched(info: FetchedDataset, progress: Progress, damage: str) -> Content:
    for module in info.needs:  # before anything is fetched in vain
        if importlib.util.find_spec(module) is None:
            raise DataError(f"to read {info.name}, {not_installed(module)}")
    with _only_one(info):
        if _is_cached(info):  # another process was faster
            with contextlib.suppress(DataError):
                return _kept(info, home(info))
        _make_room(info)
        problems = []
        for origin in info.origins:
            part = home(info).with_name(f"{info.name}.part")
            try:
                shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
                (part / "files").mkdir(parents=True)
                origin.fetch(part / "files", progress)
                content = info.decode(Files(part / "files"))
                check(info, content, {})
                _keep(info, content, part / "set", origin.label)
            except DataError as error:
                problems.append(f"{origin.label}: {error}")
            except OSError as error:
                raise DataError(f"cannot write to {root()}: {error.strerror or error}") from error
            else:
                return content
            finally:
                shutil.rmtree(part, ignore_errors=True)
    raise DataError(
        f"{damage}{info.name} cannot be fetched ({'; '.join(problems)}); or put {', '.join(info.originals)} into {home(info)} yourself"
    )


@contextlib.contextmanager
def _only_one(info: DatasetInfo) -> Iterator[None]:
    """Wait until no other process fetches this set.

    Raises:
        DataError: the folder of all sets cannot be written to.
    """
    lock = FileLock(root() / f"{info.name}.lock")
    try:
        make_folder(root())
        lock.acquire()
    except (OutputError, OSError) as error:
        reason = (
            str(error) if isinstance(error, OutputError) else f"cannot write to {root()}: {error.strerror or error}"
        )
        raise DataError(f"{reason}; name another folder with {VARIABLE}") from None
    try:
        yield
    finally:
        lock.release()


def _make_room(info: FetchedDataset) -> None:
    """Do nothing if the disk has room for the download, unpacked, and for the content.

    Raises:
        DataError: it has not.
    """
    needed, free = 2 * max(origin.bytes for origin in info.origins) + info.bytes, shutil.disk_usage(root()).free
    if free < needed:
        raise DataError(
            f"{info.name} needs {needed / 1e6:.0f} MB in {root()} while it is fetched, {free / 1e6:.0f} MB are free: make room, or name "
            f"another folder with {VARIABLE}"
        )


def _keep(info: DatasetInfo, content: Content, folder: Path, label: str) -> None:
    """Write the parts, the record last, and give the folder its name."""
    folder.mkdir()
    for part in info.parts:
        if part.name.endswith(".npy"):
            np.save(folder / part.name, content[part.name], allow_pickle=False)
        else:
            content[part.name].tofile(folder / part.name)
    record = {"origin": label, "sha256": {part.name: checksum(content[part.name]) for part in info.parts}}
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n")
    shutil.rmtree(home(info), ignore_errors=True)
    folder.rename(home(info))

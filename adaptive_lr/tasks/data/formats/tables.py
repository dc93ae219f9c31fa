"""Tables of R's packages: one object in a file (``.rda``), or all of a package's objects in one (``.rdb``)."""

from __future__ import annotations

import bz2
import importlib
import io
import lzma
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from adaptive_lr.errors import DataError
from adaptive_lr.tasks.data.formats.files import Content, Files

DATABASE = ("Rdata.rdb", "Rdata.rdx")
"""The files of a package that keeps its objects together: the objects, and where each of them is."""

_EXPANDED: dict[bytes, Callable[[bytes], bytes]] = {
    b"0": bytes,
    b"2": bz2.decompress,
    b"Z": lambda data: lzma.decompress(data, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 6}]),
}
"""By the letter that stands between an object's length and its bytes; zlib has no letter."""


def table(files: Files, name: str, target: str) -> Content:
    """Inputs ``[n, d]``, float64, and targets ``[n]``: the number of a factor's level, or the value of a numeric column.

    Raises:
        DataError: the package that reads these files is not installed, or a file is missing or damaged.
    """
    try:
        rdata = importlib.import_module("rdata")
    except ImportError:
        raise DataError(not_installed("rdata")) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tibbles, which are data frames, and of encodings, which are ASCII
            frame = _frame(rdata, files, name)
            values = frame[target]
            if categorical := str(values.dtype) == "category":
                values = values.cat.codes
            inputs = frame.drop(columns=target).to_numpy(np.float64)
            targets = values.to_numpy(np.int64 if categorical else np.float64)
    except DataError:
        raise
    except Exception as error:  # whatever a reader of damaged bytes runs into
        raise DataError(
            f"the table {name} in {files.folder} is cut or damaged: {type(error).__name__}: {error}"
        ) from error
    return {"inputs.npy": inputs, "targets.npy": targets}


def not_installed(module: str) -> str:
    """What to do about a module that is needed and not installed."""
    return f"the package {module} is needed, which is not installed: pip install 'adaptive-lr[data]'"


def _frame(rdata: Any, files: Files, name: str) -> Any:
    if files.has(f"{name}.rda"):
        return rdata.read_rda(io.BytesIO(files.read(f"{name}.rda")), default_encoding="utf-8")[name]
    files.need(DATABASE)
    index = rdata.read_rds(io.BytesIO(files.read("Rdata.rdx")), default_encoding="utf-8")["variables"]
    if name not in index:
        raise DataError(f"Rdata.rdx in {files.folder} has no table {name}")
    start, length = (int(number) for number in index[name])
    parsed = rdata.parser.parse_data(_expanded(files.read("Rdata.rdb")[start : start + length]), extension=".rds")
    return rdata.conversion.convert(parsed, default_encoding="utf-8")


def _expanded(stored: bytes) -> bytes:
    """One object of a database: four bytes for its length, highest first, perhaps a letter, and the compressed bytes.

    Raises:
        DataError: its length is another one.
    """
    length, letter = int.from_bytes(stored[:4], "big"), stored[4:5]
    data = _EXPANDED[letter](stored[5:]) if letter in _EXPANDED else zlib.decompress(stored[4:])
    if len(data) != length:
        raise DataError(f"an object of Rdata.rdb has {len(data)} bytes, expected {length}")
    return data

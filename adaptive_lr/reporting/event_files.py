"""TensorBoard event files, record by record: what they hold, and how far they can be trusted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

_LENGTH, _CHECKSUM = struct.Struct("<Q"), struct.Struct("<I")
_START = 1
"""Of a session: what was logged at later steps before it was done again."""


@dataclass
class Events:
    """What the event files of one folder hold.

    Attributes:
        scalars: step and value of every scalar by tag, in the order of writing.
        hyperparameters: as the HParams plugin has them.
        damages: sentences about files that could be read in part only.
    """

    scalars: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    hyperparameters: dict[str, str] = field(default_factory=dict)
    damages: list[str] = field(default_factory=list)


def event_files(folder: Path) -> dict[Path, list[Path]]:
    """Event files by folder, in order of their names; what is no regular file (a pipe, a folder of that name) is passed over."""
    files: dict[Path, list[Path]] = {}
    for path in sorted(folder.rglob("*tfevents*")):
        if path.is_file():
            files.setdefault(path.parent, []).append(path)
    return files


def read_folder(files: list[Path], root: Path) -> Events:
    """All events of the files of one folder; ``root`` is what their names are given from."""
    events = Events()
    for path in files:
        name, size, count, end = path.relative_to(root), path.stat().st_size, 0, 0
        with path.open("rb") as file:
            try:
                for record in _records(file, size):
                    _take(record, events)
                    count, end = count + 1, file.tell()
            except _DamageError as damage:
                events.damages.append(
                    f"{name} is damaged ({damage}): {end} of {size} bytes were read, {count} events; what follows is missing, and the run's last "
                    "value may be an earlier one."
                )
    return events


class _DamageError(Exception):
    """A record cannot be read."""


def _records(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The records of a file; each has its length, a checksum of that, its bytes, and a checksum of these.

    Yields:
        The bytes of a record.

    Raises:
        _DamageError: the next record is cut off, or a checksum is wrong.
    """
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    while header := file.read(_LENGTH.size + _CHECKSUM.size):
        if len(header) < _LENGTH.size + _CHECKSUM.size:
            raise _DamageError("it ends inside a record")
        length = _LENGTH.unpack(header[: _LENGTH.size])[0]
        if masked_crc32c(header[: _LENGTH.size]) != _CHECKSUM.unpack(header[_LENGTH.size :])[0]:
            raise _DamageError("a checksum is wrong")
        if length + _CHECKSUM.size > size - file.tell():
            raise _DamageError("it ends inside a record")
        record = file.read(length)
        if masked_crc32c(record) != _CHECKSUM.unpack(file.read(_CHECKSUM.size))[0]:
            raise _DamageError("a checksum is wrong")
        yield record


def _take(record: bytes, events: Events) -> None:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorboard.compat.proto.event_pb2 import Event

    try:
        event = Event.FromString(record)
    except DecodeError:
        raise _DamageError("a record is no event") from None
    if event.session_log.status == _START:
        for tag, values in events.scalars.items():
            events.scalars[tag] = [(step, value) for step, value in values if step < event.step]
    for value in event.summary.value:
        if value.metadata.plugin_data.plugin_name == "hparams":
            events.hyperparameters |= _hyperparameters(value.metadata.plugin_data.content)
        number = _scalar(value)
        if number is not None:
            events.scalars.setdefault(value.tag, []).append((event.step, number))


def _scalar(value: Any) -> float | None:
    """The number that a summary is; TensorFlow 2 and newer writers make a tensor of one element of it."""
    from tensorboard.util.tensor_util import make_ndarray

    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor" or any(dimension.size != 1 for dimension in value.tensor.tensor_shape.dim):
        return None
    try:
        array = make_ndarray(value.tensor)
    except (TypeError, ValueError, KeyError):
        return None
    return float(array.reshape(())) if array.size == 1 and array.dtype.kind in "fiu" else None


def _hyperparameters(content: bytes) -> dict[str, str]:
    from google.protobuf.message import DecodeError
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    try:
        data = HParamsPluginData.FromString(content)
    except DecodeError:
        raise _DamageError("its hyperparameters are none") from None
    words = {}
    for name, value in data.session_start_info.hparams.items():
        kind = value.WhichOneof("kind")
        words[name] = "" if kind in (None, "null_value") else str(getattr(value, kind))
    return words

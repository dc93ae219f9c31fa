"""TensorBoard event files that are written in one go: the scalars of a run as arrays, their checksums computed side by side."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

_VERSION = b"\x1a\x0dbrain.Event:2"
_SUMMARY, _VALUE, _TAG, _NUMBER = b"\x2a", b"\x0a", b"\x0a", b"\x15"
_POLYNOMIAL = 0x82F63B78
"""CRC-32C, of Castagnoli, its bits reversed."""


@dataclass(frozen=True)
class Series:
    """A scalar at some steps.

    Attributes:
        tag: its name.
        steps: ``[n]``, not negative.
        values: ``[n]``, finite in single precision.
    """

    tag: str
    steps: NDArray[Any]
    values: NDArray[Any]


def write_event_file(folder: Path, series: Iterable[Series], summaries: Sequence[bytes] = ()) -> Path:
    """Write the only event file of a folder, which is made; the path of the file.

    torch's `SummaryWriter` hands each event to a thread that computes its checksum byte by byte in Python: 40 times as long.

    Args:
        folder: where it goes.
        series: the scalars, which stand in the file by step.
        summaries: what comes before them, as serialised ``Summary`` messages.
    """
    folder.mkdir(parents=True, exist_ok=True)
    moment = time.time()
    path = folder / f"events.out.tfevents.{int(moment):010d}.adaptive_lr"
    head = b"\x09" + struct.pack("<d", moment)
    first = [head + _VERSION, *(head + _SUMMARY + _varint(len(summary)) + summary for summary in summaries)]
    path.write_bytes(b"".join(map(_record, first)) + _scalars(series, head))
    return path


def _scalars(series: Iterable[Series], head: bytes) -> bytes:
    """The records of all scalars in the order of their steps."""
    blocks = [block for scalar in series for block in _blocks(scalar, head)]
    blocks.sort(key=lambda block: -block[1].shape[1])
    if not blocks:
        return b""
    lengths = np.concatenate([np.full(len(events), events.shape[1]) for _, events in blocks])
    records = np.zeros((len(lengths), lengths[0] + 16), dtype=np.uint8)
    begin = 0
    for _, events in blocks:
        rows = records[begin : begin + len(events)]
        rows[:, :12] = np.frombuffer(_opening(events.shape[1]), dtype=np.uint8)
        rows[:, 12 : 12 + events.shape[1]] = events
        begin += len(events)
    sums = checksums(records[:, 12:], lengths).astype("<u4")[:, None].view(np.uint8)
    np.put_along_axis(records, 12 + lengths[:, None] + np.arange(4), sums, axis=1)
    order = np.argsort(np.concatenate([steps for steps, _ in blocks]), kind="stable")
    filled = np.arange(records.shape[1]) < 16 + lengths[order, None]
    return records[order][filled].tobytes()


def _blocks(series: Series, head: bytes) -> Iterator[tuple[NDArray[np.int64], Bytes]]:
    """The events of a scalar, those of one length together.

    Yields:
        Steps ``[n]`` and events ``[n, length]``.
    """
    tag, steps = series.tag.encode(), np.asarray(series.steps, dtype=np.int64)
    value = _TAG + _varint(len(tag)) + tag + _NUMBER
    summary = _VALUE + _varint(len(value) + 4) + value
    after = np.frombuffer(_SUMMARY + _varint(len(summary) + 4) + summary, dtype=np.uint8)
    before = np.frombuffer(head + b"\x10", dtype=np.uint8)
    numbers = np.asarray(series.values).astype("<f4").reshape(-1, 1).view(np.uint8)
    groups = sum((steps >= 1 << 7 * group).astype(np.int64) for group in range(1, 9))  # seven bits of a step in a byte
    for width in np.unique(groups) + 1:
        rows = groups == width - 1
        shifted = (steps[rows, None] >> 7 * np.arange(width)) & 127
        shifted[:, :-1] |= 128
        constant = [np.broadcast_to(part, (len(shifted), len(part))) for part in (before, after)]
        yield steps[rows], np.hstack([constant[0], shifted.astype(np.uint8), constant[1], numbers[rows]])


def checksums(rows: Bytes, lengths: NDArray[Any]) -> NDArray[np.uint32]:
    """The masked CRC-32C of the first ``lengths`` bytes of each row; the lengths descend.

    https://github.com/google/crc32c describes the checksum, ``tensorflow/core/lib/hash/crc32c.h`` its mask.
    """
    table = _table()
    sums = np.full(len(rows), 0xFFFFFFFF, dtype=np.uint32)
    columns = np.ascontiguousarray(rows.T)
    counts = np.searchsorted(-lengths, -np.arange(len(columns)))
    for column, count in zip(columns, counts, strict=True):
        live = sums[:count]
        live[:] = table[(live ^ column[:count]) & 0xFF] ^ (live >> 8)
    return _masked(sums)


def _masked(sums: NDArray[np.uint32]) -> NDArray[np.uint32]:
    sums = sums ^ np.uint32(0xFFFFFFFF)
    rotated = (sums >> np.uint32(15)) | (sums << np.uint32(17))
    return rotated + np.uint32(0xA282EAD8)


@cache
def _table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (table & np.uint32(1)) * np.uint32(_POLYNOMIAL)
    return table


def _checksum(content: bytes) -> bytes:
    """Of a single text; as a row of its own it would take 30 times as long."""
    table, single = _table().tolist(), 0xFFFFFFFF
    for byte in content:
        single = table[(single ^ byte) & 0xFF] ^ (single >> 8)
    return struct.pack("<I", int(_masked(np.array([single], dtype=np.uint32))[0]))


@cache
def _opening(length: int) -> bytes:
    """What stands before an event of that length."""
    size = struct.pack("<Q", length)
    return size + _checksum(size)


def _record(event: bytes) -> bytes:
    return _opening(len(event)) + event + _checksum(event)


def _varint(number: int) -> bytes:
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])

"""Event files that are written in one go, as TensorBoard's own reader and messages see them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from adaptive_lr.reporting.event_files import event_files, read_folder
from adaptive_lr.reporting.event_writing import Series, checksums, write_event_file

STEPS = st.lists(st.integers(0, 2**40) | st.integers(0, 300), max_size=12)


def series(tag: str, steps: list[int]) -> Series:
    return Series(tag, np.array(steps, dtype=np.int64), np.array([step * 0.37 - 2.0 for step in steps]))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8))
def test_checksums_are_those_of_tensorboard(texts: list[bytes]) -> None:
    texts = sorted(texts, key=len, reverse=True)
    rows = np.array([list(text.ljust(40, b"\xff")) for text in texts], dtype=np.uint8)
    assert checksums(rows, np.array([len(text) for text in texts])).tolist() == [masked_crc32c(text) for text in texts]


@given(st.dictionaries(st.text(min_size=1, max_size=200), STEPS, max_size=4))
def test_an_event_is_the_message_that_protobuf_makes(
    tmp_path_factory: pytest.TempPathFactory, tags: dict[str, list[int]]
) -> None:
    path = write_event_file(tmp_path_factory.mktemp("run"), [series(tag, steps) for tag, steps in tags.items()])
    content, events = path.read_bytes(), []
    while content:
        length = int.from_bytes(content[:8], "little")
        events.append(content[12 : 12 + length])
        content = content[16 + length :]
    moment = Event.FromString(events[0]).wall_time
    expected = [
        Event(
            wall_time=moment, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=step * 0.37 - 2.0)])
        )
        for tag, steps in tags.items()
        for step in steps
    ]
    assert [Event.FromString(event).step for event in events[1:]] == sorted(event.step for event in expected)
    # Protobuf leaves out a step of zero; all the rest is the same to the last byte.
    assert sorted(event for event in events[1:] if Event.FromString(event).step) == sorted(
        event.SerializeToString() for event in expected if event.step
    )
    assert sorted(Event.FromString(event).SerializeToString() for event in events[1:]) == sorted(
        event.SerializeToString() for event in expected
    )


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    summary = Summary(value=[Summary.Value(tag="note", simple_value=1.0)]).SerializeToString()
    written = [series("loss", [*range(0, 400, 7), 20_000]), series("größe/x", [5, 200, 3]), series("none", [])]
    path = write_event_file(tmp_path / "a" / "b", written, [summary])
    events = EventAccumulator(str(path.parent))
    events.Reload()
    assert events.Tags()["scalars"] == ["note", "loss", "größe/x"]
    for expected in written[:2]:
        scalars = events.Scalars(expected.tag)
        order = np.argsort(expected.steps)
        assert [scalar.step for scalar in scalars] == expected.steps[order].tolist()
        assert [scalar.value for scalar in scalars] == expected.values[order].astype(np.float32).tolist()
    (files,) = event_files(tmp_path).values()
    read = read_folder(files, tmp_path)
    assert read.damages == []
    assert {tag: len(values) for tag, values in read.scalars.items()} == {"note": 1, "loss": 59, "größe/x": 3}


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = write_event_file(tmp_path, [series("loss", [1, 2, 300])])
    content = bytearray(path.read_bytes())
    for index in range(len(content)):
        content[index] ^= 4
        path.write_bytes(content)
        (damage,) = read_folder([path], tmp_path).damages
        assert "damaged" in damage
        content[index] ^= 4

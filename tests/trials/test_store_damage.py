"""Bytes that a disk forgot: never another number, never a traceback, and what is damaged is trained again."""

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adaptive_lr import Constant, DampedCosine
from adaptive_lr.errors import StoreError
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.training import SGD, RunResult, Trial
from adaptive_lr.trials.runner import run_trials
from adaptive_lr.trials.store import VERSION, Store
from tests.stored import SOURCE, assert_explains, assert_stored, digests, result


def filled(path: Path) -> list[RunResult]:
    results = [result(seed) for seed in range(24)]
    with Store(path, write=True) as store:
        for start in range(0, 24, 6):
            store.add(results[start : start + 6], SOURCE)
    return results


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def old_layout(path: Path) -> None:
    """The same store as it was before there were checksums."""
    connection = sqlite3.connect(path)
    for table in ("trials", "batches"):
        connection.execute(f"ALTER TABLE {table} DROP COLUMN checksum")
    connection.execute("PRAGMA user_version=1")
    connection.commit()
    connection.close()


def assert_right_or_said(path: Path, results: list[RunResult], *, write: bool) -> str:
    """What is read is what was stored; everything else is one line that names the file."""
    expected = {one.trial.digest(): one for one in results}
    try:
        with Store(path, write=write) as store:
            finished = store.finished(expected)
            for digest, record in store.read(finished).items():
                assert repr(record.metrics) == repr(expected[digest].metrics)
                assert repr(record.initial) == repr(expected[digest].initial)
                assert (record.status, record.stopped_at) == (expected[digest].status, expected[digest].stopped_at)
                for name, values in store.curves(digest).items():
                    np.testing.assert_array_equal(values, expected[digest].curves[name])
            assert store.provenance() in ([SOURCE], [])
            return "whole" if finished == set(expected) else "less"
    except StoreError as error:
        assert_explains(error, path, "")
        return "said"


def flipped(content: bytes, source: random.Random, count: int) -> bytes:
    changed = bytearray(content)
    for _ in range(count):
        changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("edits", [pytest.param(80, id="few"), pytest.param(3000, id="many", marks=pytest.mark.slow)])
@pytest.mark.parametrize("write", [False, True])
def test_flipped_bits_anywhere_never_give_another_number(tmp_path: Path, edits: int, write: bool) -> None:
    path, source = tmp_path / "store.sqlite", random.Random(7)
    results = filled(path)
    content = path.read_bytes()
    outcomes = []
    for edit in range(edits):
        path.write_bytes(flipped(content, source, 1 if edit % 3 else 20))
        outcomes.append(assert_right_or_said(path, results, write=write))
    assert outcomes.count("less") > edits // 4
    assert {"less", "said"} <= set(outcomes)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trials SET metrics = replace(metrics, '0.', '1.') WHERE place = 2",
        "UPDATE trials SET initial = '{}' WHERE place = 2",
        "UPDATE trials SET status = 'diverged' WHERE place = 2",
        "UPDATE trials SET stopped_at = 3 WHERE place = 2",
        "UPDATE trials SET seconds = 9 WHERE place = 2",
        "UPDATE trials SET spec = spec || ' ' WHERE place = 2",
        "UPDATE trials SET batch = batch % 4 + 1 WHERE place = 2",
        "UPDATE trials SET metrics = CAST(X'FFFE' AS TEXT) WHERE place = 2",
        "UPDATE trials SET checksum = checksum + 1 WHERE place = 2",
        "UPDATE trials SET checksum = NULL WHERE place = 2",
    ],
)
def test_a_changed_row_is_named_and_replaced_and_the_rest_is_kept(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "store.sqlite"
    results = filled(path)
    change(path, statement)
    damaged = digests(results)[2::6]
    with Store(path, write=True) as store:
        with pytest.raises(StoreError) as caught:
            store.read(digests(results))
        assert_explains(caught.value, path, "4 trials in")
        assert sum(digest in str(caught.value) for digest in damaged) == 3
        with pytest.raises(StoreError, match=r"1 trial in .* is damaged in its curves"):
            store.curves(damaged[0])
        assert store.finished(digests(results)) == set(digests(results)) - set(damaged)
        assert store.damaged == set(damaged)
        store.add(results[2::6], SOURCE)
        assert store.damaged == set()
        assert_stored(store, results)


@pytest.mark.parametrize("number", [1, 3, 4])
@pytest.mark.parametrize("column", ["curves = zeroblob(length(curves))", "provenance = '{}'", "checksum = 1"])
def test_a_changed_batch_is_trained_again_and_the_rest_is_kept(tmp_path: Path, column: str, number: int) -> None:
    path = tmp_path / "store.sqlite"
    results = filled(path)
    damaged = results[6 * (number - 1) : 6 * number]
    change(path, f"UPDATE batches SET {column} WHERE id = {number}")
    with Store(path, write=True) as store:
        assert store.provenance() == [SOURCE]
        assert store.damaged == set()
        assert store.finished(digests(results)) == set(digests(results)) - set(digests(damaged))
        with pytest.raises(StoreError, match=r"is damaged in its curves .*run the experiment again"):
            store.curves(digests(damaged)[0])
        store.add(damaged, SOURCE)
        assert_stored(store, results)
        assert store.finished(digests(results)) == set(digests(results))


def test_a_run_trains_what_is_damaged_and_gives_the_same_numbers(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    trials = [
        Trial(task=StreamingLeastSquares(dimension=5), schedule=one, optimizer=SGD(), base_lr=0.1, steps=30, seed=seed)
        for seed in range(4)
        for one in (Constant(), DampedCosine())
    ]
    every = [trial.digest() for trial in trials]
    with Store(path, write=True) as store:
        run_trials(trials, store, workers=1)
        before = store.read(every)
    change(path, "UPDATE trials SET metrics = replace(metrics, '.', '.1') WHERE place = 1")
    with Store(path, write=True) as store:
        count = len(every) - len(store.finished(every))
        assert count > 0
        assert run_trials(trials, store, workers=1) == count
        after = store.read(every)
    for digest in every:
        assert after[digest].metrics == before[digest].metrics


def test_a_store_of_the_layout_without_checksums_is_read_and_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    results = filled(path)
    old_layout(path)
    content = path.read_bytes()
    with Store(path) as store:
        assert_stored(store, results)
        assert store.finished(digests(results)) == set(digests(results))
        assert store.provenance() == [SOURCE]
    assert path.read_bytes() == content
    for _ in range(2):
        with Store(path, write=True) as store:
            assert_stored(store, results)
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (VERSION,)
    change(path, "UPDATE trials SET metrics = '{}' WHERE place = 0")
    with Store(path) as store:
        assert len(store.finished(digests(results))) == 20


def test_what_cannot_be_read_in_the_layout_without_checksums_counts_as_damaged(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    results = filled(path)
    old_layout(path)
    change(path, "UPDATE trials SET metrics = substr(metrics, 3) WHERE place = 0")
    for write in (False, True, False):
        with Store(path, write=write) as store:
            assert len(store.finished(digests(results))) == 20
            with pytest.raises(StoreError, match=r"4 trials in .* are damaged"):
                store.read(digests(results))


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None], write: bool) -> None:
    path = tmp_path / "store.sqlite"
    make(path)
    with pytest.raises(StoreError, match="is no file: give another folder"):
        Store(path, write=write)


def test_a_store_that_is_deleted_while_it_is_used_is_said(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    with Store(path, write=True) as store:
        store.add([result(0)], SOURCE)
        path.unlink()
        with pytest.raises(StoreError, match="was deleted or moved while it was in use"):
            store.add([result(1)], SOURCE)

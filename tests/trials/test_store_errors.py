import os
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adaptive_lr.errors import StoreError
from adaptive_lr.training import RunResult
from adaptive_lr.trials.store import VERSION, Store
from tests.stored import SOURCE, assert_explains, assert_stored, digests, refused, result


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store(path, write=True) as opened:
        yield opened


@pytest.mark.parametrize("write", [False, True])
def test_a_file_that_is_not_a_store_is_refused_and_left_alone(path: Path, write: bool) -> None:
    content = random.Random(0).randbytes(9000)
    path.write_bytes(content)
    refused(path, write=write, containing="damaged")
    assert path.read_bytes() == content


@pytest.mark.parametrize("write", [False, True])
def test_another_database_is_refused_and_left_alone(path: Path, write: bool) -> None:
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE recipes (name TEXT); INSERT INTO recipes VALUES ('soup');")
    connection.close()
    content = path.read_bytes()
    refused(path, write=write, containing="layout 0")
    assert path.read_bytes() == content


def test_a_file_of_another_version_is_refused_and_left_alone(path: Path) -> None:
    with Store(path, write=True) as store:
        store.add([result(0)], SOURCE)
    set_version(path, 99)
    content = path.read_bytes()
    for write in (False, True):
        refused(path, write=write, containing="layout 99")
    assert path.read_bytes() == content
    set_version(path, VERSION)
    with Store(path) as store:
        assert_stored(store, [result(0)])


def set_version(path: Path, version: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={version}")
    connection.close()


def filled(path: Path) -> list[RunResult]:
    """A store of many pages."""
    results = [result(seed) for seed in range(400)]
    with Store(path, write=True) as store:
        for start in range(0, 400, 50):
            store.add(results[start : start + 50], SOURCE)
    return results


@pytest.mark.parametrize("part", [0.001, 0.01, 0.3, 0.6, 0.99])
def test_a_truncated_store_is_refused_at_the_latest_when_it_is_read(path: Path, part: float) -> None:
    results = filled(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(StoreError) as caught, Store(path) as store:
        store.read(digests(results))
    assert_explains(caught.value, path, "damaged")
    path.write_bytes(content)
    with Store(path) as store:
        assert len(store.read(digests(results))) == len(results)


def test_a_store_with_a_damaged_page_is_refused_when_it_is_read(path: Path) -> None:
    results, damaged = filled(path), 0
    content = path.read_bytes()
    for page in range(1, len(content) // 4096, 7):
        noise = random.Random(page).randbytes(4096)
        path.write_bytes(content[: page * 4096] + noise + content[(page + 1) * 4096 :])
        try:
            with Store(path) as store:
                assert len(store.read(digests(results))) == len(results)
        except StoreError as error:
            damaged += 1
            assert_explains(error, path, "")
    assert damaged > 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda curves: b"",
        lambda curves: b"not an archive",
        lambda curves: curves[: len(curves) // 2],
        lambda curves: curves[:300] + b"?" * 40 + curves[340:],
        lambda curves: curves[:60] + bytes([curves[60] ^ 255]) + curves[61:],
    ],
    ids=["empty", "other", "half", "overwritten", "one byte"],
)
def test_damaged_curves_are_explained(path: Path, store: Store, damage: Callable[[bytes], bytes]) -> None:
    store.add([result(0)], SOURCE)
    (curves,) = store._connection.execute("SELECT curves FROM batches").fetchone()
    store._connection.execute("UPDATE batches SET curves = ?", (damage(curves),))
    assert_stored_metrics(store, [result(0)])
    with pytest.raises(StoreError) as caught:
        store.curves(result(0).trial.digest())
    assert_explains(caught.value, path, "damaged")


def assert_stored_metrics(store: Store, results: list[RunResult]) -> None:
    records = store.read(digests(results))
    assert [records[digest].metrics for digest in digests(results)] == [one.metrics for one in results]


def test_a_store_that_is_absent_is_refused_and_not_made(path: Path) -> None:
    refused(path, write=False, containing="there is no store at")
    assert list(path.parent.iterdir()) == []


def test_a_store_without_trials_is_refused(path: Path) -> None:
    path.touch()
    refused(path, write=False, containing="holds no trials")
    with Store(path, write=True) as store:
        store.add([result(0)], SOURCE)
    with Store(path) as store:
        assert len(store) == 1


@pytest.mark.parametrize("write", [False, True])
def test_a_path_below_a_file_is_refused(path: Path, write: bool) -> None:
    filled(path)
    refused(path / "store.sqlite", write=write)
    with Store(path) as store:
        assert len(store) == 400


@pytest.mark.parametrize("write", [False, True])
def test_a_folder_in_place_of_the_file_is_refused(path: Path, write: bool) -> None:
    path.mkdir()
    refused(path, write=write)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, with a store of one trial; those above ``tmp_path`` are private."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Store(folder / "store.sqlite", write=True) as store:
            store.add([result(0)], SOURCE)
        yield folder


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing can be written into ``folder``, not even by the superuser, who is another user for the time."""
    folder.chmod(0o555)
    superuser = os.geteuid() == 0
    if superuser:
        os.seteuid(65534)
    try:
        yield
    finally:
        if superuser:
            os.seteuid(0)
        folder.chmod(0o755)


needs_permissions = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs the permissions of POSIX")


@needs_permissions
@pytest.mark.parametrize("name", ["new.sqlite", "sub/new.sqlite"])
def test_a_new_store_in_a_folder_that_is_not_writable_is_refused(open_folder: Path, name: str) -> None:
    with read_only(open_folder):
        refused(open_folder / name, write=True, containing="Permission denied")
    assert not (open_folder / name).exists()


@needs_permissions
def test_a_store_that_may_not_be_written_is_refused_for_writing_and_stays_as_it_is(open_folder: Path) -> None:
    path = open_folder / "store.sqlite"
    for file in open_folder.iterdir():
        file.chmod(0o444)
    with read_only(open_folder):
        refused(path, write=True)
    path.chmod(0o644)
    with Store(path) as store:
        assert_stored(store, [result(0)])


@needs_permissions
def test_a_store_in_a_folder_that_is_not_writable_can_be_read(open_folder: Path) -> None:
    with read_only(open_folder), Store(open_folder / "store.sqlite") as store:
        assert_stored(store, [result(0)])


def test_a_full_disk_is_explained_and_costs_nothing_that_was_stored(path: Path, store: Store) -> None:
    before = [result(seed) for seed in range(50)]
    store.add(before, SOURCE)
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    batch = [result(seed) for seed in range(50, 150)]
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            store.add(batch, {"commit": "too much"})
        assert_explains(caught.value, path, "make room and run again")
        assert_stored(store, before)
        assert len(store) == 50
    with Store(path) as reader:
        assert_stored(reader, before)
    store._connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
    store.add(batch, SOURCE)
    assert_stored(store, [*before, *batch])
    assert store.provenance() == [SOURCE]


def test_a_store_that_could_not_be_opened_is_not_locked(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(9000))
    with pytest.raises(StoreError) as caught:
        Store(path, write=True)
    path.unlink()
    with Store(path, write=True) as store:
        store.add([result(0)], SOURCE)
    assert "damaged" in str(caught.value)


@pytest.mark.parametrize("write", [False, True])
def test_a_store_that_could_not_be_opened_is_closed(path: Path, write: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    connections: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def recorded(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connections.append(connect(*arguments, **options))
        return connections[-1]

    monkeypatch.setattr("sqlite3.connect", recorded)
    path.write_bytes(random.Random(0).randbytes(9000))
    refused(path, write=write, containing="damaged")
    (connection,) = connections
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")

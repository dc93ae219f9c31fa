import json
import multiprocessing
import os
import resource
import shutil
import signal
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest

from adaptive_lr.errors import DataError
from adaptive_lr.tasks.data.declaration import FetchedDataset
from adaptive_lr.tasks.data.formats.files import Content
from adaptive_lr.tasks.data.origins import Download, Npm
from adaptive_lr.tasks.data.resolver import home, is_here, read, root
from tests.tasks.data.made import ARRAYS, ORIGINALS, Server, serving, toy, write

pytestmark = [
    pytest.mark.usefixtures("no_proxy"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

Forked: type[BaseProcess] = multiprocessing.get_context("fork").Process
"""A process that need not import everything again."""

MISSING = Npm("@nobody/nothing", "0.0.0", 1)
"""An origin whose client is not there, in tests that have no PATH."""


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(ORIGINALS) as state:
        yield state


def served(server: Server, *, damaged: bool = False) -> FetchedDataset:
    return toy(Download(server.address, tuple(ORIGINALS), sum(map(len, ORIGINALS.values()))), damaged=damaged)


def is_right(content: Content) -> bool:
    assert list(content) == list(ARRAYS)
    return all(np.array_equal(content[name], values) for name, values in ARRAYS.items())


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_a_set_is_fetched_once_and_then_read_from_the_cache(cache: Path, server: Server) -> None:
    info, seen = served(server), list[int]()
    assert not is_here(info)
    assert is_right(read(info, progress=seen.append))
    assert seen == sorted(seen)
    assert seen[-1] == info.download_bytes
    assert is_here(info)
    assert left(cache) == ["toy"]
    assert sorted(path.name for path in home(info).iterdir()) == sorted([*ARRAYS, "origin.json"])
    assert json.loads((home(info) / "origin.json").read_text())["origin"] == server.address
    assert len(server.asked) == 4
    assert is_right(read(info))
    assert len(server.asked) == 4


def test_nothing_is_fetched_if_that_is_not_wanted(cache: Path, server: Server) -> None:
    with pytest.raises(DataError, match=rf"^toy is not in {cache}: adaptive-lr data fetch toy$"):
        read(served(server), fetch=False)
    assert not server.asked
    assert not cache.exists()


def test_the_folder_is_the_users_cache_unless_the_variable_names_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))
    monkeypatch.delenv("ADAPTIVE_LR_DATA", raising=False)
    assert root() == tmp_path / "adaptive_lr"
    monkeypatch.setenv("ADAPTIVE_LR_DATA", "")
    assert root() == tmp_path / "adaptive_lr"
    monkeypatch.setenv("ADAPTIVE_LR_DATA", "~/sets")
    assert root() == Path.home() / "sets"


def test_a_persons_folder_goes_before_everything_else(cache: Path, server: Server, tmp_path: Path) -> None:
    info = served(server)
    folder = write(tmp_path / "mine/below", ORIGINALS)
    assert is_right(read(info, str(tmp_path / "mine")))
    assert is_right(read(info, folder))
    write(tmp_path / "all/toy", ORIGINALS)
    assert is_right(read(info, tmp_path / "all"))
    assert not server.asked
    assert not cache.exists()
    write(cache / "toy", ORIGINALS)  # in the folder that the variable names, a folder with the set's name
    assert is_here(info)
    assert is_right(read(info))
    assert not server.asked
    assert sorted(path.name for path in (cache / "toy").iterdir()) == sorted(ORIGINALS)


def test_a_copy_of_the_cache_is_a_folder_too(cache: Path, server: Server, tmp_path: Path) -> None:
    info = served(server)
    read(info)
    shutil.copytree(home(info), tmp_path / "copy")
    shutil.rmtree(cache)
    assert is_right(read(info, tmp_path / "copy"))
    (tmp_path / "copy/test_labels.npy").unlink()
    with pytest.raises(DataError, match=r"copy is damaged: cannot read .*/copy/test_labels\.npy: No such file"):
        read(info, tmp_path / "copy")


def test_a_persons_folder_with_the_wrong_files_is_refused_whatever_else_there_is(
    cache: Path, server: Server, tmp_path: Path
) -> None:
    info = served(server)
    read(info)
    mine = write(tmp_path / "mine", {name: content for name, content in ORIGINALS.items() if "labels" not in name})
    with pytest.raises(
        DataError,
        match=rf"^toy cannot be read from {mine}: {mine} has no train-labels-idx1-ubyte, t10k-labels-idx1-ubyte; expected train-images",
    ):
        read(info, mine)
    with pytest.raises(DataError, match=r"there is no folder .*/gone; expected train-images"):
        read(info, tmp_path / "gone")
    write(mine, ORIGINALS | {"train-labels-idx1-ubyte.gz": ORIGINALS["t10k-labels-idx1-ubyte.gz"]})
    with pytest.raises(
        DataError, match=r"train_labels\.npy is uint8 10, expected uint8 20: it is cut, damaged or another"
    ):
        read(info, mine)
    shutil.rmtree(home(info))
    write(cache / "toy", {"unrelated.txt": b""})
    with pytest.raises(DataError, match=r"toy cannot be read from .*/sets/toy: "):
        read(info)


def test_a_wrong_checksum_names_the_part_and_both_sums_and_keeps_nothing(cache: Path, server: Server) -> None:
    info, right = served(server, damaged=True), served(server)
    with pytest.raises(DataError) as raised:
        read(info)
    wanted, actual = info.parts[0].sha256, right.parts[0].sha256
    assert f"train_images.npy has SHA-256 {actual}, expected {wanted}: it is damaged, or another version" in str(
        raised.value
    )
    assert "\n" not in str(raised.value)
    assert left(cache) == []


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit": lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: path.rename(path.with_name("away")).with_name(path.name).mkdir(),
    "another": lambda path: path.write_bytes(path.with_name("test_images.npy").read_bytes()),
}


@pytest.mark.parametrize(
    ("part", "damage"),
    [*(("train_labels.npy", damage) for damage in DAMAGES), ("origin.json", "cut")],
)
def test_what_is_damaged_in_the_cache_is_fetched_again(cache: Path, server: Server, part: str, damage: str) -> None:
    info = served(server)
    read(info)
    DAMAGES[damage](home(info) / part)
    server.files.clear()
    with pytest.raises(
        DataError, match=r"^.*/sets/toy is damaged: .*; toy cannot be fetched \(http.*it answers 404 Not Found"
    ):
        read(info)
    server.files.update(ORIGINALS)
    assert is_right(read(info))
    server.files.clear()
    assert is_right(read(info))


def test_the_record_is_compared_where_no_checksum_is_declared(cache: Path, server: Server) -> None:
    declared = served(server)
    info = replace(declared, parts=tuple(replace(part, sha256=None) for part in declared.parts))
    assert info.sha256 is None
    read(info)
    DAMAGES["a bit"](home(info) / "train_labels.npy")
    server.files.clear()
    with pytest.raises(DataError, match=r"train_labels\.npy has SHA-256 \w{64}, expected \w{64}"):
        read(info)


def test_a_file_that_ends_too_early_is_not_used(cache: Path, server: Server) -> None:
    server.announced["t10k-images-idx3-ubyte.gz"] = 5000
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz was cut: \d+ bytes came, 5000 were announced"):
        read(served(server))
    assert left(cache) == []


def test_each_origin_is_tried_and_each_failure_is_told(
    cache: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    lost = Download(f"{server.address}/lost", tuple(ORIGINALS), 1)
    assert is_right(read(toy(MISSING, lost, *served(server).origins)))
    with pytest.raises(DataError) as raised:
        read(toy(MISSING, lost, name="other"))
    assert str(raised.value) == (
        "other cannot be fetched (npm package @nobody/nothing 0.0.0: npm is not installed here (it comes with Node.js); "
        f"{server.address}/lost: it answers 404 Not Found for train-images-idx3-ubyte.gz); or put train-images-idx3-ubyte, "
        f"train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte into {cache}/other yourself"
    )


def test_without_a_network_it_says_so_at_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request._opener", None)  # where it keeps the proxies that it has seen
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # where nobody listens
    start = time.monotonic()
    with pytest.raises(DataError, match=r"https://example\.com: no network \(.*Connection refused\)"):
        read(toy(Download("https://example.com", tuple(ORIGINALS), 1)))
    assert time.monotonic() - start < 5.0
    assert left(cache) == []


def test_a_disk_without_room_is_noticed_before_anything_is_fetched(
    cache: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(
        DataError,
        match=rf"^toy needs 2000 MB in {cache} while it is fetched, 1 MB are free: make room, or name another folder with ",
    ):
        read(toy(Download(server.address, tuple(ORIGINALS), 10**9)))
    assert not server.asked
    assert is_right(read(served(server)))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ADAPTIVE_LR_DATA", str(tmp_path / "file/sets"))
    with pytest.raises(DataError, match=r"file/sets: Not a directory; name another folder with ADAPTIVE_LR_DATA$"):
        read(served(server))


def test_a_reader_that_is_not_installed_is_told_before_anything_is_fetched(cache: Path, server: Server) -> None:
    with pytest.raises(
        DataError, match=r"^to read toy, the package no_such_module is needed, which is not installed: pip install"
    ):
        read(replace(served(server), needs=("no_such_module",)))
    assert not server.asked


def in_another_process(info: FetchedDataset, limit: int | None = None) -> BaseProcess:
    def work() -> None:
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            os._exit(0 if is_right(read(info)) else 1)
        except KeyboardInterrupt:
            os._exit(130)
        except DataError as error:
            os._exit(3 if "cannot write to" in str(error) and "File too large" in str(error) else 4)

    process = Forked(target=work)
    process.start()
    return process


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_processes_that_want_the_same_set_fetch_it_once(cache: Path, server: Server) -> None:
    server.go_on.clear()
    processes = [in_another_process(served(server)) for _ in range(3)]
    wait_for(lambda: server.asked)
    time.sleep(0.2)  # the others come to the lock
    server.go_on.set()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert sorted(server.asked) == sorted(ORIGINALS)
    assert left(cache) == ["toy"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_what_was_begun_is_never_used(cache: Path, server: Server, number: signal.Signals, code: int) -> None:
    info = served(server)
    server.go_on.clear()
    process = in_another_process(info)
    wait_for(lambda: (cache / "toy.part/files/train-images-idx3-ubyte.gz").exists())
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(30)
    assert process.exitcode == code
    assert not is_here(info)
    assert left(cache) == ([] if number == signal.SIGINT else ["toy.part"])
    write(cache / "toy.part/files", {"t10k-labels-idx1-ubyte": b"old"})
    server.go_on.set()
    assert is_right(read(info))
    assert left(cache) == ["toy"]


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(cache: Path, server: Server) -> None:
    process = in_another_process(served(server), limit=100)
    process.join(30)
    assert process.exitcode == 3
    assert left(cache) == []

"""Kill everything at random, with SIGKILL: ``pytest tests/search/test_chaos.py -m slow -n 0 -s``. Takes some minutes."""

import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import Kept, Search, check, free_port, kill_one_below, postgres, rage, rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc"),
]

KILLS = 26


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The history of the same search when nobody is killed, with one worker."""
    quick = Search(tmp_path_factory.mktemp("uninterrupted"), {"workers": 1}, pace=0.0)
    found: list[Any] = quick.finish()["history"]
    return found


def coordinator(search: Search) -> bool:
    search.kill()
    return True


def worker(search: Search, generator: random.Random) -> bool:
    assert search.process is not None
    return kill_one_below(search.process.pid, generator)


def test_a_coordinator_and_its_workers_are_killed(tmp_path: Path, uninterrupted: list[Any]) -> None:
    search, generator = Search(tmp_path, {"workers": 2}), random.Random(1)
    victims = {"coordinator": lambda: coordinator(search), "worker": lambda: worker(search, generator)}
    said, kills = rage(search, victims, least=KILLS, delays=(0.0, 2.0))
    assert min(kills.values()) > 11
    check(search, said["history"], KILLS, at_once=2)
    assert said["history"] == uninterrupted
    assert rows(f"sqlite:///{tmp_path / 'run/study.db'}") == {"COMPLETE": 200}


def test_a_coordinator_is_killed_while_it_starts(tmp_path: Path, uninterrupted: list[Any]) -> None:
    search = Search(tmp_path, {"workers": 2})
    said, _ = rage(search, {"coordinator": lambda: coordinator(search)}, least=KILLS, delays=(0.05, 1.6), seed=1)
    check(search, said["history"], KILLS, at_once=2)
    assert said["history"] == uninterrupted
    assert rows(f"sqlite:///{tmp_path / 'run/study.db'}") == {"COMPLETE": 200}


def test_a_coordinator_its_workers_and_the_server_of_the_study_are_killed(
    tmp_path: Path, uninterrupted: list[Any]
) -> None:
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("needs psycopg: pip install 'adaptive-lr[postgresql]'")
    with postgres() as server:
        search, generator = Search(tmp_path, {"workers": 2, "storage": server.url}), random.Random(2)
        victims = {
            "coordinator": lambda: coordinator(search),
            "worker": lambda: worker(search, generator),
            "postgresql": server.kill,
        }
        said, kills = rage(search, victims, least=KILLS, delays=(0.0, 2.5), tend=server.tend, seed=2)
        assert min(kills.values()) > 7
        check(search, said["history"], KILLS, at_once=2)
        assert said["history"] == uninterrupted
        assert rows(server.url) == {"COMPLETE": 200}


def test_a_coordinator_and_a_dask_cluster_are_killed(tmp_path: Path, uninterrupted: list[Any]) -> None:
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("needs Dask: pip install 'adaptive-lr[cluster]'")
    address = f"tcp://127.0.0.1:{free_port()}"
    search, generator = Search(tmp_path, {"cluster": address}), random.Random(3)
    environment = search.environment | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "10"}
    dask, log = [sys.executable, "-m", "dask"], tmp_path / "dask.log"
    host, port = address.removeprefix("tcp://").split(":")
    scheduler = Kept([*dask, "scheduler", "--host", host, "--port", port, "--no-dashboard"], environment, log)
    options = ["--nthreads", "1", "--no-dashboard", "--death-timeout", "10", "--local-directory", str(tmp_path)]
    kept = [scheduler, *(Kept([*dask, "worker", address, *options], environment, log) for _ in range(2))]

    def tend() -> None:
        for one in kept:
            one.tend()

    victims = {
        "coordinator": lambda: coordinator(search),
        "nanny": lambda: kept[generator.choice((1, 2))].kill(),
        "scheduler": scheduler.kill,
        "worker": lambda: kill_one_below(kept[generator.choice((1, 2))].process.pid, generator),
    }
    try:
        said, kills = rage(search, victims, least=KILLS, delays=(0.0, 3.0), tend=tend, seed=3)
        assert min(kills.values()) > 5
        check(search, said["history"], KILLS, at_once=8)
    finally:
        for one in kept:
            one.close()
    assert said["history"] == uninterrupted
    assert rows(f"sqlite:///{tmp_path / 'run/study.db'}") == {"COMPLETE": 200}

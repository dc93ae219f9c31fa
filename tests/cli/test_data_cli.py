import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adaptive_lr.cli import app
from adaptive_lr.tasks.data import catalogue
from adaptive_lr.tasks.data.declaration import AnyDataset
from adaptive_lr.tasks.data.origins import Download
from tests.tasks.data.made import ORIGINALS, Server, serving, toy, write


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "sets"
    monkeypatch.setenv("ADAPTIVE_LR_DATA", str(folder))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return folder


@pytest.fixture
def server(sets: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Four data sets and no others: one that comes with a package, one with a damaged file, two that can be fetched."""
    with serving(ORIGINALS) as state:
        origin = Download(state.address, tuple(ORIGINALS), sum(map(len, ORIGINALS.values())))
        declared: list[AnyDataset] = [
            catalogue.CATALOGUE["digits"],
            toy(origin, name="clothes"),
            toy(origin, name="broken", damaged=True),
            toy(origin, name="shoes"),
        ]
        monkeypatch.setattr(catalogue, "CATALOGUE", {info.name: info for info in declared})
        yield state


def call(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["data", *arguments])


def refused(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_list_names_every_set_with_licence_size_and_source(sets: Path) -> None:
    result = call("list")
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if line and not line.startswith("folder")}
    assert set(catalogue.CATALOGUE) <= set(rows)
    assert rows["fashion-mnist"].split()[1:] == [
        "Fashion-MNIST",
        "MIT",
        "30.9",
        "MB",
        "Debian",
        "package",
        "dataset-fashion-mnist",
        "no",
    ]
    assert rows["digits"].split()[1:] == [
        "Digits",
        "BSD-3-Clause",
        "as",
        "packaged",
        "comes",
        "with",
        "scikit-learn",
        "yes",
    ]
    assert f"folder: {sets}" in result.stdout
    assert not sets.exists()


def test_fetch_brings_the_others_though_one_fails(sets: Path, server: Server) -> None:
    result = call("fetch", "--all")
    assert result.exit_code == 1
    assert [line.split(" in ")[0] for line in result.stdout.splitlines()] == [
        "digits: comes with scikit-learn",
        "clothes: fetched",
        "shoes: fetched",
    ]
    assert str(sets / "shoes") in result.stdout
    error, last = result.stderr.splitlines()
    assert error.startswith("error: broken cannot be fetched (http://127.0.0.1:")
    assert "train_images.npy has SHA-256 " in error
    assert last == "not fetched: broken"
    asked = len(server.asked)
    again = call("fetch", "clothes", "shoes", "clothes")
    assert again.exit_code == 0
    assert again.stdout.splitlines() == [f"clothes: here, {sets / 'clothes'}", f"shoes: here, {sets / 'shoes'}"]
    assert len(server.asked) == asked
    rows = [
        line.split() for line in call("list").stdout.splitlines() if line.startswith(("clothes", "broken", "shoes"))
    ]
    assert [(row[0], row[-1]) for row in rows] == [("clothes", "yes"), ("broken", "no"), ("shoes", "yes")]


def test_a_folder_of_ones_own_with_the_wrong_files_is_an_error(sets: Path, server: Server) -> None:
    write(sets / "shoes", {"socks.txt": b""})
    result = call("fetch", "shoes")
    assert result.exit_code == 1
    assert (
        f"error: shoes cannot be read from {sets / 'shoes'}: {sets / 'shoes'} has no train-images-idx3" in result.stderr
    )
    assert not server.asked


def test_where_prints_the_folder_and_nothing_else(sets: Path, server: Server) -> None:
    assert refused("where", "shoes") == f"error: shoes is not in {sets}: adaptive-lr data fetch shoes\n"
    assert refused("where", "digits") == "error: digits comes with scikit-learn and has no folder\n"
    assert call("fetch", "shoes").exit_code == 0
    result = call("where", "shoes")
    assert (result.exit_code, result.stdout) == (0, f"{sets / 'shoes'}\n")


def test_unknown_names_and_no_names_are_refused(sets: Path, server: Server) -> None:
    assert refused("fetch", "shoes", "sheos") == "error: unknown data set 'sheos'; did you mean 'shoes'?\n"
    assert refused("where", "sheos") == "error: unknown data set 'sheos'; did you mean 'shoes'?\n"
    assert refused("fetch") == "error: say which data sets, or --all\n"
    assert not server.asked


def test_help_need_not_wait_for_anything() -> None:
    program = (
        "import sys, adaptive_lr.cli.data; "
        "print([name for name in ('torch', 'numpy', 'platformdirs', 'filelock', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    for command in ([], ["list"], ["fetch"], ["where"]):
        assert "data" in call(*command, "--help").stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no sh")
def test_ctrl_c_ends_it_in_one_line_and_leaves_nothing(sets: Path, tmp_path: Path) -> None:
    write(tmp_path / "bin", {"npm": f"#!/bin/sh\ntouch {tmp_path}/started\nexec sleep 60\n".encode()})
    (tmp_path / "bin/npm").chmod(0o755)
    variables = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "adaptive_lr", "data", "fetch", "state-of-the-union"]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 60.0
        while not (tmp_path / "started").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (output, errors) == ("", "interrupted; the data sets that are fetched stay: run again to go on\n")
    assert [path.name for path in sets.iterdir()] == ["state-of-the-union.lock"]

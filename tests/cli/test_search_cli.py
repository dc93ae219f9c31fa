import difflib
import importlib.util
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from typer.testing import CliRunner, Result

from adaptive_lr.cli import app
from tests.searched import interrupted

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/search_my_script"

CLUSTER = "is no address of a scheduler" if importlib.util.find_spec("distributed") else "a cluster needs Dask"

MODULE = """
import math, time

def train(trial):
    return (trial["x"] - 2.0) ** 2

def pair(trial):
    return trial["x"], -trial["x"]

def fickle(trial):
    if trial.number == 2:
        raise ValueError("no luck")
    return trial["x"]

def slow(trial):
    time.sleep(0.3)
    return trial["x"]

def steps(trial):
    for step in range(1, 28):
        yield trial["x"] + 1 / step
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A working directory with a module and a space; the module is forgotten afterwards."""
    before, path = Path.cwd(), list(sys.path)
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "space.yaml").write_text("x: {low: 0, high: 4}\n")
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)
    sys.path[:] = path
    sys.modules.pop("mine", None)


def call(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, ["search", *arguments])


def searched(function: str, *arguments: str) -> Result:
    return call(function, "--space", "space.yaml", "--workers", "0", *arguments)


def test_a_search_says_what_it_found_and_goes_on_when_called_again(folder: Path) -> None:
    first = searched("mine:train", "--trials", "12")
    assert first.exit_code == 0, first.output
    assert "12 trials finished, 12 runs done now\nbest " in first.stdout
    assert " at x=" in first.stdout
    assert f"optuna-dashboard sqlite:///{folder}/search/study.db" in first.stdout
    assert "11 of 12 trials; best" in first.stderr or "12 of 12 trials; best" in first.stderr
    again = searched("mine:train", "--trials", "12")
    assert "12 trials finished, 0 runs done now" in again.stdout
    more = searched("mine.py:train", "--trials", "15")
    assert "15 trials finished, 3 runs done now" in more.stdout


def test_options_reach_the_search(folder: Path) -> None:
    two = searched("mine:pair", "--trials", "5", "--direction", "minimize", "--direction", "minimize")
    assert two.exit_code == 0, two.output
    assert two.stdout.count(" at x=") == 5
    pruned = searched("mine:steps", "--trials", "20", "--pruner", "halving", "--directory", "b", "--sampler", "random")
    assert " pruned), 20 runs done now" in pruned.stdout
    skipped = searched("mine:fickle", "--trials", "5", "--on-error", "skip", "--directory", "c", "--seed", "4")
    assert "5 trials finished (1 failed), 6 runs done now" in skipped.stdout


def test_a_report_is_written_and_never_over_the_search(folder: Path) -> None:
    refused = searched("mine:train", "--trials", "3", "--report", "search")
    assert refused.exit_code == 2
    assert "give the report a folder of its own, say search/report" in refused.stderr
    assert not (folder / "search").exists()
    done = searched("mine:train", "--trials", "3", "--report", "search/report")
    assert done.exit_code == 0, done.output
    assert "report: search/report/index.html" in done.stdout
    assert "Search of mine:train" in (folder / "search/report/index.html").read_text()
    again = searched("mine:train", "--trials", "3", "--report", "search/report")
    assert "3 trials finished, 0 runs done now" in again.stdout


def test_a_run_that_fails_is_exit_code_1_with_its_traceback(folder: Path) -> None:
    found = searched("mine:fickle", "--trials", "5")
    assert found.exit_code == 1
    assert "error: trial 2 at {x: " in found.stderr
    assert 'raise ValueError("no luck")' in found.stderr
    assert "2 finished runs are kept" in found.stderr
    assert "concurrent" not in found.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine:absent", "--trials", "1"], "mine has no function 'absent'"),
        (["absent:train", "--trials", "1"], "there is no module 'absent' here"),
        (["absent.py:train", "--trials", "1"], "there is no file absent.py"),
        (["mine", "--trials", "1"], "must be given as MODULE:NAME"),
        (["mine:train", "--trials", "0"], "trials must be a whole number of at least 1, got 0"),
        (["mine:train", "--trials", "1", "--sampler", "best"], "unknown sampler 'best'"),
        (["mine:math", "--trials", "1"], "train must be a function of a trial"),
        (["mine:train", "--trials", "1", "--storage", "x"], "'x' is no address of a storage"),
        (["mine:train", "--trials", "1", "--cluster", "nonsense://x"], CLUSTER),
    ],
)
def test_what_is_asked_for_wrongly_is_exit_code_2(arguments: list[str], message: str, folder: Path) -> None:
    found = searched(*arguments)
    assert found.exit_code == 2, found.output
    assert message in found.stderr
    assert "Traceback" not in found.output


def test_a_module_that_cannot_be_imported_is_exit_code_1(folder: Path) -> None:
    (folder / "broken.py").write_text("import nothing_like_this")
    found = searched("broken:train", "--trials", "1")
    assert found.exit_code == 1
    assert "broken cannot be imported: No module named 'nothing_like_this'" in found.stderr


def test_a_module_that_reads_its_arguments_sees_none_of_ours(folder: Path) -> None:
    (folder / "parsing.py").write_text(
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--epochs', type=int, default=3)\n"
        "args = p.parse_args()\ndef train(trial):\n    return trial['x'] * args.epochs\n"
    )
    for workers in ("0", "1"):
        done = searched("parsing.py:train", "--trials", "2", "--workers", workers, "--directory", f"d{workers}")
        assert done.exit_code == 0, done.output
    assert sys.argv[0] != "parsing.py"


def test_a_module_that_ends_the_program_is_exit_code_1(folder: Path) -> None:
    (folder / "ending.py").write_text("import sys\nsys.exit(2)\n")
    done = searched("ending.py:train", "--trials", "1")
    assert done.exit_code == 1
    assert "ending.py ended the program while it was imported (exit code 2)" in done.stderr
    assert 'belongs under if __name__ == "__main__":' in done.stderr


@pytest.mark.parametrize("name", ["random.py", "calendar.py", "typer.py", "my.train.py", "with space.py", "json.py"])
def test_a_file_is_loaded_by_its_path_whatever_else_has_its_name(name: str, folder: Path) -> None:
    (folder / name).write_text("import random, helper\ndef train(trial):\n    return trial['x'] + helper.NOTHING\n")
    (folder / "helper.py").write_text("NOTHING = 0\n")
    done = searched(f"{name}:train", "--trials", "2", "--workers", "1")
    sys.modules.pop("helper", None)
    assert done.exit_code == 0, done.output
    assert "2 trials finished, 2 runs done now" in done.stdout
    assert f'"{Path(name).stem}:train"' in (folder / "search/search.json").read_text()


def test_a_module_that_another_one_hides_is_named(folder: Path) -> None:
    (folder / "calendar.py").write_text("def train(trial):\n    return trial['x']\n")
    done = searched("calendar:train", "--trials", "1")
    assert done.exit_code == 2
    assert "calendar has no function 'train': that is " in done.stderr
    assert "for the file here write calendar.py:NAME" in done.stderr


def test_the_line_that_opens_the_search_can_be_pasted(folder: Path) -> None:
    done = searched("mine:train", "--trials", "1", "--directory", "a b's?")
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("look at it: ")]
    program, address = shlex.split(line.removeprefix("look at it: "))
    assert program == "optuna-dashboard"
    assert len(optuna.load_study(study_name="a b's?", storage=address).trials) == 1


def test_a_space_that_is_not_there_is_exit_code_2(folder: Path) -> None:
    found = call("mine:train", "--space", "absent.yaml", "--trials", "1")
    assert found.exit_code == 2
    assert "cannot read the search space absent.yaml" in found.stderr


@pytest.mark.slow
def test_a_search_that_is_interrupted_is_exit_code_130_and_goes_on(folder: Path) -> None:
    interrupted(folder, "search", "mine:slow", "--space", "space.yaml", "--trials", "10")
    assert searched("mine:slow", "--trials", "3").exit_code == 0


def test_help_is_there() -> None:
    found = call("--help")
    assert found.exit_code == 0
    assert "--on-error" in found.stdout


def test_a_script_is_made_searchable_by_fewer_than_ten_lines(tmp_path: Path) -> None:
    before, after = ((EXAMPLE / name).read_text().splitlines() for name in ("before.py", "after.py"))
    changes = [line for line in difflib.ndiff(before, after) if line[:2] in ("+ ", "- ")]
    assert sum(line[0] == "+" for line in changes) < 10
    assert sum(line[0] == "-" for line in changes) < 10
    (tmp_path / "after.py").write_text(
        "\n".join(after)
        .replace("trials=40, ", "trials=3, ")
        .replace("workers=2", "workers=1")
        .replace("EPOCHS = 10", "EPOCHS = 1")
    )
    (tmp_path / "space.yaml").write_text((EXAMPLE / "space.yaml").read_text())
    done = subprocess.run(
        [sys.executable, "after.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("held-out loss ")
    assert "'lr': 0." in done.stdout
    assert (tmp_path / "found/study.db").exists()

"""Experiments of one's own: only what is named is executed, classes of one's own reach the workers, and nothing is replaced."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adaptive_lr.trials.store import Store
from tests.cli.test_cli import call, refused

ROOT = Path(__file__).parents[2]

OWN = '''
"""Is my schedule any good?"""
from dataclasses import dataclass
import torch
from adaptive_lr import Constant, DampedCosine
from adaptive_lr.spec import number, spec
from adaptive_lr.schedules import AbstractSchedule
from adaptive_lr.experiment import Experiment, Study
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.training import SGD
from beside import DIMENSION

@spec
class Mine(AbstractSchedule):
    """1 - u^power."""
    kind = "mine"
    power: float = number("(0, 64]", default=2.0)
    def multiplier(self, u):
        return 1.0 - u ** self.power

@spec
class MyTask(StreamingLeastSquares):
    """The same under another name."""
    kind = "my_task"

EXPERIMENT = Experiment(
    name="NAME", title="Mine $x_{$ <b>", question="Is my schedule any good?",
    schedules={"usual $": {"cosine": DampedCosine(), "constant": Constant()}, "of my own": {"mine $x_{$": Mine(), "mine 4": Mine(power=4)}},
    reference="cosine",
    studies=[Study(name="squares", task=MyTask(dimension=DIMENSION), optimizer=SGD(), steps=STEPS, low=1e-2, high=1.0,
                   selection_seeds=range(100, 102), report_seeds=range(3), dtype="float64")],
)
'''


def write_own(folder: Path, name: str = "mine", steps: int = 60) -> Path:
    (folder / "mine").mkdir(exist_ok=True)
    (folder / "mine/beside.py").write_text("DIMENSION = 6\n")
    path = folder / f"mine/{name}.py"
    path.write_text(OWN.replace("NAME", name).replace("STEPS", str(steps)))
    return path


def command(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "adaptive_lr", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_classes_of_ones_own_reach_two_workers_and_the_report_is_about_them(folder: Path) -> None:
    write_own(folder)
    process = command(folder, "run", "mine/mine.py", "--workers", "2")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "executing mine/mine.py" in err
    numbers = json.loads((folder / "report/report.json").read_text())["experiments"]["mine"]
    answer = numbers["studies"]["squares"]["answer"]
    assert (answer["judged"], answer["against"]) == ("of my own", ["usual $"])
    assert set(answer["chosen"]) == {"of my own", "usual $"}
    page = (folder / "report/index.html").read_text()
    assert (
        "With «of my own», the result depends less on the learning rate than with «usual $», each in its own unit, in"
        in page
    )
    assert "training with «of my own» ends with a lower loss than with «usual $» in" in page
    assert "does of my own depend less?" in page
    assert "mine $x_{$" in page
    assert "<b>Mine" not in page


def test_a_second_experiment_leaves_the_first_one_in_the_report(folder: Path) -> None:
    for name in ("first", "second"):
        write_own(folder, name)
        found = call("run", f"mine/{name}.py", "--workers", "1")
        assert found.exit_code == 0, found.output
    path = folder / "report/report.json"
    assert list(json.loads(path.read_text())["experiments"]) == ["first", "second"]
    page = (folder / "report/index.html").read_text()
    assert 'id="first"' in page
    assert 'id="second"' in page
    before = path.read_bytes(), page
    (folder / "report/index.html").unlink()
    for file in (folder / "mine").iterdir():
        file.unlink()  # so that nothing of it can be executed
    assert call("report").exit_code == 0
    assert (path.read_bytes(), (folder / "report/index.html").read_text()) == before


@pytest.mark.parametrize(
    "arguments", [["list"], ["report"], ["advise", "--budget", "8"], ["--version"], ["plot", "cosine"]]
)
def test_no_file_of_the_folder_is_executed_unless_it_is_named(folder: Path, arguments: list[str]) -> None:
    (folder / "experiments").mkdir()
    trap = "from pathlib import Path\nPath('executed').touch()\n"
    for name in ("e01_grid_resolution", "e99_trap"):
        (folder / f"experiments/{name}.py").write_text(f'"""What does [b]{name}[/b] ask?"""\n{trap}')
    for name in ("matplotlib", "rich", "adaptive_lr_plugin"):
        (folder / f"{name}.py").write_text(trap)
    if arguments[0] == "advise":
        with Store(folder / "results/store.sqlite", write=True):
            pass
    found = call(*arguments)
    assert "Traceback" not in found.output
    assert not (folder / "executed").exists()
    if arguments == ["list"]:
        assert "What does [b]e99_trap[/b] ask?" in found.stdout


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1",
        "'",
        '"""',
        "((((" * 5000,
        "\0",
        '"' + "a" * 100_000 + '"',
        "b'bytes'",
        "f'{1}'",
        "'\\ud800'",
        "# -*- coding: x -*-\n'a'",
    ],
)
def test_a_file_without_a_question_is_listed_by_its_name(folder: Path, text: str) -> None:
    (folder / "experiments").mkdir()
    (folder / "experiments/e9_odd.py").write_text(text)
    os.mkfifo(folder / "experiments/e8_pipe.py")
    found = call("list")
    assert found.exit_code == 0, found.output
    assert "e9_odd" in found.stdout
    assert "e8_pipe" in found.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere", "cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("def f():\n    return 1 / 0\nf()", "cannot be imported: ZeroDivisionError: division by zero"),
        ("x = (", "cannot be imported: SyntaxError"),
        ("import sys; sys.exit(3)", "cannot be imported: it ended the program with exit(3)"),
        ("x = 1", "declares no EXPERIMENT"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_below_its_traceback(folder: Path, text: str, message: str) -> None:
    (folder / "bad.py").write_text(text)
    for name in ("run", "report"):
        found = call(name, "bad.py")
        assert found.exit_code == 2, found.output
        last = found.stderr.rstrip().splitlines()[-1]
        assert "bad.py" in last
        assert message in last
        if "1 / 0" in text:
            assert "in f" in found.stderr
            assert "importlib" not in found.stderr


@pytest.mark.parametrize("name", ["", "..", "/x", "a/b", "../../home", ".hidden", "a b", "x" * 200])
def test_an_experiment_whose_name_is_no_folders_is_refused(folder: Path, name: str) -> None:
    path = write_own(folder)
    path.write_text(path.read_text().replace('name="mine"', f"name={name!r}"))
    found = call("run", "mine/mine.py", "--workers", "1")
    assert found.exit_code == 2
    assert "the name of an experiment must be letters, digits" in found.stderr


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('reference="cosine"', 'reference="cosin"', "the reference 'cosin' is none of the schedules"),
        ('"mine 4"', '"cosine"', "two schedules are called 'cosine'"),
        ('name="squares"', 'name="a/../b"', "the name of a study must be usable as that of a file"),
        ("high=1.0", "high=0.1", "on at least two decades, got per_decade=6 from 0.01 to 0.1"),
        ("high=1.0", "high=1.0, per_decade=4", "need per_decade=6, or a multiple of it"),
        (
            'reference="cosine"',
            'reference="cosine", judged="ours"',
            "there is no group 'ours' among usual $, of my own",
        ),
    ],
)
def test_a_wrong_declaration_is_one_line_and_nothing_is_trained(
    folder: Path, before: str, after: str, message: str
) -> None:
    path = write_own(folder)
    path.write_text(path.read_text().replace(before, after))
    found = call("run", "mine/mine.py", "--workers", "1")
    assert found.exit_code == 2, found.output
    assert message in found.stderr.splitlines()[-1]
    assert not (folder / "results").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "is no report of adaptive_lr"),
        ("[1]", "is no report of adaptive_lr"),
        ("{", "is no report of adaptive_lr (this is no JSON"),
        ('{"format": 99, "experiments": {}}', "has format 99"),
        ('{"format": 4, "experiments": {"a": {}}}', "holds something else than an experiment under 'a'"),
        ('{"format": 4, "experiments": {"a": {"name": "a", "kind": "other"}}}', "the numbers of a cannot be shown"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_foreign_report_is_neither_overwritten_nor_a_traceback(folder: Path, content: str, message: str) -> None:
    (folder / "report").mkdir()
    (folder / "report/report.json").write_text(content)
    assert message in refused("report")
    assert (folder / "report/report.json").read_text() == content


def interrupt(process: "subprocess.Popen[str]", times: int = 1) -> tuple[float, str]:
    """As a terminal does: to the process and everything below it."""
    start = time.monotonic()
    for _ in range(times):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    _, err = process.communicate(timeout=120)
    return time.monotonic() - start, err


def wait_for_trials(path: Path, least: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 200.0
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with Store(path) as store:
                if len(store) >= least:
                    return
        except Exception:
            pass
        time.sleep(0.05)
    raise AssertionError(process.communicate())


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_ends_a_run_at_once_and_keeps_what_is_finished(folder: Path, workers: str) -> None:
    write_own(folder, steps=20_000)
    process = command(folder, "run", "mine/mine.py", "--workers", workers)
    wait_for_trials(folder / "results/store.sqlite", 0, process)
    time.sleep(1.0)
    seconds, err = interrupt(process)
    assert process.returncode == 130
    assert err.rstrip().endswith("interrupted; finished trials are stored: run again to go on")
    assert "Traceback" not in err
    assert seconds < 3.0, "half a second where nobody else is at work"


def test_ctrl_c_while_a_text_is_executed_has_the_same_exit_code(folder: Path) -> None:
    path = write_own(folder)
    text = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"
    path.write_text(f"{path.read_text()}\nexec({text!r})\n")
    process = command(folder, "run", "mine/mine.py", "--workers", "1")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.rstrip().endswith("interrupted; finished trials are stored: run again to go on")


def test_a_second_ctrl_c_is_no_traceback(folder: Path) -> None:
    write_own(folder, steps=20_000)
    process = command(folder, "run", "mine/mine.py", "--workers", "2")
    wait_for_trials(folder / "results/store.sqlite", 0, process)
    _, err = interrupt(process, times=3)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in err


@pytest.mark.parametrize("delay", [0.1, 0.2, 0.4, 0.8, 1.5])
def test_ctrl_c_while_it_imports_is_no_traceback(folder: Path, delay: float) -> None:
    write_own(folder)
    process = command(folder, "run", "mine/mine.py", "--workers", "2")
    time.sleep(delay)
    _, err = interrupt(process)
    if "<frozen site>" in err:  # Python itself was not up yet
        return
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in err


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks for libraries in /proc")
def test_ctrl_c_while_pytorch_is_half_imported_ends_the_run_at_once(folder: Path) -> None:
    write_own(folder)
    process = command(folder, "run", "mine/mine.py", "--workers", "1")
    while "libtorch_python" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    _, err = interrupt(process)
    assert process.returncode == -signal.SIGINT, "an exception in its C++ code may be SIGABRT"
    assert "Traceback" not in err


def test_a_quote_that_is_not_closed_in_a_schedule_to_search_is_one_line(folder: Path) -> None:
    assert "into words: no closing quotation" in refused(
        "search-schedule", "streaming_least_squares", "--schedule", "wsd 'cooldown"
    )

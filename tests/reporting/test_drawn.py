"""Figures that are drawn by several processes, and not again while nothing of them has changed."""

import ast
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from adaptive_lr.errors import OutputError
from adaptive_lr.experiment import AbstractExperiment, run_experiment
from adaptive_lr.reporting import drawn
from adaptive_lr.reporting.drawn import INDEX, Drawing, draw_all
from adaptive_lr.reporting.kept import FORMAT
from adaptive_lr.reporting.report import write_report
from adaptive_lr.trials.store import Store
from tests import tiny, tiny_rates
from tests.marked import marked
from tests.processes import descendants, living

ROOT = Path(__file__).resolve().parents[2]
COUNT = 8
"""Figures, so many that they are drawn by several processes."""


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))  # the workers import the function


def drawings(log: Path, *heights: float) -> list[Drawing]:
    numbers = heights or tuple(range(1, COUNT + 1))
    return [
        Drawing(marked, (height, str(log)), f"figures/{index}", f"figure {index}", words=index % 2 == 0)
        for index, height in enumerate(numbers)
    ]


def lines(log: Path) -> list[list[str]]:
    content = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return [line.split() for line in content]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_and_elements_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    results = {}
    for workers in (1, 2):
        results[workers] = draw_all(drawings(tmp_path / "log"), tmp_path / str(workers), workers=workers)
        processes = {process for _, process in lines(tmp_path / "log")}
        assert (processes == {str(os.getpid())}) is (workers == 1)
        assert len(processes) <= workers
    assert results[1] == results[2]
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    assert all(isinstance(element, str) and element.startswith("<svg") for element in results[1])
    assert set(contents(tmp_path / "1")) == {str(INDEX)} | {
        f"figures/{index}.{ending}"
        for index in range(COUNT)
        for ending in (("svg",) if index % 2 == 0 else ("png", "svg"))
    }


def test_few_figures_are_drawn_in_this_process(tmp_path: Path) -> None:
    draw_all(drawings(tmp_path / "log", 1.0, 2.0), tmp_path, workers=4)
    assert {process for _, process in lines(tmp_path / "log")} == {str(os.getpid())}


def test_only_what_has_changed_is_drawn_again(tmp_path: Path) -> None:
    log, folder = tmp_path / "log", tmp_path / "report"
    first = draw_all(drawings(log, 1.0, 2.0, 3.0), folder)
    before = contents(folder)
    assert len(lines(log)) == 3
    assert draw_all(drawings(log, 1.0, 2.0, 3.0), folder) == first
    assert lines(log) == []
    assert contents(folder) == before
    draw_all(drawings(log, 1.0, 2.5, 3.0), folder)
    assert [height for height, _ in lines(log)] == ["2.5"]
    draw_all([replace(drawings(log, 1.0)[0], name="other")], folder)
    assert [height for height, _ in lines(log)] == ["1"]


@pytest.mark.parametrize("ending", ["png", "svg"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "folder", "pipe"])
def test_a_damaged_figure_is_drawn_again(tmp_path: Path, ending: str, damage: str) -> None:
    log, folder = tmp_path / "log", tmp_path / "report"
    first = draw_all(drawings(log, 1.0, 2.0), folder)
    before = contents(folder)
    lines(log)
    path = folder / f"figures/1.{ending}"
    content = bytearray(before[f"figures/1.{ending}"])
    content[len(content) // 2] ^= 1
    path.unlink()
    if damage == "folder":
        path.mkdir()
        with pytest.raises(OutputError, match=f"cannot write .*1.{ending}"):
            draw_all(drawings(log, 1.0, 2.0), folder)
        path.rmdir()
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage != "gone":
        path.write_bytes(content if damage == "flipped" else content[:-9])
    assert draw_all(drawings(log, 1.0, 2.0), folder) == first
    assert {height for height, _ in lines(log)} == {"2"}
    assert contents(folder) == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"figures/0": 3}', '{"figures/0": {"key": {}}}', "\xff", "gone"])
def test_a_damaged_index_is_none(tmp_path: Path, text: str) -> None:
    log, folder = tmp_path / "log", tmp_path / "report"
    first = draw_all(drawings(log, 1.0), folder)
    index = (folder / INDEX).read_bytes()
    lines(log)
    (folder / INDEX).unlink()
    if text != "gone":
        (folder / INDEX).write_bytes(text.encode("latin-1"))
    assert draw_all(drawings(log, 1.0), folder) == first
    assert len(lines(log)) == 1
    assert (folder / INDEX).read_bytes() == index


def test_other_code_and_other_settings_draw_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    (usual,) = draw_all(drawings(log, 1.0), tmp_path)
    with mpl.rc_context({"lines.linewidth": 9.0}):
        (thick,) = draw_all(drawings(log, 1.0), tmp_path)
    assert len(lines(log)) == 2
    assert thick == usual  # the curve has a width of its own
    with mpl.rc_context({"axes.facecolor": "#123456"}):
        (blue,) = draw_all(drawings(log, 1.0), tmp_path)
        several = draw_all(drawings(log), tmp_path / "several", workers=2)
    assert "#123456" in str(blue)
    assert all("#123456" in str(element) for element in several)
    draw_all(drawings(log, 1.0), tmp_path)
    lines(log)
    monkeypatch.setattr(drawn, "_version", lambda: b"another")
    assert draw_all(drawings(log, 1.0), tmp_path) == [usual]
    assert len(lines(log)) == 1


def test_an_error_is_kept_for_the_page_and_the_rest_is_drawn(tmp_path: Path) -> None:
    heights = [1.0, -1.0, *range(3, COUNT + 1)]
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        results = draw_all(drawings(tmp_path / "log", *heights), folder, workers=workers)
        assert repr(results[1]) == "LookupError('no such height')"
        assert sum(isinstance(result, str) for result in results) == COUNT - 1
        lines(tmp_path / "log")
        draw_all(drawings(tmp_path / "log", *heights), folder)
        assert [height for height, _ in lines(tmp_path / "log")] == ["-1"]


def test_ctrl_c_keeps_what_is_drawn(tmp_path: Path) -> None:
    log, folder = tmp_path / "log", tmp_path / "report"

    def interrupted() -> None:
        while not list(folder.rglob("*.svg")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    many = drawings(log, *range(1, 401))
    threading.Thread(target=interrupted, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        draw_all(many, folder, workers=2)
    count = len(json.loads((folder / INDEX).read_text()))
    assert 0 < count < len(many)
    lines(log)
    draw_all(many[:1], folder)
    assert not list(folder.rglob("*.part"))


def test_what_figures_import_is_part_of_their_version() -> None:
    """A figure would else stay as it was after the code that draws it has changed."""
    package = ROOT / "adaptive_lr"
    reached, todo = set[Path](), [*(package / "reporting").glob("*_figures.py"), package / "reporting/figures.py"]
    others = {package / f"reporting/{name}_figures.py" for name in ("found", "schedule")}  # of other pages
    while todo:
        path = todo.pop()
        if path in reached | others:
            continue
        reached.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [node.module]
                if isinstance(node, ast.ImportFrom)
                else [name.name for name in getattr(node, "names", [])]
            )
            for name in names:
                file = ROOT / f"{(name or '').replace('.', '/')}.py"
                if file.is_file() and file.is_relative_to(package):
                    todo.append(file)
    assert {"figures.py", "drawing.py", "robustness.py", "prose.py"} <= {path.name for path in reached}
    # What remains has no part in figures: how a file is written, what an error is, intervals that stand in the numbers.
    beyond = {str(path.relative_to(package)) for path in reached - set(drawn.sources())}
    intervals = {f"analysis/{name}.py" for name in ("stats", "any_rate", "paired", "baselines", "searches")}
    assert beyond <= {"errors.py", "files.py", *intervals}


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    experiments: list[AbstractExperiment] = [tiny.EXPERIMENT.smoke(), tiny_rates.EXPERIMENT.smoke()]
    with Store(tmp_path_factory.mktemp("results") / "store.sqlite", write=True) as store:
        for experiment in experiments:
            run_experiment(experiment, store, workers=1)
        return [experiment.analyse(store) for experiment in experiments]


def test_a_report_is_the_same_from_one_process_from_two_and_from_what_is_there(
    analysed: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(analysed, [], tmp_path / "1")
    write_report(analysed, [], tmp_path / "2", workers=2)
    first = contents(tmp_path / "1")
    assert first == contents(tmp_path / "2")
    assert "controllers/figures/e98_tiny_rates-anchor-1-squares.svg" in first
    assert first["controllers/e98_tiny_rates-anchor.html"].count(b"<svg") == 2

    def refuse(self: Drawing) -> Mapping[str, bytes]:
        raise AssertionError(f"{self.path} is drawn again")

    monkeypatch.setattr(Drawing, "files", refuse)
    write_report([], [], tmp_path / "1")
    write_report(analysed[1:], [], tmp_path / "2")
    assert contents(tmp_path / "1") == first == contents(tmp_path / "2")


def test_numbers_that_cannot_be_drawn_are_said_in_the_same_words(
    analysed: list[dict[str, Any]], tmp_path: Path
) -> None:
    numbers = json.loads(json.dumps(analysed))
    del numbers[0]["studies"]["absolute"]["schedules"]["cosine"]["best_rate"]
    words = set()
    for workers in (1, 2):
        with pytest.raises(OutputError) as caught:
            write_report(numbers, [], tmp_path / "report", workers=workers)
        words.add(str(caught.value))
    assert words == {
        f"the numbers of e99_tiny cannot be shown (KeyError: 'best_rate'): delete it from {tmp_path / 'report/report.json'} "
        "and run it again"
    }


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_ctrl_c_ends_the_command_and_its_processes(analysed: list[dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    copies = {f"copy{index}": {**numbers, "name": f"copy{index}"} for index, numbers in enumerate(analysed * 8)}
    (folder / "report.json").write_text(json.dumps({"format": FORMAT, "experiments": copies}))
    command = [sys.executable, "-m", "adaptive_lr", "report", "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while process.poll() is None and not list(folder.rglob("*.svg")):
            time.sleep(0.02)
        children = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "interrupted" in said
    assert "Traceback" not in said
    assert len(children) >= 2
    deadline = time.monotonic() + 10.0
    while living(children) and time.monotonic() < deadline:  # a child of a process that has ended ends by itself
        time.sleep(0.05)
    assert not living(children)
    assert not (folder / "index.html").exists()

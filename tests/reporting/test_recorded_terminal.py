"""``adaptive-lr robustness`` as a person sees it: the command on the page, narrow terminals, and names that attack them."""

import html
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from adaptive_lr.cli import app, grids
from adaptive_lr.cli.grids import Grid
from tests.recorded_runs import sweep, write


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A working directory."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def call(*arguments: str, columns: int = 500) -> Result:
    return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, ["robustness", *arguments])


HISTORY = (
    "trial id,kind,step,peak lr,val_acc,State,note",
    *(
        f"{kind}{seed}-{rate},{kind},{step},{rate},{acc * step / 30 - 0.01 * seed:.7f},{'crashed' if rate == 0.4 else 'finished'},it's"
        for kind, shift in (("a", 0.0), ("b", 0.05))
        for rate, acc in ((0.1, 0.61234567 + shift), (0.2, 0.9123), (0.3, 0.8), (0.4, 0.2 - shift))
        for seed in (0, 1)
        for step in (10, 20, 30)
    ),
)
EVERY_OPTION = (
    "--lr", "peak lr", "--loss", "val_acc", "--direction", "maximize", "--by", "kind", "--run", "trial id", "--step", "step", "--reduce", "max",
    "--least-step", "29.5", "--ratio", "2.2222221", "--ratio", "3", "--tolerance", "0.0123456789", "--optimum", "1.00000012345",
    "--initial-loss=-0.012345678", "--window", "0.1:0.40000001", "--diverged", "State=crashed", "--ignore", "note", "--where", "note=it's",
    "--most-groups", "7",
)  # fmt: skip


def page_of(folder: Path) -> tuple[str, str, dict[str, object]]:
    text = (folder / "index.html").read_text(encoding="utf-8")
    command = html.unescape(re.findall(r"<dt>Run it again</dt><dd><code>(.*?)</code>", text, flags=re.DOTALL)[0])
    return text, command, json.loads((folder / "report.json").read_text())


@pytest.mark.parametrize(
    "options",
    [EVERY_OPTION, (*EVERY_OPTION[:8], "--run", "trial id", "--step", "step", "--ignore", "State", "--ignore", "note")],
)
def test_command_on_the_page_makes_the_page(folder: Path, options: Sequence[str]) -> None:
    write(folder / "-my runs.csv", *HISTORY)
    first = call(*options, "--report", "a page", "--", "-my runs.csv")
    assert first.exit_code == 0, first.output
    text, command, numbers = page_of(folder / "a page")
    program, name, *words = shlex.split(command)
    assert (program, name) == ("adaptive-lr", "robustness")
    (folder / "a page/index.html").unlink()
    (folder / "a page/report.json").unlink()
    again = call(*words)
    assert again.exit_code == 0, again.output
    assert page_of(folder / "a page") == (text, command, numbers)


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_redirected_output_keeps_every_digit(folder: Path, columns: int) -> None:
    lines = [
        "dim,lr,loss",
        *(f"hidden_dim_{dim},{rate},{rate * dim:.6f}" for dim in (1024, 2048) for rate in (0.00021780417, 0.02, 0.3)),
    ]
    write(folder / "a.csv", *lines)
    result = call("a.csv", "--lr", "lr", "--loss", "loss", "--by", "dim", columns=columns)
    assert result.exit_code == 0, result.output
    assert "0.000217804†" in result.stdout
    assert "sensitivity, log" in result.stdout
    assert "hidden_dim_1024" in result.stdout
    assert "…" not in result.stdout


@pytest.mark.parametrize("width", [30, 45, 60, 80, 120])
def test_narrow_terminal_cuts_nothing(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    file = io.StringIO()
    monkeypatch.setattr(
        grids, "out", Console(width=width, force_terminal=True, color_system=None, highlight=False, file=file)
    )
    columns = ["best rate", "lowest loss", "sensitivity, log", "regret ×10", "cost ×10", "basin"]
    cells = ["0.000217804†", "2.9668 ±0.0018", "0.0123 ±0.0001", "0.0456", "0.0789", "≥1.25"]
    Grid("Each group", "group", columns, [("a label that is rather long for a terminal", cells)]).print()
    text = re.sub("\x1b\\[[0-9;]*m", "", file.getvalue())
    assert "…" not in text
    for word in cells:
        assert word in text
    assert max(map(len, text.splitlines())) <= width


NASTY = (
    "$\\frac{$",
    "$x_{$",
    "$$",
    "$a$ and $b$",
    "_hidden",
    "a\\$b",
    "<script>alert(1)</script>",
    "x" * 500,
    "[red]",
    "%s{}",
)


def test_names_reach_figures_and_pages_as_they_are(folder: Path) -> None:
    rows = [
        {"$\\frac{$": label, "$$": rate, "_y^$": rate + index}
        for index, label in enumerate(NASTY)
        for rate in (0.1, 0.2, 0.4)
    ]
    (folder / "a.json").write_text(json.dumps(rows))
    result = call("a.json", "--lr", "$$", "--loss", "_y^$", "--by", "$\\frac{$", "--report", "out")
    assert result.exit_code == 0, result.output
    text = (folder / "out/index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    figure = html.unescape(next((folder / "out/figures").glob("*.svg")).read_text(encoding="utf-8"))
    for label in NASTY[:7]:
        assert label in figure


def test_escape_sequences_reach_nothing(folder: Path) -> None:
    nasty = "\x1b[2J\x1b]0;title\x07"
    write(folder / "a.csv", f"lr,loss,g{nasty}", f"0.1,1,{nasty}", f"0.2,2,{nasty}")
    (folder / "b.jsonl").write_text('{"lr": 0.1, "loss": 1, "g": "\\ud800"}\n{"lr": 0.2, "loss": 2, "g": "\\ud800"}\n')
    shown = call("a.csv", "--lr", "lr", "--loss", "loss", "--by", "g\\x1b[2J\\x1b]0;title\\x07", "--report", "out")
    assert shown.exit_code == 0, shown.output
    refused = call("a.csv", "--lr", "lr", "--loss", f"g{nasty}"[1:])
    assert refused.exit_code == 2
    surrogate = call("b.jsonl", "--lr", "lr", "--loss", "loss", "--by", "g", "--report", "out2")
    assert surrogate.exit_code == 0, surrogate.output
    for text in (shown.output, refused.output, (folder / "out/index.html").read_text(encoding="utf-8")):
        assert "\x1b" not in text
        assert "\x07" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--window=1e400:1e401"], "--window needs 0 < lowest < highest"),
        (["--window=1e-9:inf"], "--window needs two finite rates"),
        (["--optimum=-1e308"], "--optimum must be a number of at most 1e+100"),
        (["--ratio=1.0000001"], "--ratio must be above 1, at least 1.01"),
        (["--ratio=2.001", "--ratio=2.002"], "two ratios are 2 to three digits"),
        (["--tolerance=1e308"], "--tolerance must be above 0 and at most 1e6"),
        (["--direction=up"], "--direction is minimize or maximize, got 'up'"),
        (["--step=lr"], "--step needs --run"),
        (["--reduce=min"], "--reduce needs --run"),
        (["--least-step=3"], "--least-step needs --run and --step"),
        (["--diverged=State"], "--diverged takes column=value, got 'State'"),
        (["--where=loss=7"], "no run with loss=7; loss is one of 1, 2, 3"),
    ],
)
def test_option_out_of_range_is_one_clear_line(folder: Path, arguments: list[str], message: str) -> None:
    write(folder / "a.csv", "lr,loss", "0.1,1", "0.2,2", "0.4,3")
    result = call("a.csv", "--lr", "lr", "--loss", "loss", *arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("rate", ["1e308", "5e-324", "1e400", "-1"])
def test_rate_out_of_range_is_one_clear_line(folder: Path, rate: str) -> None:
    write(folder / "a.csv", "lr,loss", "0.1,1", "0.2,2", f"{rate},3")
    result = call("a.csv", "--lr", "lr", "--loss", "loss")
    assert result.exit_code == 2, result.output
    assert f"line 4: lr is '{rate}', a learning rate must be above 0 (from 1e-30 to 1e+30)" in result.stderr


@pytest.mark.parametrize("loss", ["1e308", "-1e308", "1e99", "-1e99"])
@pytest.mark.filterwarnings("error")
def test_enormous_loss_is_no_traceback(folder: Path, loss: str) -> None:
    write(folder / "a.csv", "lr,seed,loss", "0.1,0,1", "0.1,1,2", "0.2,0,2", f"0.4,0,{loss}", f"0.4,1,{loss}")
    result = call("a.csv", "--lr", "lr", "--loss", "loss", "--seed", "seed", "--json")
    assert result.exit_code == 0, result.output
    json.loads(result.stdout)


def test_thousands_of_rates_take_no_longer_than_their_number() -> None:
    def seconds(count: int) -> float:
        rates = 10 ** np.linspace(-4, 0, count)
        runs = sweep(rates.tolist(), ((np.log10(rates) + 2) ** 2).tolist())
        began = time.process_time()
        assert runs.resolution(3.0) is not None
        runs.interpolated(3.0)
        return time.process_time() - began

    seconds(100)
    assert min(seconds(8000) for _ in range(2)) < 2.0  # the quadratic search took over a minute


def test_real_process_prints_one_line_and_no_traceback(folder: Path) -> None:
    write(folder / "a.csv", "lr,loss", "0.1,1", "0.2,\x1b[2J")
    command = [sys.executable, "-m", "adaptive_lr", "robustness", "a.csv", "--lr", "lr", "--loss", "loss"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 2
    assert result.stderr == "error: a.csv, line 3: loss is '\\\\x1b[2J', not a number\n"

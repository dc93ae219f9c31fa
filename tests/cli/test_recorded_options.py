"""Options that say how to read recorded runs: each is declared once, and can be printed and read again."""

from dataclasses import fields
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from adaptive_lr.cli import app
from adaptive_lr.cli.recorded_options import Options, reading_runs

GIVEN = Options(
    rate="a",
    loss="-b",
    direction="maximize",
    by=["c", "d"],
    seed="e",
    where=["f=1", "-g=2"],
    ignore=["h"],
    diverged=["i=1"],
    run="j",
    step="k",
    reduce="max",
    least_step=0.0,
    initial=-1e-9,
    optimum=0.1 + 0.2,
    window="1e-4:1",
    ratios=[2.0, 10.0 / 3.0],
    tolerance=0.02,
    deviation="l",
    repeats=3,
    most_groups=7,
)
OF_ADVISE = [
    *("--lr", "--loss", "--direction", "--by", "--seed", "--where", "--ignore", "--diverged", "--run", "--step"),
    *(
        "--reduce",
        "--least-step",
        "--initial-loss",
        "--optimum",
        "--window",
        "--deviation",
        "--repeats",
        "--most-groups",
    ),
]


def read(*words: str) -> Options:
    """The options that a command is given with these words."""
    command, caught = typer.Typer(), []

    @command.command()
    @reading_runs()
    def catch(*, options: Options) -> None:
        caught.append(options)

    assert CliRunner().invoke(command, words).exit_code == 0
    return caught[0]


def test_every_option_that_is_printed_is_read_again_as_it_was() -> None:
    assert {field.name for field in fields(Options) if getattr(GIVEN, field.name) == field.default} == set()
    assert read(*GIVEN.words()) == GIVEN


def test_options_with_their_defaults_are_not_printed() -> None:
    assert read("--lr", "a", "--loss", "b", "--reduce", "last", "--most-groups", "1000").words() == (
        ["--lr", "a", "--loss", "b"]
    )


def advise(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "500"}).invoke(app, ["advise", "--budget", "8", *words])


@pytest.mark.parametrize("name", OF_ADVISE)
def test_an_option_about_runs_is_refused_where_there_are_none(name: str) -> None:
    value = {"--repeats": "2", "--reduce": "min", "--least-step": "0", "--initial-loss": "0", "--optimum": "0"}.get(
        name, "1"
    )
    result = advise(name, value)
    assert (result.exit_code, result.stderr) == (2, f"error: {name} says how to read --runs, which is not given\n")


def test_all_options_about_runs_are_named_where_there_are_none() -> None:
    result = advise("--by", "x", "--lr", "a", "--loss", "b")
    assert result.stderr == "error: --lr, --loss, --by say how to read --runs, which is not given\n"


def test_advise_takes_every_option_of_robustness_but_what_only_a_page_needs(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_text("lr,loss\n0.1,1\n0.2,2\n0.4,3\n")
    of_robustness = {name for name in GIVEN.given() if name not in OF_ADVISE}
    assert of_robustness == {"--ratio", "--tolerance"}
    for name in of_robustness:
        result = advise("--runs", str(tmp_path / "runs.csv"), "--lr", "lr", "--loss", "loss", name, "2")
        assert f"No such option: {name}" in result.stderr

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adaptive_lr.cli import app

TUTORIALS = Path(__file__).parents[2] / "docs/tutorials"
PAGE = (TUTORIALS / "read-a-robustness-report.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```bash\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A working directory with the table of the tutorial."""
    shutil.copy(TUTORIALS / "sweep.csv", tmp_path)
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 4


@pytest.mark.parametrize(("command", "printed"), COMMANDS, ids=[f"{index}" for index in range(len(COMMANDS))])
def test_command_prints_what_the_tutorial_says(folder: Path, command: str, printed: str) -> None:
    name, *arguments = shlex.split(command)
    assert name == "adaptive-lr"
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(app, arguments)
    refusal = "differ in schedule" in printed
    assert result.exit_code == (2 if refusal else 0), result.output
    for line in printed.splitlines():
        assert line in result.output.replace("\u00a0", " ")
    assert ("--report" in arguments) == (folder / "report/index.html").is_file()


def test_first_lines_of_the_table_are_those_of_the_tutorial() -> None:
    first = "\n".join((TUTORIALS / "sweep.csv").read_text().splitlines()[:3])
    assert f"```text\n{first}\n```" in PAGE

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
PAGE = (TUTORIALS / "loss-curve-laws.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```bash\n(.*?)```\n\n```text\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A working directory with the tables of the tutorial."""
    for name in ("curves.csv", "held-out.csv"):
        shutil.copy(TUTORIALS / name, tmp_path)
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def test_commands_print_what_the_tutorial_says_and_the_snippet_runs(folder: Path) -> None:
    assert len(COMMANDS) == 4
    for command, printed in COMMANDS:
        name, *arguments = shlex.split(command)
        assert name == "adaptive-lr"
        result = CliRunner(env={"COLUMNS": "1000"}).invoke(app, arguments)
        assert result.exit_code == 0, result.output
        for line in printed.splitlines():
            assert line in result.output
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(code, "loss-curve-laws.md", "exec"), {})
    assert (folder / "held-out.png").is_file()


def test_first_lines_of_the_table_are_those_of_the_tutorial() -> None:
    first = "\n".join((TUTORIALS / "curves.csv").read_text().splitlines()[:3])
    assert f"```text\n{first}\n```" in PAGE

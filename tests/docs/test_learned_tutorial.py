"""The tutorial on learned damping, run as it stands there."""

import json
import math
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adaptive_lr import LearnedDamping
from adaptive_lr.cli import app
from adaptive_lr.controllers.learned_damping import PHASES, READINGS
from tests.learned import WEIGHTS

PAGE = (Path(__file__).parents[2] / "docs/tutorials/learned-damping.md").read_text(encoding="utf-8")
SETUP, COMPARED, LOADED = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
(COMMAND,) = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_policy_in_a_loop_of_ones_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(compile(SETUP, "learned-damping.md", "exec"), names)
    exec(compile(COMPARED, "learned-damping.md", "exec"), names)
    lines = re.findall(r"^(cosine|learned) from (\S+): (\S+)$", capsys.readouterr().out, re.MULTILINE)
    assert [line[:2] for line in lines] == [
        (name, rate) for rate in ("0.0005", "0.05", "5.0") for name in ("cosine", "learned")
    ]
    losses = {(name, rate): float(loss) for name, rate, loss in lines}
    assert losses["cosine", "0.0005"] > 2 * losses["cosine", "0.05"]
    assert not losses["cosine", "5.0"] < 2 * losses["cosine", "0.05"]
    # Whatever the weights are by then, the loop runs with them.
    assert all(math.isfinite(losses["learned", rate]) for rate in ("0.0005", "0.05"))


def test_a_file_of_ones_own(folder: Path) -> None:
    content = {"format": 1, "readings": READINGS, "phases": PHASES, "weights": WEIGHTS}
    Path("policy.json").write_text(json.dumps(content))
    names: dict[str, object] = {}
    exec(compile("import adaptive_lr as al\n" + LOADED, "learned-damping.md", "exec"), names)
    assert names["controller"] == LearnedDamping(weights=WEIGHTS)


def test_the_command_has_the_options_of_the_page() -> None:
    name, command, *arguments = shlex.split(COMMAND)
    assert (name, command) == ("adaptive-lr", "learn")
    text = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["learn", "--help"]).stdout
    assert all(word in text for word in arguments if word.startswith("-"))
    # Refused for its last argument only, so the others are right.
    result = CliRunner().invoke(app, [command, *arguments, "-o", "policy.yaml"])
    assert "what is learned is written as .json" in result.stderr

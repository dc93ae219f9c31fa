"""The tutorial on refinement, run as it stands there."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adaptive_lr import Points, from_json
from adaptive_lr.cli import app

PAGE = (Path(__file__).parents[2] / "docs/tutorials/refine.md").read_text(encoding="utf-8")
FIRST, AGAIN = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
REFINE, OLD = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
_, PRINTED = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)


def call(command: str) -> str:
    name, *arguments = shlex.split(command)
    assert name == "adaptive-lr"
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def without_numbers(text: str) -> str:
    return re.sub(r"\d+(\.\d+)?(e-?\d+)?", "N", text)


def test_run_once_refine_run_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(compile(FIRST, "refine.md", "exec"), names)
    assert len(Path("norms.csv").read_text().splitlines()) == 301
    output = call(REFINE)
    assert without_numbers(output) == without_numbers(PRINTED)  # the numbers are those of a run, and of a processor
    assert output.splitlines()[2:] == PRINTED.splitlines()[2:]
    assert isinstance(names["al"].from_json(Path("refined.json").read_text()), Points)  # type: ignore[attr-defined]
    exec(compile(AGAIN, "refine.md", "exec"), names)
    lines = re.findall(
        r"^(linear|refined) at (0\.05|0\.1): (\d\.\d{3}) ± \d\.\d{3}$", capsys.readouterr().out, re.MULTILINE
    )
    assert [line[:2] for line in lines] == [(name, rate) for rate in ("0.05", "0.1") for name in ("linear", "refined")]
    assert all(float(loss) < 0.4 for *_, loss in lines)  # it has learned: the variance of the targets is 0.8


def test_a_log_that_somebody_has(folder: Path) -> None:
    rows = [f"{step},{2.0 + step / 50},{run}" for run in ("first", "second") for step in range(0, 1000, 5)]
    Path("wandb.csv").write_text("\n".join(["trainer/global_step,train/grad_norm,run", *rows]))
    assert "log G is interpolated" in call(OLD)
    assert from_json(Path("old.json").read_text()) == Points(u=(0.0, 1.0), m=(1.0, 0.0))  # all norms were clipped to 1

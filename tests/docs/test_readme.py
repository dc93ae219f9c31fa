import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def test_example_runs_as_written_and_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, *others = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    line = re.fullmatch(r"loss (\S+), learning rate (\S+)\n", printed.getvalue())
    assert line is not None
    assert float(line[1]) < 1e-3
    assert float(line[2]) == 0.0
    (any_rate,) = (other for other in others if "ProgressAnchor" in other)
    for other in others:
        if other is not any_rate:
            exec(compile(other, "README.md", "exec"), {})


def test_example_of_any_learning_rate_prints_what_the_page_shows() -> None:
    text = README.read_text(encoding="utf-8")
    (code,) = (code for code in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if "ProgressAnchor" in code)
    (shown,) = re.findall(r"```text\n(start.*?)```", text, flags=re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    rows, claimed = (
        {row.split()[0]: [float(loss) for loss in row.split()[1:]] for row in lines.splitlines()[1:]}
        for lines in (printed.getvalue(), shown)
    )
    assert printed.getvalue().splitlines()[0] == shown.splitlines()[0]
    assert list(rows) == list(claimed)
    for start, (cosine, controlled) in rows.items():
        assert controlled == pytest.approx(claimed[start][1], rel=0.1)
        assert (cosine > 5.0 * controlled) == (claimed[start][0] > 5.0 * claimed[start][1])
    assert max(controlled for _, controlled in rows.values()) < 1.2 * min(min(pair) for pair in rows.values())


def test_commands_exist_in_the_makefile() -> None:
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    commands = re.findall(r"\bmake ([a-z]+)", README.read_text(encoding="utf-8"))
    assert {"experiments", "test", "smoke"} <= set(commands)
    for command in commands:
        assert re.search(rf"^{command}:", makefile, flags=re.MULTILINE), command


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (README.parent / target).exists(), target

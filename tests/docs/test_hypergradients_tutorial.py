"""The tutorial on hypergradients runs as written, and prints what it says."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/tutorials/hypergradients.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", PAGE, flags=re.DOTALL)
NUMBER = r"-?\d+\.\d+(?:e[+-]\d+)?"


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(NUMBER, text)]


@pytest.mark.usefixtures("one_thread")
def test_snippets_print_what_the_tutorial_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(SNIPPETS) == 6
    names: dict[str, object] = {"__name__": "tutorial"}
    for code, said in SNIPPETS:
        exec(compile(code, "hypergradients.md", "exec"), names)
        printed = capsys.readouterr().out
        assert re.sub(NUMBER, "#", printed) == re.sub(NUMBER, "#", said)
        # Rounding differs between processors, in the last digit that is shown.
        assert numbers(printed) == pytest.approx(numbers(said), rel=0.02, abs=0.011)

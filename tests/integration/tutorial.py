"""The examples of the tutorial, run as they stand there."""

import re
from pathlib import Path
from typing import Any

from adaptive_lr import AbstractSchedule, DampedCosine, Warmup, table

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorials" / "your-trainer.md"
SCHEDULE = Warmup(steps=3, then=DampedCosine(exponent=2))
"""The schedule of the examples; a test holds it to theirs."""
BASE = 0.1
BATCHES = 9
"""Batches an epoch."""


def sections() -> dict[str, str]:
    """The Python code under each heading; the first one, which the others start with, has the title of the page."""
    text = TUTORIAL.read_text(encoding="utf-8")
    found = {}
    for part in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
        heading = part.partition("\n")[0]
        for code in re.findall(r"```python\n(.*?)```", part, flags=re.DOTALL):
            assert heading not in found, f"two blocks under {heading}"
            found[heading] = code
    return found


def run(heading: str) -> dict[str, Any]:
    """Run one example; the names that it leaves behind."""
    first, *_ = found = sections()
    names: dict[str, Any] = {"__name__": "tutorial"}
    for one in (first, heading):
        exec(compile(found[one], f"{TUTORIAL.name}: {one}", "exec"), names)
    return names


def rates(total_steps: int, schedule: AbstractSchedule = SCHEDULE, base: float = BASE) -> list[float]:
    """What each update should use."""
    return [base * multiplier for multiplier in table([schedule], total_steps)[0].tolist()[:-1]]


def one_group(used: list[list[float]]) -> list[float]:
    """The rates of an optimizer with one group."""
    return [rate for (rate,) in used]

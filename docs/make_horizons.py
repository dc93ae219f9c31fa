"""Write the answers of docs/horizons.md, and its figures, from docs/horizons.json: ``python docs/make_horizons.py``.

``python docs/make_horizons.py report/report.json`` first takes the experiments on horizons of a report into docs/horizons.json, where
they replace those of the same name.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blocks import filled

from adaptive_lr.drawing import save
from adaptive_lr.files import replace_file
from adaptive_lr.reporting.horizon_figures import overview
from adaptive_lr.reporting.horizon_prose import headline, study_answer, title

DOCS = Path(__file__).parent
PAGE, EVIDENCE, FIGURES = DOCS / "horizons.md", DOCS / "horizons.json", DOCS / "figures/horizons"
LEFT_OUT = ("curve", "diverged", "untrained")
"""What of a schedule's numbers no sentence needs."""


def evidence() -> dict[str, Any]:
    """The experiments by name."""
    content: dict[str, Any] = json.loads(EVIDENCE.read_text(encoding="utf-8")) if EVIDENCE.exists() else {}
    return content


def take(report: Path) -> None:
    """Take the experiments on horizons from a report."""
    experiments = json.loads(report.read_text(encoding="utf-8"))["experiments"]
    taken = {name: _reduced(numbers) for name, numbers in experiments.items() if numbers["kind"] == "horizons"}
    content = dict(sorted((evidence() | taken).items()))
    replace_file(EVIDENCE, (json.dumps(content, indent=1) + "\n").encode())


def _reduced(numbers: dict[str, Any]) -> dict[str, Any]:
    for study in numbers["studies"].values():
        for cell in study["cells"]:
            for row in cell["schedules"].values():
                for name in LEFT_OUT:
                    row.pop(name, None)
    return numbers


def with_answers(text: str) -> str:
    """The page with the answers as the evidence has them."""
    answers = "\n".join(_section(numbers) for numbers in evidence().values())
    return filled(text, PAGE.name, "make_horizons", horizons=answers)


def _section(numbers: Mapping[str, Any]) -> str:
    """The answer of an experiment, its figure, and the answer for each workload."""
    lines = [
        f"## {numbers['title']}",
        "",
        f"`{numbers['name']}`, {numbers['trials']} trials.",
        "",
        *(f"- {sentence}" for sentence in headline(numbers)),
        "",
        f"![The metric against the horizon, and its difference to the {numbers['reference']}](figures/horizons/{numbers['name']}.png)",
        "",
    ]
    for study in numbers["studies"].values():
        seeds = len(study["report_seeds"])
        lines += [f"**{title(study)}** (n = {seeds}). {' '.join(study_answer(numbers, study))}", ""]
    return "\n".join(lines)


def main() -> None:
    """Take a report, if one is named, and write the page and the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", nargs="?", type=Path, help="the report.json to take experiments from first")
    if (report := parser.parse_args().report) is not None:
        take(report)
    PAGE.write_text(with_answers(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for name, numbers in evidence().items():
        save(overview(numbers), FIGURES / f"{name}.png")


if __name__ == "__main__":
    main()

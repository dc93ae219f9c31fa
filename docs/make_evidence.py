"""Write what pages say of experiments, from docs/evidence.json: ``python docs/make_evidence.py``.

``python docs/make_evidence.py report/report.json`` first takes all experiments but those on horizons (which docs/make_horizons.py takes) from
a report: into docs/evidence.json, where they replace those of the same name, into the evidence that ships with the package, and draws their
figures in docs/figures that are there already.

A marked place in a page is an HTML comment with ``evidence:`` and a Jinja expression, what the expression gives, and a comment ``end``. On a
line of its own it is a block, else it stands in the sentence. `expressions` has the names that an expression may use.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, TemplateError

from adaptive_lr.analysis import evidence as shipped
from adaptive_lr.analysis.controller_advice import which_controller
from adaptive_lr.drawing import save
from adaptive_lr.errors import AdaptiveLRError
from adaptive_lr.files import replace_file
from adaptive_lr.reporting import controller_prose, evidence_prose, practice_prose
from adaptive_lr.reporting.figures import overview_figure
from adaptive_lr.reporting.rate_figures import overview

DOCS = Path(__file__).parent
EVIDENCE, FIGURES = DOCS / "evidence.json", DOCS / "figures"
SHIPPED = Path(shipped.__file__).with_name(shipped.SHIPPED)
MARKED = re.compile(r"(<!-- evidence: (?P<expression>.*?) -->)(?P<filled>.*?)(<!-- end -->)", flags=re.DOTALL)

LEFT_OUT: dict[str, frozenset[str]] = {
    "any_rate": frozenset(
        [
            "rule",
            "notes",
            "traces",
            "curve",
            "diverged",
            "near",
            "too_high",
            "too_low",
            "spread",
            "difference",
            "time",
            "trained",
            "history",
        ]
    ),
    "grid_resolution": frozenset(
        [
            "curve",
            "diverged",
            "misspecification",
            "basin",
            "slope",
            "sensitivity",
            "rates",
            "pairs",
            "cost_worst",
            "regret_worst",
            "difference",
            "lost",
        ]
    ),
    "recorded": frozenset(["curve", "grid", "regret", "regret_mean", "regret_worst"]),
}
"""What of an experiment's numbers no sentence needs, by its kind; of other kinds ``curve``."""


def evidence() -> dict[str, Any]:
    """The experiments by name."""
    content: dict[str, Any] = json.loads(EVIDENCE.read_text(encoding="utf-8")) if EVIDENCE.exists() else {}
    return content


def take(report: Path) -> None:
    """Take the experiments of a report.

    Raises:
        SystemExit: the file is no report, or is of a size that means nothing.
    """
    try:
        experiments = json.loads(report.read_text(encoding="utf-8"))["experiments"]
        taken = {name: numbers for name, numbers in experiments.items() if numbers["kind"] != "horizons"}
        small = [name for name, numbers in taken.items() if str(numbers["title"]).endswith("(smoke size)")]
        if small:
            raise SystemExit(
                f"{report} is of smoke size, whose numbers mean nothing: name the report of make experiments"
            )
        content = evidence() | {
            name: _reduced(_own(numbers), LEFT_OUT.get(numbers["kind"], frozenset(("curve",))))
            for name, numbers in taken.items()
            if _ran(numbers)
        }
        content = {name: content[name] for name in sorted(content)}
        text = shipped.as_shipped(list(content.values()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise SystemExit(
            f"{report} is not the report.json of a report of this version ({type(error).__name__}: {error})"
        ) from None
    replace_file(EVIDENCE, shipped.compact(content).encode())
    replace_file(SHIPPED, text.encode())
    for name, numbers in taken.items():
        target = FIGURES / f"{name.partition('_')[2]}.png"
        if target.exists() and numbers["kind"] in ("any_rate", "grid_resolution"):
            save(overview(numbers) if numbers["kind"] == "any_rate" else overview_figure(numbers["studies"]), target)


def _own(numbers: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an experiment alone has: of learned damping not the cells, which another experiment has, too."""
    if "learned" not in numbers:
        return numbers
    told = {key: numbers[key] for key in ("kind", "name", "title", "question", "judged", "trials")}
    return told | {"learned": {key: part for key, part in numbers["learned"].items() if key != "policy"}}


def _ran(numbers: Mapping[str, Any]) -> bool:
    """Whether an experiment has numbers: recorded runs that are not there are skipped, and do not replace what was read elsewhere."""
    return bool(numbers["studies"])


def _reduced(value: Any, left_out: frozenset[str]) -> Any:
    """Without what no sentence needs, and to six digits; plain numbers stay, whatever they are called."""
    if isinstance(value, dict):
        return {
            key: _reduced(part, left_out)
            for key, part in value.items()
            if key not in left_out or not isinstance(part, (dict, list, str))
        }
    if isinstance(value, list):
        return [_reduced(part, left_out) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def expressions(experiments: Mapping[str, Any]) -> dict[str, Any]:
    """The names that a marked place may use."""
    short = shipped.evidence_from_numbers(
        [numbers for numbers in experiments.values() if numbers["kind"] != "recorded"]
    )
    advice = which_controller(short)

    def of(name: str, tell: Callable[..., str], *arguments: str) -> str:
        return tell(experiments[name], *arguments) if name in experiments else absent(name)

    return {
        "experiments": experiments,
        "facts": lambda name: evidence_prose.facts(experiments[name]) if name in experiments else "not measured yet",
        "answers": lambda name: of(name, _answers),
        "grid_tasks": lambda name: of(name, evidence_prose.grid_tasks),
        "start_contestants": lambda name: of(name, evidence_prose.start_contestants),
        "area_contestants": lambda name: of(name, evidence_prose.area_contestants),
        "area_horizons": lambda name: of(name, evidence_prose.area_horizons),
        "area_training": lambda name: of(name, evidence_prose.area_training),
        "failures": lambda name: of(name, evidence_prose.failures),
        "recorded_sets": lambda name: of(name, evidence_prose.recorded_sets),
        "figure": lambda name, path: of(name, evidence_prose.figure, path),
        "practice_schedules": lambda: practice_prose.schedules(short),
        "practice_controllers": lambda: practice_prose.controllers(short),
        "untried": lambda: practice_prose.untried(short),
        "controller": lambda kind: practice_prose.controller(short, kind),
        "which_controller": lambda: "\n".join(f"- {sentence}" for sentence in controller_prose.sentences(advice)),
    }


def absent(name: str) -> str:
    """What stands where an experiment has no numbers yet."""
    return f"`{name}` has no numbers in this version's evidence; `make experiments` measures them."


def _answers(numbers: Mapping[str, Any]) -> str:
    return "\n".join(f"- {sentence}" for sentence in evidence_prose.answers(numbers))


def filled(text: str, names: Mapping[str, Any], page: str = "the page") -> str:
    """A page with its marked places as the evidence has them.

    Raises:
        SystemExit: a place cannot be filled, or has no end; the line names it.
    """
    environment = Environment(undefined=StrictUndefined, autoescape=False)  # Markdown, no HTML

    def place(match: re.Match[str]) -> str:
        expression = match["expression"]
        try:
            compiled = environment.compile_expression(expression, undefined_to_none=False)
            content = str(compiled(**names))
        except (TemplateError, AdaptiveLRError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise SystemExit(f"{page}: «{expression}» cannot be filled ({type(error).__name__}: {error})") from None
        block = match["filled"].startswith("\n")
        return f"{match[1]}{f'{chr(10)}{chr(10)}{content}{chr(10)}{chr(10)}' if block else content}{match[4]}"

    if text.count("<!-- evidence: ") != len(MARKED.findall(text)):
        raise SystemExit(f"{page}: every marked place needs its own <!-- end -->")
    return MARKED.sub(place, text)


def pages() -> list[Path]:
    """The pages with marked places."""
    every = [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
    return [page for page in every if "<!-- evidence: " in page.read_text(encoding="utf-8")]


def main() -> None:
    """Take a report, if one is named, and fill the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", nargs="?", type=Path, help="the report.json to take experiments from first")
    if (report := parser.parse_args().report) is not None:
        take(report)
    names = expressions(evidence())
    for page in pages():
        text = page.read_text(encoding="utf-8")
        replace_file(page, filled(text, names, page.name).encode())


if __name__ == "__main__":
    main()

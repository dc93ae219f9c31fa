"""Write the tables of docs/calibration.md from docs/calibration.json: ``python docs/make_calibration.py``.

``python docs/make_calibration.py --run`` first simulates, which takes an hour of one core, and replaces docs/calibration.json; with kinds
of experiments after it, only these are replaced.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from blocks import filled
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from adaptive_lr.analysis.calibration import (
    COUNTS,
    COVERAGE,
    DIFFER,
    FAMILY,
    KINDS,
    STUDIES,
    WAYS,
    cases,
    covered,
    differ,
    tallies,
    told_apart,
)
from adaptive_lr.analysis.simulated import WORLDS
from adaptive_lr.files import replace_file

DOCS = Path(__file__).parent
PAGE, EVIDENCE = DOCS / "calibration.md", DOCS / "calibration.json"
REPEATS = (1000, 999)
"""Studies of different schedules, for intervals, and of identical ones; for each number of repetitions."""


def evidence() -> dict[str, Any]:
    """What was measured: by kind of experiment, world, and what is measured."""
    content: dict[str, Any] = json.loads(EVIDENCE.read_text(encoding="utf-8")) if EVIDENCE.exists() else {}
    return content


def run(kinds: list[str], repeats: tuple[int, int]) -> None:
    """Simulate; what has ended is kept after each world of a kind."""
    todo = [(seed, kind, name) for seed, (kind, name) in enumerate(cases()) if kind in kinds]
    steps = sum(len(COUNTS) * sum(repeats) for _ in todo)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task("simulating", total=steps)
        for seed, kind, name in todo:
            progress.update(bar, description=f"{kind}: {name}")
            tallied = {
                count: tallies(
                    kind, WORLDS[name], count, repeats, seed=seed, advance=lambda done: progress.advance(bar, done)
                )
                for count in COUNTS
            }
            _keep(kind, name, {"covers": covered(tallied), "differ": differ(tallied)}, repeats)


def compare_ways(repeats: int) -> None:
    """Measure how often identical schedules differ under each way of choosing, at heavy noise between neighbouring rates."""
    world = replace(WORLDS["differences, normal"], smooth=0.4, own=0.2)
    rows = {way: {count: told_apart(way, world, count, repeats) for count in COUNTS} for way in WAYS}
    content = evidence() | {"ways": {"repeats": repeats, "rows": rows}}
    replace_file(EVIDENCE, (json.dumps(content, indent=1) + "\n").encode())


def _keep(kind: str, name: str, measured: Mapping[str, Any], repeats: tuple[int, int]) -> None:
    content = {"kinds": {}} | evidence()
    content["kinds"].setdefault(kind, {})[name] = {"repeats": list(repeats), **measured}
    content["kinds"] = {kind: dict(sorted(content["kinds"][kind].items())) for kind in sorted(content["kinds"])}
    replace_file(EVIDENCE, (json.dumps(content, indent=1) + "\n").encode())


def with_tables(text: str) -> str:
    """The page with the tables as the evidence has them."""
    content = evidence()
    tables = "\n".join(
        [*_coverage(content["kinds"]), *_false(content["kinds"]), *_ways(content["ways"]), *_names(content["kinds"])]
    )
    return filled(text, PAGE.name, "make_calibration", calibration=tables)


def _rows(title: str, kinds: Mapping[str, Any], part: str, pick: Any, only: Any) -> list[str]:
    """A table: one row a kind and world, one column a number of repetitions."""
    lines = [
        f"| {title} | losses | {' | '.join(f'n = {count}' for count in COUNTS)} |",
        f"|---|---|{'---|' * len(COUNTS)}",
    ]
    for kind, worlds in kinds.items():
        for name, measured in worlds.items():
            rates = {label: row for label, row in measured[part].items() if only(label)}
            if rates:
                cells = [f"{100.0 * pick(row[str(count)] for row in rates.values()):.1f}" for count in COUNTS]
                lines.append(f"| {kind} | {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def _coverage(kinds: Mapping[str, Any]) -> list[str]:
    every = [rate for row in _each(kinds, "covers") for rate in row.values()]
    repeats = min(measured["repeats"][0] for worlds in kinds.values() for measured in worlds.values())
    return [
        "## How often 95 % intervals cover",
        "",
        f"Per cent of repeats, the mean over the intervals of a kind; the aim is at least {100 * COVERAGE:.0f}. Of {len(every)} intervals, each at one n, the mean is "
        f"{100 * sum(every) / len(every):.1f}, the lowest {100 * min(every):.1f}, and {sum(rate < COVERAGE for rate in every)} lie below the aim, with {repeats} repeats of each, of which two standard errors are {200 * (0.05 * 0.95 / repeats) ** 0.5:.1f}.",
        "",
        *_rows("intervals of", kinds, "covers", _mean, lambda label: True),
    ]


def _false(kinds: Mapping[str, Any]) -> list[str]:
    alone = [rate for row in _each(kinds, "differ", lambda label: label != FAMILY) for rate in row.values()]
    families = [rate for row in _each(kinds, "differ", lambda label: label == FAMILY) for rate in row.values()]
    repeats = max(measured["repeats"][1] for worlds in kinds.values() for measured in worlds.values())
    experiments = repeats // STUDIES
    return [
        "## How often identical schedules «differ»",
        "",
        f"Per cent of repeats in which a test of identical schedules has p ≤ 0.05, the mean over the tests of a kind; the aim is at most {100 * DIFFER:.0f}. Of {len(alone)} "
        f"tests, each at one n, the mean is {100 * sum(alone) / len(alone):.1f}, the highest {100 * max(alone):.1f}, and {sum(rate > DIFFER for rate in alone)} lie above the aim, with {repeats} repeats of each, "
        f"of which two standard errors are {200 * (0.05 * 0.95 / repeats) ** 0.5:.1f}.",
        "",
        *_rows("one test of", kinds, "differ", _mean, lambda label: label != FAMILY),
        f"Per cent of experiments of nine studies in which any verdict falls, after Holm's correction; over all of them {100 * sum(families) / len(families):.1f}. A cell is of {experiments} experiments, so that "
        f"two standard errors are {200 * (0.05 * 0.95 / experiments) ** 0.5:.1f}:",
        "",
        *_rows("all verdicts of", kinds, "differ", _mean, lambda label: label == FAMILY),
    ]


def _ways(ways: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Other ways to choose",
        "",
        f"Per cent of {ways['repeats']} repeats in which two identical schedules «differ» (losses at one rate a decade / regrets), Student's t over n report seeds, with much noise "
        "between neighbouring rates:",
        "",
        f"| who chooses the rate | {' | '.join(f'n = {count}' for count in COUNTS)} |",
        f"|---|{'---|' * len(COUNTS)}",
    ]
    for way, row in ways["rows"].items():
        cells = [" / ".join(f"{100 * row[str(count)][what]:.1f}" for what in ("losses", "regrets")) for count in COUNTS]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return [*lines, ""]


def _names(kinds: Mapping[str, Any]) -> list[str]:
    lines = ["## What is measured", ""]
    for kind, worlds in kinds.items():
        intervals = dict.fromkeys(label for measured in worlds.values() for label in measured["covers"])
        tests = dict.fromkeys(label for measured in worlds.values() for label in measured["differ"] if label != FAMILY)
        lines.append(f"- {kind}: {'; '.join(intervals)}." + (f" Tests: {'; '.join(tests)}." if tests else ""))
    return [*lines, ""]


def _each(kinds: Mapping[str, Any], part: str, only: Any = lambda label: True) -> list[Mapping[str, float]]:
    return [
        row
        for worlds in kinds.values()
        for measured in worlds.values()
        for label, row in measured[part].items()
        if only(label)
    ]


def _mean(values: Any) -> float:
    numbers = list(values)
    return float(sum(numbers) / len(numbers))


def main() -> None:
    """Simulate, if that is asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="store_true", help="simulate first")
    parser.add_argument("kinds", nargs="*", help="which kinds of experiments; all by default")
    chosen = parser.parse_args()
    if chosen.run:
        run(chosen.kinds or list(KINDS), REPEATS)
        compare_ways(REPEATS[0])
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Write the tables of docs/theory.md: ``python docs/make_theory.py``; the slow numbers are in docs/theory.json.

``python docs/make_theory.py --minimise`` minimises the worst bounds anew, ``--results FOLDER`` reads e17_grid_aware from the store of a run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blocks import filled

from adaptive_lr import AbstractSchedule, Constant, DampedCosine, GridAware, Linear, Polynomial
from adaptive_lr.analysis import paired
from adaptive_lr.analysis.bound import suffix_bound
from adaptive_lr.analysis.robustness import RATIOS
from adaptive_lr.experiment import Experiment, load_experiment
from adaptive_lr.experiment.grid_resolution import sweep_of
from adaptive_lr.files import replace_file
from adaptive_lr.meta.bound import best_cosine_power, last_iterate_bound, minimax_schedule
from adaptive_lr.schedules import WSD
from adaptive_lr.trials.store import Store

DOCS = Path(__file__).parent
PAGE, NUMBERS = DOCS / "theory.md", DOCS / "theory.json"
EXPERIMENT = DOCS.parent / "experiments" / "e17_grid_aware.py"
WRONG = (2.0, 3.0, 10.0, 100.0)
"""By how much a rate may be wrong either way: the square root of a grid's ratio."""
STEPS = 100
MADE_FOR = {"10^(1/2)": "grid aware 3", "10": "grid aware 10", "100": "grid aware 100"}


def with_tables(text: str) -> str:
    """The page with its tables as the package and docs/theory.json have them now."""
    numbers = json.loads(NUMBERS.read_text(encoding="utf-8"))
    tables = {"bounds": bounds(), "minimax": minimax(numbers["minimax"]), "training": training(numbers["training"])}
    return filled(text, PAGE.name, "make_theory", **tables)


def bounds() -> str:
    """Omega* and gamma* at 400 steps."""
    shown: dict[str, AbstractSchedule] = {
        "linear": Linear(),
        "1-sqrt": WSD(cooldown=1.0),
        "cosine": DampedCosine(),
        "(1 - u)^2": Polynomial(power=2.0),
        "WSD 20 %, 1-sqrt": WSD(cooldown=0.2),
        "cosine^2": DampedCosine(exponent=2.0),
        "constant": Constant(),
    }
    lines = []
    for label, schedule in shown.items():
        bound = last_iterate_bound(schedule)
        lines.append(f"| {label} | {bound.best:.4f} | {bound.best_rate:.4f} |")
    return "| schedule | bound at its best rate | best rate |\n|---|---|---|\n" + "\n".join(lines)


def minimise() -> list[dict[str, float]]:
    """The least worst bounds, and those of the usual schedules, for each of ``WRONG``."""
    rows = []
    for wrong in WRONG:
        ratio = wrong**2
        exponent, power = best_cosine_power(ratio)
        worst = {
            name: suffix_bound(schedule).worst(ratio)
            for name, schedule in {
                "linear": Linear(),
                "cosine": DampedCosine(),
                "grid_aware": GridAware(ratio=ratio),
            }.items()
        }
        at_steps = suffix_bound(GridAware(ratio=ratio), STEPS).worst(ratio)
        least = minimax_schedule(ratio, STEPS).bound
        rows.append(
            {"wrong": wrong, "exponent": exponent, "power": power, "least": least, "at_steps": at_steps} | worst
        )
    return rows


def minimax(rows: list[Mapping[str, float]]) -> str:
    """A row for each error of the rate."""
    head = (
        f"| the rate may be wrong by | ratio of the grid | linear | cosine | best cosine-power | `GridAware` | lower than the best of these by | minimised, {STEPS} steps | `GridAware`, {STEPS} steps |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
    )
    lines = []
    for row in rows:
        rival = min(row["linear"], row["cosine"], row["power"])
        lines.append(
            f"| {row['wrong']:g} | {row['wrong'] ** 2:g} | {row['linear']:.2f} | {row['cosine']:.2f} | {row['power']:.2f} (exponent {row['exponent']:.2f}) | {row['grid_aware']:.2f} | "
            f"{100 * (1 - row['grid_aware'] / rival):.0f} % | {row['least']:.3f} | {row['at_steps']:.3f} |"
        )
    return head + "\n".join(lines)


def train(results: Path) -> list[dict[str, Any]]:
    """`GridAware` made for each ratio against the rival with the lowest loss there, paired over repetitions, Holm's correction over all.

    Raises:
        SystemExit: the experiment is another.
    """
    experiment = load_experiment(str(EXPERIMENT))
    if not isinstance(experiment, Experiment):
        raise SystemExit(f"{EXPERIMENT.name} is no experiment on grids")
    rivals = [label for label, group in experiment.groups.items() if group != "grid aware"]
    rows, family = [], []
    with Store(results / "store.sqlite") as store:
        for study in experiment.studies:
            sweeps = {label: sweep_of(study, schedule, store) for label, schedule in experiment.by_label.items()}
            for name, label in MADE_FOR.items():
                losses = {key: sweep.coarse(RATIOS[name]) for key, sweep in sweeps.items()}
                least = min(rivals, key=lambda key: float(paired.logarithms(losses[key]).mean()))
                test = paired.gap(losses[label], losses[least], ratio=True)
                plain = paired.gap(losses[label], losses["cosine"], ratio=True)
                test["at_boundary"] = sweeps[label].cut_off(RATIOS[name]) or sweeps[least].cut_off(RATIOS[name])
                test["words"] = ("lower", "higher", "no clear difference")
                family.append(test)
                rows.append(
                    {"study": study.name, "grid": name, "label": label, "rival": least, "n": len(losses[label])}
                )
                rows[-1] |= {end: 1.0 + float(test[end]) for end in ("value", "low", "high")}
                rows[-1]["cosine"] = 1.0 + float(plain["value"])
    paired.judge(family)
    return [row | {"verdict": test["verdict"], "p": float(test["p"])} for row, test in zip(rows, family, strict=True)]


def training(rows: list[Mapping[str, Any]]) -> str:
    """A row for each task and grid."""
    head = (
        "| task | ratio of the grid | lowest of the others | loss of `GridAware` over it | over the cosine's | |\n"
        "|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(
        f"| `{row['study']}` | {row['grid']} | {row['rival']} | {row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f}) | {row['cosine']:.2f} | {row['verdict']} |"
        for row in rows
    )


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description="Write the tables of docs/theory.md")
    parser.add_argument("--minimise", action="store_true", help="minimise the worst bounds anew")
    parser.add_argument("--results", type=Path, help="the folder of a store with the trials of e17_grid_aware")
    options = parser.parse_args()
    numbers = json.loads(NUMBERS.read_text(encoding="utf-8")) if NUMBERS.exists() else {}
    if options.minimise:
        numbers["minimax"] = minimise()
    if options.results:
        numbers["training"] = train(options.results)
    if options.minimise or options.results:
        replace_file(NUMBERS, (json.dumps(numbers, indent=1) + "\n").encode())
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Sentences made of the numbers of searches over shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from adaptive_lr.analysis.baselines import ANY_GRID, TUNED, WORDS
from adaptive_lr.analysis.paired import UNCLEAR, UNJUDGED
from adaptive_lr.analysis.searches import EXHAUSTIVE
from adaptive_lr.reporting.prose import grounds, procedure, study_title
from adaptive_lr.reporting.rate_prose import times

SAMPLERS = {
    "tpe": "TPE",
    "random": "random search",
    "qmc": "QMC (Sobol)",
    "gp": "GP",
    "cmaes": "CMA-ES",
    "grid": "grid",
}
"""What samplers are called."""

OBJECTIVES = {TUNED: "the loss at the tuned rate", ANY_GRID: "the expected loss on a grid of a random ratio and offset"}
"""What a search looks for, in a sentence."""

VERDICTS = (*WORDS, UNCLEAR, UNJUDGED)

NAMES = {"fraction": "warm-up", "then.k": "k", "then.exponent": "exponent", "then.floor": "floor"}


def sampler(name: str) -> str:
    """What a sampler is called."""
    return SAMPLERS.get(name, name)


def shape(numbers: Mapping[str, float]) -> str:
    """The numbers of a shape with their names.

    >>> shape({"then.k": 1.6, "fraction": 0.05})
    'k 1.6, warm-up 0.05'
    """
    return ", ".join(f"{NAMES.get(name, name)} {value:g}" for name, value in numbers.items())


def row_of(rows: Sequence[Mapping[str, Any]], measure: str) -> Mapping[str, Any]:
    """The comparison by a measure."""
    return next(row for row in rows if row["measure"] == measure)


def counted(verdicts: Iterable[str]) -> str:
    """Verdicts as counts: ``better in 3, not better in 2``."""
    listed = list(verdicts)
    return ", ".join(f"{verdict} in {listed.count(verdict)}" for verdict in VERDICTS if verdict in listed)


def geometric(rows: Iterable[Mapping[str, Any]]) -> str:
    """The geometric mean of the ratios of losses."""
    return f"{float(np.exp(np.mean([np.log(row['ratio']['value']) for row in rows]))):.2f}"


def headline(experiment: Mapping[str, Any]) -> list[str]:
    """The answer over all tasks: against the best baseline, between samplers, what is left of the gain, and on other tasks."""
    return [
        *(_against_baselines(experiment, objective) for objective in OBJECTIVES),
        _across_resolutions(experiment),
        *_between_samplers(experiment),
        _exhaustive(experiment),
        _elsewhere(experiment),
        procedure(experiment["family"]),
    ]


def _searches(experiment: Mapping[str, Any], objective: str) -> list[Mapping[str, Any]]:
    return [study["objectives"][objective] for study in experiment["studies"].values()]


def _against_baselines(experiment: Mapping[str, Any], objective: str) -> str:
    searches = _searches(experiment, objective)
    parts = []
    for name in experiment["samplers"]:
        rows = [row_of(study["samplers"][name]["rows"], objective) for study in searches]
        parts.append(f"{sampler(name)} {counted(row['verdict'] for row in rows)} ({geometric(rows)} times its loss)")
    best = sorted({study["best_baseline"][objective] for study in experiment["studies"].values()})
    return (
        f"Searched for {OBJECTIVES[objective]}, what {experiment['budget']} trials find against the best baseline of each task "
        f"({', '.join(best)}), with rates chosen anew on seeds that no search saw, in {len(searches)} tasks: {'; '.join(parts)}."
    )


def _across_resolutions(experiment: Mapping[str, Any]) -> str:
    parts = []
    for measure in ("10^(1/3)", "10^(1/2)", "10", "100"):
        rows = [
            row_of(search["samplers"][name]["rows"], measure)
            for search in _searches(experiment, TUNED)
            for name in experiment["samplers"]
        ]
        parts.append(f"{measure}: {counted(row['verdict'] for row in rows)} ({geometric(rows)})")
    count = len(experiment["studies"]) * len(experiment["samplers"])
    return (
        f"Taken to coarser grids, the winners of the search at the tuned rate are, in {count} pairs of task and sampler, by the ratio of the grid: "
        f"{'; '.join(parts)}."
    )


def _between_samplers(experiment: Mapping[str, Any]) -> list[str]:
    sentences = []
    for name in experiment["samplers"]:
        rows = [
            row
            for objective in OBJECTIVES
            for search in _searches(experiment, objective)
            for row in search["comparisons"]
            if row["sampler"] == name
        ]
        if rows:
            counts = sorted({int(row["n"]) for row in rows})
            repeats = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            sentences.append(
                f"At equal trials {sampler(name)} ends at {geometric(rows)} times the loss of random search (geometric mean over {len(rows)} pairs of "
                f"task and objective, {repeats} repeats each): {counted(row['verdict'] for row in rows)}."
            )
    return sentences


def _exhaustive(experiment: Mapping[str, Any]) -> str:
    searches = _searches(experiment, TUNED)
    rows = [row_of(study[EXHAUSTIVE]["rows"], TUNED) for study in searches]
    seen = float(np.exp(np.mean([np.log(study[EXHAUSTIVE]["seen"]) for study in searches])))
    return (
        f"The best of all {experiment['lattice']} shapes at the tuned rate is at {seen:.2f} times the loss of the best baseline on the seeds that chose it, and at "
        f"{geometric(rows)} times on others: {counted(row['verdict'] for row in rows)}."
    )


def _elsewhere(experiment: Mapping[str, Any]) -> str:
    studies = experiment["studies"]
    cells = [
        (target, source, cell)
        for target, row in experiment["matrix"].items()
        for source, cell in row.items()
        if target != source
    ]
    if not cells:
        return "There is one task only, so nothing is taken elsewhere."
    target, source, worst = max(cells, key=lambda cell: float(cell[2]["ratio"]["value"]))
    return (
        f"Taken to another task, the best of all shapes is, against the best baseline there, {counted(cell['verdict'] for _, _, cell in cells)} of {len(cells)} cases; worst from "
        f"{study_title(studies[source])} to {study_title(studies[target])}, {times(worst['ratio'])} times its loss ({grounds(worst)})."
    )


def study_answer(experiment: Mapping[str, Any], study: Mapping[str, Any]) -> str:
    """The answer for one task, of the best shape of all and of each sampler."""
    search = study["objectives"][TUNED]
    rows = {name: row_of(search["samplers"][name]["rows"], TUNED) for name in experiment["samplers"]}
    parts = [
        f"{sampler(name)} {row['verdict']} ({row['baseline']}, {times(row['ratio'])} times its loss, {grounds(row)})"
        for name, row in rows.items()
    ]
    best = search[EXHAUSTIVE]
    row = row_of(best["rows"], TUNED)
    return (
        f"Against the best baseline, each at its own best rate: {'; '.join(parts)}. Best of all shapes: "
        f"{shape(experiment['shapes'][str(best['shape'])])}, {row['verdict']} ({row['baseline']}, {times(row['ratio'])})."
    )

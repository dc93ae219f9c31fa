"""Sentences made of the numbers of a search for exponents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adaptive_lr.reporting.prose import grounds, procedure, study_title
from adaptive_lr.reporting.rate_prose import times


def gain(ratio: float) -> str:
    """A ratio below 1 as a gain in per cent."""
    return f"{100.0 * (1.0 - ratio):.1f}\u00a0%".replace("-", "−")


def study_answer(experiment: Mapping[str, Any], study: Mapping[str, Any]) -> str:
    """The answer for one task."""
    reference = experiment["reference"]
    if study["winner"] == reference:
        return f"The search found nothing better than the {reference} itself."
    return (
        f"The search chose {study['winner']}, by {gain(study['selection_ratio'])} on the seeds that it saw. Searched anew in each repetition, the loss on "
        f"other seeds is {times(study['searched']['ratio'])} times that of the {reference}: {study['verdict']} ({grounds(study['searched'])})."
    )


def headline(experiment: Mapping[str, Any]) -> list[str]:
    """The answer over all tasks."""
    studies, reference = experiment["studies"], experiment["reference"]
    counts: dict[str, list[str]] = {}
    for study in studies.values():
        counts.setdefault(study["verdict"], []).append(study_title(study))
    inside = float(np.exp(np.mean([np.log(study["selection_ratio"]) for study in studies.values()])))
    outside = float(np.exp(np.mean([np.log(study["searched"]["ratio"]["value"]) for study in studies.values()])))
    parts = [f"{verdict} in {len(names)} ({'; '.join(names)})" for verdict, names in counts.items()]
    sentences = [
        f"Exponents searched on a task, each shape at its own best rate, against the {reference} on seeds that the search did not see: {', '.join(parts)}.",
        f"The gain that the search saw is {gain(inside)} (geometric mean over the tasks), and {gain(outside)} is left of it on other seeds.",
        procedure(experiment["family"]),
    ]
    moved = [
        (target, source, cell)
        for target, row in experiment["matrix"].items()
        for source, cell in row.items()
        if target != source and experiment["winners"][source] != reference
    ]
    if moved:
        better, worse = (sum(cell["verdict"] == verdict for _, _, cell in moved) for verdict in ("better", "worse"))
        target, source, worst = max(moved, key=lambda move: float(move[2]["ratio"]["value"]))
        sentences.append(
            f"Taken to another task, what was found is clearly better than the {reference} in {better} of {len(moved)} cases and clearly worse in {worse}; worst from "
            f"{study_title(studies[source])} to {study_title(studies[target])}, {times(worst['ratio'])} times its loss ({grounds(worst)})."
        )
    return sentences

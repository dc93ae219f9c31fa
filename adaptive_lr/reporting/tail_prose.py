"""Sentences made of the numbers of an experiment on the ends of schedules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from adaptive_lr.analysis.exponents import ORDERED
from adaptive_lr.reporting.prose import grounds, procedure
from adaptive_lr.reporting.rate_prose import times


def title(study: Mapping[str, Any]) -> str:
    """The task, the horizon, and whether it is kept in a ball."""
    label = study["label"]
    ball = ", in a ball" if study["optimizer"] == "projected_sgd" else ""
    return f"{label[0].upper()}{label[1:]}{ball} ({study['steps']} steps)"


def study_answer(study: Mapping[str, Any]) -> str:
    """The answer for one task."""
    agreement = study["agreement"]
    if agreement is None:
        return (
            "No slopes can be fitted: a few times above the best rate nothing is learnt any more, whatever the schedule's end. The theorem does "
            "not apply."
        )
    order = (
        "are ordered as theory says"
        if agreement["order"]["verdict"] == "ordered"
        else "follow the order of theory loosely"
    )
    return (
        f"The slopes of the {agreement['schedules']} schedules that can be fitted {order} (correlation with its exponents {times(agreement['correlation'])}; above {ORDERED:g} by {grounds(agreement['order'])}), but they are "
        f"{times(agreement['ratio'])} times as steep."
    )


def headline(experiment: Mapping[str, Any]) -> list[str]:
    """The answer over all tasks."""
    studies = list(experiment["studies"].values())
    fitted = [study for study in studies if study["agreement"] is not None]
    if not fitted:
        return ["No slope could be fitted in any task."]
    ordered = [study for study in fitted if study["agreement"]["order"]["verdict"] == "ordered"]
    by_ratio = sorted(fitted, key=lambda study: float(study["agreement"]["ratio"]["value"]))
    ends = " to ".join(
        f"{study['agreement']['ratio']['value']:.1f} ({title(study)})" for study in (by_ratio[0], by_ratio[-1])
    )
    sentences = [
        f"A gentler end forgives a higher rate, in the order that theory gives, in {len(ordered)} of {len(studies)} tasks "
        f"({'; '.join(title(study) for study in ordered) or 'none'}). The losses grow more steeply than its exponents say, by a factor from {ends}.",
    ]
    if unordered := [study for study in studies if study not in ordered]:
        named = "; ".join(f"{title(study)} ({study['conditions']})" for study in unordered)
        sentences.append(f"Elsewhere the order is loose, or no slope can be fitted: {named}.")
    least = Counter(_least(study) for study in studies)
    named = ", ".join(f"{label} ({count})" for label, count in least.most_common())
    sentences.append(
        f"Tolerance is not all: at its own best rate the lowest loss has, counted over the tasks, {named}."
    )
    return [*sentences, procedure(experiment["family"])]


def _least(study: Mapping[str, Any]) -> str:
    rows: Mapping[str, Any] = study["schedules"]
    return min(rows, key=lambda label: float(rows[label]["best"]["value"]))

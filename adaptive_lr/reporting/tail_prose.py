"""Sentences made of the numbers of an experiment on the ends of schedules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from adaptive_lr.reporting.rate_prose import times

CLEAR = 0.8
"""A rank correlation whose interval lies above this counts as the order that theory says."""


def title(study: Mapping[str, Any]) -> str:
    """The task, the horizon, and whether it is kept in a ball."""
    label = study["label"]
    ball = ", in a ball" if study["optimizer"] == "projected_sgd" else ""
    return f"{label[0].upper()}{label[1:]}{ball} ({study['steps']} steps)"


def study_answer(study: Mapping[str, Any]) -> str:
    """The answer for one task."""
    found = study["agreement"]
    if found is None:
        return (
            "No slopes can be fitted: a few times above the best rate nothing is learnt any more, whatever the schedule's end. The theorem does "
            "not apply."
        )
    order = (
        "are ordered as theory says"
        if found["rank_correlation"]["low"] >= CLEAR
        else "follow the order of theory loosely"
    )
    return (
        f"The slopes of the {found['schedules']} schedules that can be fitted {order} (rank correlation {times(found['rank_correlation'])}), but they are "
        f"{times(found['ratio'])} times as steep."
    )


def headline(experiment: Mapping[str, Any]) -> list[str]:
    """The answer over all tasks."""
    studies = list(experiment["studies"].values())
    fitted = [one for one in studies if one["agreement"] is not None]
    if not fitted:
        return ["No slope could be fitted in any task."]
    ordered = [one for one in fitted if one["agreement"]["rank_correlation"]["low"] >= CLEAR]
    by_ratio = sorted(fitted, key=lambda one: float(one["agreement"]["ratio"]["value"]))
    ends = " to ".join(
        f"{one['agreement']['ratio']['value']:.1f} ({title(one)})" for one in (by_ratio[0], by_ratio[-1])
    )
    sentences = [
        f"A gentler end forgives a higher rate, in the order that theory gives, in {len(ordered)} of {len(studies)} tasks "
        f"({'; '.join(title(one) for one in ordered) or 'none'}). The losses grow more steeply than its exponents say, by a factor from {ends}.",
    ]
    if others := [one for one in studies if one not in ordered]:
        named = "; ".join(f"{title(one)} ({one['conditions']})" for one in others)
        sentences.append(f"Elsewhere the order is loose, or no slope can be fitted: {named}.")
    least = Counter(_least(one) for one in studies)
    named = ", ".join(f"{label} ({count})" for label, count in least.most_common())
    sentences.append(
        f"Tolerance is not all: at its own best rate the lowest loss has, counted over the tasks, {named}."
    )
    return sentences


def _least(study: Mapping[str, Any]) -> str:
    rows: Mapping[str, Any] = study["schedules"]
    return min(rows, key=lambda label: float(rows[label]["best"]["value"]))

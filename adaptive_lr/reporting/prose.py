"""Sentences made of the numbers of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {"fixed": "a fixed rate", "stepwise": "the best stepwise schedule", "damped cosine": "the damped cosine"}
"""What usual groups of schedules are called in a sentence; any other one by its own name."""


def percent(estimate: Mapping[str, float]) -> str:
    """An estimate with its interval in per cent: ``32 % [28, 37]``."""
    value, low, high = (100.0 * estimate[key] for key in ("value", "low", "high"))
    digits = 0 if abs(value) >= 9.95 else 1
    return f"{_tidy(value, digits)}\u00a0% [{_tidy(low, digits)},\u00a0{_tidy(high, digits)}]"


def whole_percent(share: float) -> str:
    """A share in per cent, without decimals and without the sign."""
    return _tidy(100.0 * share, 0)


def regret(study: Mapping[str, Any], group: str) -> str:
    """The regret of a group's chosen schedule at one learning rate a decade; a dash if the group is empty."""
    label = study["answer"]["chosen"].get(group)
    return "–" if label is None else percent(study["schedules"][label]["resolution"]["10"]["regret_mean"])


def verdict(study: Mapping[str, Any], against: str) -> str:
    """Whether the judged group depends less on the rate than another one does, in a few words."""
    for comparison in _judgements(study):
        if comparison["against"] == against:
            depends = str(comparison["depends"])
            return {"less": "yes", "more": "no, more"}.get(depends, depends)
    return "–"


def named(group: str) -> str:
    """A group of schedules in a sentence."""
    return NAMES.get(group, f"«{group}»")


def _judgements(study: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    answer = study["answer"]
    return [comparison for comparison in answer["comparisons"] if comparison["damped"] == answer["judged"]]


def number(value: float | None) -> str:
    """A number to three significant digits, a dash for None."""
    return "–" if value is None else f"{value:.3g}"


def study_title(study: Mapping[str, Any]) -> str:
    """The task and the optimizer."""
    label = study["label"]
    return f"{label[0].upper()}{label[1:]} ({'SGD' if study['optimizer'] == 'sgd' else 'AdamW'})"


def study_answer(study: Mapping[str, Any]) -> str:
    """The answer for one task: what a grid of one learning rate a decade costs, and whether annealing costs less."""
    answer = study["answer"]
    judged = answer["judged"]
    parts = [f"{named(group)} {regret(study, group)}" for group in answer["against"]]
    start = (
        f"With one learning rate a decade, {named(judged)} ({answer['chosen'][judged]}) ends {regret(study, judged)} worse than "
        f"with the full grid{', ' if parts else ''}{' and '.join(parts)} (in units of the tuned {study['reference']}'s {_unit(study)})."
    )
    return f"{start} {' '.join(_verdict(comparison) for comparison in _judgements(study))}".rstrip()


def _unit(study: Mapping[str, Any]) -> str:
    return "excess loss" if study["optimum_known"] else str(study["metric"]).replace("_", " ")


def _verdict(comparison: Mapping[str, Any]) -> str:
    name, verdict = named(comparison["against"]), comparison["depends"]
    difference = f"difference {percent(comparison['regret_difference'])}"
    if verdict == "cannot be judged":
        return f"Against {name} this cannot be judged: a best rate lies at the edge of the grid."
    if verdict == "no clear difference":
        return f"Against {name} there is no clear difference ({difference})."
    return f"The result depends {verdict} on the rate than with {name} ({difference})."


def headline(experiment: Mapping[str, Any]) -> list[str]:
    """The answer over all tasks: for each comparison a sentence that names the tasks."""
    sentences = []
    studies = list(experiment["studies"].values())
    judged = studies[0]["answer"]["judged"]
    lead = "Annealed with a damped cosine" if judged == "damped cosine" else f"With {named(judged)}"
    for against in studies[0]["answer"]["against"]:
        name = named(against)
        tasks: dict[str, list[str]] = {}
        for study in studies:
            tasks.setdefault(verdict(study, against), []).append(study_title(study))
        if set(tasks) == {"–"}:
            continue
        counts = experiment["verdicts"][f"{judged} against {against}"]
        parts = [
            f"{text} {len(tasks[key])} ({'; '.join(tasks[key])})"
            for key, text in (
                ("no, more", "more in"),
                ("no clear difference", "without a clear difference in"),
                ("cannot be judged", "not to be judged in"),
            )
            if key in tasks
        ]
        sentences.append(
            f"{lead}, the result depends less on the learning rate than with {name} in "
            f"{len(tasks.get('yes', []))} of {len(studies)} tasks ({'; '.join(tasks.get('yes', ['none']))})"
            f"{', ' if parts else ''}{', '.join(parts)}. With one learning rate a decade it ends with a lower loss in "
            f"{counts.get('ends better', 0)} tasks and with a higher one in {counts.get('ends worse', 0)}."
        )
    return sentences


def _tidy(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}".replace(",", "\u202f")
    return text.replace("-", "−") if float(text.replace("\u202f", "")) != 0.0 else text.lstrip("-")

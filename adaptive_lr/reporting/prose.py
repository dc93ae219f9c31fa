"""Sentences made of the numbers of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adaptive_lr.analysis.paired import ALPHA, RATIO, UNCLEAR, UNJUDGED
from adaptive_lr.analysis.paired import grounds as grounds

NAMES = {"fixed": "a fixed rate", "stepwise": "the best stepwise schedule", "damped cosine": "the damped cosine"}
"""What usual groups of schedules are called in a sentence; any other one by its own name."""


def percent(estimate: Mapping[str, float]) -> str:
    """An estimate with its interval in per cent: ``32 % [28, 37]``."""
    value, low, high = (100.0 * estimate[key] for key in ("value", "low", "high"))
    digits = 0 if abs(value) >= 9.95 else 1
    return f"{_tidy(value, digits)}\u00a0% [{_tidy(low, digits)},\u00a0{_tidy(high, digits)}]"


def regret_percent(estimate: Mapping[str, Any]) -> str:
    r"""A regret with its interval in per cent, as far as there can be one: none is below zero.

    >>> regret_percent({"value": 0.25, "low": -0.02, "high": 0.52, "selection_noise": False})
    '25\u202f% [0,\u202f52]'
    >>> regret_percent({"value": -0.01, "low": -0.05, "high": 0.03, "selection_noise": True})
    '‡ up to 3.0\u202f%'
    >>> regret_percent({"value": -0.05, "low": -0.08, "high": -0.02, "selection_noise": True})
    '‡ none'
    """
    low, high = (max(100.0 * estimate[key], 0.0) for key in ("low", "high"))
    if estimate["selection_noise"]:
        return f"‡ up to {_tidy(high, 0 if high >= 9.95 else 1)}\u202f%" if high > 0.0 else "‡ none"
    value = 100.0 * estimate["value"]
    digits = 0 if value >= 9.95 else 1
    return f"{_tidy(value, digits)}\u202f% [{_tidy(low, digits)},\u202f{_tidy(high, digits)}]"


def whole_percent(share: float) -> str:
    """A share in per cent, without decimals and without the sign."""
    return _tidy(100.0 * share, 0)


def with_interval(estimate: Mapping[str, float]) -> str:
    """A number with its interval: ``0.0312 [0.029, 0.0335]``."""
    return f"{number(estimate['value'])} [{number(estimate['low'])},\u00a0{number(estimate['high'])}]"


def gap(test: Mapping[str, Any]) -> str:
    r"""A ratio or a difference with its interval, as the test compared.

    >>> gap({"procedure": "t on log ratios, Holm", "value": 0.5, "low": 0.25, "high": 0.8})
    '×1.50\xa0[1.25,\xa01.80]'
    >>> gap({"procedure": "t on differences, Holm", "value": 0.5, "low": -0.25, "high": 1.25})
    '+0.5 [-0.25,\xa0+1.25]'
    """
    value, low, high = (float(test[key]) for key in ("value", "low", "high"))
    if test["procedure"] == RATIO:
        value, low, high = 1.0 + value, 1.0 + low, 1.0 + high
        shown = [f"{end:.2f}" if end < 100.0 else f"{end:.2g}" for end in (value, low, high)]
        return f"×{shown[0]}\u00a0[{shown[1]},\u00a0{shown[2]}]"
    return f"{value:+.3g} [{low:+.3g},\u00a0{high:+.3g}]"


def procedure(family: Mapping[str, Any]) -> str:
    """What all verdicts of an experiment have in common, in a sentence.

    >>> procedure({"verdicts": 72, "repetitions": [4, 6]})
    "Verdicts: Student's t over paired repetitions (n = 4 to 6) that each choose anew, Holm's correction over all 72 verdicts of the experiment, clear at p ≤ 0.05."
    """
    ends = family["repetitions"]
    if not ends:
        return "There is nothing to judge."
    count = f"{ends[0]}" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
    return (
        f"Verdicts: Student's t over paired repetitions (n = {count}) that each choose anew, Holm's correction over all "
        f"{family['verdicts']} verdicts of the experiment, clear at p ≤ {ALPHA:g}."
    )


def coarse_loss(study: Mapping[str, Any], group: str) -> str:
    """What a group's chosen schedule ends with at one learning rate a decade; a dash if the group is empty."""
    label = study["answer"]["chosen"].get(group)
    return "–" if label is None else with_interval(study["schedules"][label]["resolution"]["10"]["loss"])


def regret(study: Mapping[str, Any], group: str, unit: str = "own") -> str:
    """The regret of a group's chosen schedule at one learning rate a decade, in its ``own`` unit or in that of the ``reference``.

    A dash if the group is empty.
    """
    label = study["answer"]["chosen"].get(group)
    key = "regret_own" if unit == "own" else "regret_mean"
    return "–" if label is None else regret_percent(study["schedules"][label]["resolution"]["10"][key])


def verdict(study: Mapping[str, Any], against: str, what: str = "depends") -> str:
    """Whether the judged group depends less on the rate than another one does, or ends better, in a few words."""
    for comparison in _judgements(study):
        if comparison["against"] == against:
            word = str(comparison[what])
            return {"less": "yes", "more": "no, more", "better": "lower", "worse": "higher"}.get(word, word)
    return "–"


def n_and_p(study: Mapping[str, Any], against: str, what: str) -> str:
    """N and p of such a verdict; nothing if there is none."""
    for comparison in _judgements(study):
        if comparison["against"] == against:
            test = comparison["tests"][what]
            return f"n = {test['n']}, p = {test['adjusted']:.2g}"
    return ""


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
    """The answer for one task: what one learning rate a decade ends with, and how far that is from each schedule's own best."""
    answer = study["answer"]
    judged = answer["judged"]
    parts = [f"{named(group)} with {coarse_loss(study, group)}" for group in answer["against"]]
    regrets = [
        f"{named(group)} {regret(study, group)} of its own tuned loss, {regret(study, group, 'reference')} of the {study['reference']}'s"
        for group in (judged, *answer["against"])
    ]
    start = (
        f"With one learning rate a decade, {named(judged)} ({answer['chosen'][judged]}) ends with {_unit(study)} "
        f"{coarse_loss(study, judged)}{', ' if parts else ''}{' and '.join(parts)}. Regret against the full grid: {'; '.join(regrets)}."
    )
    return f"{start} {' '.join(_verdict(comparison) for comparison in _judgements(study))}".rstrip()


def _unit(study: Mapping[str, Any]) -> str:
    return "excess loss" if study["optimum_known"] else str(study["metric"]).replace("_", " ")


def _verdict(comparison: Mapping[str, Any]) -> str:
    name, tests = named(comparison["against"]), comparison["tests"]
    ends = {"better": "ends higher than this, clearly", "worse": "ends lower than this, clearly"}.get(
        comparison["ends"], "ends with no clear difference"
    )
    sentence = f"{name[:1].upper()}{name[1:]} {ends}: {gap(tests['ends'])} ({grounds(tests['ends'])})."
    if comparison["depends"] == UNJUDGED:
        return f"{sentence} Which depends less on the rate cannot be judged: a best rate lies near the edge of the grid, or there is one repetition."
    if comparison["depends"] == UNCLEAR:
        return f"{sentence} Which depends less on the rate is not clear: {gap(tests['depends'])} ({grounds(tests['depends'])})."
    return f"{sentence} The result depends {comparison['depends']} on the rate than with it: {gap(tests['depends'])} ({grounds(tests['depends'])})."


def headline(experiment: Mapping[str, Any]) -> list[str]:
    """The answer over all tasks: for each comparison two sentences that name the tasks; the procedure."""
    sentences = []
    studies = list(experiment["studies"].values())
    judged = studies[0]["answer"]["judged"]
    lead = "annealed with a damped cosine" if judged == "damped cosine" else f"with {named(judged)}"
    for against in studies[0]["answer"]["against"]:
        name = named(against)
        tasks = {what: _tasks(studies, against, what) for what in ("ends", "depends")}
        if set(tasks["ends"]) == {"–"}:
            continue
        sentences += [
            f"At one learning rate a decade, training {lead} ends with a lower loss than with {name} in "
            f"{_counted(tasks['ends'], 'lower', len(studies))}{_others(tasks['ends'], {'higher': 'higher in'})}.",
            f"{lead[:1].upper()}{lead[1:]}, the result depends less on the learning rate than with {name}, each in its own unit, in "
            f"{_counted(tasks['depends'], 'yes', len(studies))}{_others(tasks['depends'], {'no, more': 'more in'})}.",
        ]
    return [*sentences, procedure(experiment["family"])]


def _tasks(studies: Sequence[Mapping[str, Any]], against: str, what: str) -> dict[str, list[str]]:
    """The tasks by verdict."""
    tasks: dict[str, list[str]] = {}
    for study in studies:
        tasks.setdefault(verdict(study, against, what), []).append(study_title(study))
    return tasks


def _counted(tasks: Mapping[str, list[str]], key: str, total: int) -> str:
    return f"{len(tasks.get(key, []))} of {total} tasks ({'; '.join(tasks.get(key, ['none']))})"


def _others(tasks: Mapping[str, list[str]], words: Mapping[str, str]) -> str:
    every = {**words, UNCLEAR: "without a clear difference in", UNJUDGED: "not to be judged in"}
    return "".join(
        f", {text} {len(tasks[key])} ({'; '.join(tasks[key])})" for key, text in every.items() if key in tasks
    )


def _tidy(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}".replace(",", "\u202f")
    return text.replace("-", "−") if float(text.replace("\u202f", "")) != 0.0 else text.lstrip("-")

"""Which schedule to take when only a coarse grid of learning rates can be afforded, which controller, and how much is known about that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import stdtrit

from adaptive_lr.analysis.bound import SuffixBound, suffix_bound
from adaptive_lr.analysis.controller_advice import which_controller
from adaptive_lr.analysis.robustness import RATIOS
from adaptive_lr.analysis.stats import LEVEL, Array
from adaptive_lr.errors import InputError
from adaptive_lr.schedules import WSD, AbstractSchedule, Constant, DampedCosine, Linear, Polynomial, Step

KINDS = ("convex", "network", "language", "any")
"""Kinds of tasks."""

DECADES = 4.0
"""How uncertain the best rate is taken to be, unless somebody says."""

POWERS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)

MOST_TRIALS = 10**6
LEAST_RATIO = 1.01

NEAR = 1.02
"""Ratios this near to each other are one."""


@dataclass(frozen=True)
class Question:
    """What can be afforded.

    Attributes:
        ratio: between neighbouring rates of the grid.
        kind: one of ``KINDS``.
    """

    ratio: float
    kind: str = "any"

    @classmethod
    def afforded(cls, *, ratio: float | None, budget: int | None, decades: float, kind: str) -> tuple[Question, str]:
        """From a ratio, or from a number of trials over an uncertainty; with a sentence that says how one follows from the other.

        Raises:
            InputError: neither is given, or a value is not allowed.
        """
        if kind not in KINDS:
            raise InputError(f"a task is one of {', '.join(KINDS)}, got {kind!r}")
        if ratio is None and budget is None:
            raise InputError("say what can be afforded: a grid ratio, or a budget of trials")
        if ratio is not None and not LEAST_RATIO <= ratio <= 1e6:
            least = f" (at least {LEAST_RATIO:g})" if 1.0 < ratio < LEAST_RATIO else ""
            raise InputError(f"a grid ratio must be above 1{least} and at most 1e6, got {ratio!r}")
        if budget is not None and budget < 1:
            raise InputError(f"a budget must be at least 1 trial, got {budget}")
        if budget is not None and budget > MOST_TRIALS:
            raise InputError(f"a budget must be at most {MOST_TRIALS} trials, got one of {len(str(budget))} digits")
        if not (math.isfinite(decades) and 0.0 < decades <= 20.0):
            raise InputError(f"decades must be above 0 and at most 20, got {decades!r}")
        if ratio is None:
            assert budget is not None
            left = 10.0 ** (decades / budget)
            if not LEAST_RATIO <= left <= 1e6:
                raise InputError(
                    f"{budget} trials over {decades:g} decades leave a ratio of {left:.3g}: that is no grid"
                    + ("" if left > 1e6 else "; any schedule will do")
                )
            words = f"{budget} trials over {decades:g} decades of uncertainty: neighbouring rates differ by a factor {left:.3g}."
            return cls(left, kind), words
        words = f"Neighbouring rates differ by a factor {ratio:g}."
        if budget is not None:
            covered = budget * math.log10(ratio)
            words += f" {budget} trials cover {covered:.3g} decades; the best rate should be known that well before."
        return cls(ratio, kind), words


def advise(question: Question, evidence: Mapping[str, Any], runs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Everything that can be said, as plain data: ``measured``, ``recorded``, ``predicted``, ``controllers`` and ``unknown``.

    Args:
        question: what can be afforded.
        evidence: as `adaptive_lr.analysis.evidence` gives it.
        runs: what `adaptive_lr.analysis.recorded_summary.summarise` gives of somebody's own runs, at the ratio asked for.
    """
    measured = _measured(question, evidence)
    recorded = _recorded(question, evidence, runs)
    predicted = _predicted(question.ratio)
    advice = {
        "ratio": question.ratio,
        "kind": question.kind,
        "sources": dict(evidence["sources"]),
        "covered": list(RATIOS.values()) if evidence["tasks"] else [],
        "measured": measured,
        "recorded": recorded,
        "predicted": predicted,
        "controllers": which_controller(evidence),
        "notes": [] if runs is None else list(runs["notes"]),
    }
    return advice | {"unknown": _unknown(question, advice)}


def _measured(question: Question, evidence: Mapping[str, Any]) -> dict[str, Any] | None:
    """Schedules by their cost over the tasks of a kind, at the ratio of the experiment that is nearest above the one asked for."""
    tasks = {name: task for name, task in evidence["tasks"].items() if question.kind in (task["kind"], "any")}
    used = [label for label, ratio in RATIOS.items() if question.ratio <= ratio * NEAR]
    if not tasks or not used or question.ratio * NEAR < min(RATIOS.values()):
        return None
    label = min(used, key=RATIOS.__getitem__)
    schedules = [name for name in evidence["schedules"] if all(name in task["schedules"] for task in tasks.values())]
    if not schedules:
        return None
    costs = {
        name: np.array([1.0 + task["schedules"][name][label]["cost"][0] for task in tasks.values()])
        for name in schedules
    }
    logs = {name: np.log(np.maximum(values, 1e-12)) for name, values in costs.items()}
    first = min(logs, key=lambda name: float(logs[name].mean()))
    winners = [min(schedules, key=lambda name: float(costs[name][index])) for index in range(len(tasks))]
    rows = {
        name: {
            "spec": evidence["schedules"][name]["spec"],
            **_mean(logs[name]),
            "worst": float(costs[name].max()),
            "worst_task": list(tasks.values())[int(costs[name].argmax())]["label"],
            "lowest_in": winners.count(name),
            "at_boundary": sum(task["schedules"][name]["at_boundary"] for task in tasks.values()),
        }
        for name in sorted(schedules, key=lambda name: float(logs[name].mean()))
    }
    return {
        "ratio": RATIOS[label],
        "same_ratio": max(question.ratio / RATIOS[label], RATIOS[label] / question.ratio) <= NEAR,
        "tasks": [task["label"] for task in tasks.values()],
        "steps": [min(task["steps"] for task in tasks.values()), max(task["steps"] for task in tasks.values())],
        "seeds": [min(task["seeds"] for task in tasks.values()), max(task["seeds"] for task in tasks.values())],
        "first": first,
        "not_told_apart": [name for name in schedules if name != first and not _clear(logs[name] - logs[first])],
        "lowest_by_task": dict(zip((task["label"] for task in tasks.values()), winners, strict=True)),
        "schedules": rows,
    }


def _mean(logs: Array) -> dict[str, float | None]:
    """A geometric mean over tasks with Student's interval; None with one task."""
    low, high = _interval(logs)
    ends = {"low": None if low is None else math.exp(low), "high": None if high is None else math.exp(high)}
    return {"value": math.exp(float(logs.mean())), **ends}


def _interval(values: Array) -> tuple[float | None, float | None]:
    if len(values) < 2:
        return None, None
    half = float(stdtrit(len(values) - 1, 0.5 + LEVEL / 2) * values.std(ddof=1) / math.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def _clear(differences: Array) -> bool:
    low, high = _interval(differences)
    return low is not None and high is not None and not low <= 0.0 <= high


def _recorded(question: Question, evidence: Mapping[str, Any], runs: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What recorded runs say at this ratio: a group's tuned loss above the lowest of all, interpolated on the rates in common.

    Somebody's own runs come first, whatever the kind of task.
    """
    studies = [] if runs is None else [(runs["source"], runs, True)]
    if question.kind in ("language", "any"):
        studies += [(name, study, False) for name, study in evidence["recorded"].items()]
    return [_study(question, name, study) | {"own": own} for name, study, own in studies]


def _study(question: Question, name: str, study: Mapping[str, Any]) -> dict[str, Any]:
    common, noise = study["common"], study["noise"]
    near = [
        ratio for ratio in study["ratios"] if max(float(ratio) / question.ratio, question.ratio / float(ratio)) <= NEAR
    ]
    costs = {}
    if common is not None and near:
        rows = {label: row["resolution"][near[0]] for label, row in common["groups"].items()}
        costs = {label: row["cost_mean_interpolated"] for label, row in rows.items() if row is not None}
    known = {label: cost for label, cost in costs.items() if cost is not None}
    return {
        "name": name,
        "costs": dict(sorted(known.items(), key=lambda item: item[1])),
        "loss": study["loss"],
        "direction": study["direction"],
        "doubt": study["doubt"],
        "runs": study["runs"],
        "rates": common["rates"] if common else None,
        "noise": None if noise is None or common is None else _half_difference(noise, common),
        "at_edge": [] if common is None else _at_edge(common),
    }


def _at_edge(common: Mapping[str, Any]) -> list[str]:
    """Groups whose best rate may lie outside the rates in common, so that their cost says too little of what tuning could give."""
    edge = [label for label, row in common["groups"].items() if row["at_boundary"]]
    return list(dict.fromkeys([*common["optima_outside"], *edge]))


def _half_difference(noise: Mapping[str, Any], common: Mapping[str, Any]) -> float:
    """Half the interval of the difference of two means of as few runs as any rate in common has: tuned losses differ less by chance."""
    fewest = min(min(row["counts"]) for row in common["groups"].values())
    quantile = stdtrit(noise["freedom"], 0.5 + LEVEL / 2)
    return float(quantile * noise["deviation"] * math.sqrt(2.0 / fewest))


@lru_cache(maxsize=1)
def _bounds() -> dict[str, dict[str, SuffixBound]]:
    """The bounds for convex problems of schedules, by family and by what each is written as."""
    families: dict[str, Mapping[str, AbstractSchedule]] = {
        "constant": {"Constant()": Constant()},
        "step": {"Step(milestones=(0.5, 0.75), factor=0.1)": Step()},
        "WSD": {"WSD(cooldown=0.2, shape='linear')": WSD(cooldown=0.2, shape="linear")},
        "linear": {"Linear()": Linear()},
        "polynomial": {f"Polynomial(power={power:g})": Polynomial(power=power) for power in POWERS if power != 1.0},
        "damped cosine": {f"DampedCosine(exponent={power:g})": DampedCosine(exponent=power) for power in POWERS},
    }
    return {
        family: {spec: suffix_bound(schedule) for spec, schedule in members.items()}
        for family, members in families.items()
    }


@lru_cache(maxsize=16)
def _predicted(ratio: float) -> dict[str, Any]:
    """What the bound for convex problems says of such a grid, in units of the best bound there is: that of a tuned linear decay."""
    families = _bounds()
    unit = families["linear"]["Linear()"].best
    rows: dict[str, dict[str, Any]] = {}
    for family, members in families.items():
        for spec, bound in members.items():
            mean, worst = (bound.best / unit * factor for factor in bound.grid(ratio))
            row = {"spec": spec, "tuned": bound.best / unit, "mean": mean, "worst": worst, "family": family}
            rows[spec] = row
    best = {
        key: {
            family: min((row for row in rows.values() if row["family"] == family), key=lambda row: row[key])
            for family in families
        }
        for key in ("mean", "worst")
    }
    first = {key: min(families.values(), key=lambda row: row[key])["spec"] for key, families in best.items()}
    return {"first": first, "best_of_family": best, "schedules": rows}


def _in_words(ratios: list[float]) -> str:
    shown = [f"{ratio:.3g}" for ratio in ratios]
    if len(shown) < 2:
        return f"the ratio {shown[0]}" if shown else "no ratio"
    return f"the ratios {', '.join(shown[:-1])} and {shown[-1]}"


def _unknown(question: Question, advice: Mapping[str, Any]) -> list[str]:
    """What this advice does not know."""
    measured, sentences = advice["measured"], []
    if question.kind == "language":
        sentences.append(
            "No language model was trained for this: what is said rests on recorded runs alone, and holds for their models, data and "
            "numbers of steps."
            if any(study["costs"] for study in advice["recorded"])
            else "Nothing is known here about language models at this ratio: no run of one is part of the package. Give your own with --runs."
        )
    elif measured is None:
        sentences.append(
            f"The evidence at hand covers {_in_words(advice['covered'])}, not {question.ratio:.3g}; the report of `make experiments` covers "
            f"{_in_words(list(RATIOS.values()))}, and what lies between by the coarser one."
        )
    elif not measured["same_ratio"]:
        sentences.append(
            f"No experiment was made at the ratio {question.ratio:.3g}; the costs are those of the coarser {measured['ratio']:.3g}."
        )
    if measured is not None:
        different = sorted(set(measured["lowest_by_task"].values()))
        if len(different) > 1:
            sentences.append(
                f"The {len(measured['tasks'])} tasks disagree: {len(different)} schedules are the cheapest on one of them "
                f"({', '.join(different)})."
            )
        sentences.append("The tasks take seconds; schedules can change places with the number of steps.")
    if question.kind != "convex":
        sentences.append("The bound is a theorem about bounded convex problems; for a network it is a hint at best.")
    else:
        sentences.append("A bound is no loss: it holds for the worst problem of a class, which yours is not.")
    sentences.append(
        "In the bound, a rate too low by a factor costs about half that factor with every schedule: none repairs that."
    )
    return sentences

"""Sentences made of the numbers of an experiment on starting rates."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from adaptive_lr.analysis.any_rate import CLOSE, FORGOTTEN, LOST, LOST_BETWEEN
from adaptive_lr.reporting.prose import grounds, number, percent, procedure, study_title


def times(estimate: Mapping[str, float]) -> str:
    """A ratio with its interval: ``1.12 [1.08, 1.17]``."""
    value, low, high = (
        f"{quantity:.2f}" if quantity < 100.0 else f"{quantity:.2g}"
        for quantity in (estimate[key] for key in ("value", "low", "high"))
    )
    return f"{value}\u00a0[{low},\u00a0{high}]"


def headline(experiment: Mapping[str, Any]) -> list[str]:
    """The answer over all tasks: the contestant that is judged, the reference, and the best of the others."""
    label, reference = experiment["judged"], experiment["reference"]
    total, studies = experiment["overall"][label], experiment["studies"]
    hardest = studies[total["hardest"]]
    far = [
        f"{study_title(study)} ({_worst(study['contestants'][label])})"
        for study in studies.values()
        if not study["contestants"][label]["tests"]["close"]
    ]
    sentences = [
        f"Started anywhere in a window of {_decades(experiment)} decades, {label} ends with at most {CLOSE:g} times the loss of the "
        f"{reference} that an oracle tuned in {total['close']} of {total['studies']} tasks, and with a worst start within {FORGOTTEN:g} times the best "
        f"in {total['forgotten']} (where the optimum is not known: a lost share of {100 * LOST:g}\u00a0% and {100 * LOST_BETWEEN:g}\u00a0%); both hold in {total['both']}, "
        f"clearly in {total['surely']}. Hardest: {study_title(hardest)}, worst start {_worst(hardest['contestants'][label])}.",
        procedure(experiment["family"]),
        f"The mean over all starts, geometric mean over the tasks, is {number(total['geometric_mean'])} times the oracle's loss for {label}, and "
        f"{number(experiment['overall'][reference]['geometric_mean'])} for the {reference} itself started at the same window's rates. It costs at "
        f"most {100 * total['extra_steps']:.1f}\u00a0% more work.",
    ]
    if grouped(experiment):
        return [*sentences, *area_sentences(experiment), *group_sentences(experiment)]
    if far:
        sentences.append(f"Beyond {CLOSE:g} times: {'; '.join(far)}.")
    rivals = {
        name: row
        for name, row in experiment["overall"].items()
        if name != label and row["group"] == total["group"] and row["studies"] == total["studies"]
    }
    if rivals:
        best = min(rivals, key=lambda name: rivals[name]["geometric_worst"])
        theirs, own = rivals[best]["geometric_worst"], total["geometric_worst"]
        phrase = "is better in" if theirs < own else "comes closest to it in"
        sentences.append(
            f"Of the others in the group «{total['group']}», {best} {phrase} the geometric mean of the worst starts: {number(theirs)} against "
            f"{number(own)}."
        )
    return sentences


def grouped(experiment: Mapping[str, Any]) -> bool:
    """Whether several studies are counted together."""
    return len({study["area"] for study in experiment["studies"].values()}) < len(experiment["studies"])


def area_sentences(experiment: Mapping[str, Any]) -> list[str]:
    """How the judged contestant did in each area, over its horizons together."""
    label, reference = experiment["judged"], experiment["reference"]
    last = {area["area"]: area for area in experiment["areas"]}  # all horizons, where there are several
    sentences = []
    for name, area in last.items():
        mine, plain = area["contestants"][label], area["contestants"][reference]
        sentence = (
            f"{name[0].upper()}{name[1:]}: {label} is close to the oracle in {mine['close']} of {mine['cells']} cells, within twice that limit in {mine['near']}; "
            f"mean and worst start {area_losses(mine)}, the {reference} from the same starts {area_losses(plain)}."
        )
        if "training" in area:
            training = area["training"][label]
            sentence += f" By the loss on training data: close in {training['close']}, {area_losses(training)}."
        sentences.append(sentence)
    return sentences


def group_sentences(experiment: Mapping[str, Any]) -> list[str]:
    """In how many pairs of a contestant and a task the judged contestant's mean start ends lower, by group."""
    label, total = experiment["judged"], experiment["overall"]
    counts: dict[str, list[bool]] = {}
    for study in experiment["studies"].values():
        mine = study["contestants"][label]["mean"]["value"]
        for name, row in study["contestants"].items():
            if name != label:
                counts.setdefault(total[name]["group"], []).append(mine < row["mean"]["value"])
    parts = [f"{sum(lower)} of {len(lower)} against «{group}»" for group, lower in counts.items()]
    return [
        f"In pairs of a contestant and a task that both ran, the mean over the starts ends lower under {label} in {', '.join(parts)}."
    ]


def trained(experiment: Mapping[str, Any]) -> bool:
    """Whether losses on training data are there."""
    return any("training" in area for area in experiment["areas"])


def area_title(area: Mapping[str, Any]) -> str:
    """An area and a horizon: ``networks, T/4``."""
    factor = area["factor"]
    if factor is None:
        return f"{area['area']}, all"
    horizon = "T" if factor == 1.0 else f"T/{1.0 / factor:g}" if factor < 1.0 else f"{factor:g} T"
    return f"{area['area']}, {horizon}"


def area_losses(row: Mapping[str, Any]) -> str:
    """The mean and the worst start over the tasks of an area, as lost shares, as ratios, or both."""
    parts = []
    if row["lost_mean"] is not None:
        parts.append(f"{100.0 * row['lost_mean']:.1f} / {100.0 * row['lost_worst']:.1f}\u00a0%")
    if row["ratio_mean"] is not None:
        parts.append(f"× {number(row['ratio_mean'])} / {number(row['ratio_worst'])}")
    return ", ".join(parts)


def tuned(experiment: Mapping[str, Any]) -> str:
    """Where constants come from, as far as a controller says."""
    known = {
        label: about["tuned_on"]
        for label, about in experiment["contestants"].items()
        if about["controller"] is not None and about["tuned_on"]
    }
    if not known:
        return "The constants of the controllers are those of their papers, or come from no task."
    named = {entry.split(" seed")[0] for entries in known.values() for entry in entries}
    same = sorted(study for study in experiment["studies"] if study in named)
    overlap = (
        f"Of the tasks here these are among them, with other seeds: {', '.join(same)}."
        if same
        else "None of the tasks here is among them."
    )
    return f"Constants of {', '.join(known)} were chosen on {len(named)} development tasks, which their documentation names. {overlap}"


def study_answer(experiment: Mapping[str, Any], study: Mapping[str, Any]) -> str:
    """The answer for one task."""
    label, reference = experiment["judged"], experiment["reference"]
    mine, plain = study["contestants"][label], study["contestants"][reference]
    return (
        f"From any of {len(mine['curve']['rates'])} starting rates, {label} ends with {times(mine['mean'])} times the oracle's loss in the mean and "
        f"{times(mine['worst'])} at worst; the worst start is {times(mine['spread'])} times the best{_lost(mine)}. Close to the oracle with the start forgotten: "
        f"{mine['tests']['verdict']} ({grounds(mine['tests'])}). The {reference} started at the same window's rates: "
        f"{number(plain['mean']['value'])} in the mean, {number(plain['worst']['value'])} at worst."
    )


def controller_answer(experiment: Mapping[str, Any], label: str) -> str:
    """How one controller did over all tasks."""
    total = experiment["overall"][label]
    return (
        f"Close to the oracle (worst start within {CLOSE:g} times its excess, or a lost share of {100 * LOST:g}\u00a0%) in {total['close']} of {total['studies']} tasks, start forgotten "
        f"(worst within {FORGOTTEN:g} times best, or a share of {100 * LOST_BETWEEN:g}\u00a0%) in {total['forgotten']}, both clearly in {total['surely']}. {procedure(experiment['family'])} Geometric means over the tasks: best start {number(total['geometric_best'])}, mean "
        f"{number(total['geometric_mean'])}, worst {number(total['geometric_worst'])}. Extra work: at most {100 * total['extra_steps']:.1f}\u00a0% of the steps."
    )


def _worst(row: Mapping[str, Any]) -> str:
    """The worst start: in units of the oracle's excess, or as a lost share."""
    if row["lost"] is None:
        return f"{times(row['worst'])} times the oracle's loss"
    return f"a lost share of {percent(row['lost']['worst'])}, {times(row['worst'])} times the oracle's loss"


def _lost(row: Mapping[str, Any]) -> str:
    return (
        ""
        if row["lost"] is None
        else f"; lost share {percent(row['lost']['mean'])} in the mean, {percent(row['lost']['worst'])} at worst"
    )


def rule(docstring: str) -> Markup:
    """A docstring as HTML: paragraphs, formulas that stand by themselves, code and stress."""
    parts = []
    for part in docstring.split("\n\n"):
        if part.startswith("    "):
            parts.append(Markup("<pre>{}</pre>").format(inspect.cleandoc(part)))
            continue
        text = str(escape(" ".join(part.split())))
        for pattern, tag in (
            (r"``(.+?)``", "code"),
            (r"`(.+?)`", "code"),
            (r"\*\*(.+?)\*\*", "b"),
            (r"(?<!\w)\*(\w[^*]*)\*", "i"),
        ):
            text = re.sub(pattern, rf"<{tag}>\1</{tag}>", text)
        parts.append(Markup("<p>" + text + "</p>"))  # noqa: S704  # escaped above
    return Markup("").join(parts)


def _decades(experiment: Mapping[str, Any]) -> str:
    spans = {round(math.log10(study["window"][1] / study["window"][0])) for study in experiment["studies"].values()}
    return " to ".join(str(span) for span in sorted({min(spans), max(spans)}))

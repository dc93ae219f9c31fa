"""Advice in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adaptive_lr.reporting import controller_prose
from adaptive_lr.reporting.recorded_prose import difference, listed, words


def headline(advice: Mapping[str, Any]) -> str:
    """The advice itself, in one line, from the firmest source there is for this kind of task: somebody's own runs, if there are any."""
    measured, recorded = advice["measured"], [study for study in advice["recorded"] if study["costs"]]
    predicted = advice["predicted"]["first"]["worst"]
    language, network = advice["kind"] == "language", advice["kind"] == "network"
    if recorded and recorded[0]["own"]:
        tied = _as_good(recorded[0])
        ties = f", or {listed(tied)}, which the noise does not tell apart from it" if tied else ""
        return f"Begin with {next(iter(recorded[0]['costs']))}{ties}, from your own runs."
    if recorded and (language or not measured):
        return f"Begin with {next(iter(recorded[0]['costs']))}, from recorded runs."
    if language or (network and not measured):
        kind = "language models" if language else "networks"
        return f"No advice: there is no evidence on {kind} at this ratio. (On convex problems the bound would say {predicted}.)"
    if not measured:
        return f"Begin with {predicted}, from a bound alone: no experiment at hand covers this ratio."
    tied = measured["not_told_apart"]
    ties = f", or any of the {len(tied)} not told apart from it" if tied else ""
    return f"Begin with {measured['schedules'][measured['first']]['spec']}{ties}, from experiments."


def in_short(advice: Mapping[str, Any], question: str) -> list[str]:
    """At most five lines: the question, the advice, why, which controller, and what more there is."""
    own = [study for study in advice["recorded"] if study["own"]]
    doubts = [study["doubt"] for study in own if study["doubt"]]
    more = [f"{len(advice['unknown'])} limits of this advice"]
    more += (
        [f"{len(advice['notes'])} note{'' if len(advice['notes']) == 1 else 's'} on your runs"]
        if advice["notes"]
        else []
    )
    return [
        question,
        headline(advice),
        " ".join(doubts) or _why(advice),
        controller_prose.in_short(advice["controllers"]),
        f"--verbose: the tables, {' and '.join(more)}. Evidence: {sources(advice)}.",
    ]


def sources(advice: Mapping[str, Any]) -> str:
    """Where everything comes from, the firmest first."""
    own = [study["name"] for study in advice["recorded"] if study["own"]]
    return ", ".join(dict.fromkeys([*own, *advice["sources"].values()]))


def _why(advice: Mapping[str, Any]) -> str:
    """The number behind the headline."""
    measured, recorded = advice["measured"], [study for study in advice["recorded"] if study["costs"]]
    if recorded and (recorded[0]["own"] or advice["kind"] == "language" or not measured):
        return _recorded_shortly(recorded[0])
    if advice["kind"] == "language" or (advice["kind"] == "network" and not measured):
        return "Tune the rate as finely as you can, or give your own runs with --runs."
    if not measured:
        row = advice["predicted"]["schedules"][advice["predicted"]["first"]["worst"]]
        return f"At the worst place of such a grid its bound is {row['worst']:.3g} times that of a tuned linear decay."
    row = measured["schedules"][measured["first"]]
    return (
        f"At the ratio {measured['ratio']:.3g} it ended with {_ratio(row)} times the tuned cosine's loss in the mean over "
        f"{len(measured['tasks'])} tasks, {row['worst']:.3g} times at worst."
    )


def _recorded_shortly(study: Mapping[str, Any]) -> str:
    labels = list(study["costs"])
    first, last = labels[0], labels[-1]
    wording = words(study)
    ends = f"{first} {difference(study['costs'][first])}" + (
        f", {last} {difference(study['costs'][last])}" if last != first else ""
    )
    edge = f"; at the edge of their rates, or outside: {listed(study['at_edge'])}" if study["at_edge"] else ""
    return (
        f"Such a grid ends {wording.worse} the {wording.best} {study['loss']} of {study['runs']} runs by: {ends}{edge}."
    )


def sentences(advice: Mapping[str, Any]) -> list[str]:
    """What is advised, from what is firmest: somebody's own runs, then experiments, then other recorded runs, then the bound; then controllers."""
    own = [study for study in advice["recorded"] if study["own"]]
    lines = [study["doubt"] for study in own if study["doubt"]]
    lines += [_recorded(study, advice["ratio"]) for study in own]
    lines += [_against(study, advice) for study in own if study["costs"]]
    lines += [_measured(advice["measured"])] if advice["measured"] else []
    lines += [_recorded(study, advice["ratio"]) for study in advice["recorded"] if not study["own"]]
    lines.append(_predicted(advice["predicted"]))
    return [*lines, *controller_prose.sentences(advice["controllers"])]


def _against(study: Mapping[str, Any], advice: Mapping[str, Any]) -> str:
    """What the package would say without somebody's own runs, and where these rank it."""
    measured = advice["measured"]
    first = measured["schedules"][measured["first"]]["spec"] if measured else advice["predicted"]["first"]["worst"]
    source = "the experiments of this project" if measured else "the bound"
    labels = list(study["costs"])
    same = [index for index, label in enumerate(labels) if _family(label) == _family(first)]
    rank = f" Your runs rank {labels[same[0]]} {same[0] + 1} of {len(labels)}." if same else ""
    return f"Without your runs, {source} would say {first}: on other tasks, so where the two differ, take what your own runs say.{rank}"


def _family(label: str) -> str:
    """The name of a schedule without its numbers: ``DampedCosine(exponent=2)`` and ``damped cosine`` are one."""
    return "".join(character for character in label.partition("(")[0].lower() if character.isalpha())


def _as_good(study: Mapping[str, Any]) -> list[str]:
    """Groups whose cost the noise does not tell apart from the least."""
    costs = study["costs"]
    first, *others = costs
    return [label for label in others if study["noise"] is not None and costs[label] - costs[first] <= study["noise"]]


def _measured(measured: Mapping[str, Any]) -> str:
    first = measured["schedules"][measured["first"]]
    tied = measured["not_told_apart"]
    apart = (
        f" Not told apart from it over these tasks: {listed(tied)}."
        if tied
        else " It is clearly cheaper than all others."
    )
    return (
        f"From {len(measured['tasks'])} tasks ({_span(measured['seeds'])} seeds, {_span(measured['steps'])} updates) at the ratio "
        f"{measured['ratio']:.3g}: {measured['first']}, {first['spec']}. It ended with "
        f"{_ratio(first)} times the tuned cosine's loss in the geometric mean, {first['worst']:.3g} times at worst ({first['worst_task']}), and was "
        f"the cheapest on {first['lowest_in']}.{apart}"
    )


def _span(ends: Sequence[int]) -> str:
    return f"{ends[0]}" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _ratio(row: Mapping[str, Any]) -> str:
    ends = "" if row["low"] is None else f" [{row['low']:.3g}, {row['high']:.3g}]"
    return f"{row['value']:.3g}{ends}"


def _recorded(study: Mapping[str, Any], ratio: float) -> str:
    runs = f"{study['runs']} runs of your own" if study["own"] else f"{study['runs']} recorded runs"
    if not study["costs"]:
        return f"From the {'recorded ' * (not study['own'])}runs of {study['name']} nothing follows: they hold no grid of ratio {ratio:.3g} on rates in common, or it was not measured."
    labels = list(study["costs"])
    parts = [f"{label} {difference(study['costs'][label])}" for label in labels[:4]]
    last = f", …, {labels[-1]} {difference(study['costs'][labels[-1]])}" if len(labels) > 4 else ""
    near = _as_good(study)
    if study["noise"] is None:
        noise = " How much of that is noise is not known."
    else:
        noise = f" Differences below {study['noise']:.2g} may be noise" + (
            f", so that {listed(near)} may be as good." if near else "."
        )
    window = f"{min(study['rates']):g} to {max(study['rates']):g}"
    better = "higher" if study["direction"] == "maximize" else "lower"
    edge = (
        f" The best rate of {listed(study['at_edge'])} lies at their edge or outside: tuned in a wider window these would end {better}."
        if study["at_edge"]
        else ""
    )
    wording = words(study)
    return (
        f"From {runs} ({study['name']}), rates {window}: {labels[0]}. How far {wording.worse} the {wording.best} {study['loss']} of "
        f"all such a grid ends: {', '.join(parts)}{last}.{noise}{edge}"
    )


def _predicted(predicted: Mapping[str, Any]) -> str:
    rows, first = predicted["schedules"], predicted["first"]
    mean, worst = rows[first["mean"]], rows[first["worst"]]
    cosine = predicted["best_of_family"]["worst"]["damped cosine"]
    return (
        f"From the bound for convex problems: in the mean over all places of the grid {first['mean']} ({mean['mean']:.3g} times the bound of a tuned linear "
        f"decay), at the worst place {first['worst']} ({worst['worst']:.3g} times). Among damped cosines, {cosine['spec']} at the worst place "
        f"({cosine['worst']:.3g} times)."
    )

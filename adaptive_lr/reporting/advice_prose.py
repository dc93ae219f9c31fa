"""Advice in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adaptive_lr.reporting.recorded_prose import difference, listed


def headline(found: Mapping[str, Any]) -> str:
    """The advice itself, in one line, from the firmest source there is for this kind of task."""
    measured, recorded = found["measured"], [one for one in found["recorded"] if one["costs"]]
    predicted = found["predicted"]["first"]["worst"]
    language, network = found["kind"] == "language", found["kind"] == "network"
    if recorded and (language or not measured):
        return f"Begin with {next(iter(recorded[0]['costs']))}, from recorded runs."
    if language or (network and not measured):
        kind = "language models" if language else "networks"
        return f"No advice: there is no evidence on {kind} at this ratio. (On convex problems the bound would say {predicted}.)"
    if not measured:
        return f"Begin with {predicted}, from a bound alone: no experiment at hand covers this ratio."
    tied = measured["not_told_apart"]
    others = f", or any of the {len(tied)} not told apart from it" if tied else ""
    return f"Begin with {measured['schedules'][measured['first']]['spec']}{others}, from experiments."


def sentences(found: Mapping[str, Any]) -> list[str]:
    """What is advised, from what is firmest: experiments, then recorded runs, then the bound."""
    said = [_measured(found["measured"])] if found["measured"] else []
    said += [_recorded(one, found["ratio"]) for one in found["recorded"]]
    said.append(_predicted(found["predicted"]))
    return said


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


def _recorded(one: Mapping[str, Any], ratio: float) -> str:
    if not one["costs"]:
        return f"From the runs of {one['name']} nothing follows: they hold no grid of ratio {ratio:.3g} on rates in common, or it was not measured."
    labels = list(one["costs"])
    parts = [f"{label} {difference(one['costs'][label])}" for label in labels[:4]]
    rest = f", …, {labels[-1]} {difference(one['costs'][labels[-1]])}" if len(labels) > 4 else ""
    near = [
        label
        for label in labels[1:]
        if one["noise"] is not None and one["costs"][label] - one["costs"][labels[0]] <= one["noise"]
    ]
    if one["noise"] is None:
        noise = " How much of that is noise is not known."
    else:
        noise = f" Differences below {one['noise']:.2g} may be noise" + (
            f", so that {listed(near)} may be as good." if near else "."
        )
    window = f"{min(one['rates']):g} to {max(one['rates']):g}"
    edge = (
        f" The best rate of {listed(one['at_edge'])} lies at their edge or outside: tuned in a wider window these would end lower."
        if one["at_edge"]
        else ""
    )
    return (
        f"From {one['runs']} recorded runs ({one['name']}), rates {window}: {labels[0]}. What such a grid ends with, above the lowest {one['loss']} of "
        f"all: {', '.join(parts)}{rest}.{noise}{edge}"
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

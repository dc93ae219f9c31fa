"""Sentences and cells made of the numbers of recorded runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Estimate = Mapping[str, float | None]


def loss(estimate: Estimate) -> str:
    """A loss with half the width of its interval: ``2.9668 ±0.0018``."""
    return _with_half(estimate, lambda value: f"{value:.5g}")


def difference(estimate: Estimate | float | None) -> str:
    """A difference of losses, with half the width of its interval where that is known."""
    found = estimate if isinstance(estimate, Mapping) else {"value": estimate, "low": None}
    return _with_half(found, _three_digits)


def _three_digits(value: float) -> str:
    text = "0" if value == 0.0 else f"{value:#.3g}".rstrip(".")
    return text.replace("-", "−")


def _with_half(estimate: Estimate, text: Callable[[float], str]) -> str:
    """The value to the second digit of its half interval; without one, or with none to speak of, by ``text``."""
    value, low = estimate["value"], estimate["low"]
    if value is None:
        return "–"
    half = 0.0 if low is None else value - low
    if half <= 1e-9 * abs(value):  # not known, or the same rate on both sides of a difference
        return text(value)
    decimals = 1 - math.floor(math.log10(half))
    if not 0 <= decimals <= 6:
        return f"{text(value)}\u00a0±{half:.2g}"
    return f"{value:.{decimals}f}\u00a0±{half:.{decimals}f}".replace("-", "−")


def resolution(row: Mapping[str, Any], ratio: str, key: str = "regret_mean") -> str:
    """What a grid of a ratio costs a group; a dash where the rates hold no such grid."""
    found = row["resolution"][ratio]
    return "–" if found is None else difference(found[key])


def at_rho(row: Mapping[str, Any], rho: str) -> str:
    """What rho times the best rate costs, a tilde before what is interpolated; a dash outside the window."""
    found = row["misspecification"].get(rho)
    return "–" if found is None else f"{'~' if found['interpolated'] else ''}{difference(found['difference'])}"


def basin(row: Mapping[str, Any]) -> str:
    """Decades within the limit, with a sign where the window cut them off."""
    found = row["basin"]
    cut = found["cut_below"] or found["cut_above"]
    return f"{'≥' if cut else ''}{found['decades']:.2f}"


def judged_ratio(study: Mapping[str, Any]) -> str | None:
    """The coarsest of the ratios asked for, up to 10, that every group's rates in common hold; None without such rates."""
    common = study["common"]
    if common is None:
        return None
    usable = [
        ratio
        for ratio in study["ratios"]
        if float(ratio) <= 10.0 and all(row["resolution"][ratio] is not None for row in common["groups"].values())
    ]
    return max(usable, key=float, default=None)


def window(study: Mapping[str, Any], rates: Sequence[float] | None = None) -> str:
    """The lowest and highest rate that any group has, or of some rates."""
    found = rates or [rate for row in study["groups"].values() for rate in row["rates"]]
    return f"{min(found):g} to {max(found):g}"


def answer(study: Mapping[str, Any]) -> list[str]:
    """What a study says, in a few sentences."""
    groups = study["groups"]
    if len(groups) == 1:
        return [_alone(study, *next(iter(groups.items())))]
    lowest = study["lowest"]
    first = groups[lowest["label"]]
    highest = max(groups, key=lambda label: groups[label]["best"]["value"])
    tied = f"; the noise does not tell {listed(lowest['tied'])} apart from it" if lowest["tied"] else ""
    if not lowest["known"]:
        tied = "; how much of a difference is noise is not known"
    sentences = [
        f"Each at its own best rate, {lowest['label']} ends lowest ({loss(first['best'])}){tied}. {highest} ends highest "
        f"({loss(groups[highest]['best'])})."
    ]
    if study["common"] is not None:
        sentences += _compared(study)
    edge = [label for label, row in groups.items() if row["at_boundary"]]
    if edge:
        sentences.append(f"Not to be judged for {listed(edge)}: the best rate lies at the edge of the recorded ones.")
    return sentences


def _compared(study: Mapping[str, Any]) -> list[str]:
    common = study["common"]
    rows = {label: row for label, row in common["groups"].items() if row["sensitivity_log"]["value"] is not None}
    sentences = []
    if rows:
        order = sorted(rows, key=lambda label: rows[label]["sensitivity_log"]["value"])
        least, most = order[0], order[-1]
        sentences.append(
            f"Over the rates in common ({window(study, common['rates'])}), the loss of {least} rises least above its own lowest, by "
            f"{difference(rows[least]['sensitivity_log'])} in the mean over the logarithm of the rate{_reach(rows[least])}; that of {most} "
            f"most, by {difference(rows[most]['sensitivity_log'])}{_reach(rows[most])}."
        )
    sentences += _misspecified(study)
    ratio = judged_ratio(study)
    if ratio is not None:
        costs = {
            label: row["resolution"][ratio]["cost_mean_interpolated"]
            for label, row in common["groups"].items()
            if row["resolution"][ratio]["cost_mean_interpolated"] is not None
        }
        cheapest = sorted(costs, key=costs.__getitem__)
        if len(cheapest) > 1:
            parts = [f"{label} {difference(costs[label])}" for label in (*cheapest[:3], *cheapest[3:][-1:])]
            sentences.append(
                f"Tuned on a grid of ratio {ratio} placed anywhere in that window, the loss lies above the lowest of all by: "
                f"{', '.join(parts[:3])}{f', …, {parts[3]}' if len(parts) > 3 else ''}."
            )
    return sentences


def _reach(row: Mapping[str, Any]) -> str:
    reach = row["reach"]
    below = "1" if reach["below"] <= 1.0 else f"1/{reach['below']:.4g}"
    return f" (the window reaches from {below} to {reach['above']:.4g} times its best rate)"


def _misspecified(study: Mapping[str, Any]) -> list[str]:
    """What half the best rate costs, and the largest factor on it that every group's rates hold."""
    groups = study["groups"]
    known = [rho for rho in next(iter(groups.values()))["misspecification"] if _everywhere(groups, rho)]
    above = [rho for rho in known if float(rho) > 1.0]
    parts = []
    for rho in [*(["0.5"] if "0.5" in known else []), *above[-1:]]:
        costs = {label: row["misspecification"][rho]["difference"] for label, row in groups.items()}
        low, high = min(costs, key=costs.__getitem__), max(costs, key=costs.__getitem__)
        parts.append(
            f"{rho} times a group's own best rate costs from {difference(costs[low])} ({low}) to {difference(costs[high])} ({high})"
        )
    return [f"{'; '.join(parts)}."] if parts else []


def _everywhere(groups: Mapping[str, Any], rho: str) -> bool:
    return all(row["misspecification"][rho] is not None for row in groups.values())


def shown_ratios(study: Mapping[str, Any]) -> list[str]:
    """The ratios of which some group's rates hold a grid."""
    return [one for one in study["ratios"] if any(row["resolution"][one] for row in study["groups"].values())]


def shown_rho(study: Mapping[str, Any]) -> list[str]:
    """The factors on the best rate that lie inside some group's rates."""
    groups = list(study["groups"].values())
    return [rho for rho in groups[0]["misspecification"] if any(row["misspecification"][rho] for row in groups)]


def _alone(study: Mapping[str, Any], label: str, row: Mapping[str, Any]) -> str:
    where = ", at the edge of the recorded rates, so that a better one may lie outside" if row["at_boundary"] else ""
    return (
        f"{label[0].upper()}{label[1:]}: lowest loss {loss(row['best'])} at {row['best_rate']:g}{where}. Over {window(study)} the loss rises "
        f"{difference(row['sensitivity_log'])} above it in the mean over the logarithm of the rate."
    )


def listed(labels: Sequence[str]) -> str:
    """Labels in a sentence."""
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


def all_rates(study: Mapping[str, Any]) -> list[float]:
    """Every rate of every group, ascending."""
    return sorted({rate for row in study["groups"].values() for rate in row["rates"]})


def cell(row: Mapping[str, Any], rate: float) -> str:
    """The mean loss at a rate, with the number of runs where it is not 1; a dash where there is none."""
    if rate not in row["rates"]:
        return "–"
    place = row["rates"].index(rate)
    mean, count = row["curve"]["mean"][place], row["counts"][place]
    return f"{'diverged' if mean is None else f'{mean:.4f}'}{f' ({count})' if count != 1 else ''}"

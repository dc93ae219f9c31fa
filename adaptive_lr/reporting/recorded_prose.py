"""Sentences and cells made of the numbers of recorded runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Estimate = Mapping[str, float | None]


@dataclass(frozen=True)
class Words:
    """How a metric is spoken of.

    Attributes:
        level: ``loss``, or ``value`` where more is better.
        best: the adjective of what is good.
        worst: of what is bad.
        worse: the side on which worse ones lie.
        moves: what it does away from its best rate.
        bound: what it ideally is.
    """

    level: str
    best: str
    worst: str
    worse: str
    moves: str
    bound: str


_LOSS = Words("loss", "lowest", "highest", "above", "rises", "least possible loss")
_METRIC = Words("value", "highest", "lowest", "below", "falls", "greatest possible value")


def words(study: Mapping[str, Any]) -> Words:
    """The words for a study's metric: those of a loss, or of a metric of which more is better."""
    return _METRIC if study["direction"] == "maximize" else _LOSS


def loss(estimate: Estimate) -> str:
    """A loss with half the width of its interval: ``2.9668 ±0.0018``."""
    return _with_half(estimate, lambda value: f"{value:.5g}")


def difference(estimate: Estimate | float | None) -> str:
    """A difference of losses, with half the width of its interval where that is known."""
    known = estimate if isinstance(estimate, Mapping) else {"value": estimate, "low": None}
    return _with_half(known, _three_digits)


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
    costs = row["resolution"][ratio]
    return "–" if costs is None else difference(costs[key])


def at_rho(row: Mapping[str, Any], rho: str) -> str:
    """What rho times the best rate costs, a tilde before what is interpolated; a dash outside the window."""
    cost = row["misspecification"].get(rho)
    return "–" if cost is None else f"{'~' if cost['interpolated'] else ''}{difference(cost['difference'])}"


def basin(row: Mapping[str, Any]) -> str:
    """Decades within the limit, with a sign where the window cut them off."""
    width = row["basin"]
    cut = width["cut_below"] or width["cut_above"]
    return f"{'≥' if cut else ''}{width['decades']:.2f}"


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
    present = rates or [rate for row in study["groups"].values() for rate in row["rates"]]
    return f"{min(present):g} to {max(present):g}"


def answer(study: Mapping[str, Any]) -> list[str]:
    """What a study says, in a few sentences; a doubt about which way its metric goes comes first."""
    groups, wording = study["groups"], words(study)
    sentences = [study["doubt"]] if study["doubt"] else []
    if len(groups) == 1:
        return [*sentences, _alone(study, *next(iter(groups.items())))]
    lowest = study["lowest"]
    first = groups[lowest["label"]]
    sign = -1.0 if study["direction"] == "maximize" else 1.0
    last = max(groups, key=lambda label: sign * groups[label]["best"]["value"])
    how = (
        f" ({'; '.join(lowest['procedures'])}, over {lowest['pairs']} pairs of groups)" if lowest["procedures"] else ""
    )
    tied = f"; the noise does not tell {listed(lowest['tied'])} apart from it{how}" if lowest["tied"] else ""
    if lowest["known"] and not lowest["tied"]:
        tied = f", beyond the noise{how}"
    if not lowest["known"]:
        tied = "; how much of a difference is noise is not known"
    sentences.append(
        f"Each at its own best rate, {lowest['label']} ends {wording.best} ({loss(first['best'])}){tied}. {last} ends {wording.worst} "
        f"({loss(groups[last]['best'])})."
    )
    if study["common"] is not None:
        sentences += _compared(study)
    edge = [label for label, row in groups.items() if row["at_boundary"]]
    if edge:
        sentences.append(f"Not to be judged for {listed(edge)}: the best rate lies at the edge of the recorded ones.")
    return sentences


def _compared(study: Mapping[str, Any]) -> list[str]:
    common, wording = study["common"], words(study)
    rows = {label: row for label, row in common["groups"].items() if row["sensitivity_log"]["value"] is not None}
    sentences = []
    if rows:
        order = sorted(rows, key=lambda label: rows[label]["sensitivity_log"]["value"])
        least, most = order[0], order[-1]
        sentences.append(
            f"Over the rates in common ({window(study, common['rates'])}), the {wording.level} of {least} {wording.moves} least {wording.worse} its own {wording.best}, by "
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
                f"Tuned on a grid of ratio {ratio} placed anywhere in that window, the {wording.level} lies {wording.worse} the {wording.best} of all by: "
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
    return [ratio for ratio in study["ratios"] if any(row["resolution"][ratio] for row in study["groups"].values())]


def shown_rho(study: Mapping[str, Any]) -> list[str]:
    """The factors on the best rate that lie inside some group's rates."""
    groups = list(study["groups"].values())
    return [rho for rho in groups[0]["misspecification"] if any(row["misspecification"][rho] for row in groups)]


def _alone(study: Mapping[str, Any], label: str, row: Mapping[str, Any]) -> str:
    wording = words(study)
    where = ", at the edge of the recorded rates, so that a better one may lie outside" if row["at_boundary"] else ""
    return (
        f"{label[0].upper()}{label[1:]}: {wording.best} {wording.level} {loss(row['best'])} at {row['best_rate']:g}{where}. Over {window(study)} the "
        f"{wording.level} {wording.moves} {difference(row['sensitivity_log'])} {wording.worse} it in the mean over the logarithm of the rate."
    )


def listed(labels: Sequence[str]) -> str:
    """Labels in a sentence, the first few if there are very many."""
    if len(labels) > _LISTED:
        return f"{', '.join(labels[:_LISTED])} and {len(labels) - _LISTED} others"
    return labels[0] if len(labels) == 1 else f"{', '.join(labels[:-1])} and {labels[-1]}"


_LISTED = 20


def all_rates(study: Mapping[str, Any]) -> list[float]:
    """Every rate of every group, ascending."""
    return sorted({rate for row in study["groups"].values() for rate in row["rates"]})


def cells(row: Mapping[str, Any], rates: Sequence[float]) -> list[str]:
    """The mean loss at each of some rates, with the number of runs where it is not 1; a dash where there is none."""
    by_rate = dict(zip(row["rates"], zip(row["curve"]["mean"], row["counts"], strict=True), strict=True))
    return [_cell(*by_rate[rate]) if rate in by_rate else "–" for rate in rates]


def _cell(mean: float | None, count: int) -> str:
    return f"{'diverged' if mean is None else f'{mean:.4f}'}{f' ({count})' if count != 1 else ''}"

"""Sentences and cells made of the numbers of recorded runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
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
    """What a grid of a ratio costs a group; a dash where the rates hold no such grid, † where the best rate is too near an end for it."""
    costs = row["resolution"][ratio]
    if costs is None:
        return "–"
    return f"{difference(_with_ends(costs[key], costs['half'].get(key)))}{'†' if costs['at_boundary'] else ''}"


def _with_ends(value: Estimate | float | None, half: float | None) -> Estimate | float | None:
    """A plain number as an estimate, if half its interval is known."""
    if half is None or value is None or isinstance(value, Mapping):
        return value
    return {"value": value, "low": value - half, "high": value + half}


def at_rho(row: Mapping[str, Any], rho: str) -> str:
    """What rho times the best rate costs, a tilde before what is interpolated; a dash outside the window."""
    cost = row["misspecification"].get(rho)
    return "–" if cost is None else f"{'~' if cost['interpolated'] else ''}{_cost(cost)}"


def _cost(cost: Mapping[str, Any]) -> str:
    return difference(_with_ends(cost["difference"], cost["half"]))


def basin(row: Mapping[str, Any]) -> str:
    """Decades within the limit, with a sign where the window cut them off."""
    return _decades(row["basin"])


def _decades(width: Mapping[str, Any]) -> str:
    return f"{'≥' if width['cut_below'] or width['cut_above'] else ''}{width['decades']:.2f}"


def tolerance(row: Mapping[str, Any], key: str) -> str:
    """Decades over which the result is at most so much worse, ≥ where the window cut them off; a dash where that has no meaning."""
    width = row["tolerance"][key]
    return "–" if width is None else _decades(width)


def sides(row: Mapping[str, Any], key: str) -> str:
    """The part of those decades below the best rate and the part above it, ≥ where the window ends first."""
    width = row["tolerance"][key]
    if width is None:
        return ""
    below, above = ("≥" if width[f"cut_{side}"] else "" for side in ("below", "above"))
    return f"{below}{width['below']:.2f}\u00a0↓ {above}{width['above']:.2f}\u00a0↑"


def tolerances(study: Mapping[str, Any]) -> dict[str, str]:
    """The tolerances that are known of some group, with the head of their column."""
    names = {"loss": "the excess" if study["optimum"] is not None else f"the {words(study).level}", "lost": "the gain"}
    known = {key for row in study["groups"].values() for key, width in row["tolerance"].items() if width is not None}
    return {
        key: f"{100 * float(share):g}\u00a0% of {names[kind]}"
        for key, kind, share in ((key, *key.split()) for key in next(iter(study["groups"].values()))["tolerance"])
        if key in known
    }


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
        return [*sentences, _alone(study, *next(iter(groups.items()))), *_tolerant(study), intervals(study)]
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
    sentences += _tolerant(study)
    edge = [label for label, row in groups.items() if row["at_boundary"]]
    if edge:
        sentences.append(f"Not to be judged for {listed(edge)}: the best rate lies at the edge of the recorded ones.")
    return [*sentences, intervals(study)]


def intervals(study: Mapping[str, Any]) -> str:
    """Where the intervals of a study come from, or why there are none."""
    rows, noise = list(study["groups"].values()), study["noise"]
    paired = [row["paired_seeds"] for row in rows if row["paired_seeds"] is not None]
    if len(paired) == len(rows):
        return f"± is half a 95 % interval: Student's t over {min(paired)} seeds, which all rates have."
    if noise is None and not paired:
        return "There are no intervals: each rate has one run, and nothing is known of what another seed would have changed."
    if study["deviation"] is not None:
        return f"± is half a 95 % interval: Welch's t, from the recorded deviation of each mean over {study['repeats']} runs."
    if noise is None:
        return "± is half a 95 % interval: Student's t over seeds where all rates of a group have them; nothing is known of the others."
    degrees = f"{noise['freedom']} degree{'' if noise['freedom'] == 1 else 's'}"
    others = f"over seeds for {len(paired)} groups, for the others " if paired else ""
    return f"± is half a 95 % interval: Student's t {others}with one standard deviation, pooled over the rates with several runs ({degrees} of freedom)."


_TOLERANT = ("lost 0.1", "loss 0.1")


def _tolerant(study: Mapping[str, Any]) -> list[str]:
    """Over how many decades the groups lose little: the most and the least tolerant one, each with its own window."""
    groups, wording = study["groups"], words(study)
    key = next(key for key in _TOLERANT if all(row["tolerance"][key] is not None for row in groups.values()))
    widths = {label: row["tolerance"][key] for label, row in groups.items()}
    gained = f"what training gained at {'its' if len(groups) == 1 else 'the'} best rate is lost"
    what = gained if key == "lost 0.1" else f"the {wording.best} {wording.level} is lost"
    cut = {label: width["decades"] for label, width in widths.items() if width["cut_below"] or width["cut_above"]}
    known = {label: width["decades"] for label, width in widths.items() if label not in cut}
    if not known:
        return [
            f"At most 10 % of {what} over at least {_span(cut.values())} decades of rates: the recorded ones end before that."
        ]
    ends = [min(known, key=known.__getitem__), max(known, key=known.__getitem__)][: len(known)]
    reach = " to ".join(f"{known[label]:.2g} decades ({label})" for label in ends)
    remark = (
        f" For {_most_of([*cut], widths)} the recorded rates end first, after {_span(cut.values())} decades."
        if cut
        else ""
    )
    return [f"At most 10 % of {what} over {reach} of rates.{remark}"]


def _span(decades: Collection[float]) -> str:
    low, high = (f"{end:.2g}" for end in (min(decades), max(decades)))
    return low if low == high else f"{low} to {high}"


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
        halves = {
            label: common["groups"][label]["resolution"][ratio]["half"]["cost_mean_interpolated"] for label in costs
        }
        near = [label for label in costs if common["groups"][label]["resolution"][ratio]["at_boundary"]]
        cheapest = sorted(costs, key=costs.__getitem__)
        if len(cheapest) > 1:
            parts = [
                f"{difference(_with_ends(costs[label], halves[label]))} ({label})"
                for label in (*cheapest[:3], *cheapest[3:][-1:])
            ]
            sentences.append(
                f"Tuned on a grid of ratio {ratio} placed anywhere in that window, the {wording.level} lies {wording.worse} the {wording.best} of all by "
                f"{', '.join(parts[:3])}{f', …, {parts[3]}' if len(parts) > 3 else ''}.{_too_near(near, costs)}"
            )
    return sentences


def _too_near(near: Sequence[str], costs: Mapping[str, float]) -> str:
    if not near:
        return ""
    who = _most_of(near, costs)
    return (
        f" That may be off for {who}: the best rate is less than half a stride of that grid from an end of the window."
    )


def _most_of(labels: Sequence[str], everyone: Mapping[str, Any]) -> str:
    """Labels in a sentence; those that are not among them, if these are fewer."""
    others = [label for label in everyone if label not in labels]
    if not others:
        return "all of them" if len(everyone) > 1 else "it"
    return f"all but {listed(others)}" if len(others) < len(labels) else listed(labels)


def _reach(row: Mapping[str, Any]) -> str:
    reach = row["reach"]
    if max(reach.values()) >= _FAR:
        start, end = (f"{math.log10(reach[side]):.2g} decades {side}" if reach[side] > 1.0 else "" for side in reach)
        if start and end:
            return f" (the window reaches from {start} to {end} its best rate)"
        return f" (the window reaches from its best rate to {start or end} it)"
    below = "1" if reach["below"] <= 1.0 else f"1/{reach['below']:.4g}"
    return f" (the window reaches from {below} to {reach['above']:.4g} times its best rate)"


_FAR = 1000.0


def _misspecified(study: Mapping[str, Any]) -> list[str]:
    """What half the best rate costs, and the largest factor on it that every group's rates hold."""
    groups = study["groups"]
    known = [rho for rho in next(iter(groups.values()))["misspecification"] if _everywhere(groups, rho)]
    above = [rho for rho in known if float(rho) > 1.0]
    parts = []
    for rho in [*_below(groups, known), *above[-1:]]:
        cells = {label: row["misspecification"][rho] for label, row in groups.items()}
        costs = {label: cell["difference"] for label, cell in cells.items()}
        low, high = min(costs, key=costs.__getitem__), max(costs, key=costs.__getitem__)
        parts.append(
            f"{rho} times a group's own best rate costs from {_cost(cells[low])} ({low}) to {_cost(cells[high])} ({high})"
        )
    return [f"{'; '.join(parts)}."] if parts else []


def _below(groups: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    """A half of the best rate; a tenth, where that was recorded and a half never was."""
    recorded = {rho: [not row["misspecification"][rho]["interpolated"] for row in groups.values()] for rho in known}
    if "0.1" in known and all(recorded["0.1"]) and not any(recorded.get("0.5", [])):
        return ["0.1"]
    return ["0.5"] if "0.5" in known else []


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

"""What the pages of the documentation say of finished experiments: facts, answers and tables, each from its numbers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from adaptive_lr.analysis.any_rate import CLOSE, LOST
from adaptive_lr.analysis.paired import RATIO
from adaptive_lr.analysis.summary import JUDGED_RATIO
from adaptive_lr.reporting import learned_prose, prose, rate_prose, recorded_prose, search_prose, tail_prose

Numbers = Mapping[str, Any]

CLEAR = ("better", "worse", "less", "more")
"""Verdicts that are none of the unclear ones."""


def facts(experiment: Numbers) -> str:
    """How much an experiment did, and how its verdicts fall: ``9 tasks, 39 900 trials, …``."""
    studies = experiment["studies"]
    parts = [counted(len(studies), "task")]
    if experiment.get("trials"):
        parts.append(counted(experiment["trials"], "trial"))
    if experiment["kind"] == "recorded":
        runs = sum(study["runs"] for study in studies.values())
        return f"{counted(len(studies), 'set')} of runs, {counted(runs, 'run')} of others, nothing trained"
    family = experiment.get("family")
    if family and family["repetitions"]:
        parts += [
            f"n = {_ends(family['repetitions'])} repetitions",
            f"Holm's correction over {counted(family['verdicts'], 'verdict')}",
        ]
    return ", ".join(parts)


def counted(number: int, noun: str) -> str:
    """A number with thin spaces and its noun.

    >>> counted(1, "task"), counted(39900, "trial")
    ('1 task', '39 900 trials')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", " ")


def answers(experiment: Numbers) -> list[str]:
    """The answer of an experiment in a few sentences, whatever its kind; why there is none, if it was skipped."""
    if experiment.get("skipped") and experiment["kind"] == "recorded":
        return [str(experiment["skipped"])]
    kinds = {
        "grid_resolution": _grid_answers,
        "any_rate": _start_answers,
        "exponent_search": search_prose.headline,
        "tail_exponents": tail_prose.headline,
        "recorded": _recorded_answers,
    }
    if "learned" in experiment:  # whose tasks are those of another experiment, which tells the rest
        return learned_prose.headline(experiment)
    told = prose.procedure(experiment["family"]) if "family" in experiment else ""  # which `facts` tells
    return [sentence for sentence in kinds[experiment["kind"]](experiment) if sentence != told]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""A table in Markdown.

    >>> table(("task", "n"), [("a | b", "3")])
    '| task | n |\n|---|---|\n| a \\| b | 3 |'
    """
    lines = [head, *rows]
    text = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]
    return "\n".join([text[0], f"|{'---|' * len(head)}", *text[1:]])


def grid_tasks(experiment: Numbers) -> str:
    """For each task, what the other groups end with at one rate a decade against the reference and the judged group; bold where it is clear."""
    studies = experiment["studies"]
    first = next(iter(studies.values()))["answer"]
    pairs = [(comparison["damped"], comparison["against"]) for comparison in first["comparisons"]]
    head = ["task", "n", f"{_side(first['judged'])} chosen"]
    head += [f"{prose.named(against)}, against {_side(side)}" for side, against in pairs]
    head.append(f"regret of the {experiment['reference']}, of its own tuned loss")
    rows = []
    for study in studies.values():
        answer = study["answer"]
        cells = {(row["damped"], row["against"]): _end(row) for row in answer["comparisons"]}
        rows.append(
            [
                prose.study_title(study),
                str(study["repetitions"]),
                answer["chosen"][answer["judged"]],
                *(cells.get(pair, "–") for pair in pairs),
                prose.regret_percent(
                    study["schedules"][experiment["reference"]]["resolution"][JUDGED_RATIO]["regret_own"]
                ),
            ]
        )
    return table(head, rows)


def _side(side: str) -> str:
    return prose.named(side) if side in prose.NAMES else f"the {side}"


def _end(comparison: Numbers) -> str:
    gap = prose.gap(comparison["tests"]["ends"])
    return f"**{gap}**" if comparison["ends"] in CLEAR else gap


def start_contestants(experiment: Numbers) -> str:
    """Every contestant over all tasks, by its group and the mean over all starts."""
    overall = {label: row for label, row in experiment["overall"].items() if not _elsewhere(experiment, row)}
    order = sorted(overall, key=lambda label: (label != experiment["reference"], overall[label]["geometric_mean"]))
    head = (
        "started", "best start", "mean start", "worst start", "starts too high", "starts too low", "close to the oracle", "start forgotten", "both, clearly", "more steps",
    )  # fmt: skip
    rows = []
    for label in order:
        row = overall[label]
        extra = [
            study["contestants"][label]["extra_steps"]
            for study in experiment["studies"].values()
            if label in study["contestants"]
        ]
        rows.append(
            [
                f"**{label}**" if label == experiment["judged"] else label,
                *(ratio(row[f"geometric_{key}"]) for key in ("best", "mean", "worst")),
                *(ratio(row[key]) for key in ("too_high", "too_low")),
                *(f"{row[key]} of {row['studies']}" for key in ("close", "forgotten", "surely")),
                "–" if max(extra) == 0.0 else f"{_ends([f'{100.0 * end:.1f}' for end in (min(extra), max(extra))])} %",
            ]
        )
    return table(head, rows)


def area_contestants(experiment: Numbers) -> str:
    """Every contestant in every area at the tasks' own horizons: in how many tasks it is close, and its mean and worst start."""
    areas = [area for area in experiment["areas"] if area["factor"] == 1.0]
    rows = []
    for label in experiment["overall"]:
        cells = [area["contestants"].get(label) for area in areas]
        if any(cells):
            name = f"**{label}**" if label == experiment["judged"] else label
            rows.append([name, *("–" if cell is None else _area_cell(cell) for cell in cells)])
    return table(["started", *(area["area"] for area in areas)], rows)


def area_horizons(experiment: Numbers) -> str:
    """Those that ran everywhere, in every area at every horizon."""
    labels = [label for label, row in experiment["overall"].items() if not _elsewhere(experiment, row)]
    rows = [
        [rate_prose.area_title(area), *(_area_cell(area["contestants"][label]) for label in labels)]
        for area in experiment["areas"]
    ]
    return table(["tasks", *labels], rows)


def area_training(experiment: Numbers) -> str:
    """The same by the loss on training data, where it is not what is reported."""
    labels = [label for label, row in experiment["overall"].items() if not _elsewhere(experiment, row)]
    rows = [
        [rate_prose.area_title(area), *(_area_cell(area["training"][label]) for label in labels)]
        for area in experiment["areas"]
        if "training" in area
    ]
    return table(["tasks", *labels], rows)


def _area_cell(cell: Numbers) -> str:
    return f"{cell['close']} of {cell['cells']}; {rate_prose.area_losses(cell)}"


def _elsewhere(experiment: Numbers, row: Numbers) -> bool:
    """Whether a contestant was not started on all tasks, so that its means are of other tasks."""
    return bool(row["studies"] < len(experiment["studies"]))


def failures(experiment: Numbers) -> str:
    """The tasks on which the judged contestant does not end close to the oracle from every start; a sentence if there is none."""
    judged = experiment["judged"]
    rows = [
        [
            prose.study_title(study),
            rate_prose.times(row["mean"]),
            rate_prose.times(row["worst"]),
            "–" if row["lost"] is None else prose.percent(row["lost"]["worst"]),
            _least(experiment, study),
        ]
        for study in experiment["studies"].values()
        if (row := study["contestants"].get(judged)) is not None and not row["tests"]["close"]
    ]
    if not rows:
        return f"On every task of `{experiment['name']}`, {judged} ends close to the oracle from every start."
    head = (
        f"task of `{experiment['name']}`",
        f"{judged}: mean start",
        "worst start",
        "lost share at worst",
        "the least mean of all that were started",
    )
    return table(head, rows)


def _least(experiment: Numbers, study: Numbers) -> str:
    means = {label: row["mean"] for label, row in study["contestants"].items() if not row["relative"]}
    label = min(means, key=lambda label: float(means[label]["value"]))
    return f"{label}: {rate_prose.times(means[label])}"


def recorded_sets(experiment: Numbers) -> str:
    """For each set of recorded runs, the best and the worst group, at their own rates and on one coarse grid."""
    if not experiment["studies"]:
        return f"`{experiment['name']}`: {experiment['skipped']}"
    head = (
        "runs of others",
        "runs",
        "each at its own best rate, first",
        "not told apart from it",
        "last",
        "tuned on a grid of ratio",
        "nearest to the best of all",
        "furthest from it",
    )
    return table(head, [_recorded_row(study) for study in experiment["studies"].values()])


def _recorded_row(study: Numbers) -> list[str]:
    groups, first = study["groups"], study["lowest"]["label"]
    sign = -1.0 if study["direction"] == "maximize" else 1.0
    last = max(groups, key=lambda label: sign * groups[label]["best"]["value"])
    tied = "not known" if not study["lowest"]["known"] else str(len(study["lowest"]["tied"]))
    ends = [f"{label} {recorded_prose.loss(groups[label]['best'])}" for label in (first, last)]
    return [study["title"], str(study["runs"]), ends[0], tied, ends[1], *_on_a_grid(study)]


def _on_a_grid(study: Numbers) -> list[str]:
    label = recorded_prose.judged_ratio(study)
    if label is None:
        return ["–", "–", "–"]
    cells = {name: row["resolution"][label] for name, row in study["common"]["groups"].items()}
    costs = {
        name: cell["cost_mean_interpolated"]
        for name, cell in cells.items()
        if cell["cost_mean_interpolated"] is not None
    }
    ends = [function(costs, key=costs.__getitem__) for function in (min, max)]
    return [label, *(f"{name} {recorded_prose.difference(costs[name])}" for name in ends)]


def ratio(value: float | None) -> str:
    """A ratio to two or three digits.

    >>> ratio(1.0264), ratio(5.97), ratio(11.3), ratio(None)
    ('1.03', '6.0', '11', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    decimals = 2 if value < 1.995 else 1 if value < 9.95 else 0
    return f"{value:.{decimals}f}" if value < 999.5 else f"{value:.1e}"


def figure(experiment: Numbers, path: str) -> str:
    """The overview figure of an experiment, and what it shows."""
    studies = experiment["studies"]
    on = f"on {counted(len(studies), 'task')}"
    if experiment["kind"] == "any_rate":
        spans = sorted({round(math.log10(study["window"][1] / study["window"][0]), 1) for study in studies.values()})
        if rate_prose.grouped(experiment):
            text = f"The worst start of {_ends([f'{span:g}' for span in spans])} decades, {on} and horizons"
            looks = (
                f", in units of the limit of what is close to a {experiment['reference']} whose rate an oracle chose: a lost share of {100 * LOST:g} %, or {CLOSE:g} times its "
                "excess where the optimum is known. Blue: within the limit. Red: beyond it. Grey: not run."
            )
            return f"![{text}]({path})\n\n*{text}{looks}*"
        text = f"Final loss from every starting rate of {_ends([f'{span:g}' for span in spans])} decades, {on}"
        looks = f", in units of a {experiment['reference']} whose rate an oracle chose. Black: the {experiment['reference']}. Thick: {experiment['judged']}."
    else:
        repetitions = _ends(experiment["family"]["repetitions"])
        text = f"What tuning on a coarser grid of learning rates costs, {on}"
        looks = (
            f", in per cent above the {experiment['reference']} tuned on the fine grid: mean over all places where the grid may start, with 95 % intervals of "
            f"Student's t over {repetitions} repetitions."
        )
    return f"![{text}]({path})\n\n*{text}{looks}*"


def _ends(ends: Sequence[Any]) -> str:
    return f"{ends[0]}" if ends[0] == ends[-1] else f"{ends[0]} to {ends[-1]}"


def _grid_answers(experiment: Numbers) -> list[str]:
    studies = list(experiment["studies"].values())
    judged = studies[0]["answer"]["judged"]
    sentences = []
    for side in dict.fromkeys(row["damped"] for row in studies[0]["answer"]["comparisons"]):
        for against in dict.fromkeys(
            row["against"] for row in studies[0]["answer"]["comparisons"] if row["damped"] == side
        ):
            sentences.append(_compared(studies, side, against))
    chosen = Counter(study["answer"]["chosen"][judged] for study in studies)
    listed = ", ".join(f"{label} on {count}" for label, count in chosen.most_common())
    sentences.append(
        f"Of {prose.named(judged)}, {'no member is' if len(chosen) > 1 else 'one member is'} chosen everywhere: {listed}."
    )
    return [*sentences, _lower_than_reference(experiment, studies)]


def _compared(studies: Sequence[Numbers], side: str, against: str) -> str:
    rows = [
        row
        for study in studies
        for row in study["answer"]["comparisons"]
        if (row["damped"], row["against"]) == (side, against)
    ]
    ends, depends = (Counter(row[key] for row in rows) for key in ("ends", "depends"))
    ratios = sorted(1.0 + row["tests"]["ends"]["value"] for row in rows if row["tests"]["ends"]["procedure"] == RATIO)
    spread = (
        f" (where the least loss is known, {ratio(ratios[0])} to {ratio(ratios[-1])} times its loss)" if ratios else ""
    )
    name = prose.named(against)
    return (
        f"**{name[:1].upper()}{name[1:]} against {_side(side)}**: with one rate a decade it ends clearly higher on {ends['better']} of {len(rows)} tasks, "
        f"clearly lower on {ends['worse']}{spread}. The result depends clearly more on the rate on {depends['less']}, clearly less on {depends['more']}."
    )


def _lower_than_reference(experiment: Numbers, studies: Sequence[Numbers]) -> str:
    """The schedule that ends lower than the reference on the most tasks, in point estimates."""
    reference = experiment["reference"]
    losses = [
        {label: row["resolution"][JUDGED_RATIO]["loss"]["value"] for label, row in study["schedules"].items()}
        for study in studies
    ]
    counts = {label: sum(row[label] < row[reference] for row in losses) for label in losses[0] if label != reference}
    most = max(counts, key=counts.__getitem__)
    return f"With one rate a decade, {most} ends lower than the {reference} on {counts[most]} of {len(studies)} tasks, more often than any other schedule (point estimates)."


def _start_answers(experiment: Numbers) -> list[str]:
    return [*rate_prose.headline(experiment), *_peers(experiment)]


def _peers(experiment: Numbers) -> list[str]:
    relative = {
        label: row
        for label, row in experiment["overall"].items()
        if experiment["contestants"][label]["optimizer"] is not None
    }
    if not relative:
        return []
    means = sorted(row["geometric_mean"] for row in relative.values())
    return [
        f"Optimizers of other packages, each on the tasks that it took part in and from starts of its own: {ratio(means[0])} to {ratio(means[-1])} times the oracle's loss in the mean over the starts "
        f"({', '.join(sorted(relative))})."
    ]


def _recorded_answers(experiment: Numbers) -> list[str]:
    return [f"{study['title']}: {recorded_prose.answer(study)[0]}" for study in experiment["studies"].values()]

"""What to begin with, in tables of which each row names the experiment that it comes from, or says that it is judgement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adaptive_lr.analysis.advice import Question, advise
from adaptive_lr.analysis.controller_advice import which_controller
from adaptive_lr.analysis.robustness import RATIOS
from adaptive_lr.controllers import CONTROLLERS
from adaptive_lr.reporting import controller_prose
from adaptive_lr.reporting.evidence_prose import ratio, table
from adaptive_lr.reporting.recorded_prose import listed

JUDGEMENT = "*judgement*"
CONSTRUCTION = "*by construction*"

Row = Sequence[str]

DECADE = 10.0

OTHER_SCHEDULES: tuple[Row, ...] = (
    ("the length of the run is not known", "`WSD`", 'its plateau can be extended: `extend(…, how="hold")`', JUDGEMENT),
    (
        "you fine-tune and must not leave the start",
        "`Warmup` and a low peak",
        "no schedule rescues a rate that is too high by decades; [measured at three horizons](horizons.md)",
        JUDGEMENT,
    ),
    (
        "you have runs of your own",
        "what they say: `adaptive-lr advise --runs`",
        "they are of your task, the experiments are not",
        JUDGEMENT,
    ),
)
"""Rows that no experiment stands behind."""

OTHER_CONTROLLERS: tuple[Row, ...] = (
    (
        "single bad minibatches, overflows",
        "`NanRescue(then=…)` around any of them",
        "goes back to the last good copy; does not mend a rate that is far too high",
        JUDGEMENT,
    ),
    (
        "the optimizer sets its own step sizes (LBFGS, Rprop, Prodigy, schedule-free)",
        "no controller",
        "its steps cannot be shortened; `ControlledLR` refuses",
        CONSTRUCTION,
    ),
)
"""The same of controllers."""


def schedules(evidence: Mapping[str, Any]) -> str:
    """Which schedule to begin with, by situation.

    Args:
        evidence: as `adaptive_lr.analysis.evidence` gives it.
    """
    finest = min(RATIOS.values())
    situations = (
        ("you can tune the rate well", Question(finest, "any")),
        ("you can afford one rate a decade, on a convex problem", Question(DECADE, "convex")),
        ("you can afford one rate a decade, for a network", Question(DECADE, "network")),
    )
    rows = [row for words, question in situations if (row := _measured(words, question, evidence)) is not None]
    return table(("situation", "begin with", "why", "from"), [*rows, *OTHER_SCHEDULES])


def _measured(words: str, question: Question, evidence: Mapping[str, Any]) -> Row | None:
    measured = advise(question, evidence)["measured"]
    if measured is None:
        return None
    rows, first = measured["schedules"], measured["first"]
    tied = measured["not_told_apart"]
    begin = f"`{rows[first]['spec']}`" + (f", or one of those not told apart from it: {listed(tied)}" if tied else "")
    last = max(rows, key=lambda label: float(rows[label]["value"]))
    worst = max(rows, key=lambda label: float(rows[label]["worst"]))
    why = (
        f"{ratio(rows[first]['value'])} times the tuned cosine's loss in the mean over {len(measured['tasks'])} tasks, {ratio(rows[first]['worst'])} times at worst; "
        f"{last} {ratio(rows[last]['value'])} times, {'and' if worst == last else worst} {ratio(rows[worst]['worst'])} times at worst"
    )
    return words, begin, why, _named(evidence["sources"]["tasks"])


def controllers(evidence: Mapping[str, Any]) -> str:
    """Which controller to take, if any, by situation.

    Args:
        evidence: as `adaptive_lr.analysis.evidence` gives it.
    """
    advice = which_controller(evidence)
    rows = [] if advice is None else [*_recommended(advice), *_sides(advice), *_none(advice)]
    return table(("situation", "take", "why", "from"), [*rows, *OTHER_CONTROLLERS])


def _recommended(advice: Mapping[str, Any]) -> list[Row]:
    source, take, cheapest = _named(advice["source"]), advice["take"], advice["cheapest"]
    situation = "the scale of the rate is not known, or the code will run where nobody tunes it"
    if take is None:
        return [
            (situation, "no controller", controller_prose.in_short(advice).removeprefix("Controller: none. "), source)
        ]
    row, reference = advice["rows"][take], advice["rows"][advice["reference"]]
    tied = advice["not_told_apart"]
    why = (
        f"{_close(advice, take)}; mean start {ratio(row['mean'])} times the tuned {advice['reference']}, {ratio(reference['mean'])} without a controller; "
        f"{controller_prose.cost(advice, take)} more steps"
    )
    rows: list[Row] = [
        (situation, _spec(advice, take) + (f"; not told apart from it: {listed(tied)}" if tied else ""), why, source)
    ]
    if cheapest != take:
        rows.append(
            (
                "the same, with the least extra work",
                _spec(advice, cheapest),
                f"{controller_prose.cost(advice, cheapest)} more steps; {_close(advice, cheapest)}",
                source,
            )
        )
    return rows


def _sides(advice: Mapping[str, Any]) -> list[Row]:
    rows, reference = advice["rows"], advice["reference"]
    return [
        (
            f"the loss cannot be evaluated again on the same minibatch, and the rate may be {words}",
            _spec(advice, label),
            f"such starts end at {ratio(rows[label][side])} times the tuned {reference} instead of {ratio(rows[reference][side])}; "
            f"starts {controller_prose.SIDES[other]} at {ratio(rows[label][other])} instead of {ratio(rows[reference][other])}",
            _named(advice["source"]),
        )
        for side, other, words in (("too_high", "too_low", "too high"), ("too_low", "too_high", "too low"))
        if (label := advice["without_probes"][side]) is not None
    ]


def _none(advice: Mapping[str, Any]) -> list[Row]:
    if advice["take"] is None:
        return []
    tuned, failures = advice["tuned"], advice["failures"]
    ends = "" if tuned["low"] is None else f" [{tuned['low']:.2f}, {tuned['high']:.2f}]"
    better = tuned["high"] is not None and tuned["high"] < 1.0
    rows: list[Row] = [
        (
            "the rate is tuned already",
            _spec(advice, advice["take"]) if better else "no controller",
            f"from its best start {advice['take']} ends with {tuned['value']:.2f}{ends} times the loss of the tuned {advice['reference']}"
            + ("" if better else ": it protects, it does not win"),
            _named(advice["source"]),
        )
    ]
    if failures:
        tasks = controller_prose.failed_tasks(failures, " at worst")
        sources = ", ".join(_named(source) for source in dict.fromkeys(failure["source"] for failure in failures))
        rows.append(
            (
                "your problem is like one on which it fails",
                "tune the rate",
                f"{advice['take']} does not end close from every start on {tasks}",
                sources,
            )
        )
    return rows


def _close(advice: Mapping[str, Any], label: str) -> str:
    row = advice["rows"][label]
    return f"every start close to a tuned {advice['reference']} on {row['close']} of {row['studies']} tasks"


def _spec(advice: Mapping[str, Any], label: str) -> str:
    row = advice["rows"][label]
    return f"`{row['controller']}` on `{row['schedule']}`"


def _named(source: str) -> str:
    return ", ".join(f"`{name}`" for name in source.split(", "))


def untried(evidence: Mapping[str, Any]) -> str:
    """The controllers of which there is no experiment, in a sentence."""
    tried = {
        str(row["controller"]).partition("(")[0]
        for experiment in evidence["controllers"].values()
        for row in experiment["rows"].values()
    }
    names = [f"`{kind.__name__}`" for kind in CONTROLLERS if kind.__name__ not in tried and kind.__name__ != "Static"]
    if not names:
        return "Every controller is in one of the experiments."
    return f"In no experiment on starting rates yet, so that nothing is recommended of {'it' if len(names) == 1 else 'them'}: {listed(names)}. What was measured on development tasks stands on [their page](controllers.md)."


def controller(evidence: Mapping[str, Any], kind: str) -> str:
    """What the experiments say of one kind of controller with its default settings, for its entry among all controllers."""
    if kind == "Static":
        return "It changes nothing: the plain schedule that experiments compare the others with."
    lines = []
    for name, experiment in evidence["controllers"].items():
        reference = experiment["rows"][experiment["reference"]]
        for row in experiment["rows"].values():
            if str(row["controller"]).partition("(")[0] == kind and row["studies"] == len(experiment["tasks"]):
                lines.append(
                    f"In `{name}`, as `{row['controller']}` on `{row['schedule']}`: close to the tuned {experiment['reference']} from every start on {row['close']} of {row['studies']} tasks; "
                    f"mean start {ratio(row['mean'])} times its loss, {ratio(reference['mean'])} without a controller."
                )
                break
    return "\n\n".join(lines) or "In no experiment on starting rates yet."

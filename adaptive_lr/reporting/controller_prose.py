"""Which controller to take, when none, and what it costs, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adaptive_lr.analysis.any_rate import CLOSE, LOST
from adaptive_lr.reporting.recorded_prose import listed

CLOSENESS = f"{CLOSE:g} times the excess of the tuned schedule, or a lost share of {100 * LOST:g} %"
"""How far the worst start may end to count as close."""

NAMED = 3
"""So many failures are named."""

SIDES = {"too_high": "too high", "too_low": "too low"}


def in_short(controllers: Mapping[str, Any] | None) -> str:
    """The recommendation in one line."""
    if controllers is None:
        return "Controller: no experiment at hand says which."
    take = controllers["take"]
    if take is None:
        return f"Controller: none. On {controllers['studies']} tasks none lost at most half of what the {controllers['reference']} alone loses from the same starts."
    fails = f"; it was furthest off on {_task(controllers['failures'][0])}" if controllers["failures"] else ""
    return (
        f"Rate unknown by decades? {spec(controllers, take)}: {_close(controllers, take)}, for {cost(controllers, take)} more work. "
        f"{_if_tuned(controllers)}{fails}."
    )


def sentences(controllers: Mapping[str, Any] | None) -> list[str]:
    """Everything: which, as good ones, the cheapest, without probes, when none, where it fails, what it costs."""
    if controllers is None or controllers["take"] is None:
        return [in_short(controllers), *_sides(controllers)]
    take = controllers["take"]
    row, reference = controllers["rows"][take], controllers["rows"][controllers["reference"]]
    tied = controllers["not_told_apart"]
    lines = [
        f"Controllers, from {controllers['source']} ({_span(controllers['decades'])} decades of starting rates, {controllers['studies']} tasks, {_span(controllers['seeds'])} seeds): "
        f"with {spec(controllers, take)} {_close(controllers, take)}. The mean over all starts is {row['mean']:.3g} times the loss of the tuned {controllers['reference']}; "
        f"the {controllers['reference']} alone from the same starts {reference['mean']:.3g} times."
        + (f" Not told apart from it over these tasks: {listed(tied)}." if tied else ""),
        f"When not: {_if_tuned(controllers).lower()} (from its best start it ends with {_tuned(controllers)} times the tuned loss). {_failed(controllers)}",
        f"What it costs: {cost(controllers, take)} more steps"
        + (
            ", evaluations of the loss on the same minibatch, for which `step` needs a closure; and copies of the parameters."
            if controllers["probes"]
            else "; it does not evaluate the loss again."
        ),
    ]
    cheapest = controllers["cheapest"]
    if cheapest != take:
        lines.append(
            f"Cheaper: {spec(controllers, cheapest)}, {cost(controllers, cheapest)} more steps; {_close(controllers, cheapest)}."
        )
    return [*lines, *_sides(controllers)]


def spec(controllers: Mapping[str, Any], label: str) -> str:
    """What to write: ``ProgressAnchor() on DampedCosine()``."""
    row = controllers["rows"][label]
    return f"{row['controller']} on {row['schedule']}"


def cost(controllers: Mapping[str, Any], label: str) -> str:
    """Steps beyond the updates: ``2.6 to 3.1 %``."""
    low, high = (f"{100.0 * end:.1f}" for end in controllers["rows"][label]["extra_steps"])
    return f"{low} %" if low == high else f"{low} to {high} %"


def _close(controllers: Mapping[str, Any], label: str) -> str:
    row = controllers["rows"][label]
    return f"every start of {_span(controllers['decades'])} decades ended close to a tuned {controllers['reference']} on {row['close']} of {row['studies']} tasks"


def _if_tuned(controllers: Mapping[str, Any]) -> str:
    """Whether a controller is of use where the rate is tuned already."""
    tuned = controllers["tuned"]
    if tuned["high"] is not None and tuned["high"] < 1.0:
        return "It gains a little even where the rate is tuned"
    return "No controller if the rate is tuned"


def _tuned(controllers: Mapping[str, Any]) -> str:
    tuned = controllers["tuned"]
    ends = "" if tuned["low"] is None else f" [{tuned['low']:.2f}, {tuned['high']:.2f}]"
    return f"{tuned['value']:.2f}{ends}"


def _failed(controllers: Mapping[str, Any]) -> str:
    failures = controllers["failures"]
    if not failures:
        return "On no task did a start end further off than what counts as close."
    return f"From its worst start it ended beyond {CLOSENESS} on {failed_tasks(failures)} (in {listed(list(dict.fromkeys(failure['source'] for failure in failures)))})."


def failed_tasks(failures: Sequence[Mapping[str, Any]], words: str = "") -> str:
    """The tasks where it failed most, each with how far off its worst start ended, and how many more there are."""
    tasks = "; ".join(f"{_task(failure)} ({worst(failure)}{words})" for failure in failures[:NAMED])
    more = len(failures) - NAMED
    return tasks if more <= 0 else f"{tasks}; and {more} more"


def _task(failure: Mapping[str, Any]) -> str:
    return str(failure["task"])


def worst(failure: Mapping[str, Any]) -> str:
    """How far off the worst start ended: the share of the gain that it lost, or a ratio."""
    if failure["lost"] is None:
        return f"{failure['worst']:.3g} times"
    return f"{100.0 * failure['lost']:.1f} % lost"


def _sides(controllers: Mapping[str, Any] | None) -> list[str]:
    """What helps on one side where the loss cannot be evaluated again."""
    if controllers is None:
        return []
    rows = controllers["rows"]
    return [
        f"Where the loss of a minibatch cannot be evaluated again, and the rate may be {words}: {spec(controllers, label)}, {rows[label][side]:.3g} times the tuned loss from such starts, "
        f"{rows[controllers['reference']][side]:.3g} times without."
        for side, words in SIDES.items()
        if (label := controllers["without_probes"][side]) is not None
    ]


def _span(ends: Sequence[float]) -> str:
    return f"{ends[0]:g}" if ends[0] == ends[1] else f"{ends[0]:g} to {ends[1]:g}"

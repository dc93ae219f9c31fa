"""Sentences about what a search found, and how to go on with it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from typing import Any

from adaptive_lr.search import SearchResult, TrialRecord
from adaptive_lr.search.space import Axis

EDGE = 0.02
"""A best value within this share of its range from an end of it is called at the edge."""

WORDS = {"minimize": "least", "maximize": "greatest"}


def shown(value: object) -> str:
    """A value to six significant digits.

    >>> shown(0.123456789), shown(float("-inf")), shown("adamw"), shown(True)
    ('0.123457', '−∞', 'adamw', 'True')
    """
    if not isinstance(value, float):
        return str(value)
    text = f"{value:.6g}"
    return {"inf": "∞", "-inf": "−∞"}.get(text, text)


def point(trial: TrialRecord) -> str:
    """The values that were chosen, with their names."""
    return ", ".join(f"{name} = {shown(value)}" for name, value in trial.point.items())


def duration(seconds: float) -> str:
    """A time as it is said.

    >>> duration(0.0001), duration(0.42), duration(75.0), duration(7300.0)
    ('< 1 ms', '0.42 s', '1 min 15 s', '2 h 1 min')
    """
    if not seconds < 60.0:
        minutes, remainder = divmod(round(seconds), 60)
        return f"{minutes} min {remainder} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
    return f"{seconds:.2g} s" if seconds >= 0.001 else "< 1 ms"


def answers(result: SearchResult, ranked: list[TrialRecord], best: list[TrialRecord], verdict: str | None) -> list[str]:
    """The answer: what is best, how many trials that took, and what to think of it.

    Args:
        result: of the search.
        ranked: the trials with values, the best first.
        best: the Pareto front, which is the best trial if there is one objective.
        verdict: of a comparison on other seeds.
    """
    counts = {state: sum(trial.state == state for trial in result.trials) for state in ("complete", "pruned", "failed")}
    did = (
        f"Of {_many(len(result.trials), 'trial')}, {counts['complete']} ran to the end, {counts['pruned']} stopped early, "
        f"{counts['failed']} failed; together {duration(sum(trial.seconds for trial in result.trials))} of work."
    )
    notes = [f"{note[:1].upper()}{note[1:]}." for note in result.notes]
    if not best:
        return ["No trial is complete with a value, so there is no best one.", did, *notes]
    if len(result.directions) > 1:
        words = " and ".join(
            f"the {WORDS[direction]} objective {number}" for number, direction in enumerate(result.directions, 1)
        )
        sentences = [
            f"In looking for {words}, {_many(len(best), 'trial')} of {len(ranked)} cannot be beaten: the Pareto front.",
            did,
        ]
    else:
        sentences = [_best(result, best[0]), did, _since(ranked, best[0])]
    if verdict is not None:
        sentences.append(verdict)
    elif len(ranked) > 1:
        sentences.append(
            "The trials were chosen by the values that are shown, so the best of them flatter themselves where runs are "
            "noisy: run them with seeds that the search did not see before comparing them with anything."
        )
    edges = [] if len(result.directions) > 1 else _edges(result, best[0])
    if edges:
        sentences.append(f"At the edge of the range: {', '.join(edges)}. A better value may lie outside.")
    return [*sentences, *notes]


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _best(result: SearchResult, best: TrialRecord) -> str:
    runs = [value for value in best.by_seed if math.isfinite(value)]
    spread = f", the mean of {len(runs)} seeds from {shown(min(runs))} to {shown(max(runs))}" if len(runs) > 1 else ""
    return f"The {WORDS[result.directions[0]]} value is {shown(best.values[0])}{spread}, at {point(best)} (trial {best.number})."


def _since(ranked: list[TrialRecord], best: TrialRecord) -> str:
    later = sum(trial.number > best.number for trial in ranked)
    return (
        f"{_many(later, 'complete trial')} after it found nothing better."
        if later
        else "It is the last complete trial."
    )


def _edges(result: SearchResult, best: TrialRecord) -> list[str]:
    """The names whose best value is at an end of the range."""
    edges = []
    for name, axis in result.space.axes.items():
        value = best.point[name]
        if not axis.choices and isinstance(value, int | float):
            position = _position(axis, float(value))
            near = EDGE if not axis.integer else 1e-9
            if not near < position < 1.0 - near:
                end = axis.low if position < 0.5 else axis.high
                edges.append(f"{name} = {shown(value)} ({'lowest' if position < 0.5 else 'highest'} {shown(end)})")
    return edges


def _position(axis: Axis, value: float) -> float:
    if axis.log:
        return (math.log(value) - math.log(axis.low)) / (math.log(axis.high) - math.log(axis.low))
    return (value - axis.low) / (axis.high - axis.low)


def again(result: SearchResult) -> list[str]:
    """Commands: to go on with the search, and to look into it."""
    more, identity = len(result.trials) - result.skipped + 20, _identity(result)
    folder = shlex.quote(str(result.directory))
    if "task" in identity:
        go_on = f"search_shapes(shapes, trials={more}, directory=Path({str(result.directory)!r}), store=store, …)"
    else:
        go_on = f"adaptive-lr search MODULE:NAME --space SPACE --trials {more} --directory {folder}{_options(identity)}"
    return [go_on, f"optuna-dashboard {shlex.quote(result.storage)}"]


def _options(identity: Mapping[str, Any]) -> str:
    """What has to be said again, since it is not what it would be by default."""
    usual = {"sampler": "tpe", "seed": 0, "seeds": 1, "pruner": None, "in_flight": 8}
    changed = {name: identity[name] for name, default in usual.items() if identity.get(name, default) != default}
    directions = identity.get("directions", ["minimize"])
    options = [] if directions == ["minimize"] else [f" --direction {direction}" for direction in directions]
    return "".join([*options, *(f" --{name.replace('_', '-')} {value}" for name, value in changed.items())])


def _identity(result: SearchResult) -> dict[str, Any]:
    """What the directory says about its search; nothing if it is gone."""
    try:
        read = json.loads((result.directory / "search.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def choices(axis: Axis) -> str:
    """What may be chosen, in words.

    >>> choices(Axis(low=0.001, high=1.0, log=True)), choices(Axis(choices=("sgd", "adamw")))
    ('0.001 to 1, logarithmic', 'one of sgd, adamw')
    """
    if axis.choices:
        return f"one of {', '.join(map(str, axis.choices))}"
    extras = [word for word, holds in (("whole numbers", axis.integer), ("logarithmic", axis.log)) if holds]
    return ", ".join([f"{shown(axis.low)} to {shown(axis.high)}", *extras])

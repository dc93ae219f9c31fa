"""Schedules from words, as on a command line: ``damped_cosine exponent=2 warmup=0.05 wsd cooldown=0.1``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import SCHEDULES, AbstractSchedule, Warmup
from adaptive_lr.spec import decode, lookup

ALIASES = {"cosine": "damped_cosine"}
"""Other names under which a schedule is found."""


def parse_schedules(words: Sequence[str]) -> dict[str, AbstractSchedule]:
    """Schedules by label, from names that are each followed by ``field=value``.

    ``warmup=0.05`` (a fraction) or ``warmup=500`` (steps, from 1 on) puts a warm-up before any schedule.

    Raises:
        SpecError: a name or field is unknown, or a value is not allowed.

    >>> parse_schedules(["cosine", "wsd", "cooldown=0.1", "warmup=0.05"])["wsd cooldown=0.1 warmup=0.05"]
    Warmup(then=WSD(cooldown=0.1), fraction=0.05)
    """
    grouped: list[list[str]] = []
    for word in words:
        if "=" not in word:
            grouped.append([word])
        elif grouped:
            grouped[-1].append(word)
        else:
            raise SpecError(f"{word!r} stands before any schedule: begin with a name such as damped_cosine")
    return {" ".join(group): _parse(group[0], group[1:]) for group in grouped}


def _parse(name: str, settings: Sequence[str]) -> AbstractSchedule:
    kinds = {one.kind: one for one in SCHEDULES if not _holds_others(one)}
    if name == Warmup.kind:
        raise SpecError("write warmup=0.05 (a fraction) or warmup=500 (steps) after another schedule")
    if name in {one.kind for one in SCHEDULES} - set(kinds):
        raise SpecError(f"a {name} is made of other schedules: make it in Python, here only warmup=… can be said")
    kind = ALIASES.get(name) or lookup(name, [*kinds, *ALIASES], "schedule")
    given = [one.partition("=")[0] for one in settings]
    if repeated := {key for key in given if given.count(key) > 1}:
        raise SpecError(f"{name} has {sorted(repeated)[0]} twice")
    fields = {key: _value(text) for key, _, text in (one.partition("=") for one in settings)}
    lookup("kind" if "kind" in fields else name, [name], f"field of {name}")
    warmup = fields.pop("warmup", None)
    for field in _holding_many(kinds[kind]):
        if isinstance(fields.get(field), float):
            fields[field] = (fields[field],)
    found = decode({"kind": kind, **fields}, kinds.values())
    assert isinstance(found, AbstractSchedule)
    if warmup is None:
        return found
    if isinstance(warmup, int | float) and warmup >= 1:
        return Warmup(steps=warmup, then=found)  # type: ignore[arg-type]  # a fraction of a step is refused there
    return Warmup(fraction=warmup, then=found)


def _holds_others(schedule: type[AbstractSchedule]) -> bool:
    return any({"component", "components"} & item.metadata.keys() for item in fields(schedule))  # type: ignore[arg-type]


def _holding_many(schedule: type[AbstractSchedule]) -> list[str]:
    return [item.name for item in fields(schedule) if item.metadata.get("many")]  # type: ignore[arg-type]


def _value(text: str) -> Any:
    if text[:1] in ("(", "[") and text[-1:] in (")", "]"):  # as Python prints a tuple
        return tuple(_value(part.strip()) for part in text[1:-1].rstrip(", ").split(","))
    if "," in text:
        return tuple(_value(part) for part in text.split(","))
    try:
        return float(text)
    except ValueError:
        return text

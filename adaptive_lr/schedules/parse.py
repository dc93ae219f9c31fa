"""Schedules from words, as on a command line: ``damped_cosine exponent=2 warmup=0.05 wsd cooldown=0.1``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import SCHEDULES, AbstractSchedule, Warmup
from adaptive_lr.spec import Spec, decode, lookup

S = TypeVar("S", bound=Spec)

ALIASES = {"cosine": "damped_cosine"}
"""Other names under which a schedule is found."""


def split_words(text: str) -> list[str]:
    """The words of a text as a shell would have them.

    Raises:
        SpecError: a quote is not closed, or the text ends with a backslash.

    >>> split_words("wsd cooldown=0.1"), split_words("points 'values=(1, 0)'")
    (['wsd', 'cooldown=0.1'], ['points', 'values=(1, 0)'])
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SpecError(f"cannot split {text!r} into words: {str(error).lower()}") from None


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


def parse_spec(words: Sequence[str], kinds: Iterable[type[S]], what: str) -> S:
    """A spec from its name and ``field=value``, for specs that hold no others.

    Args:
        words: the name first.
        kinds: what it may be.
        what: a word for them.

    Raises:
        SpecError: there is no name, it or a field is unknown, or a value is not allowed.

    >>> parse_spec(["damped_cosine", "k=2"], SCHEDULES, "schedule")
    DampedCosine(k=2)
    """
    if not words:
        raise SpecError(f"the {what} has no name")
    by_name = {kind.kind: kind for kind in kinds}
    return _made(by_name[lookup(words[0], by_name, what)], _fields(words[0], words[1:]))


def _parse(name: str, settings: Sequence[str]) -> AbstractSchedule:
    kinds = {schedule.kind: schedule for schedule in SCHEDULES if not _holds_others(schedule)}
    if name == Warmup.kind:
        raise SpecError("write warmup=0.05 (a fraction) or warmup=500 (steps) after another schedule")
    if name in {schedule.kind for schedule in SCHEDULES} - set(kinds):
        raise SpecError(f"a {name} is made of other schedules: make it in Python, here only warmup=… can be said")
    kind = ALIASES.get(name) or lookup(name, [*kinds, *ALIASES], "schedule")
    values = _fields(name, settings)
    warmup = values.pop("warmup", None)
    schedule = _made(kinds[kind], values)
    if warmup is None:
        return schedule
    if isinstance(warmup, int | float) and warmup >= 1:
        return Warmup(steps=warmup, then=schedule)  # type: ignore[arg-type]  # a fraction of a step is refused there
    return Warmup(fraction=warmup, then=schedule)


def _fields(name: str, settings: Sequence[str]) -> dict[str, Any]:
    pairs = [setting.partition("=") for setting in settings]
    keys = [key for key, _, _ in pairs]
    if repeated := {key for key in keys if keys.count(key) > 1}:
        raise SpecError(f"{name} has {sorted(repeated)[0]} twice")
    lookup("kind" if "kind" in keys else name, [name], f"field of {name}")
    return {key: _value(text) for key, _, text in pairs}


def _made(kind: type[S], arguments: Mapping[str, Any]) -> S:
    many = _holding_many(kind)
    values = {key: (value,) if key in many and isinstance(value, float) else value for key, value in arguments.items()}
    made = decode({"kind": kind.kind, **values}, [kind])
    assert isinstance(made, kind)
    return made


def _holds_others(kind: type[Spec]) -> bool:
    return any({"component", "components"} & item.metadata.keys() for item in fields(kind))  # type: ignore[arg-type]


def _holding_many(kind: type[Spec]) -> list[str]:
    return [item.name for item in fields(kind) if item.metadata.get("many")]  # type: ignore[arg-type]


def _value(text: str) -> Any:
    ends = text[:1] + text[-1:]
    if len(text) > 1 and ends in ("()", "[]"):  # as Python prints a tuple
        return _parts(text[1:-1].rstrip(", "))
    return _parts(text) if "," in text else _scalar(text)


def _parts(text: str) -> tuple[Any, ...]:
    """Numbers between commas; none holds others, so nothing here goes deeper."""
    return tuple(_scalar(part.strip()) for part in text.split(",")) if text else ()


def _scalar(text: str) -> Any:
    if "_" in text:  # Python would read 1_000 as a number, nobody else does
        return text
    try:
        return float(text)
    except ValueError:
        return text

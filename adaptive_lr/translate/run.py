"""The arguments of another library's scheduler: which there are, whether their values are legal, and what they mean here."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import AbstractSchedule, Plateau
from adaptive_lr.schedules.base import checked_steps
from adaptive_lr.spec import NUMBERS, Domain, lookup

Translator = Callable[..., AbstractSchedule]
"""Takes a `Run` and then, by keyword, the arguments of the foreign scheduler under their own names."""


@dataclass(frozen=True)
class Run:
    """What a translation is for: a foreign scheduler by name, the number of updates, and the optimizer's rate if it is known."""

    name: str
    total_steps: int
    base_lr: float | None = None

    def number(self, argument: str, value: Any, domain: str) -> float:
        """``value`` as a float, if it is a number inside ``domain``.

        Raises:
            SpecError: it is not.
        """
        if isinstance(value, bool) or not isinstance(value, NUMBERS):
            raise SpecError(f"{self.name}.{argument} must be one number, got {value!r}")
        if not Domain.parse(domain).contains(float(value)):
            raise SpecError(f"{self.name}.{argument} must lie in {domain}, got {value!r}")
        return float(value)

    def integer(self, argument: str, value: Any, least: int = 0) -> int:
        """``value`` as an integer, if it is a whole number of at least ``least``.

        Raises:
            SpecError: it is not.
        """
        checked = self.number(argument, value, f"[{least}, inf)")
        if not checked.is_integer():
            raise SpecError(f"{self.name}.{argument} must be a whole number, got {value!r}")
        return int(checked)

    def word(self, argument: str, value: Any, options: tuple[str, ...]) -> str:
        """``value``, if it is one of ``options``; otherwise a `SpecError`."""
        return lookup(str(value), options, f"{argument} of {self.name}")

    def level(self, argument: str, value: Any) -> float:
        """A learning rate as a multiple of the optimizer's; 0 needs no `base_lr`.

        Raises:
            SpecError: the optimizer's rate is not known, or the multiple does not lie in [0, 1].
        """
        rate = self.number(argument, value, "[0, inf)")
        if rate == 0.0:
            return 0.0
        if self.base_lr is None:
            raise SpecError(f"{self.name}.{argument} is a learning rate: give base_lr, that of the optimizer, as well")
        base = self.number("base_lr", self.base_lr, "(0, inf)")
        if rate > base:
            raise SpecError(
                f"{self.name}.{argument} must be at most base_lr={base:g}, got {value!r}: a multiplier is at most 1, so give "
                "the optimizer the highest rate"
            )
        return rate / base

    def refuse(self, argument: str, reason: str) -> SpecError:
        """The error for an argument that has no translation."""
        return SpecError(f"{self.name}.{argument} cannot be translated: {reason}")


@dataclass(frozen=True)
class Library:
    """The schedulers of one library.

    Attributes:
        title: its name.
        translators: by every name under which a scheduler is known there.
        refused: why the others cannot be translated.
        inert: arguments that change no multiplier as long as they have one of these values; None stands for any value.
    """

    title: str
    translators: Mapping[str, Translator]
    refused: Mapping[str, str]
    inert: Mapping[str, tuple[Any, ...] | None]

    def translated(self, run: Run, arguments: Mapping[str, Any]) -> AbstractSchedule:
        """The schedule of ``run.total_steps`` updates for a scheduler and its arguments.

        Raises:
            SpecError: the name or an argument is unknown, missing or cannot be translated, or a value is not allowed.
        """
        checked_steps(run.total_steps)
        lookup(run.name, [*self.translators, *self.refused], f"scheduler of {self.title}")
        if run.name in self.refused:
            raise SpecError(f"{run.name} cannot be translated: {self.refused[run.name]}")
        translator = self.translators[run.name]
        parameters = [
            parameter
            for parameter in inspect.signature(translator).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
        ]
        own = {parameter.name for parameter in parameters}
        known = own | self.inert.keys()
        meant = {
            name: value for name, value in arguments.items() if lookup(name, known, f"argument of {run.name}") in own
        }
        self._check_inert(run, {name: value for name, value in arguments.items() if name not in own})
        for parameter in parameters:
            if parameter.default is parameter.empty and parameter.name not in meant:
                raise SpecError(f"{run.name} needs the argument {parameter.name!r}")
        schedule = translator(run, **meant)
        schedule.resolve(run.total_steps)  # raises what would otherwise be raised when the run begins
        return schedule

    def _check_inert(self, run: Run, arguments: Mapping[str, Any]) -> None:
        for name, value in arguments.items():
            allowed = self.inert[name]
            if allowed is not None and value not in allowed:
                raise run.refuse(name, f"only {allowed[0]!r} changes nothing, got {value!r}")


def plateau(run: Run, *, min_lr: Any, eps: Any = 1e-8, **rule: Any) -> Plateau:
    """`Plateau` from the arguments of PyTorch's ``ReduceLROnPlateau``, with its default ``eps`` or none."""
    if eps not in (0, 1e-8):
        raise run.refuse(
            "eps", f"a reduction is made however small it is, got {eps!r}; the default of 1e-8 is let pass"
        )
    rule["factor"] = run.number("factor", rule["factor"], "(0, 1)")
    for name in ("patience", "cooldown"):
        rule[name] = run.integer(name, rule[name])
    run.number("threshold", rule["threshold"], "[0, inf)")
    run.word("mode", rule["mode"], ("min", "max"))
    run.word("threshold_mode", rule["threshold_mode"], ("rel", "abs"))
    return Plateau(floor=run.level("min_lr", min_lr), **rule)


def is_whole(value: float) -> bool:
    """Whether a length is a whole number of steps."""
    return math.isfinite(value) and value == int(value)

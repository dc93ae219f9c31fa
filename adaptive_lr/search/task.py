"""One run of the user's function: what is sent to a worker, and what comes back. Nothing heavy is imported here."""

from __future__ import annotations

import hashlib
import json
import math
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from types import GeneratorType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from adaptive_lr.search.space import Point, Value
    from adaptive_lr.spec import Spec

    S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class SearchTrial(Mapping[str, Any]):
    """What the function is called with: ``trial["lr"]``, ``trial.seed``, ``trial.number``.

    Attributes:
        point: the chosen values by name.
        seed: for every random number of the run; points are compared under the same seeds.
        number: of the trial, from 0.
    """

    point: Point
    seed: int
    number: int

    def __getitem__(self, name: str) -> Any:
        try:
            return self.point[name]
        except KeyError:
            raise KeyError(f"the search space has no {name!r}; it has {', '.join(self.point)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.point)

    def __len__(self) -> int:
        return len(self.point)

    def apply(self, spec: S, prefix: str = "") -> S:
        """The spec with those of its numbers that the point names, under ``prefix.`` if one is given.

        >>> from adaptive_lr import DampedCosine
        >>> SearchTrial({"lr": 0.1, "exponent": 2.0}, 0, 0).apply(DampedCosine())
        DampedCosine(exponent=2)
        """
        start = f"{prefix}." if prefix else ""
        leaves = {name: self.point[start + name] for name in spec.leaves() if start + name in self.point}
        return spec.with_leaves(leaves)  # type: ignore[arg-type]  # the spec checks that they are numbers


@dataclass(frozen=True, kw_only=True)
class Task:
    """A run: the function and everything that its result depends on.

    Attributes:
        function: pickled by value or by name.
        trial: what it is called with.
        objectives: how many numbers it must give.
        cuts: after ``step`` yields the run ends unless its value is as good as ``bound``: pairs ``(step, bound)``.
        maximise: whether more is better.
    """

    function: bytes
    trial: SearchTrial
    objectives: int = 1
    cuts: tuple[tuple[int, float], ...] = ()
    maximise: bool = False

    @property
    def key(self) -> str:
        """The identity of the run: its point and its seed."""
        return digest(self.trial.point, self.trial.seed)

    def run(self) -> Outcome:
        """Do it."""
        return run_task(self)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run gave.

    Attributes:
        values: one for each objective; none if it failed.
        curve: what a generator yielded.
        pruned: whether it was ended early; ``values`` is then the last one it yielded.
        seconds: how long it took.
        error: why it failed, in a line.
        traceback: where.
    """

    values: tuple[float, ...] = ()
    curve: tuple[float, ...] = ()
    pruned: bool = False
    seconds: float = 0.0
    error: str | None = None
    traceback: str | None = None

    def encoded(self) -> str:
        """JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def decoded(cls, text: str) -> Outcome:
        """What `encoded` wrote."""
        data = json.loads(text)
        return cls(**data | {"values": tuple(data["values"]), "curve": tuple(data["curve"])})


def digest(point: Mapping[str, Value], seed: int) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of a point and a seed."""
    text = json.dumps({"point": dict(point), "seed": seed}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def run_task(task: Task) -> Outcome:
    """Call the function; whatever it does wrong is in the outcome."""
    started = time.perf_counter()
    curve: list[float] = []
    try:
        values, pruned = _called(task, curve)
        return Outcome(values=values, curve=tuple(curve), pruned=pruned, seconds=time.perf_counter() - started)
    except _BadResultError as problem:
        where = None
        reason = str(problem)
    except (Exception, SystemExit) as error:
        where = traceback.format_exc()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
    return Outcome(curve=tuple(curve), seconds=time.perf_counter() - started, error=reason, traceback=where)


class _BadResultError(Exception):
    """The function ended, with something that is no result."""


@lru_cache(maxsize=8)
def _unpickled(function: bytes) -> Any:
    import cloudpickle

    return cloudpickle.loads(function)


def _called(task: Task, curve: list[float]) -> tuple[tuple[float, ...], bool]:
    found = _unpickled(task.function)(task.trial)
    if not isinstance(found, GeneratorType):
        return _values(found, task.objectives, "returned"), False
    if task.objectives > 1:
        raise _BadResultError("is a generator, which can have one objective only: return a tuple instead")
    cuts = dict(task.cuts)
    try:
        for one in found:
            (value,) = _values(one, 1, "yielded")
            curve.append(value)
            bound = cuts.get(len(curve))
            if bound is not None and (value < bound if task.maximise else value > bound):
                return (value,), True
    finally:
        found.close()
    if not curve:
        raise _BadResultError("ended without a value: yield the loss at least once, the last one counts")
    return (curve[-1],), False


def _values(found: Any, objectives: int, verb: str) -> tuple[float, ...]:
    if objectives == 1:
        return (_number(found, verb),)
    if isinstance(found, str) or not isinstance(found, Sequence) or len(found) != objectives:
        raise _BadResultError(
            f"{verb} {_shown(found)}: with {objectives} objectives it must return a tuple of {objectives}"
        )
    return tuple(_number(one, verb) for one in found)


def _number(found: Any, verb: str) -> float:
    if found is None:
        raise _BadResultError(f"{verb} None: it must return the loss as a number, or yield it")
    if isinstance(found, bool | str | bytes):
        raise _BadResultError(f"{verb} {_shown(found)}, which is no number")
    try:
        value = float(found)
    except (TypeError, ValueError, RuntimeError):
        raise _BadResultError(f"{verb} {_shown(found)}, which is no number") from None
    if math.isnan(value):
        raise _BadResultError(f"{verb} nan: return math.inf for a run that diverged")
    return value


def _shown(found: Any) -> str:
    text = repr(found)
    return text if len(text) <= 80 else f"{text[:77]}..."

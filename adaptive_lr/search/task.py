"""One run of the user's function: what is sent to a worker, and what comes back. Nothing heavy is imported here."""

from __future__ import annotations

import hashlib
import json
import math
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from types import GeneratorType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from adaptive_lr.search.space import Point, Value
    from adaptive_lr.spec import Spec

    S = TypeVar("S", bound=Spec)


class _Watched(dict[str, "Value"]):
    """A point that notes which of its values were asked for, and the numbers of the specs that it was applied to."""

    def __init__(self, point: Point) -> None:
        super().__init__(point)
        self.read: set[str] = set()
        self.leaves: list[str] = []

    def __getitem__(self, name: str) -> Value:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)

    def __iter__(self) -> Iterator[str]:
        self.read |= super().keys()
        return super().__iter__()

    def keys(self) -> Any:
        self.read |= super().keys()
        return super().keys()

    def values(self) -> Any:
        self.read |= super().keys()
        return super().values()

    def items(self) -> Any:
        self.read |= super().keys()
        return super().items()

    def unread(self) -> tuple[str, ...]:
        return tuple(name for name in dict.keys(self) if name not in self.read)


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

        A number inside of a part has the name of the part before it: ``then.exponent`` for a warm-up's schedule. A run in which
        nothing reads the ``exponent`` of the space, while a spec has a ``then.exponent``, fails and says so.

        >>> from adaptive_lr import DampedCosine
        >>> SearchTrial({"lr": 0.1, "exponent": 2.0}, 0, 0).apply(DampedCosine())
        DampedCosine(exponent=2)
        """
        start = f"{prefix}." if prefix else ""
        names = [start + name for name in spec.leaves()]
        if isinstance(self.point, _Watched):
            self.point.leaves += names
        leaves = {name.removeprefix(start): self.point[name] for name in names if name in self.point}
        return spec.with_leaves(leaves)  # type: ignore[arg-type]  # the spec checks that they are numbers


@dataclass(frozen=True, kw_only=True)
class Task:
    """A run: the function and everything that its result depends on.

    Attributes:
        function: as `adaptive_lr.search.sent` packs it.
        trial: what it is called with.
        maximised: whether more is better, for each of the numbers that it must give.
        cuts: after ``step`` yields the run ends unless its value is as good as ``bound``: pairs ``(step, bound)``.
    """

    function: bytes
    trial: SearchTrial
    maximised: tuple[bool, ...] = (False,)
    cuts: tuple[tuple[int, float], ...] = ()

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
        unread: the names of the space that it did not look at.
    """

    values: tuple[float, ...] = ()
    curve: tuple[float, ...] = ()
    pruned: bool = False
    seconds: float = 0.0
    error: str | None = None
    traceback: str | None = None
    unread: tuple[str, ...] = ()

    def encoded(self) -> str:
        """JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def decoded(cls, text: str) -> Outcome:
        """What `encoded` wrote."""
        data = json.loads(text)
        return cls(**data | {name: tuple(data.get(name, ())) for name in ("values", "curve", "unread")})


def digest(point: Mapping[str, Value], seed: int) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of a point and a seed."""
    text = json.dumps({"point": dict(point), "seed": seed}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def run_task(task: Task, function: Callable[[SearchTrial], Any] | None = None) -> Outcome:
    """Call the function; whatever it does wrong is in the outcome.

    Args:
        task: the run.
        function: what to call; by default what the task carries.
    """
    started = time.perf_counter()
    curve: list[float] = []
    watched = _Watched(task.trial.point)
    trial = SearchTrial(watched, task.trial.seed, task.trial.number)
    values, pruned, reason, where = tuple[float, ...](), False, None, None
    try:
        values, pruned = _called(function or _received(task.function), trial, task, curve)
        _refuse_misnamed(watched)
    except _BadResultError as problem:
        values, reason = (), str(problem)
    except (Exception, SystemExit) as error:
        where = traceback.format_exc()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
    return Outcome(
        values=values,
        curve=tuple(curve),
        pruned=pruned and reason is None,
        seconds=time.perf_counter() - started,
        error=reason,
        traceback=where,
        unread=watched.unread(),
    )


class _BadResultError(Exception):
    """The function ended, with something that is no result."""


@lru_cache(maxsize=8)
def _received(function: bytes) -> Any:
    from adaptive_lr.search.sent import received

    return received(function)


def _called(
    function: Callable[[SearchTrial], Any], trial: SearchTrial, task: Task, curve: list[float]
) -> tuple[tuple[float, ...], bool]:
    output = function(trial)
    if not isinstance(output, GeneratorType):
        return _values(output, task.maximised, "returned"), False
    if len(task.maximised) > 1:
        raise _BadResultError("is a generator, which can have one objective only: return a tuple instead")
    cuts, (maximise,) = dict(task.cuts), task.maximised
    try:
        while True:
            try:
                item = next(output)
            except StopIteration as end:
                if end.value is not None:  # what is returned after the last yield is what the run came to
                    return (_number(end.value, maximise, "returned"),), False
                break
            value = _number(item, maximise, "yielded")
            curve.append(value)
            bound = cuts.get(len(curve))
            if bound is not None and (value < bound if maximise else value > bound):
                return (value,), True
    finally:
        output.close()
    if not curve:
        raise _BadResultError("ended without a value: yield the loss at least once, the last one counts")
    return (curve[-1],), False


def _refuse_misnamed(point: _Watched) -> None:
    """Refuse a run that left a number of the space unread, while a spec that the point was applied to has it by a longer name.

    Raises:
        _BadResultError: it did.
    """
    for name in point.unread():
        last = name.rpartition(".")[2]
        meant = [leaf for leaf in dict.fromkeys(point.leaves) if leaf.rpartition(".")[2] == last]
        if meant:
            raise _BadResultError(
                f"left {name!r} of the search space unread: apply() looked for {', '.join(dict.fromkeys(point.leaves))}; "
                f"did you mean {meant[0]!r}?"
            )


def _values(output: Any, maximised: tuple[bool, ...], verb: str) -> tuple[float, ...]:
    if len(maximised) == 1:
        return (_number(output, maximised[0], verb),)
    if isinstance(output, str) or not isinstance(output, Sequence) or len(output) != len(maximised):
        raise _BadResultError(
            f"{verb} {_shown(output)}: with {len(maximised)} objectives it must return a tuple of {len(maximised)}"
        )
    return tuple(_number(number, more, verb) for number, more in zip(output, maximised, strict=True))


def _number(output: Any, maximise: bool, verb: str) -> float:
    if output is None:
        raise _BadResultError(f"{verb} None: it must return the loss as a number, or yield it")
    if isinstance(output, bool | str | bytes):
        raise _BadResultError(f"{verb} {_shown(output)}, which is no number")
    try:
        value = float(output)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise _BadResultError(f"{verb} {_shown(output)}, which is no number") from None
    worst = "-math.inf" if maximise else "math.inf"
    if math.isnan(value):
        raise _BadResultError(f"{verb} nan: return {worst} for a run that diverged")
    if value == (math.inf if maximise else -math.inf):
        word = "maximised" if maximise else "minimised"
        raise _BadResultError(f"{verb} {value}, the best there can be when it is {word}: return {worst} if it diverged")
    return value


def _shown(output: Any) -> str:
    text = repr(output)
    return text if len(text) <= 80 else f"{text[:77]}..."

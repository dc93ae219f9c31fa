"""Which hyperparameter of which parameter group follows which schedule, and the multipliers of the coming steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.schedulers.horizon import Horizon
from adaptive_lr.schedulers.hyperparameters import Group, checked, memory_of, read
from adaptive_lr.schedules.base import LANES, WIDTH, AbstractSchedule, multipliers
from adaptive_lr.schedules.reactive import same_curve, with_memory


@dataclass(eq=False)
class Track:
    """One schedule of one hyperparameter. Multipliers are computed a block of steps at a time, so T costs nothing."""

    key: str
    original: AbstractSchedule
    horizon: Horizon
    resolved: AbstractSchedule
    start: int = 0
    values: list[float] = field(default_factory=list)

    @property
    def schedule(self) -> AbstractSchedule:
        """As it was given, with what its metric-driven parts have seen since."""
        return with_memory(self.original, self.resolved)

    def follow(self, horizon: Horizon, schedule: AbstractSchedule, resolved: AbstractSchedule) -> None:
        """Go on with another horizon or another memory."""
        self.horizon, self.original, self.resolved, self.values = horizon, schedule, resolved, []

    def observe(self, metric: float, step: int) -> None:
        """Show a metric to the parts that are driven by it."""
        before = self.resolved
        self.resolved = before.observed(metric, self.horizon.at(step))
        if not same_curve(before, self.resolved):
            self.values = []

    def multiplier(self, step: int) -> float:
        """The multiplier at a step; past the end that of the end."""
        index = max(step, 0) - self.start
        if not 0 <= index < len(self.values):
            self._evaluate(max(step, 0))
            index = max(step, 0) - self.start
        return self.values[index]

    def _evaluate(self, step: int) -> None:
        start = step // WIDTH * WIDTH
        count = min(WIDTH, self.horizon.end + LANES - start) if step <= self.horizon.end else WIDTH
        row = multipliers([self.resolved], self.horizon.progress(start, count))[0]
        if not bool((row.isfinite() & (row >= 0.0)).all()):
            step = start + int((~(row.isfinite() & (row >= 0.0))).to(row.dtype).argmax())
            raise SpecError(f"{self.schedule!r} is not finite and >= 0 at step {step}, so it cannot be followed")
        self.start, self.values = start, row.tolist()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"values": []}


@dataclass(eq=False)
class Member:
    """A parameter group: its base values, the tracks they follow, and what was last written into it, each by hyperparameter.

    Attributes:
        group: the optimizer's own dictionary.
        bases: of every number that is scheduled, and of ``lr`` in any case.
        tracks: for the numbers that are scheduled.
        planned: whether it was there at construction.
        written: None of a dictionary that nothing was written into yet.
    """

    group: Group
    bases: dict[str, float]
    tracks: dict[str, Track]
    planned: bool = True
    written: dict[str, float] = field(default_factory=dict)
    constructed: dict[str, float] = field(default_factory=dict)

    def set_base(self, key: str, base: float) -> None:
        """Follow from another base value, which also stands in the group, for whoever builds a scheduler on it later."""
        self.bases[key] = self.group[f"initial_{key}"] = base


def members_of(plan: Sequence[dict[str, AbstractSchedule]], groups: Sequence[Group], horizon: Horizon) -> list[Member]:
    """The groups with their schedules; those in which the same number follows the same schedule share a track."""
    tracks: dict[tuple[str, AbstractSchedule], Track] = {}
    members = []
    for index, (schedules, group) in enumerate(zip(plan, groups, strict=True)):
        checked(group, "lr", index)
        followed = {}
        for key, schedule in schedules.items():
            if (key, schedule) not in tracks:
                tracks[key, schedule] = Track(key, schedule, horizon, horizon.resolved(schedule))
            followed[key] = tracks[key, schedule]
        bases = {key: base_of(group, key, index) for key in ("lr", *followed)}
        members.append(Member(group, bases, followed, constructed=dict(bases)))
    return members


def distinct(members: Sequence[Member]) -> list[Track]:
    """The tracks of the groups, each once."""
    return list({id(track): track for member in members for track in member.tracks.values()}.values())


def base_of(group: Group, key: str, index: int) -> float:
    """The base value of a number: what an earlier scheduler left as ``initial_…``, as in torch, or the present one."""
    return checked(group, f"initial_{key}" if f"initial_{key}" in group else key, index)


def surviving(members: Sequence[Member], groups: Sequence[Group]) -> list[Member]:
    """The members of the groups that the optimizer still has, in its order.

    Loading a state into an optimizer replaces all of its groups: then they are those of before by their places. Otherwise each is known
    by its identity, so that a group may be taken out anywhere.
    """
    known = {id(member.group): member for member in members}
    if not any(id(group) in known for group in groups):
        survivors = list(members[: len(groups)])
        for member, group in zip(survivors, groups, strict=False):
            member.group, member.written = group, {}
        return survivors
    return [known[id(group)] for group in groups if id(group) in known]


def check_shared(members: Sequence[Member]) -> None:
    """Groups may share a tensor, as torch has it where a rate is given as one, if they want the same in it at every step.

    Raises:
        SpecError: they follow different schedules, or have different base values.
    """
    by_memory: dict[tuple[int, int], tuple[Track, float, int]] = {}
    for index, member in enumerate(members):
        for key, track in member.tracks.items():
            value = read(member.group, key)
            if not isinstance(value, Tensor):
                continue
            first = by_memory.setdefault(memory_of(value), (track, member.bases[key], index))
            if first[:2] != (track, member.bases[key]):
                raise SpecError(
                    f"the {key} of parameter groups {first[2]} and {index} is one tensor, but they have different schedules or base values: "
                    f"give each group a tensor of its own, as in group[{key!r}] = group[{key!r}].clone()"
                )

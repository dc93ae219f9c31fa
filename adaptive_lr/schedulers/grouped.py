"""The parameter groups of an optimizer and the values that a scheduler writes into them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from operator import is_, itemgetter
from typing import Any

from numpy.typing import NDArray
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from adaptive_lr.schedulers import notices
from adaptive_lr.schedulers.horizon import Horizon
from adaptive_lr.schedulers.hyperparameters import (
    Group,
    cells,
    checked,
    copies_of,
    each_once,
    put_back,
    read,
    write,
    write_all,
)
from adaptive_lr.schedulers.norm_log import NormLog
from adaptive_lr.schedulers.tracks import Member, Track, base_of, distinct, surviving
from adaptive_lr.schedulers.updates import Updates
from adaptive_lr.schedules.reactive import is_reactive

_RATE = itemgetter("lr")


class GroupedLR(LRScheduler):
    """What `ScheduledLR` does to the optimizer: it knows the groups, whatever becomes of them, and writes base value times multiplier."""

    horizon: Horizon
    _members: list[Member]
    _leading: dict[str, Track]  # what the first group followed at construction, for groups that are added
    _waiting: list[dict[str, float]]  # saved base values of groups that the optimizer does not have yet
    _notices: notices.Notices
    _doubt: str | None  # about the base rate, told unless a state is loaded
    _updates: Updates | None
    _norms: NormLog | None
    _fast_until: int  # the step from which on more is to do than to multiply
    _fast_groups: list[Group]
    _fast_track: Track | None
    _bases: list[float]
    _record: notices.Record
    _cells: list[tuple[Tensor, NDArray[Any]]]

    def _fast_step(self) -> bool:
        """A step for the usual case, one schedule for all learning rates; False if the optimizer has changed meanwhile."""
        step, groups = self.last_epoch + 1, self.optimizer.param_groups
        if step >= self._fast_until or groups is not self._fast_groups or len(groups) != len(self._bases):
            return False
        track = self._fast_track
        assert track is not None
        multiplier = track.values[step - track.start]
        if self._cells:
            held = self._record[0]
            assert held is not None
            for group, (tensor, cell), value in zip(groups, self._cells, held):  # noqa: B905  # equally many, see _prepare_fast
                if group["lr"] is not tensor or cell.item() != value:
                    return False
            for base, (_, cell) in zip(self._bases, self._cells):  # noqa: B905
                cell[()] = base * multiplier
            self._record[0] = [cell.item() for _, cell in self._cells]
        elif len(groups) == 1:  # spelt out, since this is a loop of half a microsecond
            group, record = groups[0], self._record[0]
            assert record is not None
            if group["lr"] is not record[0]:
                return False
            record[0] = group["lr"] = self._bases[0] * multiplier
        else:
            before = self._record[0]
            assert before is not None
            if not all(map(is_, map(_RATE, groups), before)):  # a person or another scheduler wrote one
                return False
            rates = [base * multiplier for base in self._bases]
            for group, rate in zip(groups, rates):  # noqa: B905
                group["lr"] = rate
            self._record[0] = rates
        self.last_epoch = step
        self._step_count += 1
        return True

    @property
    def _tracks(self) -> list[Track]:
        return distinct(self._members)

    def _multiplier(self, track: Track) -> float:
        return track.multiplier(self.last_epoch)

    def _targets(self) -> list[tuple[int, Member, str, float]]:
        """What shall be written into which group under which name."""
        multipliers = {id(track): self._multiplier(track) for track in self._tracks}
        return [
            (index, member, key, member.bases[key] * multipliers[id(track)])
            for index, member in enumerate(self._members)
            for key, track in member.tracks.items()
        ]

    def _write(self) -> None:
        targets = self._targets()
        shared = []
        for index, member, key, value in targets:
            present = read(member.group, key)
            if isinstance(present, Tensor):
                shared.append((index, key, present, value))
        tensors, numbers = each_once(shared)
        if tensors:
            write_all(tensors, numbers)
        for _, member, key, value in targets:
            if not isinstance(read(member.group, key), Tensor):
                write(member.group, key, value)
            member.written[key] = value
        self._record[0] = [member.written.get("lr", math.nan) for member in self._members]
        self._prepare_fast([tensor for _, _, tensor, _ in shared])

    def _prepare_fast(self, tensors: list[Tensor]) -> None:
        """See until which step all that is to do is to multiply."""
        self._fast_until = 0
        track, groups = self._fast_track, self.optimizer.param_groups
        beside = self._updates is not None or self._norms is not None
        if track is None or beside or self._step_count < 2 or is_reactive(track.original):
            return
        self._cells = cells(tensors)
        if len(self._cells) != len(tensors) or len(tensors) not in (0, len(groups)):
            return
        if any(len(member.tracks) != 1 or member.tracks.get("lr") is not track for member in self._members):
            return
        self._fast_groups, self._bases = groups, [member.bases["lr"] for member in self._members]
        self._record[0] = [cell.item() for _, cell in self._cells] if tensors else [group["lr"] for group in groups]
        self._fast_until = track.start + len(track.values)
        telling = self.horizon.end + notices.GRACE
        if self.last_epoch < telling:
            self._fast_until = min(self._fast_until, telling)

    def _look_around(self) -> None:
        """Before a step: which groups there are, and whether somebody else writes their rates."""
        self._settle()
        self._join()
        if self.last_epoch < 0:  # in the constructor, or a composer of torch has taken the first step back
            return
        if self._doubt is not None:
            self._notices.once("initial_lr", self._doubt, 4)
            self._doubt = None
        if not self._notices.warned("by hand"):
            message = notices.changed_by_hand(self._members)
            if message:
                self._notices.once("by hand", message, 4)

    def _settle(self) -> None:
        """Note what fast steps wrote."""
        if self._fast_until and self._fast_track is not None:
            multiplier = self._fast_track.multiplier(self.last_epoch)
            for member in self._members:
                member.written["lr"] = member.bases["lr"] * multiplier

    def _join(self) -> None:
        """Follow what happened to the optimizer's groups: added, taken out, or replaced by loading."""
        groups = self.optimizer.param_groups
        if len(groups) == len(self._members) and all(
            member.group is group for member, group in zip(self._members, groups, strict=True)
        ):
            return
        self._settle()
        survivors = {id(member.group): member for member in surviving(self._members, groups)}
        members = []
        # No comprehension, which is a level of the stack in some versions of Python, and warnings count these.
        for index, group in enumerate(groups):
            members.append(survivors[id(group)] if id(group) in survivors else self._adopted(group, index))
        self._members = members
        self._fast_until = 0

    def _adopted(self, group: Group, index: int) -> Member:
        """A group that was added to the optimizer; it follows the schedules of the first group."""
        saved, self._waiting = (self._waiting or [{}])[0], self._waiting[1:]
        bases = {key: base_of(group, key, index) for key in ("lr", *self._leading)}
        if "initial_lr" not in group and "lr" not in saved:
            bases["lr"] = self._base_of_present(checked(group, "lr", index), index)
        bases |= {key: base for key, base in saved.items() if key in bases}
        member = Member(group, {}, self._leading, planned=False)
        for key, base in bases.items():
            member.set_base(key, base)
        return member

    def _base_of_present(self, rate: float, index: int) -> float:
        multiplier = self._multiplier(self._leading["lr"]) if "lr" in self._leading else 1.0
        if multiplier > 0.0:
            base = rate / multiplier
            largest = max((member.bases["lr"] for member in self._members if member.planned), default=base)
            if base > notices.MUCH * largest:
                self._notices.once("high base", notices.high_base(index, rate, multiplier, base, largest), 6)
            return base
        if rate == 0.0:
            self._notices.once(
                "no base",
                f"parameter group {index} was added with a rate of 0 while the schedule is at 0, so its base rate is taken to be 0: give the "
                "group an initial_lr, or call scheduler.rebase with a base rate for each group",
                6,
            )
        return rate

    def _set_horizon(self, horizon: Horizon) -> None:
        tracks = self._tracks
        schedules = [track.schedule for track in tracks]
        resolved = [horizon.resolved(schedule) for schedule in schedules]  # raises before anything is changed
        self.horizon, self._fast_until = horizon, 0
        for track, schedule, part in zip(tracks, schedules, resolved, strict=True):
            track.follow(horizon, schedule, part)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """What raises inside leaves the scheduler and the optimizer's groups as they were."""
        groups = copies_of(self.optimizer.param_groups)
        members, state = self._members, dict(self.__dict__)
        copies = [(member, dict(member.__dict__), dict(member.bases), dict(member.written)) for member in members]
        tracks = [(track, dict(track.__dict__)) for track in distinct(members)]
        try:
            yield
        except BaseException:
            put_back(groups)
            self.__dict__.update(state)
            for member, attributes, bases, written in copies:
                member.__dict__.update(attributes | {"bases": bases, "written": written})
            for track, attributes in tracks:
                track.__dict__.update(attributes)
            raise

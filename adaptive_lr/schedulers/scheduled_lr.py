"""The torch face of a schedule."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from adaptive_lr.errors import SpecError
from adaptive_lr.schedulers.horizon import Horizon
from adaptive_lr.schedulers.hyperparameters import Plan, cells, checked, planned, read, write, write_all
from adaptive_lr.schedules import SCHEDULES
from adaptive_lr.schedules.base import AbstractSchedule
from adaptive_lr.schedules.reactive import is_reactive, without_memory
from adaptive_lr.spec import decode, encode

STATE_VERSION = 1
"""Version of the layout of a state."""


@dataclass
class _Track:
    """One schedule, its multiplier at every step, and the numbers in the groups that follow it."""

    schedule: AbstractSchedule
    key: str
    groups: list[int] = field(default_factory=list)
    bases: list[float] = field(default_factory=list)
    table: list[float] = field(default_factory=list)


class ScheduledLR(LRScheduler):
    """lr_t = base_lr * schedule(t / total_steps) in every parameter group; a `torch.optim.lr_scheduler.LRScheduler`.

    Call ``step()`` after every ``optimizer.step()``. The first update uses m(0); past ``total_steps`` the last value holds.

    Args:
        optimizer: any torch optimizer; its present learning rates become the base rates, group by group.
        schedule: the multiplier as a function of progress; or schedules by hyperparameter, as in
            ``{"lr": DampedCosine(), "weight_decay": Linear()}`` (``beta1`` and ``beta2`` are the two of ``betas``); or a list
            with one of these for each parameter group.
        total_steps: T, the number of updates (or of epochs, if ``step()`` is called once an epoch).
        last_epoch: index of the last finished step when resuming without a state; -1 starts afresh.
        grad_scaler: with it, a ``step()`` after an update that the scaler skipped does nothing, provided that
            ``scaler.update()`` comes first. Without it, ``step(skipped=True)`` says so.

    Raises:
        TypeError: ``optimizer`` is no optimizer, or ``schedule`` no schedule.
        ValueError: ``total_steps`` is below 1, a base value is negative or not finite, a hyperparameter is not in its group,
            or the optimizer has no groups. The optimizer is left as it was.

    >>> import torch, adaptive_lr as al
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> scheduler = al.ScheduledLR(optimizer, al.DampedCosine(exponent=2), total_steps=2)
    >>> for _ in range(2):
    ...     optimizer.step()
    ...     scheduler.step()
    ...     print(scheduler.get_last_lr())
    [0.025]
    [0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Plan | Sequence[Plan],
        *,
        total_steps: int,
        last_epoch: int = -1,
        grad_scaler: GradScaler | None = None,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be a torch optimizer, got {type(optimizer).__name__}")
        if not optimizer.param_groups:
            raise SpecError("the optimizer has no parameter groups")
        self._planned_groups = len(optimizer.param_groups)
        plan = planned(schedule, self._planned_groups)
        # Not named total_steps: Accelerate stops stepping schedulers that have an attribute of that name.
        self.horizon = Horizon(total_steps)
        self.schedule = schedule
        self._tracks = _tracks(plan, optimizer.param_groups)
        self._set_horizon(self.horizon)
        self._scaler, self._scale = grad_scaler, None if grad_scaler is None else grad_scaler.get_scale()
        self._fast, self._cells, self._groups = False, cells([]), optimizer.param_groups
        if not hasattr(optimizer.step, "__func__"):
            # A compiled or wrapped step: torch's bookkeeping on it would fail, and is not needed here.
            cast(Any, optimizer.step)._wrapped_by_lr_sched = True
        super().__init__(optimizer, last_epoch)

    def step(self, metrics: float | Tensor | None = None, *, skipped: bool = False) -> None:
        """Go on to the next step and write its values into the optimizer.

        Args:
            metrics: what metric-driven parts of the schedule look at, such as a validation loss; the others ignore it.
            skipped: that the optimizer made no update, so that there is nothing to follow.
        """
        if self._fast and not skipped and self._fast_step():
            return
        if skipped or self._scaler_skipped():
            return
        self._warn_about_order()
        self._step_count += 1
        self._observe(metrics, self.last_epoch + 1)
        self._update_lr()

    def _fast_step(self) -> bool:
        """A step for the usual case, one schedule for all learning rates; False if the optimizer has changed meanwhile."""
        groups, track = self.optimizer.param_groups, self._tracks[0]
        table, bases, cells = track.table, track.bases, self._cells
        if groups is not self._groups or len(groups) != len(bases):
            return False
        step = self.last_epoch + 1
        multiplier = table[step] if step < len(table) else table[-1]
        if cells:
            for group, base, (tensor, cell) in zip(groups, bases, cells):  # noqa: B905  # equally many, see _write
                if group["lr"] is not tensor:
                    return False
                cell[()] = base * multiplier
        else:
            for group, base in zip(groups, bases):  # noqa: B905
                group["lr"] = base * multiplier
        self.last_epoch = step
        self._step_count += 1
        return True

    def get_lr(self) -> list[float | Tensor]:
        """The rates at ``last_epoch``: a pure function of it and of the base rates."""
        rates: list[float | Tensor] = list(self.base_lrs)
        for track in self._tracks:
            if track.key == "lr":
                multiplier = self._multiplier(track)
                for index in track.groups:
                    rates[index] = self.base_lrs[index] * multiplier
        return rates

    def get_last_lr(self) -> list[float | Tensor]:
        """The rates that the optimizer holds; tensors are copied."""
        return self._last_lr

    @property
    def _last_lr(self) -> list[float | Tensor]:  # type: ignore[override]  # torch writes it, here it is read off
        return [_copied(group["lr"]) for group in self.optimizer.param_groups]

    def extend(self, total_steps: int, how: str = "stretch") -> None:
        """Change the horizon from the present step on; the change is part of the state.

        Args:
            total_steps: the new T, counted from the beginning.
            how: ``stretch``: as if T had been the new one from the start, so the rate may jump. ``hold``: the present value is
                held for the steps that were added, then the rest follows as planned; with `WSD` in its plateau this is the
                usual extension. ``continue``: what is left is spread over the steps that are left, without a jump.

        An unknown mode, or a T that is not above the steps already done, is a `SpecError`.
        """
        self._set_horizon(self.horizon.changed(max(self.last_epoch, 0), total_steps, how))
        self._write()

    def observe(self, metrics: float | Tensor) -> None:
        """Show a metric to the metric-driven parts of the schedule without going on to the next step.

        For trainers that call ``step()`` themselves and pass nothing, or where steps are updates and metrics come by epoch.
        """
        self._observe(metrics, max(self.last_epoch, 0))
        self._write()

    def state_dict(self) -> dict[str, Any]:
        """Plain data: where the scheduler stands, the base values, the horizon, and the schedules."""
        return {
            "class": type(self).__name__,
            "version": STATE_VERSION,
            "last_epoch": self.last_epoch,
            "step_count": self._step_count,
            "total_steps": self.horizon.total_steps,
            "changes": [list(change) for change in self.horizon.changes],
            "base_lrs": [_copied(rate) for rate in self.base_lrs],
            "tracks": [
                {"key": t.key, "groups": list(t.groups), "bases": list(t.bases), "schedule": encode(t.schedule)}
                for t in self._tracks
            ],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state and write its values into the optimizer, whichever of the two is loaded first.

        Schedules and horizon stay those given at construction, with a warning where the state has others; changes made by
        `extend` are taken over, and so is what metric-driven parts have seen. A state of another class, of a newer version or
        with other parameter groups is a `SpecError`.
        """
        _check_state(state_dict, len(self.base_lrs), type(self).__name__)
        self._take_horizon(state_dict)
        for track, saved in zip(self._tracks, state_dict["tracks"], strict=False):
            self._take_schedule(track, saved)
        self.base_lrs = list(state_dict["base_lrs"])
        self.last_epoch, self._step_count = state_dict["last_epoch"], state_dict["step_count"]
        self._write()

    def __getstate__(self) -> dict[str, Any]:
        # A copy has tensors of its own, so it must find their memory anew.
        return self.__dict__ | {"_cells": cells([]), "_fast": False}

    def _initial_step(self) -> None:  # called by torch's constructor, and by its composers
        groups = self.optimizer.param_groups
        for track in self._tracks:
            for index, base in zip(track.groups, track.bases, strict=True):
                groups[index].setdefault(f"initial_{track.key}", base)
        self._adopt_groups()
        self._step_count = 1
        self._update_lr()

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._write()

    def _get_closed_form_lr(self) -> list[float | Tensor]:
        return self.get_lr()

    def _multiplier(self, track: _Track) -> float:
        return track.table[min(max(self.last_epoch, 0), len(track.table) - 1)]

    def _write(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) > len(self.base_lrs):
            self._adopt_groups()
        tensors: list[Tensor] = []
        numbers: list[float] = []
        for track in self._tracks:
            multiplier = self._multiplier(track)
            for index, base in zip(track.groups, track.bases, strict=True):
                present = read(groups[index], track.key)
                if isinstance(present, Tensor):
                    tensors.append(present)
                    numbers.append(base * multiplier)
                else:
                    write(groups[index], track.key, base * multiplier)
        if tensors:
            write_all(tensors, numbers)
        only = self._tracks[0]
        self._cells, self._groups = cells(tensors), groups
        self._fast = (
            len(self._tracks) == 1
            and only.key == "lr"
            and len(self._cells) == len(tensors)
            and len(tensors) in (0, len(groups))
            and self._scaler is None
            and self._step_count > 1
            and not is_reactive(only.schedule)
        )

    def _adopt_groups(self) -> None:
        """Take in groups that were added to the optimizer; they follow the schedules of the first group."""
        groups = self.optimizer.param_groups
        for index in range(len(self.base_lrs), len(groups)):
            rate = groups[index]["lr"]
            groups[index].setdefault("initial_lr", _copied(rate))
            self.base_lrs.append(_copied(groups[index]["initial_lr"]))
        for track in self._tracks:
            for index in range(self._planned_groups, len(groups)):
                if 0 in track.groups and index not in track.groups:
                    track.groups.append(index)
                    track.bases.append(_base(groups[index], track.key, index))

    def _set_horizon(self, horizon: Horizon) -> None:
        self.horizon, self._fast = horizon, False
        for track in self._tracks:
            track.table = horizon.table(track.schedule)

    def _observe(self, metrics: float | Tensor | None, step: int) -> None:
        if metrics is None:
            return
        for track in self._tracks:
            if is_reactive(track.schedule):
                progress = self.horizon.progress()
                u = float(progress[min(step, len(progress) - 1)])
                track.schedule = self.horizon.resolved(track.schedule).observed(float(metrics), u)
                track.table = self.horizon.table(track.schedule)

    def _take_horizon(self, state: dict[str, Any]) -> None:
        saved = _saved_horizon(state)
        if self.horizon.end in (saved.total_steps, saved.end):
            self._set_horizon(saved)
        else:
            _warn_of_conflict("total_steps", saved.end, self.horizon.end)

    def _take_schedule(self, track: _Track, saved: dict[str, Any]) -> None:
        mine = encode(self.horizon.resolved(track.schedule))
        theirs = saved["schedule"]
        if saved["key"] != track.key or without_memory(theirs) not in (
            without_memory(mine),
            without_memory(encode(track.schedule)),
        ):
            _warn_of_conflict(f"schedule of {saved['key']}", theirs, encode(track.schedule))
        elif is_reactive(track.schedule):
            track.schedule = cast(AbstractSchedule, decode(theirs, SCHEDULES))
            track.table = self.horizon.table(track.schedule)
        track.groups, track.bases = list(saved["groups"]), list(saved["bases"])

    def _scaler_skipped(self) -> bool:
        """Whether the scaler backed off since the last call: the only sign that holds for fused optimizers too."""
        if self._scaler is None:
            return False
        before, self._scale = self._scale, self._scaler.get_scale()
        return before is not None and self._scale < before

    def _warn_about_order(self) -> None:
        optimizer: Any = self.optimizer
        tracked = hasattr(optimizer.step, "__func__") or hasattr(optimizer.step, "__wrapped__")
        if self._step_count == 1 and tracked and not getattr(optimizer, "_opt_called", False) and self._scaler is None:
            warnings.warn(
                "scheduler.step() was called before optimizer.step(), so the first value of the schedule is skipped",
                UserWarning,
                stacklevel=3,
            )


def _tracks(plan: Sequence[dict[str, AbstractSchedule]], groups: Sequence[dict[str, Any]]) -> list[_Track]:
    """Groups in which the same number follows the same schedule share a track."""
    found: dict[tuple[str, AbstractSchedule], _Track] = {}
    for index, (schedules, group) in enumerate(zip(plan, groups, strict=True)):
        checked(group, "lr", index)
        for key, schedule in schedules.items():
            track = found.setdefault((key, schedule), _Track(schedule, key))
            track.groups.append(index)
            track.bases.append(_base(group, key, index))
    return list(found.values())


def _base(group: dict[str, Any], key: str, index: int) -> float:
    """The base value of a number: what an earlier scheduler left as ``initial_…``, as in torch, or the present one."""
    return checked(group, f"initial_{key}" if f"initial_{key}" in group else key, index)


def _copied(rate: float | Tensor) -> float | Tensor:
    return rate.clone() if isinstance(rate, Tensor) else rate


def _saved_horizon(state: dict[str, Any]) -> Horizon:
    return Horizon(state["total_steps"], tuple((a, b, how) for a, b, how in state["changes"]))


def _check_state(state: dict[str, Any], groups: int, name: str) -> None:
    if state.get("class") != name:
        raise SpecError(f"this is the state of a {state.get('class', 'different class')}, not of a {name}")
    if state["version"] > STATE_VERSION:
        raise SpecError(
            f"the state has version {state['version']}, this version of adaptive_lr reads up to {STATE_VERSION}"
        )
    if len(state["base_lrs"]) != groups:
        raise SpecError(
            f"the state has {len(state['base_lrs'])} base rates, the optimizer has {groups} parameter groups"
        )


def _warn_of_conflict(name: str, saved: object, constructed: object) -> None:
    warnings.warn(
        f"the saved {name} {saved} is not the constructed one: continuing with {constructed}", UserWarning, stacklevel=4
    )

"""The torch face of a schedule."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, SupportsIndex, cast

import numpy as np
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from adaptive_lr.errors import SpecError
from adaptive_lr.schedulers import notices
from adaptive_lr.schedulers.grouped import GroupedLR
from adaptive_lr.schedulers.horizon import Horizon, planned_steps
from adaptive_lr.schedulers.hyperparameters import Plan, cells, checked_base, planned
from adaptive_lr.schedulers.norm_log import NormLog
from adaptive_lr.schedulers.resume import (
    STATE_VERSION,
    Saved,
    conflict,
    differences,
    read_state,
    resumed,
    written_state,
)
from adaptive_lr.schedulers.tracks import check_shared, members_of, surviving
from adaptive_lr.schedulers.updates import Updates
from adaptive_lr.schedules.reactive import is_reactive


class ScheduledLR(GroupedLR):
    """lr_t = base_lr * schedule(t / total_steps) in every parameter group; a `torch.optim.lr_scheduler.LRScheduler`.

    Call ``step()`` after every ``optimizer.step()``. The first update uses m(0); past ``total_steps`` the last value holds. A group that
    is added on the way follows the schedules of the first one, from the rate that it has: its base rate is that over the first group's
    multiplier, or its ``initial_lr`` if it has one; its other numbers are base values. A group may be taken out at any time.

    Args:
        optimizer: any torch optimizer; its present learning rates become the base rates, group by group. Where an earlier scheduler left
            ``initial_lr`` in a group, that does, as in torch; `rebase` sets another.
        schedule: the multiplier as a function of progress; or schedules by hyperparameter, as in
            ``{"lr": DampedCosine(), "weight_decay": Linear()}`` (``beta1`` and ``beta2`` are the two of ``betas``); or a list
            with one of these for each parameter group.
        total_steps: T, the number of updates (or of epochs, if ``step()`` is called once an epoch). Its size costs neither time nor memory.
            None for a run without an end, with a schedule that needs none: durations in steps, as in
            ``Warmup(steps=1000, then=InverseSqrt(steps=1000))``.
        last_epoch: index of the last finished step when resuming without a state; -1 starts afresh.
        grad_scaler: with it, a ``step()`` after an update that the scaler skipped does nothing. Without it, ``step(skipped=True)`` says so.
        log_norms: a CSV file to write the norms of the gradients to, for ``adaptive-lr refine``: a line for each ``step()``, in a run of
            2000 or more for every ``total_steps // 1000``-th, of all groups together, as the optimizer gets them, which is after
            accumulation, clipping and unscaling. Of several updates in a ``step()`` the root mean square (L2) and the mean (L1). A run that is resumed goes on in the file where its state was saved; one that
            starts afresh begins it anew. In a run on several processes the first one writes. Copies of the scheduler do not log.

    Raises:
        TypeError: ``optimizer`` is no optimizer, or ``schedule`` no schedule.
        ValueError: ``total_steps`` is below 1, a base value is negative or not finite, a hyperparameter is not in its group,
            groups with different values or schedules share a tensor, the optimizer has no groups, or something else than a log is at
            ``log_norms``. The optimizer is left as it was.

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

    _endless = True  # whether total_steps may be None

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Plan | Sequence[Plan],
        *,
        total_steps: int | None,
        last_epoch: int = -1,
        grad_scaler: GradScaler | None = None,
        log_norms: str | os.PathLike[str] | None = None,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be a torch optimizer, got {type(optimizer).__name__}")
        groups = optimizer.param_groups
        if not groups:
            raise SpecError("the optimizer has no parameter groups")
        plan = planned(schedule, len(groups))
        ending = [part for schedules in plan for part in schedules.values()] if self._endless else []
        # Not named total_steps: Accelerate stops stepping schedulers that have an attribute of that name.
        horizon = Horizon(planned_steps(total_steps, ending) if self._endless else cast(int, total_steps))
        self.schedule = schedule
        self._members = members_of(plan, groups, horizon)
        self._leading = self._members[0].tracks
        self._waiting: list[dict[str, float]] = []
        self._rebased = self._ready = False
        self._fast_until, self._fast_groups, self._cells = 0, groups, cells([])
        self._fast_track = self._members[0].tracks.get("lr")
        self._bases, self._record = [], [[]]
        self._set_horizon(horizon)
        check_shared(self._members)
        self._notices = notices.Notices()
        self._doubt = notices.changed_before(optimizer) if last_epoch == -1 else None
        notices.remember(optimizer, self._record)
        unscaled = notices.unscaled_groups(groups, [member.bases["lr"] for member in self._members])
        if unscaled and not isinstance(schedule, Sequence):
            self._notices.once("lr_scale", unscaled)
        self._updates = None if grad_scaler is None else Updates(optimizer, grad_scaler)
        self._norms = None if log_norms is None else NormLog(optimizer, log_norms)
        if not hasattr(optimizer.step, "__func__"):
            # A compiled or wrapped step: torch's bookkeeping on it would fail, and is not needed here.
            cast(Any, optimizer.step)._wrapped_by_lr_sched = True
        super().__init__(optimizer, int(last_epoch))
        self._expect_norms()
        self._ready = True

    def step(  # type: ignore[override]  # torch's has the epoch first
        self, metrics: float | Tensor | None = None, *, skipped: bool = False, epoch: int | None = None
    ) -> None:
        """Go on to the next step and write its values into the optimizer.

        Args:
            metrics: what metric-driven parts of the schedule look at, such as a validation loss; without such a part it is ignored, with a
                warning.
            skipped: that the optimizer made no update, so that there is nothing to follow.
            epoch: refused, since steps are counted; torch's schedulers have it.

        A `SpecError` where an epoch is given, or parameter groups were changed so that their values cannot be set.
        """
        if metrics is None and not skipped and epoch is None and self._fast_step():
            return
        notices.refuse_epoch(epoch)
        if skipped or self._scaler_skipped():
            if self._norms is not None:
                self._norms.discard()
            return
        self._look_around()
        self._warn_about_order()
        if self._norms is not None and self.last_epoch >= 0:
            self._norms.close(self.last_epoch, self.horizon.end)
        self._step_count += 1
        self._observe(metrics, self.last_epoch + 1)
        self._update_lr()

    @property
    def base_lrs(self) -> list[float | Tensor]:
        """The base rates, group by group, as a copy; assigning to it is `rebase`."""
        return _BaseRates(member.bases["lr"] for member in self._members)

    @base_lrs.setter
    def base_lrs(self, rates: Sequence[float | Tensor]) -> None:
        if self._ready:  # torch's constructor assigns what is known
            self.rebase(rates)

    def rebase(self, lr: float | Tensor | Sequence[float | Tensor]) -> None:
        """Take other base rates from here on; they are part of the state.

        Args:
            lr: the new base rate, that of a multiplier of 1; or one for each parameter group.

        Raises:
            SpecError: a rate is negative or not finite, or there are not as many as groups. Nothing is changed then.
        """
        self._join()
        if isinstance(lr, np.ndarray | Tensor) and lr.ndim > 0:
            lr = lr.tolist()
        rates = list(lr) if isinstance(lr, Sequence) else [lr] * len(self._members)
        if len(rates) != len(self._members):
            count = len(self._members)
            raise SpecError(
                f"there are {len(rates)} base rates for {count} parameter groups: give one for all groups, or a list of {count}"
            )
        bases = [checked_base(f"the base rate of parameter group {index}", rate) for index, rate in enumerate(rates)]
        with self._all_or_nothing():
            for member, base in zip(self._members, bases, strict=True):
                member.set_base("lr", base)
            self._rebased, self._doubt = True, None
            self._write()

    def get_lr(self) -> list[float | Tensor]:
        """The rates at ``last_epoch``: a pure function of it and of the base rates."""
        rates: list[float | Tensor] = []
        for member in self._members:
            track = member.tracks.get("lr")
            rates.append(member.bases["lr"] * (1.0 if track is None else self._multiplier(track)))
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

        An unknown mode, or a T that is not above the steps already done, is a `SpecError`, and changes nothing.
        """
        self._join()
        horizon = self.horizon.changed(max(self.last_epoch, 0), total_steps, how)
        with self._all_or_nothing():
            self._tell_of_change(self.horizon, max(self.last_epoch, 0), total_steps, how)
            self._set_horizon(horizon)
            self._write()

    def observe(self, metrics: float | Tensor) -> None:
        """Show a metric to the metric-driven parts of the schedule without going on to the next step.

        For trainers that call ``step()`` themselves and pass nothing, or where steps are updates and metrics come by epoch.
        """
        self._join()
        self._observe(metrics, max(self.last_epoch, 0))
        self._write()

    def state_dict(self) -> dict[str, Any]:
        """Plain data: where the scheduler stands, the base values, the horizon, and the schedules."""
        self._join()
        if self._norms is not None:
            self._norms.flush()
        return {
            "class": type(self).__name__,
            "version": STATE_VERSION,
            "last_epoch": self.last_epoch,
            "step_count": self._step_count,
            "total_steps": self.horizon.total_steps,
            "changes": [list(change) for change in self.horizon.changes],
            "rebased": self._rebased,
            **written_state(self._members),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state and write its values into the optimizer, whichever of the two is loaded first.

        Schedules and horizon stay those given at construction, with a warning where the state has others; base values are those of the
        state, with a warning where others were constructed; changes made by `extend` are taken over, and so is what metric-driven parts
        have seen. Base values of groups that the optimizer does not have yet are kept for when they are added. A state of another class,
        of a newer version, with fewer groups than were constructed, or that is damaged is a `SpecError`, and changes nothing.
        """
        saved = self._accepted(state_dict)
        conflicts: list[str] = []
        self._follow(saved, self._horizon_of(saved, conflicts), conflicts)

    def _follow(self, saved: Saved, horizon: Horizon, conflicts: list[str]) -> None:
        """Continue from a state that was accepted; the conflicts are told."""
        with self._all_or_nothing():
            self._join()
            tracks = self._tracks
            schedules = [resumed(track, self._members, saved, conflicts) for track in tracks]
            resolved = [horizon.resolved(schedule) for schedule in schedules]
            for message in [*conflicts, *differences(self._members, saved)]:
                warnings.warn(message, UserWarning, stacklevel=3)
            self.last_epoch, self._step_count, self._rebased = saved.last_epoch, saved.step_count, saved.rebased
            self._set_horizon(horizon)
            for track, schedule, part in zip(tracks, schedules, resolved, strict=True):
                track.follow(horizon, schedule, part)
            for member, bases in zip(self._members, saved.bases, strict=False):
                for key in member.bases.keys() & bases.keys():
                    member.set_base(key, bases[key])
            self._waiting, self._doubt = saved.bases[len(self._members) :], None
            self._write()
        if self._updates is not None:
            self._updates.forget()
        self._expect_norms()

    def __getstate__(self) -> dict[str, Any]:
        # A copy has tensors of its own, so it must find their memory anew.
        self._settle()
        return self.__dict__ | {"_cells": cells([]), "_fast_until": 0, "_norms": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        if self._updates is not None:  # hooks are not copied with an optimizer
            self._updates.attach(self.optimizer)

    def _initial_step(self) -> None:  # called by torch's constructor, and by its composers
        for member in self._members:
            for key, base in member.bases.items():
                if key == "lr" or key in member.tracks:
                    member.group.setdefault(f"initial_{key}", base)
        self._join()
        self._step_count = 1
        self._update_lr()

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self._write()
        self._tell_of_the_end()

    def _get_closed_form_lr(self) -> list[float | Tensor]:
        return self.get_lr()

    def _observe(self, metrics: float | Tensor | None, step: int) -> None:
        if metrics is None:
            return
        reactive = [track for track in self._tracks if is_reactive(track.original)]
        for track in reactive:
            track.observe(float(metrics), step)
        if not reactive and self.last_epoch >= 0:  # SequentialLR begins a part of it with step(0)
            self._notices.once("metric", notices.NO_METRIC, 4)

    def _accepted(self, state: dict[str, Any]) -> Saved:
        """A state that can be loaded.

        Raises:
            SpecError: it cannot.
        """
        saved = read_state(state, type(self).__name__)
        groups = self.optimizer.param_groups
        constructed = sum(member.planned for member in surviving([replace(member) for member in self._members], groups))
        if len(saved.bases) < constructed:
            raise SpecError(
                f"the state is of {len(saved.bases)} parameter groups, the scheduler was constructed on {constructed}: construct it on "
                f"{len(saved.bases)}, and add the others after loading"
            )
        return saved

    def _horizon_of(self, saved: Saved, conflicts: list[str]) -> Horizon:
        """The horizon to go on with."""
        if self.horizon.end in (saved.horizon.total_steps, saved.horizon.end):
            return saved.horizon
        conflicts.append(conflict("total_steps", saved.horizon.end, self.horizon.end))
        return self.horizon

    def _expect_norms(self) -> None:
        if self._norms is not None:
            self._norms.expect(self.last_epoch, self.horizon.end)

    def _scaler_skipped(self) -> bool:
        """Whether the scaler skipped every update since the last call."""
        return self._updates is not None and self._updates.skipped()

    def _tell_of_change(self, before: Horizon, step: int, total_steps: int, how: str) -> None:
        track = self._leading.get("lr")
        stays = (how == "hold" and total_steps > before.end) or (how == "continue" and step >= before.end)
        if track is not None and stays and track.multiplier(step) == 0.0:
            self._notices.once("still zero", notices.STILL_ZERO.format(how=how), 4)

    def _tell_of_the_end(self) -> None:
        step, end = self.last_epoch, self.horizon.end
        if step >= end + notices.GRACE and not self._notices.warned("end"):
            rates = [track for member in self._members for key, track in member.tracks.items() if key == "lr"]
            if rates and all(track.multiplier(step) == 0.0 for track in rates):
                self._notices.once("end", notices.past_the_end(step, end), 4)

    def _warn_about_order(self) -> None:
        optimizer: Any = self.optimizer
        tracked = hasattr(optimizer.step, "__func__") or hasattr(optimizer.step, "__wrapped__")
        early = self._step_count == 1 and tracked and not getattr(optimizer, "_opt_called", False)
        if early and self._updates is None:
            self._notices.once("order", notices.ORDER)


class _BaseRates(list[float | Tensor]):
    """Base rates to look at; writing into the list would change nothing, so it is refused."""

    def __setitem__(self, index: SupportsIndex | slice, value: Any) -> None:
        raise SpecError(
            "base_lrs is a copy: call scheduler.rebase(lr), with one base rate or one for each parameter group"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(iter(self)),)


def _copied(rate: float | Tensor) -> float | Tensor:
    return rate.clone() if isinstance(rate, Tensor) else rate

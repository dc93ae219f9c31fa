"""The rate that an optimizer holds under a controller, from step to step."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from adaptive_lr.controllers.base import AbstractController, Moment, Signal
from adaptive_lr.errors import SpecError
from adaptive_lr.feedback.update import Control
from adaptive_lr.schedulers.given import check_same
from adaptive_lr.schedulers.horizon import Horizon
from adaptive_lr.schedulers.hyperparameters import write
from adaptive_lr.schedulers.resume import Saved
from adaptive_lr.schedulers.scheduled_lr import ScheduledLR
from adaptive_lr.schedulers.tracks import Track
from adaptive_lr.schedules.base import AbstractSchedule
from adaptive_lr.spec import on_cpu, stack

BLOCK = 64
"""How many quiet steps are looked ahead."""


class HeldRate(ScheduledLR):
    """What `ControlledLR` adds to `ScheduledLR` outside of the optimizer's step."""

    controller: AbstractController
    control: Control
    _on_longer: str | None
    _held: float
    _quiet: bool
    _pending: bool
    _ahead: dict[int, tuple[float, bool]]
    _present: Moment | None
    _endless = False  # a controller plans for T

    def _signals(self, ahead: int = 0) -> Signal:
        return self.controller.signals(max(self.last_epoch, 0) + ahead, self.horizon.total_steps)

    def _observe(self, metrics: float | Tensor | None, step: int) -> None:
        super()._observe(metrics, step)
        self._ahead, self._present = {}, None

    def _is_quiet(self, step: int) -> bool:
        """Whether nothing is looked at in a step, nor remembered for the next; the start is remembered once for many."""
        total_steps = self.horizon.total_steps
        before = self.controller.signals(step - 1, total_steps) if step > 0 else Signal.NONE
        now, after = (self.controller.signals(number, total_steps) for number in (step, step + 1))
        return not ((now | after) & ~Signal.START or (before ^ now) & Signal.START)

    @property
    def _now(self) -> Moment:
        if self._present is None:
            self._present = self._moment(max(self.last_epoch, 0))
        return self._present

    def _moment(self, step: int) -> Moment:
        track = self._leading["lr"]
        scheduled = torch.tensor([track.multiplier(step)], dtype=torch.float64, device="cpu")
        # No method of this scheduler, which the moment would keep alive, with the copies of parameters and the hooks that it has.
        schedule = partial(_multiplier_at, track.resolved)
        # A controller plans for the T of the beginning: its window must not move when the run is extended.
        return Moment(step, self.horizon.total_steps, self.horizon.at(step), scheduled, schedule)

    def _set_horizon(self, horizon: Horizon) -> None:
        super()._set_horizon(horizon)
        self._ahead, self._present = {}, None
        if self._pending:
            self._quiet = self._is_quiet(max(self.last_epoch, 0))

    def _accepted(self, state: dict[str, Any]) -> Saved:
        """What a controller has learnt means something else under another one."""
        saved = super()._accepted(state)
        check_same(self.controller, state.get("controller"))
        return saved

    def _horizon_of(self, saved: Saved, conflicts: list[str]) -> Horizon:
        """The saved horizon, from its present step on changed to the constructed T as ``on_longer`` says.

        Raises:
            SpecError: the two have another T and nothing was said, or the change is not possible.
        """
        before, end = saved.horizon, self.horizon.end
        if end in (before.total_steps, before.end):
            return before
        if self._on_longer is None:
            raise SpecError(
                f"the state is of a run of {before.end} steps and the controller has planned for them, got total_steps={end}: say how to "
                "go on with on_longer='hold', 'stretch' or 'continue'; or build it with the saved "
                f"total_steps={before.total_steps}, load the state, then call extend({end})"
            )
        return before.changed(max(saved.last_epoch, 0), end, self._on_longer)

    def _multiplier(self, track: Track) -> float:
        return self._held if track.key == "lr" else super()._multiplier(track)

    def _go_on(self) -> None:
        """What the optimizer holds in the coming step. In quiet ones nothing changes but the schedule, so they are computed in blocks."""
        step = max(self.last_epoch, 0)
        self._present = None
        if step not in self._ahead:
            self._ahead = self._looked_ahead(step)
        self._held, self._quiet = self._ahead[step]
        if not self._quiet:
            self._ahead = {}

    def _looked_ahead(self, step: int) -> dict[int, tuple[float, bool]]:
        """What is held, and whether the step is quiet: at this step and as long as quiet ones follow each other."""
        ahead: dict[int, tuple[float, bool]] = {}
        for coming in range(step, step + BLOCK):
            moment = self._moment(coming)
            ahead[coming] = float(self.control.held(moment)[0]), self._is_quiet(coming)
            if coming == step:
                self._present = moment
            if not ahead[coming][1]:
                break
        return ahead

    def _write(self) -> None:
        self._join()  # before the multiplier changes, by which the present rate of an added group is divided
        if not self._pending:
            self._go_on()
        super()._write()

    def _prepare_fast(self, tensors: list[Tensor]) -> None:
        self._fast_until = 0

    def _update_lr(self, epoch: int | None = None) -> None:
        self._look_around()
        track = self._leading["lr"]
        if not self._quiet or epoch is not None or any(member.tracks != {"lr": track} for member in self._members):
            super()._update_lr(epoch)
            return
        self.last_epoch += 1
        self._go_on()
        for member in self._members:
            rate = member.bases["lr"] * self._held
            write(member.group, "lr", rate)
            member.written["lr"] = rate
        self._record[0] = [member.written["lr"] for member in self._members]
        self._tell_of_the_end()

    def _write_multiplier(self, multiplier: float) -> None:
        self._join()
        held, self._held = self._held, multiplier
        try:
            super()._write()
        finally:
            self._held = held


def _multiplier_at(schedule: AbstractSchedule, u: Tensor) -> Tensor:
    with on_cpu():
        multipliers: Tensor = stack([schedule]).multiplier(u.clamp(0.0, 1.0).reshape(1, -1)).reshape(-1)
    return multipliers

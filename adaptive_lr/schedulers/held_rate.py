"""The rate that an optimizer holds under a controller, from step to step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from adaptive_lr.controllers.base import AbstractController, Moment, Signal
from adaptive_lr.errors import SpecError
from adaptive_lr.feedback.update import Control
from adaptive_lr.schedulers.given import check_same
from adaptive_lr.schedulers.horizon import Horizon
from adaptive_lr.schedulers.hyperparameters import write
from adaptive_lr.schedulers.scheduled_lr import ScheduledLR, _check_state, _saved_horizon, _Track
from adaptive_lr.spec import stack

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

    def _signals(self, ahead: int = 0) -> Signal:
        return self.controller.signals(max(self.last_epoch, 0) + ahead, self.horizon.total_steps)

    def _observe(self, metrics: float | Tensor | None, step: int) -> None:
        super()._observe(metrics, step)
        self._ahead, self._present = {}, None

    def _is_quiet(self, step: int) -> bool:
        """Whether nothing is looked at in a step, nor remembered for the next; the start is remembered once for many."""
        total_steps = self.horizon.total_steps
        before = self.controller.signals(step - 1, total_steps) if step > 0 else Signal.NONE
        now, after = (self.controller.signals(one, total_steps) for one in (step, step + 1))
        return not ((now | after) & ~Signal.START or (before ^ now) & Signal.START)

    @property
    def _now(self) -> Moment:
        if self._present is None:
            self._present = self._moment(max(self.last_epoch, 0))
        return self._present

    def _moment(self, step: int) -> Moment:
        u = self._progress[min(step, len(self._progress) - 1)]
        table = self._lr_track.table
        scheduled = torch.tensor([table[min(step, len(table) - 1)]], dtype=torch.float64)
        # A controller plans for the T of the beginning: its window must not move when the run is extended.
        return Moment(step, self.horizon.total_steps, u, scheduled, self._scheduled_at)

    def _scheduled_at(self, u: Tensor) -> Tensor:
        resolved = self.horizon.resolved(self._lr_track.schedule)
        found: Tensor = stack([resolved]).multiplier(u.clamp(0.0, 1.0).reshape(1, -1)).reshape(-1)
        return found

    @property
    def _lr_track(self) -> _Track:
        return next(track for track in self._tracks if track.key == "lr")

    def _set_horizon(self, horizon: Any) -> None:
        super()._set_horizon(horizon)
        self._ahead, self._present = {}, None
        self._progress = horizon.progress().tolist()

    def _check_state(self, state: dict[str, Any]) -> None:
        """What a controller has learnt means something else under another one, and under another T, by which it plans."""
        check_same(self.controller, state.get("controller"))
        _check_state(state, len(self.base_lrs), type(self).__name__)
        self._horizon_of(state)

    def _horizon_of(self, state: dict[str, Any]) -> Horizon:
        """The saved horizon, from its present step on changed to the constructed T as ``on_longer`` says.

        Raises:
            SpecError: the two have another T and nothing was said, or the change is not possible.
        """
        saved, end = _saved_horizon(state), self.horizon.end
        if end in (saved.total_steps, saved.end):
            return saved
        if self._on_longer is None:
            raise SpecError(
                f"the state is of a run of {saved.end} steps and the controller has planned for them, got total_steps={end}: say how to "
                "go on with on_longer='hold', 'stretch' or 'continue'; or build it with the saved "
                f"total_steps={saved.total_steps}, load the state, then call extend({end})"
            )
        return saved.changed(max(state["last_epoch"], 0), end, self._on_longer)

    def _take_horizon(self, state: dict[str, Any]) -> None:
        self._set_horizon(self._horizon_of(state))

    def _multiplier(self, track: _Track) -> float:
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
        found: dict[int, tuple[float, bool]] = {}
        for place in range(step, step + BLOCK):
            moment = self._moment(place)
            found[place] = float(self.control.held(moment)[0]), self._is_quiet(place)
            if place == step:
                self._present = moment
            if not found[place][1]:
                break
        return found

    def _write(self) -> None:
        if not self._pending:
            self._go_on()
        super()._write()
        self._fast = False

    def _update_lr(self, epoch: int | None = None) -> None:
        groups, track = self.optimizer.param_groups, self._tracks[0]
        if not self._quiet or epoch is not None or len(self._tracks) > 1 or len(groups) != len(track.bases):
            super()._update_lr(epoch)
            return
        self.last_epoch += 1
        self._go_on()
        for group, base in zip(groups, track.bases, strict=True):
            write(group, "lr", base * self._held)

    def _write_multiplier(self, multiplier: float) -> None:
        held, self._held = self._held, multiplier
        try:
            super()._write()
        finally:
            self._held, self._fast = held, False

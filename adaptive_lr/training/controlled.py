"""B trials under a controller: their parameters as a space of vectors, and what is recorded of the control."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adaptive_lr.controllers import AbstractController, Moment, Signal
from adaptive_lr.feedback.statistics import Vector
from adaptive_lr.feedback.update import Control
from adaptive_lr.schedules import AbstractSchedule
from adaptive_lr.spec import stack, structure
from adaptive_lr.training.optimizers import FlatState, StackedUpdate

RECORDED = 60
"""Recorded points of the control in the first tenth of a run, and again in the rest."""


class StackedSpace:
    """The parameters of B trials in a flat buffer; see `adaptive_lr.feedback.statistics.Space`.

    A vector is one buffer, so that an elementwise operation is one call; inner products go through views by parameter.

    Args:
        state: the parameters and their gradients.
        update: the optimizer's, with what it remembers.
        buffers: what the task changes in training beside the parameters, ``[B, …]`` each.
        trials: B.
        memory: beta of the optimizer, see the protocol.
    """

    alone = True

    def __init__(
        self, state: FlatState, update: StackedUpdate, buffers: Sequence[Tensor], trials: int, *, memory: float = 0.0
    ) -> None:
        self.memory = memory
        self._state, self._update, self._buffers, self.trials = state, update, buffers, trials
        self._direction: Vector = []
        self._last_gradient: Vector = []
        self._candidate: list[Tensor] = []
        self._confirmed: list[Tensor] = []
        self._candidate_counts = self._confirmed_counts = update.counts()

    def prepare(self, needs: Signal) -> None:
        """See the protocol; everything can be seen."""

    def parameters(self) -> Vector:
        """See the protocol."""
        return [self._state.flat]

    def gradients(self) -> Vector:
        """See the protocol."""
        return [self._state.flat_gradient]

    def dot(self, a: Vector, b: Vector) -> Tensor:
        """See the protocol."""
        pairs = zip(self._state.views(a[0]), self._state.views(b[0]), strict=True)
        return torch.stack([_rowwise(x, y) for x, y in pairs]).sum(0)

    def direction(self) -> Vector:
        """See the protocol."""
        if not self._direction:
            source, flat = torch.Generator().manual_seed(0), torch.empty_like(self._state.flat)
            shapes = [view.shape[1:] for view in self._state.parameters]
            drawn = [torch.randn(shape, generator=source, dtype=torch.float64) for shape in shapes]
            length = float(torch.stack([piece.square().sum() for piece in drawn]).sum().sqrt())
            for view, piece in zip(self._state.views(flat), drawn, strict=True):
                view.copy_(piece / length)
            self._direction = [flat]
        return self._direction

    def blend(self, start: Vector, share: Tensor) -> None:
        """See the protocol."""
        taken_back = (share == 0.0).nonzero().flatten()
        weight = (1.0 - share).to(self._state.flat.dtype)
        for view, begin in zip(self._state.parameters, self._state.views(start[0]), strict=True):
            view.lerp_(begin, weight.view(-1, *[1] * (view.dim() - 1)))
            if len(taken_back):  # not only a rounding away, and not NaN where the step was infinite
                view[taken_back] = begin[taken_back]

    def where(self, trials: Tensor, vector: Vector) -> Vector:
        """See the protocol."""
        if bool(trials.all()):
            return vector
        chosen = vector[0].clone()
        self._state.clear(chosen, ~trials)
        return [chosen]

    def gather(self, values: list[Tensor]) -> Tensor:
        """See the protocol."""
        return torch.stack([value.to(torch.float64) for value in values])

    def remember(self, gradients: Vector) -> Vector:
        """See the protocol; the next gradients are written over these."""
        if self._last_gradient:
            self._last_gradient[0].copy_(gradients[0])
        else:
            self._last_gradient = [gradients[0].clone()]
        return self._last_gradient

    def intact(self, remembered: Vector, present: Vector | None = None) -> bool:
        """See the protocol."""
        return True

    def synchronised(self, gradients: Vector) -> Vector:
        """See the protocol; there is one process."""
        return gradients

    def keep(self) -> None:
        """See the protocol."""
        self._candidate = [rows.clone() for rows in self._rows()]
        self._candidate_counts = self._update.counts()

    def confirm(self, trials: Tensor) -> None:
        """See the protocol."""
        if not self._confirmed:
            self._confirmed = [buffer.clone() for buffer in self._candidate]
            self._confirmed_counts = self._candidate_counts.clone()
        self._copy_rows(self._candidate, self._confirmed, trials)
        self._confirmed_counts[trials] = self._candidate_counts[trials]

    def restore(self, trials: Tensor) -> None:
        """See the protocol."""
        if self._confirmed:
            self._copy_rows(self._confirmed, self._rows(), trials)
            self._update.restore_counts(trials, self._confirmed_counts)

    def _rows(self) -> list[Tensor]:
        """Everything that changes in training, ``[B, …]`` each."""
        flat = (self._state.flat, *self._update.buffers())
        return [view for buffer in flat for view in self._state.views(buffer)] + list(self._buffers)

    def _copy_rows(self, source: list[Tensor], target: list[Tensor], trials: Tensor) -> None:
        for rows, into in zip(source, target, strict=True):
            into[trials] = rows[trials]


class Base:
    """The schedules of B trials at any progress of each, ``[B] -> [B]``."""

    def __init__(self, schedules: Sequence[AbstractSchedule], total_steps: int) -> None:
        resolved = [schedule.resolve(total_steps) for schedule in schedules]
        groups: dict[object, list[int]] = {}
        for index, schedule in enumerate(resolved):
            groups.setdefault(structure(schedule), []).append(index)
        self._groups = [(members, stack([resolved[index] for index in members])) for members in groups.values()]

    def __call__(self, progress: Tensor) -> Tensor:
        """Multipliers at the progress of each trial."""
        multipliers, u = torch.empty_like(progress), progress.clamp(0.0, 1.0)
        for members, stacked in self._groups:
            multipliers[members] = stacked.multiplier(u[members].unsqueeze(1)).squeeze(1)
        return multipliers


class Recorder:
    """What a controller did to B trials, at some of the steps.

    Args:
        controller: the rule.
        total_steps: T.
        trials: B.
    """

    def __init__(self, controller: AbstractController, total_steps: int, trials: int) -> None:
        self.steps = recorded_steps(total_steps)
        self._controller, self._trials = controller, trials
        self._rows: dict[str, NDArray[np.float64]] = {}
        self._index = 0

    def record(self, step: int, control: Control, made: Tensor, alive: Tensor) -> None:
        """Take down the multiplier that the update was made with, and the controller's numbers, if the step is one of them.

        Of trials that are not ``alive``, ``[B]`` of bool, nothing is taken down.
        """
        if self._index >= len(self.steps) or step != self.steps[self._index]:
            return
        readings = {"multiplier": made, **self._controller.readings(control.state)}
        for name, value in readings.items():
            if name not in self._rows:
                self._rows[name] = np.full((len(self.steps), self._trials), np.nan)
            self._rows[name][self._index] = torch.where(alive, value, torch.nan).numpy()
        self._index += 1

    def curves(self, trial: int) -> dict[str, NDArray[np.float64]]:
        """By name, ``control/step`` among them; NaN after divergence."""
        steps = np.asarray(self.steps, dtype=np.float64)
        return {"control/step": steps} | {f"control/{name}": row[:, trial] for name, row in self._rows.items()}


def recorded_steps(total_steps: int) -> list[int]:
    """At most 2 ``RECORDED`` steps, half of them in the first tenth, where controllers find their way."""
    early = max(1, total_steps // 10)
    first = {index * early // RECORDED for index in range(RECORDED)}
    late = {early + index * (total_steps - early) // RECORDED for index in range(RECORDED)}
    return sorted(step for step in first | late | {total_steps - 1} if step < total_steps)


def moment(step: int, total_steps: int, scheduled: Tensor, base: Base) -> Moment:
    """The moment before an update of trials with multipliers ``scheduled`` ``[B]``."""
    return Moment(step, total_steps, step / total_steps, scheduled, base)


def _rowwise(x: Tensor, y: Tensor) -> Tensor:
    products: Tensor = torch.linalg.vecdot(x.flatten(1), y.flatten(1))
    return products

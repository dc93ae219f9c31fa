"""The torch face of a controller."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from adaptive_lr.control import Control
from adaptive_lr.controllers.base import REPLAYING, AbstractController, Moment, Signal
from adaptive_lr.errors import SpecError
from adaptive_lr.hyperparameters import Plan, planned
from adaptive_lr.linearity import check_linear
from adaptive_lr.lr_scheduler import ScheduledLR, _Track
from adaptive_lr.probing import Closure, Replayer
from adaptive_lr.spaces import ModuleSpace, check_gradients
from adaptive_lr.spec import encode, stack
from adaptive_lr.statistics import Vector


class ControlledLR(ScheduledLR):
    """lr_t = base_lr * a controller's multiplier, in every parameter group; a `torch.optim.lr_scheduler.LRScheduler`.

    Call ``step(loss, closure)`` after every ``optimizer.step()``. What the controller asks for is read around the optimizer's
    step by hooks, before gradients are cleared. At steps that the controller wants to probe, the optimizer makes its step at the
    probe's rate, the closure evaluates the loss there, and the step is then shortened or taken back; that is exact for all optimizers
    whose update is linear in the learning rate, and others are refused. A probe leaves no trace: dropout masks are those of the training
    step, buffers such as those of batch normalisation and the random numbers are put back.

    Args:
        optimizer: any torch optimizer; its present learning rates become the base rates, group by group.
        schedule: the schedule that the controller modulates, one for all groups; or schedules by hyperparameter as in `ScheduledLR`,
            of which the controller takes ``lr``.
        controller: the rule.
        total_steps: T, the number of updates.
        last_epoch: index of the last finished step when resuming without a state; -1 starts afresh.
        grad_scaler: with it, an update that the scaler skipped counts as none, for fused optimizers too.
        process_group: over which loss and statistics are averaged; by default all processes, so that all of them decide the same.

    Raises:
        TypeError: something is no optimizer, schedule or controller.
        ValueError: a value is not allowed, the groups follow different schedules of the rate, or the optimizer's update is not linear in
            the learning rate and the controller revises steps.

    >>> import torch, adaptive_lr as al
    >>> w = torch.nn.Parameter(torch.ones(2))
    >>> optimizer = torch.optim.SGD([w], lr=1e-6)
    >>> scheduler = al.ControlledLR(optimizer, al.DampedCosine(), al.Anchor(), total_steps=200)
    >>> for _ in range(200):
    ...     loss = w.square().sum()
    ...     optimizer.zero_grad()
    ...     loss.backward()
    ...     optimizer.step()
    ...     scheduler.step(loss, closure=lambda: w.square().sum())
    >>> loss.item() < 1e-12
    True
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Plan,
        controller: AbstractController,
        *,
        total_steps: int,
        last_epoch: int = -1,
        grad_scaler: GradScaler | None = None,
        process_group: Any = None,
    ) -> None:
        if not isinstance(controller, AbstractController):
            raise TypeError(f"controller must be a controller such as Anchor(), got {controller!r}")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be a torch optimizer, got {type(optimizer).__name__}")
        _check_plan(schedule, controller)
        if Signal.STEP in controller.needs:
            check_linear(optimizer)
        self.controller = controller
        self.process_group = process_group
        self._space = ModuleSpace(optimizer, process_group)
        if not self._space.leaves():
            raise SpecError("the optimizer has no parameter that requires a gradient")
        self.control = Control(controller, self._space)
        self._replayer = Replayer(self._space.leaves())
        self._held = 1.0
        self._applied = 1.0
        self._pending = self._warned = False
        self._micro: list[Tensor] = []
        self._shown: dict[str, Any] = {"loss": None, "closure": None}
        super().__init__(optimizer, schedule, total_steps=total_steps, last_epoch=last_epoch, grad_scaler=grad_scaler)
        self._hooks = [
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    def step(
        self, metrics: float | Tensor | None = None, closure: Closure | None = None, *, skipped: bool = False
    ) -> None:
        """Let the controller see the update that was made, and go on to the next step.

        Args:
            metrics: the minibatch's loss, as the optimizer's gradients were computed from; averaged over accumulated minibatches.
            closure: evaluates that loss again on the same minibatch, ``lambda: loss_function(model(x), y)``; only needed in the steps
                in which the controller probes, called at most twice in them and not at all in others.
            skipped: that the optimizer made no update. Seen without being told where the optimizer was not called at all.

        If the controller needs the loss or the closure and did not get it, the step is taken back and a `SpecError` says so.
        """
        loss = self._shown["loss"] if metrics is None else metrics
        again = self._shown["closure"] if closure is None else closure
        self._shown = {"loss": None, "closure": None}
        if skipped or self._scaler_skipped() or not self._pending:
            self._warn_if_blind()
            self._take_back()
            return
        self._applied = float(self._decide(loss, again)[0])
        self._pending, self._micro = False, []
        self._step_count += 1
        if metrics is not None:
            self._observe(metrics, self.last_epoch + 1)
        self._update_lr()

    def show(self, loss: float | Tensor, closure: Closure | None = None) -> None:
        """Give loss and closure for the coming ``step()``, for trainers that call that themselves and pass nothing."""
        self._shown = {"loss": loss, "closure": closure}

    def micro_batch(self) -> None:
        """Say that the backward pass of one of several equal parts of a minibatch is done.

        For controllers that read the gradient noise: call it after each ``backward()`` but the last, with the loss of each part divided
        by the number of parts, as always when accumulating.
        """
        if not self._micro:
            with torch.no_grad():
                gradients = self._space.gradients()
                self._micro.append(self._space.dot(gradients, gradients))
        else:
            self._micro.append(self._micro[0])

    def get_last_lr(self) -> list[float | Tensor]:
        """The rates that the optimizer holds, before a probe; tensors are copied."""
        return self._last_lr

    @property
    def applied_multiplier(self) -> float:
        """The multiplier of the base rate that the last update was made with in the end; 0 if it was taken back."""
        return self._applied

    def readings(self) -> dict[str, float]:
        """What there is to see of the last update: multiplier, what is held now, the statistics, the controller's own numbers."""
        found = {"multiplier": self._applied, "held": self._held, "trial": float(self.control.trial[0])}
        found |= {name: float(value[0]) for name, value in self.control.seen.items()}
        state = self.controller.readings(self.control.state)
        return found | {f"state/{name}": float(value[0]) for name, value in state.items()}

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors: what `ScheduledLR` saves, the controller, its state, and what its statistics remember."""
        with torch.no_grad():
            kept = self._space.kept()
            return super().state_dict() | {
                "controller": encode(self.controller),
                "control": self.control.state_dict(),
                "held": self._held,
                "applied": self._applied,
                "pending": self._pending,
                "kept": kept,
            }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state, bit for bit, also between ``optimizer.step()`` and ``step()``; see `ScheduledLR`.

        Raises:
            SpecError: the state is of another controller than the constructed one, and would mean something else.
        """
        if state_dict.get("controller") != encode(self.controller):
            raise SpecError(f"the state is of the controller {state_dict.get('controller')}, not of {self.controller}")
        self.control.load_state_dict(state_dict["control"])
        self._space.load_kept(state_dict["kept"])
        self._held, self._applied = state_dict["held"], state_dict["applied"]
        self._pending = state_dict["pending"]
        super().load_state_dict(state_dict)
        self._arm()

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        """Before the optimizer's step: its gradients are there, unless a closure that it calls makes them."""
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)  # the first is the optimizer
        if closure is None:
            self._read_before()
            return None

        def wrapped() -> Any:
            result = closure()
            if not self._pending:
                if self._shown["loss"] is None and isinstance(result, Tensor):
                    self._shown["loss"] = result.detach()
                self._read_before()
            return result

        if len(args) > 1:
            return (args[0], wrapped, *args[2:]), kwargs
        return args, {**kwargs, "closure": wrapped}

    def _read_before(self) -> None:
        fused = cast(Any, self.optimizer)
        self._space.gradient_scale = getattr(fused, "grad_scale", None)
        now = self._moment()
        with torch.no_grad():
            trial = float(self.control.before(now)[0])
        self._pending = True
        if trial != self._held:
            self._write_multiplier(trial)

    def _after_step(self, *_: Any) -> None:
        self._space.gradient_scale = None
        if self._pending and float(self.control.trial[0]) != self._held:
            self._write_multiplier(self._held)  # whoever looks now sees the rate, not the probe's

    def _decide(self, loss: float | Tensor | None, closure: Closure | None) -> Tensor:
        now = self._moment()
        signals = self.controller.signals(now.step, now.total_steps)
        self._check_given(signals, loss, closure)
        if Signal.STEP in signals:
            check_gradients(self._space.leaves())

        def replay(gradient: bool) -> tuple[Tensor, Vector]:
            assert closure is not None
            return self._replayer(closure, self._space.leaves(), gradient)

        seen = None if loss is None else torch.as_tensor(loss).detach().reshape(1)
        parts = self._micro[0] * (len(self._micro) + 1) ** 2 if self._micro else None
        with torch.no_grad():
            return self.control.after(now, seen, replay, parts)

    def _check_given(self, signals: Signal, loss: float | Tensor | None, closure: Closure | None) -> None:
        name = type(self.controller).__name__
        problem = ""
        if Signal.LOSS in signals and loss is None:
            problem = f"{name} looks at the loss: call scheduler.step(loss) with that of the minibatch"
        elif signals & REPLAYING and closure is None:
            problem = (
                f"{name} probes the loss at this step: call scheduler.step(loss, closure=lambda: …) with a closure that evaluates "
                "it again on the same minibatch"
            )
        elif Signal.HALF in signals and not self._micro:
            problem = (
                f"{name} reads the gradient noise at this step: make the backward pass in equal parts, and call "
                "scheduler.micro_batch() after each but the last"
            )
        if problem:
            self._take_back()
            raise SpecError(problem)

    def _take_back(self) -> None:
        """Undo a step that was made at a probe's rate and will not be judged."""
        if not self._pending:
            return
        signals = self.controller.signals(max(self.last_epoch, 0), self.horizon.end)
        if Signal.STEP in signals:
            with torch.no_grad():
                self.control.statistics.revise(torch.zeros(1))
        self._pending, self._micro = False, []
        self._write()

    def _warn_if_blind(self) -> None:
        if self._step_count == 1 and self._scaler is None and not self._warned:
            self._warned = True
            warnings.warn(
                "no optimizer.step() was seen before scheduler.step(), so nothing was done; if the optimizer's step is compiled or "
                "replaced, its hooks do not run: build the ControlledLR first, or compile the model instead",
                UserWarning,
                stacklevel=3,
            )

    def _moment(self) -> Moment:
        step = max(self.last_epoch, 0)
        progress = self._progress
        u = progress[min(step, len(progress) - 1)]
        scheduled = super()._multiplier(self._lr_track)
        return Moment(step, self.horizon.end, u, torch.tensor([scheduled], dtype=torch.float64), self._scheduled_at)

    def _scheduled_at(self, u: Tensor) -> Tensor:
        resolved = self.horizon.resolved(self._lr_track.schedule)
        found: Tensor = stack([resolved]).multiplier(u.clamp(0.0, 1.0).reshape(1, -1)).reshape(-1)
        return found

    @property
    def _lr_track(self) -> _Track:
        return next(track for track in self._tracks if track.key == "lr")

    def _set_horizon(self, horizon: Any) -> None:
        super()._set_horizon(horizon)
        self._progress = horizon.progress().tolist()

    def _multiplier(self, track: _Track) -> float:
        return self._held if track.key == "lr" else super()._multiplier(track)

    def _write(self) -> None:
        self._space.refresh()
        if not self._pending:
            self._held = float(self.control.held(self._moment())[0])
            self._arm()
        super()._write()
        self._fast = False

    def _write_multiplier(self, multiplier: float) -> None:
        held, self._held = self._held, multiplier
        try:
            super()._write()
        finally:
            self._held, self._fast = held, False

    def _arm(self) -> None:
        if self.controller.signals(max(self.last_epoch, 0), self.horizon.end) & REPLAYING:
            self._replayer.arm()
        else:
            self._replayer.disarm()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a ControlledLR is bound to its optimizer by hooks and cannot be copied: use its state_dict()")


def _check_plan(schedule: Any, controller: AbstractController) -> None:
    if isinstance(schedule, Sequence):
        raise SpecError("a controller needs one schedule of the learning rate for all groups, got a list of schedules")
    if "lr" not in planned(schedule, 1)[0]:
        raise SpecError("a controller needs a schedule of lr to modulate, got schedules of other hyperparameters only")

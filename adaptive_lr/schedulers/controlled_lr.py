"""The torch face of a controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from adaptive_lr.controllers.base import AbstractController, Moment, Signal
from adaptive_lr.errors import SpecError
from adaptive_lr.feedback.attachment import attach, attached, bare, detach
from adaptive_lr.feedback.devices import on, on_cpu
from adaptive_lr.feedback.linearity import check_linear
from adaptive_lr.feedback.probing import Closure, Replayer
from adaptive_lr.feedback.spaces import ModuleSpace
from adaptive_lr.feedback.statistics import Vector
from adaptive_lr.feedback.update import Control
from adaptive_lr.schedulers.around_step import NOTHING, AroundStep
from adaptive_lr.schedulers.controlled_state import all_or_nothing, check_controlled
from adaptive_lr.schedulers.given import REPLACED, check_plan, fate, waiting
from adaptive_lr.schedulers.horizon import Horizon, checked_mode
from adaptive_lr.schedulers.hyperparameters import Plan
from adaptive_lr.schedulers.notices import refuse_epoch
from adaptive_lr.schedulers.resume import Saved
from adaptive_lr.schedules.reactive import is_reactive
from adaptive_lr.spec import encode

P = ParamSpec("P")
R = TypeVar("R")


class ControlledLR(AroundStep):
    """lr_t = base_lr * a controller's multiplier, in every parameter group; a `torch.optim.lr_scheduler.LRScheduler`.

    Call ``step(loss, closure)`` after every ``optimizer.step()``. What the controller asks for is read around the optimizer's
    step by hooks, before gradients are cleared. At steps that the controller wants to probe, the optimizer makes its step at the
    probe's rate, the closure evaluates the loss there, and the step is then shortened or taken back; that is exact for all optimizers
    whose update is linear in the learning rate, and others are refused. A probe leaves no trace: dropout masks are those of the training
    step, buffers such as those of batch normalisation and the random numbers are put back. An update that a `GradScaler` skipped counts as
    none. The losses are the controller's; parts of a schedule that follow a metric are shown theirs by `observe`.

    Args:
        optimizer: any torch optimizer; its present learning rates become the base rates, group by group.
        schedule: the schedule that the controller modulates, one for all groups; or schedules by hyperparameter as in `ScheduledLR`,
            of which the controller takes ``lr``.
        controller: the rule.
        total_steps: T, the number of updates.
        last_epoch: index of the last finished step when resuming without a state; -1 starts afresh.
        grad_scaler: only needed with an optimizer that hides from its hooks whether it skipped the update; torch's do not.
        on_longer: how to go on where a state of a run of another length is loaded, for trainers that build and load by themselves:
            ``hold``, ``stretch`` or ``continue`` as in `extend`, from the saved step to ``total_steps``, a shorter T too. None refuses.
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

    @on_cpu
    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Plan,
        controller: AbstractController,
        *,
        total_steps: int,
        last_epoch: int = -1,
        grad_scaler: GradScaler | None = None,
        on_longer: str | None = None,
        process_group: Any = None,
    ) -> None:
        if not isinstance(controller, AbstractController):
            raise TypeError(f"controller must be a controller such as Anchor(), got {controller!r}")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be a torch optimizer, got {type(optimizer).__name__}")
        check_plan(schedule)
        self._on_longer = None if on_longer is None else checked_mode("on_longer", on_longer)
        optimizer = bare(optimizer)
        self._copies = not check_linear(optimizer) if Signal.STEP in controller.needs else False
        self.controller = controller
        self.process_group = process_group
        self._space = ModuleSpace(optimizer, process_group)
        if not self._space.leaves():
            raise SpecError("the optimizer has no parameter that requires a gradient")
        self.control = Control(controller, self._space)
        self._replayer = Replayer(optimizer)
        self._held = self._applied = self._trial = 1.0
        self._ahead: dict[int, tuple[float, bool]] = {}
        self._quiet = False
        self._square: Tensor | None = None
        self._present: Moment | None = None
        self._micro: list[Tensor] = []
        self._shown: dict[str, Any] = dict(NOTHING)
        self._observed = None
        self._begin()
        super().__init__(optimizer, schedule, total_steps=total_steps, last_epoch=last_epoch, grad_scaler=grad_scaler)
        attach(optimizer, self._before_step, self._after_step)

    def step(  # type: ignore[override]  # torch's has the epoch first
        self,
        metrics: float | Tensor | None = None,
        closure: Closure | None = None,
        *,
        grad_norm: float | Tensor | None = None,
        skipped: bool = False,
        epoch: int | None = None,
    ) -> None:
        """Let the controller see the update that was made, and go on to the next step.

        Args:
            metrics: the minibatch's loss, as the optimizer's gradients were computed from; averaged over accumulated minibatches.
            closure: evaluates that loss again on the same minibatch, ``lambda: loss_function(model(x), y)``, under the same autocast;
                only needed in the steps in which the controller probes, called at most twice in them and not at all in others; once more in the
                first of them, where it must find the given loss again, or a warning says that it does not.
            grad_norm: where gradients are clipped, their norm before that, as ``clip_grad_norm_`` returns it. With it, the statistics
                are those of the whole gradient.
            skipped: that the optimizer made no update. Seen without being told where the optimizer was not called at all.
            epoch: refused, since steps are counted; torch's schedulers have it.

        If the controller needs the loss or the closure and did not get it, or the closure fails, the update does not count: at steps
        that the controller may revise it is taken back, at others it stays as it was made. The error says which, itself or in a note.

        Raises:
            SpecError: that, or another `ControlledLR` was built on the optimizer after this one.
        """
        refuse_epoch(epoch)
        if attached(self.optimizer) not in (None, self):
            raise SpecError(REPLACED)
        shown: dict[str, Any] = {"loss": metrics, "closure": closure, "grad_norm": grad_norm}
        shown = {name: self._shown[name] if value is None else value for name, value in shown.items()}
        self._shown = dict(NOTHING)
        self._default = torch.get_default_device()
        with on(torch.device("cpu")):
            missed = self._scaler_skipped() or skipped
            if missed or not self._pending or self._inside:
                self._warn_if_blind(skipped=skipped)
                # Accelerate calls step() once more for each process: then there is no update that could have been missed.
                if missed or self._pending or not (_nothing(shown) or waiting(self._space.leaves())):
                    self._applied = 0.0
                self._take_back()
                return
            self._judge(shown)
            self.control.tell()

    def _judge(self, shown: dict[str, Any]) -> None:
        try:
            self._applied = self._decide(**shown)
        except BaseException as error:
            stays = Signal.STEP not in self._signals()
            self._take_back()
            self._applied = self._trial if stays else 0.0
            if fate(stays=stays) not in str(error):
                error.add_note(fate(stays=stays))
            raise
        self._close()
        self._step_count += 1
        self._update_lr()

    def show(
        self,
        loss: float | Tensor | None = None,
        closure: Closure | None = None,
        *,
        grad_norm: float | Tensor | None = None,
    ) -> None:
        """Give what ``step()`` needs beforehand, all at once or one by one, for trainers that call that themselves and pass nothing."""
        shown = {"loss": loss, "closure": closure, "grad_norm": grad_norm}
        self._shown |= {name: value for name, value in shown.items() if value is not None}

    def observe(self, metrics: float | Tensor) -> None:
        """Show a metric on other data than is trained on, smaller being better, to a controller that looks at one, and to the schedule.

        The controller sees it in the next step in which it looks. See `ScheduledLR.observe` for the schedule.
        """
        looks = Signal.METRIC in self.controller.needs
        if looks:
            self._observed = float(metrics)
        if not looks or any(is_reactive(track.original) for track in self._tracks):
            super().observe(metrics)

    def repeated(self, loss_function: Callable[P, R]) -> Callable[P, R]:
        """The loss function, which draws the same random numbers in a closure as it did in training.

        For functions that draw some themselves, such as noise or an augmentation; what models draw is repeated anyway. Use what is
        returned in training and in the closure. It follows torch's random numbers, not those of Python or NumPy.

        >>> import torch, adaptive_lr as al
        >>> w = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = torch.optim.SGD([w], lr=1e-3)
        >>> scheduler = al.ControlledLR(optimizer, al.DampedCosine(), al.Anchor(), total_steps=100)
        >>> loss_function = scheduler.repeated(lambda x: ((w - x + torch.randn(2)) ** 2).sum())
        >>> for x in torch.zeros(100, 2):
        ...     loss = loss_function(x)
        ...     optimizer.zero_grad()
        ...     loss.backward()
        ...     optimizer.step()
        ...     scheduler.step(loss, closure=lambda: loss_function(x))
        """
        return self._replayer.repeated(loss_function)

    def micro_batch(self) -> None:
        """Say that the backward pass of one of several equal parts of a minibatch is done.

        For controllers that read the gradient noise: call it after each ``backward()`` but the last, with the loss of each part divided
        by the number of parts, as always when accumulating. Two parts tell most. Under `DistributedDataParallel` with ``no_sync()`` the
        first part is this process's own, smaller by the number of processes than is assumed: leave ``no_sync()`` out there.
        """
        if not self._micro:
            with torch.no_grad():
                gradients = self._space.gradients()
                self._micro.append(self._space.dot(gradients, gradients))
        else:
            self._micro.append(self._micro[0])

    def pause(self) -> None:
        """Let something else set the rate: nothing is looked at until `resume`."""
        detach(self.optimizer)
        self._replayer.disarm()

    def resume(self) -> None:
        """The rate is the scheduler's again."""
        if attached(self.optimizer) is not self:
            attach(self.optimizer, self._before_step, self._after_step)
            self._write()

    def get_last_lr(self) -> list[float | Tensor]:
        """The rates that the optimizer holds, before a probe; tensors are copied."""
        return self._last_lr

    @property
    def applied_multiplier(self) -> float:
        """The multiplier of the base rate that the last update was made with in the end; 0 if it was taken back or skipped."""
        return self._applied

    @property
    def looks(self) -> bool:
        """Whether the controller looks at anything in the coming ``step()``, so that it needs the loss."""
        return bool(self._signals() & ~Signal.START)

    def readings(self) -> dict[str, float]:
        """What there is to see of the last update: multiplier, what is held now, the statistics, the controller's own numbers.

        ``ignored`` counts the updates so far of which loss or gradient, as far as the controller looks at them, were not finite.
        """
        rates = {"multiplier": self._applied, "held": self._held, "trial": self._trial}
        numbers = self.control.seen | self.controller.readings(self.control.state) | {"ignored": self.control.ignored}
        return rates | {name: float(value[0]) for name, value in numbers.items()}

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors: what `ScheduledLR` saves, the controller, its state, and what its statistics remember."""
        with torch.no_grad():
            return super().state_dict() | {
                "controller": encode(self.controller),
                "numbers": self._space.numbers(),
                "control": self.control.state_dict(),
                "held": self._held,
                "trial": self._trial,
                "applied": self._applied,
                "square": None if self._square is None else self._square.clone(),
                "kept": None if self._space.keeper is None else self._space.keeper.state(),
                "compared": self.compared,
                "observed": self._observed,
                "update": self._update_state() if self._pending else None,
            }

    @on_cpu
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state, bit for bit, also between ``optimizer.step()`` and ``step()``; see `ScheduledLR`.

        A state of another controller than the constructed one, or of another T, would mean something else and is a `SpecError`; to
        train longer or shorter, construct with ``on_longer``, or with the saved T, load, then call `extend`. Fewer or more of the same
        parameters may be trained than when it was saved, as if they had been frozen or thawed here; those of another model are refused.
        """
        revised, parameters = self._revisable(), self._space.parameters()
        with self._all_loaded():
            saved = self._accepted(state_dict)
            horizon = self._horizon_of(
                saved, []
            )  # under another T, by which a controller plans, it is refused or changed
            check_controlled(state_dict, self.control, self._space)
            self._load(state_dict, saved, horizon)
        if revised is not None:
            with torch.no_grad():
                torch._foreach_copy_(parameters, revised)
        self._version = self._space.version()

    def _load(self, state: dict[str, Any], saved: Saved, horizon: Horizon) -> None:
        self._close()
        self._space.refresh()
        self.control.load_state_dict(state["control"])
        if self._space.keeper is not None:
            self._space.keeper.load(state["kept"])
        self._held, self._applied, self._square = float(state["held"]), float(state["applied"]), state["square"]
        self._observed = state.get("observed")
        present = self._space.numbers()
        before = state.get("numbers", present)
        if before != present:
            self.control.statistics.follow([before.index(number) if number in before else None for number in present])
            self._square = None
        self.compared = state.get("compared", False) is True
        update = state["update"]
        self._pending = update is not None
        self._ahead, self._present = {}, None
        self._quiet = self._is_quiet(max(state["last_epoch"], 0))
        self._follow(saved, horizon, [])
        self._present = None
        self._trial = float(state.get("trial", self.control.trial[0]))
        if update is not None:
            self._space.load_held(update["gradients"])
            self._replayer.load_state_dict(update["replay"])
            self._micro, self._shown["loss"] = list(update["micro"]), update["loss"]
            self._inside, self._idle = update["inside"], update["idle"]

    def _revisable(self) -> Vector | None:
        """Where a step that was not judged began, unless the parameters were loaded since: nobody will judge it any more."""
        given_up = (
            self._pending and Signal.STEP in self._signals() and not (self._inside or self._idle or self._moved())
        )
        return self.control.statistics.buffers["start"] if given_up else None

    @contextmanager
    def _all_loaded(self) -> Iterator[None]:
        space, replayer = self._space, self._replayer
        objects = [
            self,
            self.control,
            self.control.statistics,
            space,
            *self._tracks,
            *([] if space.keeper is None else [space.keeper]),
        ]
        armed, self._shown = replayer.armed, dict(self._shown)
        try:
            with self._all_or_nothing(), all_or_nothing(objects), replayer.kept_on_error():
                yield
        except BaseException:
            if armed and not replayer.armed:
                with replayer.kept():
                    replayer.arm()
            raise

    def _update_state(self) -> dict[str, Any]:
        """What is known of an update between ``optimizer.step()`` and ``step()``."""
        loss = self._shown["loss"]
        return {
            "gradients": self._space.held(),
            "replay": self._replayer.state_dict(),
            "micro": [square.clone() for square in self._micro],
            "loss": loss.detach().clone() if isinstance(loss, Tensor) else loss,
            "inside": self._inside,
            "idle": self._idle,
        }

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a ControlledLR is bound to its optimizer by hooks and cannot be copied: use its state_dict()")


def _nothing(shown: dict[str, Any]) -> bool:
    return all(value is None for value in shown.values())

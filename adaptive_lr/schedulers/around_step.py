"""What a controller's scheduler does around the optimizer's step."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr.controllers.base import REPLAYING, Signal
from adaptive_lr.errors import SpecError
from adaptive_lr.feedback.attachment import nested
from adaptive_lr.feedback.clipping import undo_clipping
from adaptive_lr.feedback.devices import on, on_cpu
from adaptive_lr.feedback.probing import Closure, Replayer
from adaptive_lr.feedback.spaces import ModuleSpace
from adaptive_lr.feedback.statistics import Replay, Vector
from adaptive_lr.feedback.update import Part
from adaptive_lr.schedulers.given import (
    FORGOTTEN,
    JOINT,
    OTHER_LOSS,
    STAYED,
    TAKEN_BACK,
    TOO_EARLY,
    UNSEEN,
    WRITTEN,
    check_given,
    differs,
    scalar,
    waiting,
)
from adaptive_lr.schedulers.held_rate import HeldRate
from adaptive_lr.schedulers.written import Written

NOTHING: dict[str, Any] = {"loss": None, "closure": None, "grad_norm": None}


class AroundStep(HeldRate):
    """The hooks before and after the optimizer's step, and what becomes of the step afterwards.

    A step is *pending* from the hook before it until it is judged or taken back. Steps that nobody trains with are left alone: their
    rates are not those that the scheduler wrote, as where `torch.distributed.checkpoint` makes one at rate 0 to create the optimizer's
    state, or there is no gradient.
    """

    _space: ModuleSpace
    _replayer: Replayer
    _copies: bool
    _applied: float
    _trial: float
    _square: Tensor | None
    _default: torch.device
    compared: bool
    """Whether it is known that the closure finds the loss of the step; otherwise the first probe of a run tries."""
    _joint: bool
    """Whether somebody was told that another controller probes the same model."""
    _micro: list[Tensor]
    _shown: dict[str, Any]
    _observed: float | None
    """The metric that the controller has not seen yet."""

    def _begin(self) -> None:
        """No step is under way, and nothing was said yet."""
        self._pending = self._inside = self._warned = self._stepped = self._early = False
        self._foreign = self._harmless = self._idle = self._unrecorded = False
        self._joint = False
        self._depth = 0
        self.compared = self._elsewhere = False
        self._written = Written()
        self._made: int | None = None
        self._version = self._space.version()

    @on_cpu
    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        """Before the optimizer's step: its gradients are there, unless a closure that it calls makes them."""
        if self._inside and nested(optimizer):
            self._depth += 1
            return None
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)  # the first is the optimizer
        self._foreign = not self._quiet and self._is_foreign()
        if self._foreign:
            self._harmless = not self._moved() and _at_rest(self.optimizer.param_groups)
            return None
        self._settle_last()
        self._inside, self._depth, self._stepped = True, 0, True
        if closure is None:
            if self._early and not (self._warned or self._replayer.recorded):  # stepped even before backward()
                self._warned = True
                warnings.warn(TOO_EARLY, UserWarning, stacklevel=2)
            self._read_before()
            return None

        def wrapped() -> Any:
            result = closure()
            if not self._pending:
                if self._shown["loss"] is None and isinstance(result, float | Tensor):
                    self._shown["loss"] = result.detach() if isinstance(result, Tensor) else result
                self._read_before()
            return result

        if len(args) > 1:
            return (args[0], wrapped, *args[2:]), kwargs
        return args, {**kwargs, "closure": wrapped}

    def _is_foreign(self) -> bool:
        """Whether somebody else makes this step: at rates of their own, all of them 0 if the controller does not revise it anyway."""
        groups = self.optimizer.param_groups
        if self._written.intact(groups):
            return False
        return Signal.STEP in self._signals() or _at_rest(groups)

    def _settle_last(self) -> None:
        """Take back a step that will not be judged any more.

        One that raised is nobody's fault; one that no forward pass came before, while there was one before this step, was none of training.

        Raises:
            SpecError: it should have been judged.
        """
        if not self._pending or Signal.STEP not in self._signals():
            return
        idle = self._inside or self._idle or (self._unrecorded and self._replayer.recorded)
        moved = not self._inside and self._moved()
        with self._replayer.kept():
            self._take_back(revise=not (moved or self._idle))
        self._applied = 0.0
        self._elsewhere = True
        if not idle:
            raise SpecError(f"{FORGOTTEN}; {STAYED if moved else TAKEN_BACK}")

    @on_cpu
    def _read_before(self) -> None:
        verdict = getattr(self.optimizer, "found_inf", None)
        if verdict is not None and bool(verdict):
            return  # a fused optimizer under a scaler, which will do nothing
        if self._quiet:
            self._trial, self._pending = self._held, True
            return
        if self._replayer.beside and not self._joint:
            self._joint = True
            warnings.warn(JOINT, UserWarning, stacklevel=4)
        self._replayer.close()
        origins = self._space.refresh()
        self.control.statistics.follow(origins)
        if origins is not None:
            self._square = None  # of all that were there
        signals = self._signals()
        self._unrecorded = bool(signals & REPLAYING) and not self._replayer.recorded
        self._idle = Signal.STEP in signals and self._space.idle(look=self._unrecorded)
        self._space.gradient_scale = getattr(self.optimizer, "grad_scale", None)
        with torch.no_grad():
            # The last gradient is remembered, and so is its length.
            last = self.control.statistics.buffers.get("gradient")
            self._space.known = None if last is None or self._square is None else (last, self._square)
            self._trial = float(self.control.before(self._now, probing=not self._idle)[0])
            self._square, self._space.known = self.control.statistics.values.get("gradient_square"), None
            if Signal.STEP in signals:
                self._space.hold(copies=self._copies)
        self._pending, self._made = True, None
        if self._trial != self._held:
            self._write_multiplier(self._trial)

    @on_cpu
    def _after_step(self, *_: Any) -> None:
        if self._foreign:
            self._foreign = False
            if self._harmless:
                self._version = self._space.version()
                self._made = None if self._made is None else self._space.versions()
            return
        if self._depth:
            self._depth -= 1
            return
        self._inside = False
        if self._quiet:
            return
        if not self._unrecorded:
            self._replayer.disarm()
        self._space.gradient_scale = None  # undone in the gradients themselves by now
        self._space.seal()
        self._made = self._space.versions()
        if self._pending and self._trial != self._held:
            self._write_multiplier(self._held)  # whoever looks now sees the rate, not the probe's

    def _moved(self) -> bool:
        """Whether something else wrote to the parameters since the step, such as the loading of a model."""
        return self._made is not None and self._made != self._space.versions()

    def _decide(self, loss: float | Tensor | None, closure: Closure | None, grad_norm: float | Tensor | None) -> float:
        if self._quiet:
            self.control.seen = {}
            return self._held
        signals = self._signals()
        check_given(self.controller, signals, loss=loss, closure=closure, parts=bool(self._micro))
        if Signal.STEP in signals:
            self._space.check_held()
        if self._unrecorded:
            self._replayer.forget()  # what was recorded since the step is not what it came from

        def replay(gradient: bool) -> tuple[Tensor, Vector]:
            assert closure is not None
            with on(self._default):
                return self._replayer(closure, self._space.leaves(), gradient)

        # After a step that was taken back only now, the loss is one of where that step had led.
        if signals & REPLAYING and not (self.compared or self._elsewhere) and loss is not None:
            self._compare(scalar(loss), replay)
        count = len(self._micro) + 1
        part = Part(self._micro[0] * count**2, 1 / count) if self._micro else None
        with torch.no_grad():
            if grad_norm is not None:
                undo_clipping(self.control.statistics, self._space, grad_norm)
                self._square = None
            observed = None if self._observed is None else torch.tensor([self._observed], dtype=torch.float64)
            made = float(self.control.after(self._now, scalar(loss), replay, part, observed)[0])
        if Signal.METRIC in signals:
            self._observed = None
        return made

    def _compare(self, loss: Tensor | None, replay: Replay) -> None:
        """Once in a run: at the parameters that the loss was computed at, the closure must find it again."""
        assert loss is not None
        with torch.no_grad():
            again = self.control.statistics.replayed_at_start(replay)
        self.compared = True
        if differs(loss, again):
            warnings.warn(OTHER_LOSS.format(loss=float(loss), again=float(again)), UserWarning, stacklevel=5)

    def _take_back(self, *, revise: bool = True) -> None:
        """Undo a step that was made at a probe's rate and will not be judged."""
        if revise and self._pending and Signal.STEP in self._signals():
            with torch.no_grad():
                self.control.statistics.revise(torch.zeros(1, device="cpu"))
        self._close()
        self._write()

    def _close(self) -> None:
        self._pending = self._inside = self._idle = self._unrecorded = self._elsewhere = False
        if not self._quiet:
            self._micro, self._made = [], None
            self._space.release()
        self._version = self._space.version()

    def _warn_if_blind(self, *, skipped: bool) -> None:
        """Say once why there is no step to judge, unless that is known."""
        if self._pending or self._warned:
            return
        self._early = not skipped and self._replayer.recorded
        changed = self._space.version() != self._version
        group = (
            None
            if self._quiet or Signal.STEP not in self._signals()
            else self._written.changed(self.optimizer.param_groups)
        )
        if group is not None:
            present, written = float(self.optimizer.param_groups[group]["lr"]), self._written.rate(group)
            message = WRITTEN.format(group=group, present=present, written=written)
        elif changed:
            message = UNSEEN
        elif not (skipped or self._stepped) and waiting(self._space.leaves()):
            message = TOO_EARLY
        else:
            return
        self._warned = True
        warnings.warn(message, UserWarning, stacklevel=3)

    def _write(self) -> None:
        super()._write()
        if not self._quiet:
            self._written.take(self.optimizer.param_groups)

    def _update_lr(self, epoch: int | None = None) -> None:
        super()._update_lr(epoch)
        if not self._quiet:
            self._written.take(self.optimizer.param_groups)

    def _write_multiplier(self, multiplier: float) -> None:
        super()._write_multiplier(multiplier)
        self._written.take(self.optimizer.param_groups)

    def _go_on(self) -> None:
        super()._go_on()
        if not self._quiet and self.probes:
            self._replayer.arm()
        else:
            self._replayer.disarm()

    @property
    def probes(self) -> bool:
        """Whether the coming ``step()`` will evaluate the loss again, so that it needs a closure."""
        return bool(self._signals() & REPLAYING)


def _at_rest(groups: Sequence[dict[str, Any]]) -> bool:
    """Whether nothing moves in a step."""
    return all(float(group["lr"]) == 0.0 for group in groups)

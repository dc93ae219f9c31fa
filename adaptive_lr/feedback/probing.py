"""Evaluate a loss again without leaving a trace: same dropout masks, same buffers afterwards, same random numbers."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from adaptive_lr.errors import SpecError
from adaptive_lr.feedback.owners import hush
from adaptive_lr.feedback.passes import Buffers, Matching, Pass, Passes, buffers_of
from adaptive_lr.feedback.randomness import RandomState, devices_of, random_state, set_random_state
from adaptive_lr.feedback.statistics import Vector
from adaptive_lr.feedback.uncompiled import uncompiled

Closure = Callable[[], Tensor]


@dataclass
class _Replay:
    """What is under way while a closure is evaluated."""

    matching: Matching
    open: _Open
    undo: dict[int, Callable[[], None]] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)


class _Open:
    """The outermost module whose forward pass is under way."""

    def __init__(self) -> None:
        self._module: nn.Module | None = None
        self._depth = 0

    @property
    def nested(self) -> bool:
        """Whether there is one."""
        return self._module is not None

    def enter(self, module: nn.Module) -> bool:
        """Whether this one is the outermost."""
        if self._module is None:
            self._module = module
            return True
        self._depth += self._module is module
        return False

    def leave(self, module: nn.Module) -> bool:
        """Whether this one was."""
        if self._module is not module:
            return False
        if self._depth:
            self._depth -= 1
            return False
        self._module = None
        return True


class Replayer:
    """Records how each forward pass of a training step begins, and repeats the loss from there.

    Nothing needs to be told which models there are: while armed, every outermost call of a module in training mode is recorded, with
    the random state, the buffers and the modes of its parts; the calls that the closure makes are matched with those of the same modules,
    see `Matching`. With several optimizers, as in adversarial training, the forward passes since another one's last step are the ones
    that count.

    Args:
        optimizer: whose training steps they are.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = weakref.ref(optimizer)
        self._passes = Passes()
        self._open = _Open()
        self._latest: Pass | None = None
        self._closed = False
        self._start: RandomState = {}
        self._handles: list[RemovableHandle] = []
        self._expected: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._replay: _Replay | None = None
        self.beside = False
        """Whether another optimizer that is probed, too, has made its step since the last forward pass: their steps are one."""
        _PROBED.add(optimizer)

    def arm(self) -> None:
        """Record the forward passes from here on."""
        self.disarm()
        self._passes.clear()
        self._open, self._closed, self.beside, self._start = _Open(), False, False, random_state(self._devices())
        me = weakref.ref(self)

        def begins(module: nn.Module, _: Any) -> None:
            recorder = me()
            if recorder is None:
                for handle in handles:
                    handle.remove()  # not when it was collected, which may be while torch goes through its hooks
            elif module.training and not _recomputing() and recorder._open.enter(module):
                recorder._latest = recorder._record(module, list(module.modules()))

        def ends(module: nn.Module, _: Any, output: Any) -> None:
            recorder = me()
            if recorder is not None and not _recomputing() and recorder._open.leave(module):
                latest, recorder._latest = recorder._latest, None
                if latest is not None and latest.graded:
                    latest.watch(output)

        handles = self._handles = _around_forward(begins, ends)
        _watch_other_optimizers()
        hush()
        _ARMED.add(self)

    def disarm(self) -> None:
        """Record nothing any more; what was recorded stays."""
        while self._handles:
            self._handles.pop().remove()
        _ARMED.discard(self)

    def close(self) -> None:
        """The step was made: the next forward pass begins another one."""
        self._closed = True

    def forget(self) -> None:
        """Record nothing any more, and forget what was recorded."""
        self.disarm()
        self._passes.clear()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """What was recorded stays as it is, also if `arm` is called meanwhile."""
        passes, start = list(self._passes.all), self._start
        yield
        self._passes.all.extend(passes)
        self._start = start

    @contextmanager
    def kept_on_error(self) -> Iterator[None]:
        """What was recorded is there again after an error."""
        passes, start = list(self._passes.all), self._start
        try:
            yield
        except BaseException:
            self._passes.clear()
            self._passes.all.extend(passes)
            self._start = start
            raise

    @property
    def armed(self) -> bool:
        """Whether forward passes are being recorded."""
        return bool(self._handles)

    @property
    def recorded(self) -> bool:
        """Whether there was a forward pass with gradients since `arm`."""
        return any(one_pass.graded for one_pass in self._passes.all)

    def repeated(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which draws the same random numbers in a closure as it did in training."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            began: Pass | None = None
            if self._replay is not None:
                _restart(self._replay.matching.next(call))
            elif self.armed and not _recomputing():
                began = self._record(call, [])
            output = function(*args, **kwargs)
            if began is not None and began.graded:
                began.watch(output)
            return output

        return call

    def other_step(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer made a step: if it is another one, what was recorded so far belongs to that."""
        if optimizer is not self._optimizer():
            self._closed = True
            self.beside |= optimizer in _PROBED and self._passes.shared(self._optimizer(), optimizer)

    def state_dict(self) -> dict[str, Any]:
        """What was recorded, as plain data and tensors."""
        return {"start": self._start, "passes": self._passes.state()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take over what another one's `state_dict` returned."""
        self.disarm()
        self._start = saved["start"]
        self._passes.load(saved["passes"])

    def __call__(self, closure: Closure, parameters: Sequence[Tensor], gradient: bool) -> tuple[Tensor, Vector]:
        """The loss of the closure, ``[1]``, and its gradient if that is wanted.

        A closure that returns no scalar tensor, or one that was there before, or calls ``backward``, is a `SpecError`.
        """
        matching = Matching(self._passes.all, self._expected)
        result = self._evaluate(matching, closure, parameters, gradient)
        if matching.settle():
            result = self._evaluate(matching.again(), closure, parameters, gradient)
        return result

    def _evaluate(
        self, matching: Matching, closure: Closure, parameters: Sequence[Tensor], gradient: bool
    ) -> tuple[Tensor, Vector]:
        """One run of the closure.

        Raises:
            SpecError: it is none of a loss.
            RuntimeError: anything else that goes wrong in it.
        """
        marks, mark = _marks(parameters), _mark()
        with self._untouched(matching), torch.set_grad_enabled(gradient):
            try:
                loss = closure()
            except RuntimeError as error:
                if "does not require grad" in str(error):
                    raise SpecError(_ONLY_THE_LOSS) from error
                raise
            if _marks(parameters) != marks:
                raise SpecError(_ONLY_THE_LOSS)
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                kind = f"one of {loss.numel()}" if isinstance(loss, Tensor) else type(loss).__name__
                raise SpecError(f"the closure must return the loss as a tensor of one element, got {kind}")
            if loss.grad_fn is not None and _number_of(loss) < mark:
                raise SpecError("the closure must evaluate the loss again, not return the one it has")
            gradients = _gradient(loss, parameters) if gradient else []
        return loss.detach().reshape(1), gradients

    def _devices(self) -> list[torch.device]:
        """Read when they are needed: a model may go to its accelerator after the scheduler was built."""
        optimizer = self._optimizer()
        groups = [] if optimizer is None else optimizer.param_groups
        return devices_of(p for group in groups for p in group["params"])

    def _record(self, owner: Any, parts: Sequence[nn.Module]) -> Pass:
        if self._closed and torch.is_grad_enabled():
            self._passes.clear()
            self._closed = self.beside = False
        return self._passes.add(owner, parts, random_state(self._devices()))

    @contextmanager
    def _untouched(self, matching: Matching) -> Iterator[None]:
        """Everything as at the recorded passes, and as before at the end."""
        before = random_state(self._devices())
        replay = self._replay = _Replay(matching, _Open())

        def begins(module: nn.Module, _: Any) -> None:
            if not replay.open.nested:
                _prepare(module, replay)
            if replay.open.nested or replay.matching.knows(module):
                replay.open.enter(module)

        def ends(module: nn.Module, *_: Any) -> None:
            replay.open.leave(module)

        handles = _around_forward(begins, ends)
        try:
            set_random_state(self._start or before)
            yield
        finally:
            self._replay = None
            for handle in handles:
                handle.remove()
            with torch.no_grad():
                for undo in reversed(replay.undo.values()):
                    undo()
            set_random_state(before)


_ARMED: weakref.WeakSet[Replayer] = weakref.WeakSet()
_PROBED: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
_WATCHING: list[RemovableHandle] = []


def _around_forward(begins: Callable[..., None], ends: Callable[..., None]) -> list[RemovableHandle]:
    return [
        register_module_forward_pre_hook(torch.compiler.disable(begins)),
        register_module_forward_hook(torch.compiler.disable(ends), always_call=True),
    ]


def _recomputing() -> bool:
    """Whether this is a checkpointed part, evaluated again in the backward pass."""
    return torch._C._current_graph_task_id() != -1


def _watch_other_optimizers() -> None:
    """Once and for all: a hook that came and went could do so while torch goes through its hooks."""

    def stepped(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if _ARMED:
            for replayer in list(_ARMED):
                replayer.other_step(optimizer)

    if not _WATCHING:
        _WATCHING.append(register_optimizer_step_post_hook(uncompiled(stepped)))


_ONLY_THE_LOSS = "the closure must only compute the loss and return it, without backward() or zero_grad()"


def _restart(one_pass: Pass | None) -> None:
    if one_pass is not None:
        set_random_state(one_pass.random)


def _prepare(module: nn.Module, replay: _Replay) -> None:
    """Put a module that the closure calls into the state of the recorded pass."""
    parts = list(module.modules())
    if id(module) not in replay.undo:
        replay.undo[id(module)] = _undo(module, parts)
    if isinstance(module, DistributedDataParallel):
        module.require_backward_grad_sync = False  # gradients are averaged later, as inner products
    began = replay.matching.next(module)
    _restart(began)
    if began is None:
        return
    if len(began.modes) == len(parts):
        for part, mode in zip(parts, began.modes, strict=True):
            part.training = mode
    buffers = buffers_of(parts)
    if [buffer.shape for buffer in began.buffers] == [buffer.shape for _, _, buffer in buffers]:
        _put(buffers, began.buffers, replay)


def _put(buffers: Buffers, values: list[Tensor], replay: _Replay) -> None:
    """Set buffers; those that the graph of an earlier pass holds are replaced, for it must not see them change."""
    fresh: dict[int, Tensor] = {}
    for (owner, name, present), value in zip(buffers, values, strict=True):
        if torch.is_grad_enabled() and id(present) in replay.used:
            owner._buffers[name] = fresh.setdefault(id(present), value.to(present, copy=True))
        else:
            with torch.no_grad():
                present.copy_(value)
    present_ones = [owner._buffers[name] for owner, name, _ in buffers]
    replay.used.update(id(buffer) for buffer in present_ones if buffer is not None)


def _undo(module: nn.Module, parts: list[nn.Module]) -> Callable[[], None]:
    modes = [part.training for part in parts]
    buffers = [(owner, name, buffer, buffer.detach().clone()) for owner, name, buffer in buffers_of(parts)]
    synchronises = getattr(module, "require_backward_grad_sync", None)

    def undo() -> None:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode
        for part in _sharded_modules(parts):
            part.reshard()  # or the next forward pass would find the gathered parameters of the probe
        for owner, name, buffer, value in buffers:
            buffer.copy_(value)
            owner._buffers[name] = buffer
        if synchronises is not None:
            module.require_backward_grad_sync = synchronises

    return undo


def _sharded_modules(parts: Sequence[nn.Module]) -> list[Any]:
    if not (distributed.is_available() and distributed.is_initialized()):
        return []
    from torch.distributed.fsdp import FSDPModule

    return [part for part in parts if isinstance(part, FSDPModule)]


def _gradient(loss: Tensor, parameters: Sequence[Tensor]) -> Vector:
    if not loss.requires_grad:
        raise SpecError("the closure's loss has no gradient: leave out no_grad() and detach() in it")
    gradients = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    return [torch.zeros_like(p.data) if g is None else g for g, p in zip(gradients, parameters, strict=True)]


def _marks(parameters: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Changes if a gradient does."""
    return [(id(p.grad), 0 if p.grad is None else p.grad._version) for p in parameters]


def _mark() -> int:
    """Below the number of every node of autograd that is made from here on.

    (1) Whether the result requires a gradient under ``no_grad``  (2) whether it was made before. We do (2): a loss with gradients in
    it, such as a penalty on them, must be evaluated under an ``enable_grad`` of its own, and requires one for good.
    """
    with torch.inference_mode(False), torch.enable_grad():
        return _number_of(torch.zeros((), requires_grad=True, device="cpu").clone())


def _number_of(value: Tensor) -> int:
    return cast("int", cast(Any, value.grad_fn)._sequence_nr())

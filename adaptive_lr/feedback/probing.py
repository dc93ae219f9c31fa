"""Evaluate a loss again without leaving a trace: same dropout masks, same buffers afterwards, same random numbers."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.hooks import RemovableHandle

from adaptive_lr.errors import SpecError
from adaptive_lr.feedback.owners import hush
from adaptive_lr.feedback.statistics import Vector
from adaptive_lr.feedback.uncompiled import uncompiled

Closure = Callable[[], Tensor]
Key = tuple[str, int]
"""A module's class and how many parameters it has: what stays the same from one process to the next."""

MOST_CALLS = 256
"""Forward passes that are recorded between two updates; of more, the last ones are kept."""


@dataclass(frozen=True)
class _Call:
    """How a module was found at the start of a forward pass of training."""

    key: Key
    random: list[Tensor]
    modes: list[bool]
    buffers: list[Tensor]


@dataclass
class _Replay:
    """What is under way while a closure is evaluated."""

    left: list[_Call]
    inside: set[int] = field(default_factory=set)
    found: dict[int, Callable[[], None]] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)


class Replayer:
    """Records how each forward pass of a training step begins, and repeats the loss from there.

    Nothing needs to be told which models there are: while armed, every outermost call of a module in training mode is recorded, with
    the random state, the buffers and the modes of its parts; the calls that the closure makes are matched with them in order. With several
    optimizers, as in adversarial training, the forward passes since another one's last step are the ones that count.

    Args:
        optimizer: whose training steps they are.
        devices: where random numbers may be drawn, besides the CPU.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, devices: Sequence[torch.device]) -> None:
        self._optimizer = weakref.ref(optimizer)
        self._devices = sorted({one for one in devices if one.type not in ("cpu", "meta")}, key=str)
        self._calls: deque[_Call] = deque(maxlen=MOST_CALLS)
        self._inside: dict[int, nn.Module] = {}
        self._closed = False
        self._start: list[Tensor] = []
        self._handle: RemovableHandle | None = None

    def arm(self) -> None:
        """Record the forward passes from here on."""
        self.disarm()
        self._calls.clear()
        self._inside, self._closed, self._start = {}, False, _random_state(self._devices)
        me = weakref.ref(self)

        def forward(module: nn.Module, _: Any) -> None:
            recorder = me()
            if recorder is None:
                handle.remove()  # not when it was collected, which may be while torch goes through its hooks
            elif module.training and torch.is_grad_enabled() and id(module) not in recorder._inside:
                recorder._record(module)

        handle = register_module_forward_pre_hook(torch.compiler.disable(forward))
        self._handle = handle
        _watch_other_optimizers()
        hush()
        _ARMED.add(self)

    def disarm(self) -> None:
        """Record nothing any more; what was recorded stays."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None
            _ARMED.discard(self)

    @property
    def recorded(self) -> bool:
        """Whether there was a forward pass since `arm`."""
        return bool(self._calls)

    def other_step(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer made a step: if it is another one, what was recorded so far belongs to that."""
        if optimizer is not self._optimizer():
            self._closed = True

    def state_dict(self) -> dict[str, Any]:
        """What was recorded, as plain data and tensors."""
        calls = [
            {"key": list(one.key), "random": one.random, "modes": one.modes, "buffers": one.buffers}
            for one in self._calls
        ]
        return {"start": self._start, "calls": calls}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take over what another one's `state_dict` returned."""
        self.disarm()
        self._start = saved["start"]
        found = [
            _Call((one["key"][0], one["key"][1]), one["random"], one["modes"], one["buffers"]) for one in saved["calls"]
        ]
        self._calls = deque(found, maxlen=MOST_CALLS)

    def __call__(self, closure: Closure, parameters: Sequence[Tensor], gradient: bool) -> tuple[Tensor, Vector]:
        """The loss of the closure, ``[1]``, and its gradient if that is wanted.

        Raises:
            SpecError: the closure returns no scalar tensor, or one that was there before, or calls ``backward``.
            RuntimeError: anything else that goes wrong in it.
        """
        marks, mark = _marks(parameters), _mark()
        with self._untouched(), torch.set_grad_enabled(gradient):
            try:
                loss = closure()
            except RuntimeError as error:
                if "does not require grad" in str(error):
                    raise SpecError(_ONLY_THE_LOSS) from error
                raise
            if _marks(parameters) != marks:
                raise SpecError(_ONLY_THE_LOSS)
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                raise SpecError(f"the closure must return the loss as a tensor of one element, got {_named(loss)}")
            if loss.grad_fn is not None and _number_of(loss) < mark:
                raise SpecError("the closure must evaluate the loss again, not return the one it has")
            found = _gradient(loss, parameters) if gradient else []
        return loss.detach().reshape(1), found

    def _record(self, module: nn.Module) -> None:
        if torch._C._current_graph_task_id() != -1:
            return  # a checkpointed part, evaluated again in the backward pass
        if self._closed:
            self._calls.clear()
            self._inside, self._closed = {}, False
        parts = list(module.modules())
        self._inside.update((id(one), one) for one in parts[1:])
        buffers = [one.detach().clone() for _, _, one in _buffers(parts)]
        modes = [one.training for one in parts]
        self._calls.append(_Call(_key(module), _random_state(self._devices), modes, buffers))

    @contextmanager
    def _untouched(self) -> Iterator[None]:
        """Everything as at the recorded passes, and as before at the end."""
        before = _random_state(self._devices)
        replay = _Replay(list(self._calls))

        def forward(module: nn.Module, _: Any) -> None:
            if id(module) not in replay.inside:
                _prepare(module, replay, self._devices)

        handle = register_module_forward_pre_hook(torch.compiler.disable(forward))
        try:
            _set_random_state(self._devices, self._start or before)
            yield
        finally:
            handle.remove()
            with torch.no_grad():
                for undo in reversed(replay.found.values()):
                    undo()
            _set_random_state(self._devices, before)


_ARMED: weakref.WeakSet[Replayer] = weakref.WeakSet()
_WATCHING: list[RemovableHandle] = []


def _watch_other_optimizers() -> None:
    """Once and for all: a hook that came and went could do so while torch goes through its hooks."""

    def stepped(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if _ARMED:
            for one in list(_ARMED):
                one.other_step(optimizer)

    if not _WATCHING:
        _WATCHING.append(register_optimizer_step_post_hook(uncompiled(stepped)))


_ONLY_THE_LOSS = "the closure must only compute the loss and return it, without backward() or zero_grad()"


def _prepare(module: nn.Module, replay: _Replay, devices: Sequence[torch.device]) -> None:
    """Put a module that the closure calls into the state of the recorded pass."""
    parts = list(module.modules())
    replay.inside.update(id(one) for one in parts[1:])
    if id(module) not in replay.found:
        replay.found[id(module)] = _undo(module, parts)
    key = _key(module)
    call = next((one for one in replay.left if one.key == key), None)
    if isinstance(module, DistributedDataParallel):
        module.require_backward_grad_sync = False  # gradients are averaged later, as inner products
    if call is None:
        return
    replay.left.remove(call)
    _set_random_state(devices, call.random)
    if len(call.modes) == len(parts):
        for part, mode in zip(parts, call.modes, strict=True):
            part.training = mode
    buffers = _buffers(parts)
    if [one.shape for one in call.buffers] == [one.shape for _, _, one in buffers]:
        _put(buffers, call.buffers, replay)


def _put(buffers: list[tuple[nn.Module, str, Tensor]], values: list[Tensor], replay: _Replay) -> None:
    """Set buffers; those that the graph of an earlier pass holds are replaced, for it must not see them change."""
    fresh: dict[int, Tensor] = {}
    for (owner, name, present), value in zip(buffers, values, strict=True):
        if torch.is_grad_enabled() and id(present) in replay.used:
            owner._buffers[name] = fresh.setdefault(id(present), value.clone())
        else:
            with torch.no_grad():
                present.copy_(value)
    replay.used.update(id(one) for owner, name, _ in buffers if (one := owner._buffers[name]) is not None)


def _undo(module: nn.Module, parts: list[nn.Module]) -> Callable[[], None]:
    modes = [one.training for one in parts]
    buffers = [(owner, name, one, one.detach().clone()) for owner, name, one in _buffers(parts)]
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

    return [one for one in parts if isinstance(one, FSDPModule)]


def _buffers(parts: Sequence[nn.Module]) -> list[tuple[nn.Module, str, Tensor]]:
    return [(owner, name, one) for owner in parts for name, one in owner._buffers.items() if one is not None]


def _key(module: nn.Module) -> Key:
    return type(module).__qualname__, sum(1 for _ in module.parameters())


def _gradient(loss: Tensor, parameters: Sequence[Tensor]) -> Vector:
    if not loss.requires_grad:
        raise SpecError("the closure's loss has no gradient: leave out no_grad() and detach() in it")
    found = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    return [torch.zeros_like(one.data) if g is None else g for g, one in zip(found, parameters, strict=True)]


def _marks(parameters: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Changes if a gradient does."""
    return [(id(one.grad), 0 if one.grad is None else one.grad._version) for one in parameters]


def _mark() -> int:
    """Below the number of every node of autograd that is made from here on.

    (1) Whether the result requires a gradient under ``no_grad``  (2) whether it was made before. We do (2): a loss with gradients in
    it, such as a penalty on them, must be evaluated under an ``enable_grad`` of its own, and requires one for good.
    """
    with torch.inference_mode(False), torch.enable_grad():
        return _number_of(torch.zeros((), requires_grad=True).clone())


def _number_of(value: Tensor) -> int:
    number: int = cast(Any, value.grad_fn)._sequence_nr()
    return number


def _random_state(devices: Sequence[torch.device]) -> list[Tensor]:
    return [torch.get_rng_state(), *(torch.get_device_module(one).get_rng_state(one) for one in devices)]


def _set_random_state(devices: Sequence[torch.device], states: Sequence[Tensor]) -> None:
    torch.set_rng_state(states[0].cpu())
    for one, state in zip(devices, states[1:], strict=False):
        torch.get_device_module(one).set_rng_state(state.cpu(), one)


def _named(value: object) -> str:
    return f"one of {value.numel()}" if isinstance(value, Tensor) else type(value).__name__

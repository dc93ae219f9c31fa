"""Forward passes of training: how each of them began, and whether the loss came from it."""

from __future__ import annotations

import weakref
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from adaptive_lr.feedback.keeping import parameters_of
from adaptive_lr.feedback.randomness import RandomState

MOST_PASSES = 256
"""Forward passes that are recorded between two updates; of more, the last ones are kept."""

Key = tuple[str, int]
"""A module's class and how many parameters it has: what stays the same from one process to the next."""

Buffers = list[tuple[nn.Module, str, Tensor]]


@dataclass(eq=False)
class Pass:
    """How a module, or a function that is repeated, was found at the start of a pass."""

    owner: weakref.ref[Any] | None
    """What was called; None after loading in another process."""
    number: int
    """The same for all passes of one owner."""
    key: Key
    random: RandomState
    modes: list[bool]
    buffers: list[Tensor]
    graded: bool
    """Whether it was made with gradients."""
    used: bool | None = None
    """Whether a gradient came back to what it returned; None where that cannot be seen."""

    def watch(self, output: Any) -> None:
        """From now on, notice a gradient that comes back to the output."""
        outputs = [tensor for tensor in tensors_in(output) if tensor.requires_grad]
        try:
            for tensor in outputs:
                tensor.register_hook(self._reached)
        except RuntimeError:  # inside of a transform of torch.func
            return
        self.used = False if outputs else None

    def _reached(self, _: Tensor) -> None:
        self.used = True

    @property
    def counts(self) -> bool:
        """Whether the loss may have come from it."""
        return self.graded and self.used is not False


class Passes:
    """The passes since the last update, in order."""

    def __init__(self) -> None:
        self.all: deque[Pass] = deque(maxlen=MOST_PASSES)
        self._count = 0

    def add(self, owner: Any, parts: Sequence[nn.Module], random: RandomState) -> Pass:
        """Remember how a pass begins."""
        number = next((earlier.number for earlier in self.all if earlier.owner and earlier.owner() is owner), None)
        if number is None:
            number, self._count = self._count, self._count + 1
        began = Pass(
            owner=weakref.ref(owner),
            number=number,
            key=key_of(owner),
            random=random,
            modes=[part.training for part in parts],
            buffers=[buffer.detach().clone() for _, _, buffer in buffers_of(parts)],
            graded=torch.is_grad_enabled(),
        )
        self.all.append(began)
        return began

    def clear(self) -> None:
        """Forget them."""
        self.all.clear()

    def shared(self, *optimizers: Optimizer | None) -> bool:
        """Whether a module that made a pass has parameters of each of the optimizers."""
        owners = {id(owner): owner for each in self.all if each.graded and each.owner and (owner := each.owner())}
        for owner in owners.values():
            if isinstance(owner, nn.Module) and None not in optimizers:
                held = {id(parameter) for parameter in owner.parameters()}
                if all(held & {id(p) for p in parameters_of(each)} for each in optimizers if each is not None):
                    return True
        return False

    def state(self) -> list[dict[str, Any]]:
        """Plain data and tensors."""
        names = ("number", "random", "modes", "buffers", "graded", "used")
        return [
            {name: getattr(one_pass, name) for name in names} | {"key": list(one_pass.key)} for one_pass in self.all
        ]

    def load(self, saved: Iterable[dict[str, Any]]) -> None:
        """Take over what another one's `state` returned."""
        loaded = [Pass(**begun | {"owner": None, "key": (begun["key"][0], begun["key"][1])}) for begun in saved]
        self.all = deque(loaded, maxlen=MOST_PASSES)
        self._count = 1 + max((one_pass.number for one_pass in loaded), default=-1)


class Matching:
    """Which recorded pass each call of a closure repeats.

    Passes of the very module that is called. Those that a gradient came back to come first: the loss does not come from others, such as a
    teacher's whose result was detached or one for logging. If the closure makes fewer calls than there are passes, the last ones
    are meant; if it makes more, the others are among them. That is known when the closure has run: then it is run again.

    Args:
        passes: what was recorded.
        expected: how many calls of each owner the last closure made.
    """

    def __init__(self, passes: Iterable[Pass], expected: weakref.WeakKeyDictionary[Any, int]) -> None:
        self._groups: dict[int, list[Pass]] = defaultdict(list)
        for one_pass in passes:
            self._groups[one_pass.number].append(one_pass)
        self._expected = expected
        self._queues: dict[int, list[Pass]] = {}
        self._numbers: dict[int, int] = {}
        self._calls: dict[int, int] = defaultdict(int)
        self._owners: dict[int, Any] = {}

    def knows(self, owner: Any) -> bool:
        """Whether there is a pass of it."""
        return bool(self._of(owner))

    def next(self, owner: Any) -> Pass | None:
        """The pass that this call repeats, if there is one."""
        me = id(owner)
        self._owners[me] = owner
        if me not in self._queues:
            self._queues[me] = list(self._meant(owner, self._expected.get(owner)))
        self._calls[me] += 1
        return self._queues[me].pop(0) if self._queues[me] else None

    def settle(self) -> bool:
        """Note how many calls there were; whether other passes would have been meant."""
        wrong = False
        for me, owner in self._owners.items():
            wrong |= self._meant(owner, self._expected.get(owner)) != self._meant(owner, self._calls[me])
            self._expected[owner] = self._calls[me]
        return wrong

    def again(self) -> Matching:
        """The same passes for another run of the closure."""
        return Matching([one_pass for group in self._groups.values() for one_pass in group], self._expected)

    def _meant(self, owner: Any, calls: int | None) -> list[Pass]:
        passes = self._of(owner)
        counting = [one_pass for one_pass in passes if one_pass.counts]
        counting = counting or [one_pass for one_pass in passes if one_pass.graded] or passes
        if calls is None:
            return counting
        return (counting if calls <= len(counting) else passes)[-calls:]

    def _of(self, owner: Any) -> list[Pass]:
        if id(owner) not in self._numbers:
            number = self._number_of(owner)
            if number is None:
                return []
            self._numbers[id(owner)] = number
        return self._groups[self._numbers[id(owner)]]

    def _number_of(self, owner: Any) -> int | None:
        """By identity; where what was called is gone, or was in another process, by class and size in order."""
        gone: list[int] = []
        for number, group in self._groups.items():
            known = group[0].owner and group[0].owner()
            if known is owner:
                return number
            if known is None and group[0].key == key_of(owner) and number not in self._numbers.values():
                gone.append(number)
        counting = [number for number in gone if any(one_pass.counts for one_pass in self._groups[number])]
        return next(iter(counting or gone), None)


def key_of(owner: Any) -> Key:
    """See `Key`."""
    if isinstance(owner, nn.Module):
        return type(owner).__qualname__, sum(1 for _ in owner.parameters())
    return getattr(owner, "__qualname__", type(owner).__qualname__), 0


def buffers_of(parts: Sequence[nn.Module]) -> Buffers:
    """The buffers of modules with their owners and names."""
    return [(part, name, buffer) for part in parts for name, buffer in part._buffers.items() if buffer is not None]


def tensors_in(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """The tensors in what a module returned.

    Yields:
        Each of them.
    """
    if isinstance(value, Tensor):
        yield value
    elif depth < 4:
        inside: Iterable[Any] = ()
        if isinstance(value, dict):
            inside = value.values()
        elif isinstance(value, list | tuple):
            inside = value
        elif is_dataclass(value) and not isinstance(value, type):
            inside = [getattr(value, field.name) for field in fields(value)]
        for part in inside:
            yield from tensors_in(part, depth + 1)

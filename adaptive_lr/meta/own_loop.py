"""The hypergradient of a person's own training loop, written as a function from state, rate and batch to the next state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.utils import _pytree

from adaptive_lr.errors import InputError, in_a_line
from adaptive_lr.meta.differences import lanes
from adaptive_lr.meta.directions import checked, numbers_of, rate_slopes
from adaptive_lr.meta.duals import quiet_forward_mode
from adaptive_lr.meta.final_gradients import FinalGradient, Way, way_of
from adaptive_lr.meta.forward_mode import eager_push, forward, pushed_once
from adaptive_lr.meta.reverse_mode import EagerPasses, reverse
from adaptive_lr.meta.unrolled import BOUND, State, Unrolled, Watch
from adaptive_lr.schedules import AbstractSchedule, table


def hypergradient(
    train_step: Callable[[Any, Tensor, Any], Any],
    final_loss: Callable[[Any], Tensor],
    *,
    state: Any,
    batches: Sequence[Any],
    schedule: AbstractSchedule,
    base_lr: float,
    numbers: Sequence[str] | None = None,
    way: str = Way.FORWARD,
    bound: float = BOUND,
) -> FinalGradient:
    """Derivatives d final / d number of a loop ``for batch: state = train_step(state, rate, batch)``, through all of its steps.

    Forward mode costs some 2 + 3 P runs in memory that does not depend on their length, reverse mode some five runs for any
    number of numbers, differences 1 + 2P runs.

    Args:
        train_step: a pure function: it changes nothing in place, and whatever is random comes with the batch. The rate is a
            tensor without dimensions. Gradients within it are `torch.func.grad`.
        final_loss: a scalar from the state after the last step.
        state: tensors in dictionaries, lists or tuples; those of whole numbers, such as a count of steps, have no derivative.
        batches: what each step is given; their number is that of the steps.
        schedule: m(u), the rate is ``base_lr`` m(t/T).
        base_lr: the base rate.
        numbers: ``log_base_lr`` and numbers of the schedule; those of `numbers_of` by default.
        way: one of `Way`.
        bound: how many times as long as the state a tangent may become; in reverse mode, as the adjoint at the end.

    >>> from adaptive_lr import DampedCosine
    >>> def train_step(weight, rate, slope):
    ...     return weight - rate * slope * weight
    >>> result = hypergradient(
    ...     train_step, lambda weight: weight**2, state=torch.tensor(1.0), batches=[1.0, 1.0, 2.0],
    ...     schedule=DampedCosine(), base_lr=0.1, numbers=["log_base_lr"],
    ... )
    >>> round(result.final, 4), round(result.gradient["log_base_lr"], 4)
    (0.6255, -0.3063)

    Raises:
        InputError: there are no batches, the step is not pure, the state cannot be differentiated, or the derivative explodes.
    """
    way = way_of(way)
    if isinstance(batches, str | Mapping) or not isinstance(batches, Sequence | Tensor) or not len(batches):
        raise InputError(
            f"batches must be a sequence of one or more, such as list(loader), got {type(batches).__name__}"
        )
    if not base_lr > 0.0:
        raise InputError(f"base_lr must be above 0, got {base_lr!r}")
    names = checked(numbers_of(schedule) if numbers is None else numbers)
    loop = _Loop(train_step, final_loss, state, batches)
    loop.check(schedule, base_lr, repeated=way is Way.REVERSE)
    if way is Way.DIFFERENCES:
        return _differences(loop, schedule, base_lr, names)
    slopes = rate_slopes(schedule, base_lr, len(batches), names)
    if way is Way.FORWARD:
        unrolled = loop.pushable(schedule, base_lr)
        watch = Watch(unrolled, names, bound)
        result = forward(unrolled, slopes.to(unrolled.rates), watch, eager_push(unrolled))
        norms = dict(zip(names, result.norms.tolist(), strict=True))
        return FinalGradient(float(result.final), dict(zip(names, result.gradient.tolist(), strict=True)), norms)
    unrolled = loop.unrolled(schedule, base_lr)
    back = reverse(unrolled, Watch(unrolled, names, bound), EagerPasses(unrolled))
    per_step = back.per_step.to("cpu", torch.float64)
    gradient = dict(zip(names, (per_step @ slopes).tolist(), strict=True))
    return FinalGradient(float(back.final), gradient, {"state": float(back.norms)}, per_step)


@dataclass(frozen=True)
class _Loop:
    """A person's loop."""

    train_step: Callable[[Any, Tensor, Any], Any]
    final_loss: Callable[[Any], Tensor]
    state: Any
    batches: Sequence[Any]

    def rates(self, schedule: AbstractSchedule, base_lr: float) -> Tensor:
        """Where the state is, ``[T]``."""
        first = self._floating()[0]
        return (base_lr * table([schedule], len(self.batches))[0, :-1]).to(first)

    def _floating(self) -> list[Tensor]:
        leaves = _pytree.tree_leaves(self.state)
        floating = [leaf for leaf in leaves if _is_floating(leaf)]
        if not floating:
            raise InputError(
                "state must hold a tensor of floating point, in dictionaries, lists or tuples; it holds none"
            )
        return floating

    def check(self, schedule: AbstractSchedule, base_lr: float, *, repeated: bool) -> None:
        """Make one step, to see whether it is pure.

        Raises:
            InputError: it is not, or gives another kind of state.
        """
        before = self._floating()
        versions, random = [leaf._version for leaf in before], torch.get_rng_state()
        with torch.no_grad():
            after = self.train_step(self.state, self.rates(schedule, base_lr)[0], self.batches[0])
        if [leaf._version for leaf in before] != versions:
            raise InputError(
                "train_step changes its state in place: return new tensors, such as weight - rate * slope instead of sub_"
            )
        drawn = not torch.equal(torch.get_rng_state(), random)
        torch.set_rng_state(random)
        if drawn and repeated:
            raise InputError(
                "train_step draws random numbers, which reverse mode cannot repeat: draw them beforehand, and put them into the batches"
            )
        kinds = [_kinds(state) for state in (self.state, after)]
        if kinds[0] != kinds[1]:
            raise InputError(
                f"train_step must give a state like the one it is given: {_shortly(kinds[0])}, got {_shortly(kinds[1])}"
            )

    def pushable(self, schedule: AbstractSchedule, base_lr: float) -> Unrolled:
        """The loop in the form that torch's forward mode can follow.

        Raises:
            InputError: there is none, since an operation has no forward derivative.
        """
        reasons = []
        for touched in (False, True):
            unrolled = self.unrolled(schedule, base_lr, touched=touched)
            tangents, rate = [torch.zeros_like(value).unsqueeze(0) for value in unrolled.start[0]], unrolled.rates[0]
            try:
                with quiet_forward_mode():
                    pushed_once(unrolled.step, unrolled.start, tangents, rate, rate.unsqueeze(0), self.batches[0])
            except RuntimeError as error:
                reasons.append(error)
            else:
                return unrolled
        raise InputError(
            f"torch has no forward derivative of what train_step does ({shorten(in_a_line(reasons[0]), 200)}): use way='reverse'"
        ) from reasons[0]

    def unrolled(self, schedule: AbstractSchedule, base_lr: float, *, touched: bool = False) -> Unrolled:
        """The loop as a chain of steps on flat lists.

        Args:
            schedule: m(u).
            base_lr: the base rate.
            touched: whether batches are made to depend on the rate, by nothing: in torch 2.13 the squared loss has a forward
                derivative by its outputs only if its targets have one too.
        """
        leaves, layout = _pytree.tree_flatten(self.state)
        floating = [_is_floating(leaf) for leaf in leaves]

        def split(values: Sequence[Any]) -> State:
            pairs = list(zip(floating, values, strict=True))
            return [value for moves, value in pairs if moves], [value for moves, value in pairs if not moves]

        def joined(moving: Sequence[Tensor], rest: Sequence[Any]) -> Any:
            first, second = iter(moving), iter(rest)
            return _pytree.tree_unflatten([next(first) if moves else next(second) for moves in floating], layout)

        def step(moving: list[Tensor], rest: list[Any], rate: Tensor, batch: Any) -> State:
            if touched:
                nothing = 0.0 * rate
                batch = _pytree.tree_map(lambda part: part + nothing if _is_floating(part) else part, batch)
            return split(_pytree.tree_leaves(self.train_step(joined(moving, rest), rate, batch)))

        def final(moving: list[Tensor], rest: list[Any]) -> Tensor:
            return _scalar(self.final_loss(joined(moving, rest)))

        def blocks(ends: Sequence[int], begin: int) -> Iterator[Sequence[Any]]:
            for end in ends:
                yield [self.batches[index] for index in range(begin, end)]
                begin = end

        moving, rest = split(leaves)
        return Unrolled(
            step=step,
            start=([value.detach() for value in moving], rest),
            parameters=len(moving),
            rates=self.rates(schedule, base_lr),
            blocks=blocks,
            at=lambda block, index: block[index],
            longest=len(self.batches),
            final=final,
            trials=0,
            whose=lambda _: "",
        )

    def trained(self, schedule: AbstractSchedule, base_lr: float) -> float:
        """The final loss of a run."""
        state = self.state
        with torch.no_grad():
            for rate, batch in zip(self.rates(schedule, base_lr), self.batches, strict=True):
                state = self.train_step(state, rate, batch)
            return float(_scalar(self.final_loss(state)))


def _differences(loop: _Loop, schedule: AbstractSchedule, base_lr: float, names: Sequence[str]) -> FinalGradient:
    gradient = {}
    for name in names:
        below, above = lanes(schedule, base_lr, name)
        rise = loop.trained(above.schedule, above.base_lr) - loop.trained(below.schedule, below.base_lr)
        gradient[name] = rise / (above.stands - below.stands)
    return FinalGradient(loop.trained(schedule, base_lr), gradient)


def _is_floating(leaf: Any) -> TypeGuard[Tensor]:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def _scalar(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
        raise InputError(f"final_loss must give a tensor with one number, got {what}")
    return loss.reshape(())


def _kinds(state: Any) -> Any:
    """The state with shapes and precision in the place of tensors."""
    leaves, layout = _pytree.tree_flatten(state)
    kinds = [
        f"{str(leaf.dtype).removeprefix('torch.')} {tuple(leaf.shape)}"
        if isinstance(leaf, Tensor)
        else type(leaf).__name__
        for leaf in leaves
    ]
    return _pytree.tree_unflatten(kinds, layout)


def _shortly(kinds: Any, limit: int = 200) -> str:
    text = repr(kinds)
    return text if len(text) <= limit else f"{text[:limit]}…"

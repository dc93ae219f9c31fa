"""Trials of a task and an optimizer of this package as an unrolled run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from adaptive_lr.controllers import Static
from adaptive_lr.errors import InputError
from adaptive_lr.meta.directions import rate_slopes
from adaptive_lr.meta.unrolled import State, Unrolled
from adaptive_lr.schedules import table
from adaptive_lr.tasks.base import as_tuple
from adaptive_lr.training.compiled_loop import State as TrainingState
from adaptive_lr.training.compiled_loop import Structure, step_function
from adaptive_lr.training.optimizers import SGD, AdamW, Clipped
from adaptive_lr.training.paused import stacked_buffers
from adaptive_lr.training.pure import differentiable
from adaptive_lr.training.stretches import beside, steps_of_a_block
from adaptive_lr.training.trial import Trial
from adaptive_lr.training.tuning import AsGiven


def check(trials: Sequence[Trial]) -> None:
    """Whether runs of these trials can be differentiated together.

    Raises:
        InputError: there are none, they differ in more than schedule, base rate and seed, a rate follows from what happens in
            training, the optimizer has no form that can be differentiated, or the module remembers numbers from step to step.
    """
    if not trials:
        raise InputError("trials must be one or more, got none")
    first = trials[0]
    for trial in trials[1:]:
        for name in ("task", "optimizer", "controller", "tuning", "steps", "dtype"):
            if getattr(trial, name) != getattr(first, name):
                raise InputError(f"trials may differ in schedule, base_lr and seed only, but {name} differs")
    if not isinstance(first.controller, Static) or not isinstance(first.tuning, AsGiven):
        raise InputError(
            "only the rates of a schedule can be differentiated by: use trials without controller and without tuning, "
            f"got {first.controller!r} and {first.tuning!r}"
        )
    if first.optimizer.pure() is None:
        usable = ", ".join(kind.__name__ for kind in (SGD, AdamW, Clipped))
        raise InputError(
            f"a run of {type(first.optimizer).__name__} cannot be differentiated: use {usable}, or way='differences'"
        )
    remembered = [name for name, buffer in first.task.initial_buffers().items() if buffer.is_floating_point()]
    if (
        remembered
    ):  # torch refuses running means, and a state that is carried is detached: its derivative would be wrong
        raise InputError(
            f"{first.task!r} cannot be differentiated, since its module remembers {remembered[0]} from step to step: use a task "
            "without batch normalisation and without a state that is carried, or way='differences'"
        )


@dataclass(frozen=True)
class TrialRuns:
    """Runs of B trials together.

    Attributes:
        trials: those.
        structure: what a loop for them is compiled for.
        unrolled: the runs as a chain of steps.
    """

    trials: tuple[Trial, ...]
    structure: Structure
    unrolled: Unrolled

    def directions(self, numbers: Sequence[str]) -> Tensor:
        """Derivatives d rate / d number, ``[T, P, B]``, in the precision of the training."""
        first = self.trials[0]
        each = [rate_slopes(trial.schedule, trial.base_lr, first.steps, numbers) for trial in self.trials]
        return torch.stack(each, 2).to(first.torch_dtype)


def trial_runs(trials: Sequence[Trial]) -> TrialRuns:
    """The runs of some trials, which `check` has let pass."""
    first, seeds = trials[0], [trial.seed for trial in trials]
    # Recurrent networks, which are not compilable, have no gradient of several trials on one minibatch.
    apart = len(set(seeds)) > 1 or not first.task.compilable
    structure = Structure(first.task, first.optimizer, first.torch_dtype, len(trials), apart)
    layout = _Layout(trials)
    pure = first.optimizer.pure()
    assert pure is not None
    once = step_function(structure, differentiable(pure), differentiated=True)
    several = isinstance(next(iter(first.task.minibatches(seeds[0], 1, first.torch_dtype)))[0], tuple)

    def step(moving: list[Tensor], rest: list[Tensor], rate: Tensor, given: Sequence[Tensor]) -> State:
        *parts, targets, numbers = given
        inputs = tuple(parts) if several else parts[0]
        return layout.split(once(layout.joined(moving, rest), inputs, targets, rate, numbers)[0])

    def final(moving: list[Tensor], rest: list[Tensor]) -> Tensor:
        return first.task.final_loss(layout.named(moving, rest))

    rates = table([trial.schedule for trial in trials], first.steps)[:, :-1].t()
    bases = torch.tensor([trial.base_lr for trial in trials], dtype=torch.float64)
    unrolled = Unrolled(
        step=step,
        start=layout.split(layout.start),
        parameters=len(layout.start.parameters),
        rates=(rates * bases).to(first.torch_dtype),
        blocks=_Blocks(trials, apart=structure.apart),
        at=lambda block, index: [part[index] for part in block],
        longest=steps_of_a_block(first.task, len(trials) if structure.apart else 1, first.torch_dtype),
        final=final,
        trials=1,
        whose=lambda index: f" (trial {index}, seed {seeds[index]})" if len(trials) > 1 else "",
    )
    return TrialRuns(tuple(trials), structure, unrolled)


class _Layout:
    """Where parameters, what the optimizer remembers, and buffers are among the tensors of a state."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        first, pure = trials[0], trials[0].optimizer.pure()
        assert pure is not None
        seeds = {seed: first.task.initial(seed) for seed in {trial.seed for trial in trials}}
        self._names = list(next(iter(seeds.values())))
        parameters = [
            torch.stack([seeds[trial.seed][name] for trial in trials]).to(first.torch_dtype) for name in self._names
        ]
        buffers = stacked_buffers(first.task, first.torch_dtype, len(trials))
        slots = [[torch.zeros_like(parameter) for parameter in parameters] for _ in range(pure.slots)]
        self.start = TrainingState(parameters, slots, list(buffers.values()))
        self._buffers = list(buffers)
        self._floating = [value.is_floating_point() for value in self.start.flat()]

    def split(self, state: TrainingState) -> State:
        """Tensors with derivatives and those without."""
        values = list(zip(self._floating, state.flat(), strict=True))
        return [value for floating, value in values if floating], [value for floating, value in values if not floating]

    def joined(self, moving: Sequence[Tensor], rest: Sequence[Tensor]) -> TrainingState:
        """The state that was split."""
        first, second = iter(moving), iter(rest)
        return self.start.like([next(first) if floating else next(second) for floating in self._floating])

    def named(self, moving: Sequence[Tensor], rest: Sequence[Tensor]) -> dict[str, Tensor]:
        """Parameters and buffers by their names, as a task evaluates them."""
        state = self.joined(moving, rest)
        return dict(zip([*self._names, *self._buffers], [*state.parameters, *state.buffers], strict=True))


class _Blocks:
    """Minibatches and numbers of steps: parts of the inputs and targets ``[K, n, …]`` or ``[K, B, n, …]``, numbers ``[K, B]``."""

    def __init__(self, trials: Sequence[Trial], *, apart: bool) -> None:
        self._trials, self._apart = trials, apart

    def __call__(self, ends: Sequence[int], begin: int) -> Iterator[Any]:
        """See `Blocks`.

        Yields:
            Lists of tensors.
        """
        first = self._trials[0]
        seeds = {trial.seed: iter(()) for trial in self._trials}
        for seed in seeds:
            seeds[seed] = first.task.blocks(seed, first.steps, first.torch_dtype, ends, begin)  # type: ignore[assignment]
        for end in ends:
            drawn = {seed: next(blocks) for seed, blocks in seeds.items()}
            inputs, targets = (
                beside([drawn[trial.seed] for trial in self._trials]) if self._apart else drawn[first.seed]
            )
            numbers = torch.arange(begin + 1, end + 1, dtype=torch.float64).unsqueeze(1)
            yield [*as_tuple(inputs), targets, numbers.expand(-1, len(self._trials))]
            begin = end

"""Trials that have been trained for some steps, set down as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from adaptive_lr.tasks import AbstractTask
from adaptive_lr.training.trial import Trial, window_ends


@dataclass(frozen=True)
class Paused:
    """All that must be known of trials to go on with them, in whatever company; it can be pickled.

    Attributes:
        trials: of one task, optimizer, horizon and precision, in the order of their seeds, as many of each.
        step: how many steps they have been trained for.
        rows: tensors ``[B, …]``, a row for each trial.
    """

    trials: tuple[Trial, ...]
    step: int
    rows: dict[str, Tensor]

    @classmethod
    def begun(cls, trials: Sequence[Trial]) -> Self:
        """Trials before their first step."""
        first, count = trials[0], len(trials)
        seeds = list(dict.fromkeys(trial.seed for trial in trials))
        initial = [first.task.initial(seed) for seed in seeds]
        stacked = {
            name: torch.stack([parameters[name] for parameters in initial]).to(first.torch_dtype) for name in initial[0]
        }
        buffers = stacked_buffers(first.task, first.torch_dtype, len(seeds))
        metrics = first.task.evaluate(stacked | buffers, final=True)
        curve = torch.full((count, len(window_ends(first.steps))), torch.nan, dtype=torch.float64)
        each = count // len(seeds)
        rows = {
            **{f"parameter.{name}": parameter.repeat_interleave(each, 0) for name, parameter in stacked.items()},
            **{f"module.{name}": buffer.repeat_interleave(each, 0) for name, buffer in buffers.items()},
            **{f"initial.{name}": metric.repeat_interleave(each) for name, metric in metrics.items()},
            "alive": torch.ones(count, dtype=torch.bool),
            "stopped": torch.full((count,), -1),
            "seconds": torch.zeros(count, dtype=torch.float64),
            "train_curve": curve,
            "monitored_curve": curve,
            "window": torch.empty(count, 0, dtype=first.torch_dtype),
        }
        return cls(tuple(trials), 0, rows)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The trials of several, which have come equally far, as a pool to choose from; their order is that of the parts."""
        assert len({part.step for part in parts}) == 1
        rows = {name: torch.cat([part.rows[name] for part in parts]) for name in parts[0].rows}
        return cls(tuple(trial for part in parts for trial in part.trials), parts[0].step, rows)

    def only(self, trials: Sequence[Trial]) -> Self:
        """Some of the trials, in the order given; of the others nothing is left."""
        indices = {trial: index for index, trial in enumerate(self.trials)}
        chosen = torch.tensor([indices[trial] for trial in trials])
        return type(self)(tuple(trials), self.step, {name: value[chosen] for name, value in self.rows.items()})

    def part(self, name: str) -> dict[str, Tensor]:
        """The rows ``name.…`` by the rest of their names."""
        return {key.removeprefix(f"{name}."): value for key, value in self.rows.items() if key.startswith(f"{name}.")}


def stacked_buffers(task: AbstractTask, dtype: torch.dtype, trials: int) -> dict[str, Tensor]:
    """What the modules of so many trials remember before training, ``[B, …]``; counts stay whole numbers."""
    return {
        name: (buffer.to(dtype) if buffer.is_floating_point() else buffer).expand(trials, *buffer.shape).clone()
        for name, buffer in task.initial_buffers().items()
    }

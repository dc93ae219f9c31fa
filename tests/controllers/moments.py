"""A moment of a run and columns of one trial, for rules that are driven by hand."""

from typing import Any

import torch
from torch import Tensor

from adaptive_lr import AbstractSchedule, Constant
from adaptive_lr.controllers import Moment


def moment(step: int = 0, total_steps: int = 1000, schedule: AbstractSchedule | None = None, trials: int = 1) -> Moment:
    shown = Constant() if schedule is None else schedule
    u = step / total_steps
    return Moment(step, total_steps, u, shown(u).expand(trials), lambda v: shown(v))


def column(value: Any) -> Tensor:
    return torch.tensor([float(value)], dtype=torch.float64)

"""ControlledLR conforms too, with controllers that only watch, that wrap another, and that probe the loss again."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr import (
    AbstractController,
    Anchor,
    ControlledLR,
    DampedCosine,
    DistanceAnchor,
    LossPlateau,
    NanRescue,
    ProgressAnchor,
    Static,
)
from adaptive_lr.testing import CHECKS, Case, failures
from adaptive_lr.testing.case import parameters

STEPS = 12

BY_DESIGN = {
    "deepcopy": "hooks bind it to its optimizer",
    "pickle": "hooks bind it to its optimizer",
    "map_location": "its state is tensors, of which the device meta keeps no numbers",
}
IN_WORK = {"default_device"}
PROBING = {
    "fused_and_foreach": "what is probed depends on the optimizer",
    "no_false_warnings": "six probes are too few to find the edge, and it says so",
    "no_false_warnings_after_resuming": "six probes are too few to find the edge, and it says so",
}


def loss(optimizer: Optimizer) -> Tensor:
    """The loss whose gradients the kit writes: half the sum of squares."""
    return sum((0.5 * parameter.detach().square().sum() for parameter in parameters(optimizer)), torch.zeros(()))


def step(scheduler: Any, at: int) -> None:
    """With the loss, and a closure for those that probe it."""
    scheduler.step(loss(scheduler.optimizer), closure=lambda: loss(scheduler.optimizer))


@pytest.mark.parametrize(
    "controller",
    [
        pytest.param(Static(), marks=pytest.mark.slow),
        NanRescue(),
        LossPlateau(),
        ProgressAnchor(),
        DistanceAnchor(probing=Anchor(fraction=0.12, least_steps=100)),  # all of what is timed is inside the window
    ],
    ids=lambda controller: controller.kind,
)
def test_controlled_scheduler_conforms(controller: AbstractController) -> None:
    def controlled(optimizer: Optimizer, steps: int = STEPS) -> ControlledLR:
        return ControlledLR(optimizer, DampedCosine(), controller, total_steps=steps)

    case = Case(
        name=controller.kind,
        factory=controlled,
        total_steps=STEPS,
        ends=False,
        takes_metrics=True,
        metric=lambda at: 1.0 / (1.0 + at),
        step=step,
        with_horizon=controlled,
        refused=[lambda scheduler: scheduler.extend(2)],
    )
    exempt = BY_DESIGN | (PROBING if isinstance(controller, ProgressAnchor | DistanceAnchor) else {})
    checks = [check for check in CHECKS if check.name not in IN_WORK | exempt.keys()]
    assert failures(case, checks) == {}

"""A constant added to the loss changes nothing but rounding, for every controller that does not name a least loss; a factor neither."""

from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor

from adaptive_lr import (
    CONTROLLERS,
    AbstractController,
    Anchor,
    ControlledLR,
    DampedCosine,
    DistanceAnchor,
    LearnedDamping,
    LossPlateau,
    MomoCap,
    NanRescue,
    PolyakReanchor,
    ProgressAnchor,
    StochasticPolyak,
)
from adaptive_lr.controllers import Signal
from adaptive_lr.spec import number, spec
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.tasks.losses import SquaredLoss
from adaptive_lr.training import SGD, Trial, train, train_batch
from tests.learned import BLIND, FULL

STEPS = 100
NAME_A_LEAST_LOSS = (PolyakReanchor, MomoCap, StochasticPolyak)
RELATIVE = (LossPlateau, LearnedDamping)
"""The margin of one is a share of the loss, as in torch; the other reads by what factor the loss has fallen."""
INVARIANT: list[Any] = [kind() for kind in CONTROLLERS if kind not in (*NAME_A_LEAST_LOSS, *RELATIVE)]
INVARIANT += [ProgressAnchor(alignment=-1.0), DistanceAnchor(until=0.9), NanRescue(then=Anchor())]
INVARIANT += [LearnedDamping(weights=BLIND, until=0.8)]


class ShiftedLoss(SquaredLoss):
    """Squares and a constant."""

    def __init__(self, shift: float) -> None:
        self.shift = shift

    def literal(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See the class."""
        return super().literal(outputs, targets) + self.shift

    def stacked_(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """See the class."""
        return super().stacked_(outputs, targets) + self.shift


@spec
class Shifted(StreamingLeastSquares):
    """Least squares with a constant in the loss."""

    kind = "shifted_least_squares"
    shift: float = number("(-inf, inf)", default=0.0)

    @property
    def stacked_loss(self) -> ShiftedLoss:  # type: ignore[override]
        """See the class."""
        return ShiftedLoss(self.shift)


@lru_cache
def unshifted(controller: AbstractController) -> list[float]:
    return made(controller, 0.0)


def made(controller: AbstractController, shift: float) -> list[float]:
    """The multipliers of a loop of one's own."""
    source = torch.Generator().manual_seed(0)
    inputs = torch.randn(STEPS, 8, 10, generator=source, dtype=torch.float64)
    targets = inputs.sum(2) + torch.randn(STEPS, 8, generator=source, dtype=torch.float64)
    w = torch.nn.Parameter(torch.zeros(10, dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=1.0, momentum=0.5)
    scheduler = ControlledLR(optimizer, DampedCosine(), controller, total_steps=STEPS)
    multipliers: list[float] = []
    for x, y in zip(inputs, targets, strict=True):

        def loss(x: Tensor = x, y: Tensor = y) -> Tensor:
            return (x @ w - y).square().mean() / 20 + shift

        optimizer.zero_grad()
        value = loss()
        (value / 2).backward(retain_graph=True)
        if Signal.HALF in controller.signals(len(multipliers), STEPS):
            scheduler.micro_batch()
        (value / 2).backward()
        optimizer.step()
        scheduler.step(value.detach(), closure=loss)
        multipliers.append(scheduler.applied_multiplier)
    return multipliers


@pytest.mark.parametrize("shift", [-100.0, 100.0])
@pytest.mark.parametrize("controller", INVARIANT, ids=repr)
def test_a_shift_of_the_loss_changes_no_multiplier(controller: AbstractController, shift: float) -> None:
    assert made(controller, shift) == pytest.approx(unshifted(controller), rel=1e-6)


@pytest.mark.parametrize("shift", [-100.0, 100.0])
@pytest.mark.parametrize("controller", [Anchor(), ProgressAnchor(), DistanceAnchor(until=0.9)], ids=repr)
def test_a_shift_of_the_loss_changes_no_trial(controller: AbstractController, shift: float) -> None:
    def trials(constant: float) -> list[Trial]:
        return [
            Trial(
                task=Shifted(dimension=20, shift=constant),
                optimizer=SGD(),
                schedule=DampedCosine(),
                controller=controller,
                base_lr=rate,
                steps=STEPS,
                seed=100,
                dtype="float64",
            )
            for rate in (1e-3, 1.0)
        ]

    plain = train_batch(trials(0.0))
    for alone, shifted in zip(plain, train_batch(trials(shift)), strict=True):
        assert shifted.metrics["excess"] == pytest.approx(alone.metrics["excess"], rel=1e-6)
    assert train(trials(shift)[0]).metrics["excess"] == pytest.approx(plain[0].metrics["excess"], rel=1e-6)


@pytest.mark.parametrize("kind", NAME_A_LEAST_LOSS)
def test_losses_below_the_target_are_said_once_and_the_right_target_mends_it(kind: Any) -> None:
    with pytest.warns(UserWarning, match=rf"below {kind.__name__}.target = 0") as caught:
        assert made(kind(), -100.0)[5:] != unshifted(kind())[5:]
    assert len(caught) == 1
    assert made(kind(target=-100.0), -100.0) == pytest.approx(unshifted(kind()), rel=1e-6)


def test_a_plateau_below_zero_lowers_the_rate_as_one_above_does() -> None:
    above, below = (made(LossPlateau(patience=1, threshold=0.5), shift) for shift in (100.0, -100.0))
    assert above[-2] == pytest.approx(below[-2])
    assert below[-2] < 1e-3


def test_the_policy_sees_a_shift_only_in_the_factor_by_which_the_loss_has_fallen() -> None:
    assert made(FULL, 0.0)[:1] == pytest.approx(made(FULL, 100.0)[:1])
    assert made(FULL, 0.0)[5:] != pytest.approx(made(FULL, 100.0)[5:], rel=1e-3)

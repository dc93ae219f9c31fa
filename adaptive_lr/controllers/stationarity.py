"""Lower the rate when training at the present one gets nowhere any more."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from adaptive_lr.controllers.base import (
    COUNT,
    FACTOR,
    LARGEST,
    AbstractController,
    Limits,
    Moment,
    Observation,
    Signal,
    ones,
    zeros,
)
from adaptive_lr.spec import Range, number, spec

BATCHES = 256
"""Into how many batches the samples of a whole run would be divided."""

LEAST_BATCHES = 8
"""With fewer, the quantile of Student's t grows fast (2.4 for 8, 12.7 for 2), and almost any mean would pass for zero."""


class StationarityDropState(NamedTuple):
    """See `StationarityDrop`; ``[B]``, the means ``[B, BATCHES]``."""

    means: Tensor
    """The means of the batches that are full."""
    filled: Tensor
    """How many are."""
    total: Tensor
    """The sum of z over the samples of the batch that is being filled."""
    inside: Tensor
    """How many samples it holds."""
    scale: Tensor
    """The factor on the schedule."""


@spec
class StationarityDrop(AbstractController):
    """eta_t = m(u) factor^drops; drops += 1 when the mean of z = <theta', d> + eta |d|^2/2 may be zero.

    SASA+ of Zhang, Lang, Liu & Xiao 2020, arXiv:2002.10597. With theta' = theta - eta d, z is (|theta|^2 - |theta'|^2)/(2 eta), so its mean is zero
    exactly when |theta| no longer drifts, whatever the optimizer. A sample is taken every ``every`` steps. Only the most recent part of
    the samples since the last drop, ``recent`` of them, is looked at, so that the transient drops out (the paper's leaky bucket, 1/8). Their mean
    passes for zero if the confidence interval at level 1 - ``significance``, from the means of batches, contains zero. After a drop all
    begins anew.

    Give the optimizer a weight decay, as the paper does (5e-4): without one, on data that can be separated, |theta| grows for ever and there
    is never a drop. A perceptron on digits, at momentum 0.9 and rate 0.1, made none in 9000 steps; with the decay its first came within 600.

    What has to be scaled to the run: the paper waits for 1000 samples in the bucket. Here a batch is 1/256 of the run and at least
    8 of them are needed, so that the first drop can come after a quarter of the run, and there are at most three. A batch is not the
    square root of the samples, as in the paper, but fixed: no sample has to be stored. In short runs with momentum, batches are shorter than
    the time over which z is correlated; then the interval is too narrow, and drops come late. Departures: the momentum is not reset,
    there is no line search before the first drop, and one test is made at the end of every batch, not several at once.
    """

    kind = "stationarity_drop"
    needs = Signal.STEP | Signal.PARAMETERS
    factor: float = number("(0, 1)", default=0.1, search=Range(0.1, 0.7))
    every: int = number("[1, inf)", default=1, integer=True)
    recent: float = number("(0, 1]", default=0.125)
    significance: float = number("(0, 1)", default=0.05)

    def signals(self, step: int, total_steps: int) -> Signal:
        """Everything at a sample, nothing in between."""
        return self.needs if step % self.every == 0 else Signal.NONE

    def length(self, total_steps: int) -> int:
        """The samples of a batch."""
        samples = -(-total_steps // self.every)
        return max(1, -(-samples // BATCHES))

    def init(self, trials: int) -> StationarityDropState:
        """No drop, no samples."""
        nothing = zeros(trials)
        means = torch.zeros(trials, BATCHES, dtype=torch.float64)
        return StationarityDropState(means, nothing, nothing, nothing, ones(trials))

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        return {"filled": (0.0, BATCHES), "inside": COUNT, "scale": FACTOR}

    def multiplier(self, state: StationarityDropState, now: Moment) -> Tensor:
        """See the class."""
        return state.scale * now.scheduled

    def update(self, state: StationarityDropState, seen: Observation) -> tuple[StationarityDropState, Tensor]:
        """See the class; the step itself is made as it was held."""
        decided = self.multiplier(state, seen.now)
        # With D = base d, the base rate included, this is base z: a constant factor, which no test for zero sees.
        z = seen.parameters_dot_direction + 0.5 * seen.trial * seen.direction_square
        usable = (state.total + z).isfinite() & (z != 0.0)  # nothing moved, so there is no sample
        added = state._replace(
            total=torch.where(usable, state.total + z, state.total),
            inside=state.inside + usable.to(torch.float64),
        )
        full = added.inside >= self.length(seen.now.total_steps)
        return (self._judged(added, full) if bool(full.any()) else added), decided

    def _judged(self, state: StationarityDropState, full: Tensor) -> StationarityDropState:
        """The state after some trials' batches became full."""
        index = torch.arange(BATCHES, dtype=torch.float64)
        last = state.filled.clamp(max=BATCHES - 1.0)  # past the planned end of a run
        here = full.unsqueeze(1) & (index == last.unsqueeze(1))
        mean = state.total / state.inside.clamp(min=1.0)
        means = torch.where(here, mean.unsqueeze(1), state.means)
        filled = torch.where(full, last + 1.0, state.filled)
        count = (self.recent * filled).floor()
        recent = (index >= (filled - count).unsqueeze(1)) & (index < filled.unsqueeze(1))
        stationary = full & (count >= LEAST_BATCHES) & self._may_be_zero(means, recent, count)
        lower = (state.scale * self.factor).clamp(min=1.0 / LARGEST)
        return StationarityDropState(
            means=means,
            filled=torch.where(stationary, 0.0, filled),
            total=torch.where(full, 0.0, state.total),
            inside=torch.where(full, 0.0, state.inside),
            scale=torch.where(stationary, lower, state.scale),
        )

    def _may_be_zero(self, means: Tensor, recent: Tensor, count: Tensor) -> Tensor:
        from scipy.special import stdtrit  # a tenth of a second to import, and not before the first batch is full

        freedom = (count - 1.0).clamp(min=1.0)
        mean = torch.where(recent, means, 0.0).sum(1) / count.clamp(min=1.0)
        deviation = torch.where(recent, means - mean.unsqueeze(1), 0.0)
        error = (deviation.square().sum(1) / freedom / count.clamp(min=1.0)).sqrt()
        quantile = torch.from_numpy(stdtrit(freedom.numpy(), 1.0 - self.significance / 2.0))
        return error.isfinite() & (mean.abs() <= quantile * error)

"""Non-greedy hypergradients over long horizons: derivatives by the rate, shared within windows of steps and averaged over seeds."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adaptive_lr.errors import InputError
from adaptive_lr.meta.final_gradients import FinalGradients, Way, way_of
from adaptive_lr.meta.through_training import Request, differentiate
from adaptive_lr.meta.trial_runs import TrialRuns, check
from adaptive_lr.meta.unrolled import BOUND
from adaptive_lr.training.trial import Trial


@dataclass(frozen=True)
class WindowGradients:
    """Derivatives by the logarithm of the rate in each of W windows.

    Attributes:
        edges: the steps between which the windows lie, W + 1 of them, from 0 to T.
        gradient: d final / d log(rate in the window), ``[B, W]``, float64: the sum over its steps of rate_t d final / d rate_t.
        final: the final losses, ``[B]``, float64.
    """

    edges: tuple[int, ...]
    gradient: Tensor
    final: Tensor

    @property
    def per_step(self) -> Tensor:
        """The mean over the steps of each window, ``[B, W]``: d final / d log(rate of a step)."""
        return self.gradient / torch.tensor(self.edges, dtype=torch.float64).diff()

    @property
    def mean(self) -> Tensor:
        """The mean over the trials, ``[W]``."""
        return self.gradient.mean(0)

    @property
    def standard_error(self) -> Tensor:
        """That of the mean, ``[W]``; NaN for a single trial."""
        count = len(self.gradient)
        return self.gradient.std(0) / count**0.5 if count > 1 else torch.full_like(self.gradient[0], torch.nan)


def window_gradients(
    trials: Sequence[Trial],
    windows: int = 10,
    *,
    way: str = Way.FORWARD,
    bound: float = BOUND,
    compiled: bool | None = None,
) -> WindowGradients:
    """Derivatives d final / d log(rate) with one rate for all steps of a window, of B trials: give several seeds, and take the mean.

    The derivative by the rate of one step of a long run is mostly noise of its minibatch; steps of a window share a rate, so that
    their derivatives add and the noise averages out, and no horizon is cut short, as it is where each step is looked at by itself
    (Micaelli & Storkey 2021, arXiv:2007.07869, Section 4). The rates are those of the schedules.

    Args:
        trials: as for `hypergradients`.
        windows: how many, of about equal length.
        way: ``forward``, with a tangent for each window, or ``reverse``, for many of them.
        bound: see `hypergradients`.
        compiled: see `hypergradients`.

    Raises:
        InputError: there are more windows than steps, or what `hypergradients` refuses.
    """
    check(trials)
    steps = trials[0].steps
    if isinstance(windows, bool) or not isinstance(windows, int) or not 1 <= windows <= steps:
        raise InputError(f"windows must be a whole number from 1 to the number of steps, {steps}, got {windows!r}")
    if way_of(way) is Way.DIFFERENCES:
        raise InputError(
            "derivatives by windows are exact: way must be forward or reverse; `Points` can be varied by differences"
        )
    edges = [steps * window // windows for window in range(windows + 1)]
    names = tuple(f"log rate of steps {begin} to {end - 1}" for begin, end in itertools.pairwise(edges))

    def directions(runs: TrialRuns) -> Tensor:
        rates = runs.unrolled.rates
        inside = torch.zeros(steps, windows, 1, dtype=rates.dtype)
        for window in range(windows):
            inside[edges[window] : edges[window + 1], window] = 1.0
        return inside * rates.unsqueeze(1)

    result: FinalGradients = differentiate(Request(trials, names, directions, way_of(way), bound, compiled))
    return WindowGradients(tuple(edges), result.gradient, result.final)

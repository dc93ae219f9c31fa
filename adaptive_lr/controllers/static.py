"""No control at all."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from adaptive_lr.controllers.base import AbstractController, Moment, Observation, Signal
from adaptive_lr.spec import spec


class StaticState(NamedTuple):
    """Nothing to remember."""


@spec
class Static(AbstractController):
    """eta_t = m(u): the schedule as it is, for comparison and to be wrapped in a `NanRescue`."""

    kind = "static"
    needs = Signal.NONE

    def init(self, trials: int) -> StaticState:
        """See the base class."""
        return StaticState()

    def multiplier(self, state: StaticState, now: Moment) -> Tensor:
        """See the class."""
        return now.scheduled

    def update(self, state: StaticState, seen: Observation) -> tuple[StaticState, Tensor]:
        """See the base class."""
        return state, seen.now.scheduled

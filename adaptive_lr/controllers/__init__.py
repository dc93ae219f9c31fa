"""Controllers: one class a rule, all of them in ``CONTROLLERS``."""

from adaptive_lr.controllers.anchor import Anchor
from adaptive_lr.controllers.base import AbstractController, Moment, Observation, Signal
from adaptive_lr.controllers.static import Static

CONTROLLERS: tuple[type[AbstractController], ...] = (Static, Anchor)
"""Every controller. A new one is added here, and with that gets its tests, JSON, a search space and documentation."""

__all__ = ["CONTROLLERS", "AbstractController", "Anchor", "Moment", "Observation", "Signal", "Static"]

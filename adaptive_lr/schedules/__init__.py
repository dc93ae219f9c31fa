"""Schedules: one class a family, all of them in ``SCHEDULES``."""

from adaptive_lr.schedules.base import AbstractSchedule, progress, table
from adaptive_lr.schedules.classic import (
    WSD,
    Constant,
    Exponential,
    InverseSqrt,
    Linear,
    Polynomial,
    Step,
)
from adaptive_lr.schedules.compose import Product, Restarts, Scaled, Sequence, Warmup
from adaptive_lr.schedules.cosine import DampedCosine
from adaptive_lr.schedules.reactive import Plateau

SCHEDULES: tuple[type[AbstractSchedule], ...] = (
    Constant,
    Linear,
    Polynomial,
    Step,
    Exponential,
    InverseSqrt,
    DampedCosine,
    WSD,
    Warmup,
    Sequence,
    Restarts,
    Product,
    Scaled,
    Plateau,
)
"""Every schedule. A new one is added here, and with that gets tests, plots, JSON, a search space and documentation."""

__all__ = [
    "SCHEDULES",
    "WSD",
    "AbstractSchedule",
    "Constant",
    "DampedCosine",
    "Exponential",
    "InverseSqrt",
    "Linear",
    "Plateau",
    "Polynomial",
    "Product",
    "Restarts",
    "Scaled",
    "Sequence",
    "Step",
    "Warmup",
    "progress",
    "table",
]

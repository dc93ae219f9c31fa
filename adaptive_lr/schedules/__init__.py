"""Schedules: one class a family, all of them in ``SCHEDULES``."""

from adaptive_lr.schedules.additive import AdditiveKDecay, ClippedScheduleWarning
from adaptive_lr.schedules.base import AbstractSchedule, progress, table
from adaptive_lr.schedules.chebyshev import Chebyshev
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
from adaptive_lr.schedules.cosine import DampedCosine, ExponentialCosine
from adaptive_lr.schedules.cyclic import Cyclic
from adaptive_lr.schedules.decay import REX, InverseTime, Tanh
from adaptive_lr.schedules.eigencurve import Eigencurve
from adaptive_lr.schedules.grid_aware import GridAware
from adaptive_lr.schedules.points import Points
from adaptive_lr.schedules.reactive import Plateau
from adaptive_lr.schedules.rising import OneCycle, Trapezoid
from adaptive_lr.schedules.staircase import ElasticStep, Staircase

SCHEDULES: tuple[type[AbstractSchedule], ...] = (
    Constant,
    Linear,
    Polynomial,
    Step,
    Exponential,
    InverseSqrt,
    DampedCosine,
    WSD,
    InverseTime,
    Staircase,
    REX,
    Tanh,
    ExponentialCosine,
    AdditiveKDecay,
    ElasticStep,
    Eigencurve,
    GridAware,
    Chebyshev,
    Cyclic,
    OneCycle,
    Trapezoid,
    Points,
    Warmup,
    Sequence,
    Restarts,
    Product,
    Scaled,
    Plateau,
)
"""Every schedule. A new one is added here, and with that gets tests, plots, JSON, a search space and documentation."""

__all__ = [
    "REX",
    "SCHEDULES",
    "WSD",
    "AbstractSchedule",
    "AdditiveKDecay",
    "Chebyshev",
    "ClippedScheduleWarning",
    "Constant",
    "Cyclic",
    "DampedCosine",
    "Eigencurve",
    "ElasticStep",
    "Exponential",
    "ExponentialCosine",
    "GridAware",
    "InverseSqrt",
    "InverseTime",
    "Linear",
    "OneCycle",
    "Plateau",
    "Points",
    "Polynomial",
    "Product",
    "Restarts",
    "Scaled",
    "Sequence",
    "Staircase",
    "Step",
    "Tanh",
    "Trapezoid",
    "Warmup",
    "progress",
    "table",
]

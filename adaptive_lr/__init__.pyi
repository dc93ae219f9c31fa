# The public names of the package; __init__.py imports each on first use.

from .errors import SpecError
from .lr_scheduler import ScheduledLR
from .schedules import (
    SCHEDULES,
    WSD,
    AbstractSchedule,
    Constant,
    DampedCosine,
    Exponential,
    InverseSqrt,
    Linear,
    Plateau,
    Polynomial,
    Product,
    Restarts,
    Scaled,
    Sequence,
    Step,
    Warmup,
    table,
)
from .spec import Range, Spec, decode, encode

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
    "Range",
    "Restarts",
    "Scaled",
    "ScheduledLR",
    "Sequence",
    "Spec",
    "SpecError",
    "Step",
    "Warmup",
    "decode",
    "encode",
    "table",
]

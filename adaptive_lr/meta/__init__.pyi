# The public names of the package; __init__.py imports each on first use.

from .differences import finite_differences
from .directions import numbers_of
from .final_gradients import FinalGradient, FinalGradients, Way
from .own_loop import hypergradient
from .through_training import hypergradients
from .windows import WindowGradients, window_gradients

__all__ = [
    "FinalGradient",
    "FinalGradients",
    "Way",
    "WindowGradients",
    "finite_differences",
    "hypergradient",
    "hypergradients",
    "numbers_of",
    "window_gradients",
]

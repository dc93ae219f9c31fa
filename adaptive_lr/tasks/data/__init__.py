"""Real data, split once into training, validation and test."""

from adaptive_lr.tasks.data.builtin import DATASETS, load
from adaptive_lr.tasks.data.splits import Dataset, Split

__all__ = ["DATASETS", "Dataset", "Split", "load"]

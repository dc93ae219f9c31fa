"""Data sets: found, fetched, checked, and split once into training, validation and test."""

from adaptive_lr.tasks.data.catalogue import CATALOGUE, find
from adaptive_lr.tasks.data.loaders import DATASETS, Encoder, load, minilm, text, verses
from adaptive_lr.tasks.data.resolver import read
from adaptive_lr.tasks.data.splits import Dataset, Split, Text, Verses

__all__ = [
    "CATALOGUE",
    "DATASETS",
    "Dataset",
    "Encoder",
    "Split",
    "Text",
    "Verses",
    "find",
    "load",
    "minilm",
    "read",
    "text",
    "verses",
]

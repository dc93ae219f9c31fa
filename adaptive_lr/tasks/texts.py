"""Texts in three parts without overlap, as bytes or as words."""

from __future__ import annotations

import re
from functools import lru_cache

import torch
from torch import Tensor

from adaptive_lr.tasks import data

TEXTS = ("python_help", "king_james_bible", "shakespeare", "state_of_the_union", "python_source")
"""What language models can be trained on; those that do not come with Python are fetched when they are first used."""

_WORD = re.compile(r"\w+|[^\w\s]")


def title(text: str) -> str:
    """What a text is called in figures."""
    return data.find(text).title


@lru_cache
def encoded(text: str, split: str) -> Tensor:
    """The bytes of a part in UTF-8, ``[n]``, int64."""
    return torch.frombuffer(bytearray(part(text, split).encode()), dtype=torch.uint8).to(torch.int64)


@lru_cache
def words(text: str, split: str) -> tuple[str, ...]:
    """The words of a part in small letters, and the signs between them."""
    return tuple(_WORD.findall(part(text, split).lower()))


def part(text: str, split: str) -> str:
    """A part of a text as it is: ``train``, ``validation`` or ``test``."""
    letters: str = getattr(data.text(text), split)
    return letters

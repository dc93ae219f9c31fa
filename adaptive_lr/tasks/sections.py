"""Fine-tuning of a small pre-trained model of text: which section of the Bible a verse is from."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor, nn

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import number, spec
from adaptive_lr.tasks import data
from adaptive_lr.tasks.base import Parameters
from adaptive_lr.tasks.encoder import PADDING, Encoder, from_bert
from adaptive_lr.tasks.modular import AbstractClassifier, Examples, evenly_spaced
from adaptive_lr.tasks.wordpiece import WordPieces

EVALUATED = 400
"""Verses of a split that a metric is the mean over, evenly spaced: a pass costs as much as some 10 updates."""


@spec
class SectionClassifier(AbstractClassifier):
    """MiniLM and a linear layer on the mean of its outputs, which tell the 10 sections of the King James Bible apart; all weights are tuned.

    Wang et al. 2020, arXiv:2002.10957: 22.6 million parameters, 6 ``layers`` of which the first so many are taken. Verses are cut
    after ``length`` word pieces; training sees ``verses`` of them, evenly spaced. There is no dropout. Always to say the most
    frequent section is wrong in 77 % of the verses. Model and text are fetched when they are first used.
    """

    kind = "section_classifier"
    label = "sections of the Bible, MiniLM"
    batched: ClassVar[bool] = False
    layers: int = number("[1, 6]", default=6, integer=True)
    length: int = number("[3, 512]", default=32, integer=True)
    verses: int = number("[1, inf)", default=2400, integer=True)
    batch: int = number("[1, inf)", default=16, integer=True)

    def module(self) -> nn.Module:
        """See the class."""
        shape = data.minilm().configuration
        encoder = Encoder(
            shape["vocab_size"],
            shape["max_position_embeddings"],
            layers=self.layers,
            width=shape["hidden_size"],
            heads=shape["num_attention_heads"],
        )
        return Classifier(encoder, shape["hidden_size"], len(data.find("king-james-bible").classes))

    def initial(self, seed: int) -> Parameters:
        """The pre-trained parameters; the linear layer as PyTorch draws it from the seed."""
        trained = from_bert(data.minilm().weights, self.layers)
        return super().initial(seed) | {f"encoder.{name}": value.double() for name, value in trained.items()}

    def examples(self, split: str, dtype: torch.dtype) -> Examples:
        """Numbers of word pieces ``[n, length]``, and of sections.

        Raises:
            SpecError: there are not as many verses for training.
        """
        numbers, sections = _numbered(split, self.length)
        if self.verses > len(sections) and split == "train":
            raise SpecError(f"SectionClassifier.verses must be at most {len(sections)}, got {self.verses}")
        return (
            evenly_spaced(Examples(numbers, sections), self.verses) if split == "train" else Examples(numbers, sections)
        )

    def evaluated(self, split: str, dtype: torch.dtype) -> Examples:
        """``EVALUATED`` of them."""
        return evenly_spaced(self.examples(split, dtype), EVALUATED)


class Classifier(nn.Module):
    """A linear layer on an encoder of texts: outputs ``[n, classes]``."""

    def __init__(self, encoder: Encoder, width: int, classes: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(width, classes)

    def forward(self, numbers: Tensor) -> Tensor:
        """See the class."""
        outputs: Tensor = self.head(self.encoder(numbers))
        return outputs


@lru_cache
def _numbered(split: str, length: int) -> tuple[Tensor, Tensor]:
    verses = getattr(data.verses(), split)
    pieces = WordPieces(data.minilm().vocabulary)
    numbers = torch.full((len(verses), length), PADDING)
    for row, verse in enumerate(verses):
        pieces_of_verse = pieces.numbers(verse.text, length)
        numbers[row, : len(pieces_of_verse)] = torch.tensor(pieces_of_verse)
    return numbers, torch.tensor([verse.section for verse in verses])

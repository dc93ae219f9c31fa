"""Texts as tokens: pairs of bytes that are frequent in the training part are merged, again and again."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adaptive_lr.errors import DataError, SpecError
from adaptive_lr.tasks import texts
from adaptive_lr.tasks.pretraining import kept

_VERSION = 1
"""Raised whenever the same text gives another vocabulary than before."""


@lru_cache
def tokens(text: str, split: str, vocabulary: int) -> Tensor:
    """The tokens of a part of a text, ``[n]``, int64, in the vocabulary of its training part."""
    merges = _merges(text, vocabulary)
    lines = texts.part(text, split).splitlines(keepends=True)
    return torch.tensor([number for line in lines for number in merges.encode(line).ids])


def decoded(text: str, numbers: Tensor, vocabulary: int) -> str:
    """The text that tokens ``[n]`` stand for."""
    decoded: str = _merges(text, vocabulary).decode(numbers.tolist())
    return decoded


@lru_cache(maxsize=8)
def _merges(text: str, vocabulary: int) -> Any:
    """A tokenizer of the package ``tokenizers``, from the folder of data sets once it was trained.

    Byte pair encoding: Sennrich et al. 2016, arXiv:1508.07909; on bytes, cut as GPT-2 does (Radford et al. 2019).

    Raises:
        DataError: the package is not installed.
        SpecError: the text is too short for so many tokens.
    """
    try:
        import tokenizers
    except ImportError:
        raise DataError(
            "TokenTransformer needs the package tokenizers, which is not installed: pip install 'adaptive-lr[bpe]'"
        ) from None
    train = texts.part(text, "train")

    def make() -> dict[str, np.ndarray]:
        made = tokenizers.Tokenizer(tokenizers.models.BPE())
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = tokenizers.decoders.ByteLevel()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=vocabulary,
            initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        made.train_from_iterator(train.splitlines(keepends=True), trainer)
        return {"tokenizer": np.frombuffer(made.to_str().encode(), np.uint8)}

    content = f"{_VERSION} {vocabulary} {hashlib.sha256(train.encode()).hexdigest()}"
    merges = tokenizers.Tokenizer.from_str(kept("bpe", content, make)["tokenizer"].tobytes().decode())
    if merges.get_vocab_size() != vocabulary:
        most = merges.get_vocab_size()
        raise SpecError(f"TokenTransformer.vocabulary must be at most {most} for {text}, got {vocabulary}")
    return merges

"""Words as numbers of word pieces, as BERT's vocabularies are meant."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_LONGEST = 100
"""Longer words are unknown."""


class WordPieces:
    """Texts in small letters without accents, cut at spaces and signs, and each word into the longest pieces that the vocabulary has.

    Devlin et al. 2019, arXiv:1810.04805, after Schuster & Nakajima 2012. A piece inside a word begins with ``##``.

    Args:
        vocabulary: the pieces in the order of their numbers, with ``[PAD]`` at 0, ``[UNK]``, ``[CLS]`` and ``[SEP]``.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._numbers = {piece: number for number, piece in enumerate(vocabulary)}
        self._unknown, self._first, self._last = (self._numbers[name] for name in ("[UNK]", "[CLS]", "[SEP]"))

    def numbers(self, text: str, length: int) -> list[int]:
        """At most ``length`` numbers, the first that of ``[CLS]`` and the last that of ``[SEP]``; the end of a long text is left out."""
        pieces: list[int] = []
        for word in _words(text):
            pieces += self._pieces(word)
            if len(pieces) >= length:
                break
        return [self._first, *pieces[: length - 2], self._last]

    def _pieces(self, word: str) -> list[int]:
        if len(word) > _LONGEST:
            return [self._unknown]
        pieces, begin = [], 0
        while begin < len(word):
            for end in range(len(word), begin, -1):
                number = self._numbers.get(("##" if begin else "") + word[begin:end])
                if number is not None:
                    break
            else:
                return [self._unknown]
            pieces.append(number)
            begin = end
        return pieces


def _words(text: str) -> list[str]:
    """Words and signs; Chinese characters are words each."""
    plain = (letter for letter in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(letter) != "Mn")
    spaced = (f" {letter} " if _stands_alone(letter) else letter for letter in plain if _is_visible(letter))
    return "".join(spaced).split()


def _is_visible(letter: str) -> bool:
    return letter in "\t\n\r" or (not unicodedata.category(letter).startswith("C") and letter != "\ufffd")


def _stands_alone(letter: str) -> bool:
    code = ord(letter)
    sign = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    chinese = (
        0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x2FA1F
    )
    return sign or chinese or unicodedata.category(letter).startswith("P")

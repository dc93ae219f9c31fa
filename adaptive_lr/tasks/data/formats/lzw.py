"""The codes of the Unix program ``compress``, without the three bytes that a ``.Z`` file begins with."""

from __future__ import annotations

import numpy as np

from adaptive_lr.errors import DataError

CLEAR = 256
NARROWEST = 9
_ROOTS = [bytes((value,)) for value in range(256)] + [b""]


def decompress(data: bytes, widest: int = 16) -> bytes:
    """What was compressed in block mode with codes of at most ``widest`` bits, 10 to 16.

    Codes are NARROWEST bits wide at first, and one bit wider whenever the table is full; eight of them fill whole bytes, and whatever
    ends the codes of one width, ends with such a group.

    Raises:
        DataError: these are no such codes. A text that is cut between two codes is not noticed.
    """
    texts: list[bytes] = []
    table, last, width, start = _ROOTS.copy(), b"", NARROWEST, 0
    while start < len(data):
        codes = _codes(data, start, width, None if width == widest else 1 << (width - 1))
        before_clear = codes.index(CLEAR) if CLEAR in codes else len(codes)
        for code in codes[:before_clear]:
            if code < len(table):
                text = table[code]
            elif code == len(table) and last:
                text = last + last[:1]  # the entry that is just about to be made
            else:
                raise DataError(f"code {code} comes before its entry in the table")
            if last:  # of a table that is full, no code means what is added
                table.append(last + text[:1])
            texts.append(text)
            last = text
        if before_clear < len(codes):
            start += -(-(before_clear + 1) // 8) * width
            table, last, width = _ROOTS.copy(), b"", NARROWEST
        else:
            start += -(-len(codes) // 8) * width
            width = min(width + 1, widest)
    return b"".join(texts)


def _codes(data: bytes, start: int, width: int, most: int | None) -> list[int]:
    """The codes of one width from ``start`` on, ``most`` of them or all that there are; the bits of a byte come lowest first.

    Raises:
        DataError: there is not even one.
    """
    count = None if most is None else most * width // 8
    bits = np.unpackbits(np.frombuffer(data[start:], np.uint8)[:count], bitorder="little")
    whole = len(bits) // width * width
    if not whole:
        raise DataError("the last code is cut")
    return (bits[:whole].reshape(-1, width) @ (1 << np.arange(width, dtype=np.int32))).tolist()  # type: ignore[no-any-return]

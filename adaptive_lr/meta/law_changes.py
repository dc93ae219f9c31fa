"""The changes of a learning rate, gathered so that a law is evaluated at recorded rows in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adaptive_lr.analysis.stats import Array, Places

_FINE = 0.08
"""Near a row, changes are gathered over this share of their distance to it."""
_COARSE = 48
"""Further away over at most so many steps."""
_NEAR = 2
"""Changes since so many rows before a row count as near,"""
_NEAR_STEPS = 400
"""and those of so many steps."""
TINY = 1e-12
"""A rate of 0 counts as this share of the peak where its logarithm is taken; nothing is trained with it anyway."""


@dataclass(frozen=True)
class Changes:
    """Pairs of a row and a group of changes of the rate before it.

    Attributes:
        total: S(t) by row, ``[n]``.
        row: of each pair, ``[m]``.
        gap: the sum of eta_(k-1) - eta_k over the group, ``[m]``.
        progress: S_k(t), the sum of the rates from the change to the row, ``[m]``.
        since: t - k + 1, the updates since, ``[m]``.
        log_rate: log eta_k, ``[m]``.
    """

    total: Array
    row: Places
    gap: Array
    progress: Array
    since: Array
    log_rate: Array

    def by_row(self, values: Array) -> Array:
        """Sums over the pairs of each row: ``[m] -> [n]``."""
        sums: Array = np.bincount(self.row, values, minlength=len(self.total)).astype(np.float64)
        return sums

    def scaled(self, unit: float) -> Changes:
        """The same for rates that are divided by ``unit``."""
        return Changes(
            self.total / unit,
            self.row,
            self.gap / unit,
            self.progress / unit,
            self.since,
            self.log_rate - np.log(unit),
        )


def gaps_of(rates: Array) -> Array:
    """eta_(k-1) - eta_k by step ``[T + 1]``, 0 for the first; what is less than a rounding of the peak counts as no change."""
    gaps = -np.diff(rates, prepend=rates[:1])
    result: Array = np.where(np.abs(gaps) > TINY * rates.max(), gaps, 0.0)
    return result


def floored(rates: Array) -> Array:
    """The rates, with `TINY` of the largest for 0."""
    result: Array = np.maximum(rates, TINY * rates.max())
    return result


def sums_before(rates: Array) -> Array:
    """Sums of the rates before each step, ``[T + 1] -> [T + 2]``: the last is that of all."""
    return np.concatenate([[0.0], np.cumsum(rates)])


def gathered(rates: Array, steps: Places) -> Changes:
    """Changes before rows at ascending ``steps`` ``[n]`` of a run with the rates ``[T + 1]``.

    A group stands at its mean, weighted by the changes, which leaves an error of second order in its length: below 1e-5 of the loss
    on the curves of language models, where the pairs are a hundredth of all.
    """
    sums = sums_before(rates)
    ends = np.asarray(steps) + 1
    starts = np.concatenate([[0], ends[:-1]])
    fine = _Groups(rates, sums, [_towards(start, end) for start, end in zip(starts, ends, strict=True)])
    coarse = _Groups(rates, sums, [_evenly(start, end) for start, end in zip(starts, ends, strict=True)])
    rows = np.arange(len(ends))
    within = np.searchsorted(ends, ends - _NEAR_STEPS)
    near = np.minimum(np.maximum(rows - _NEAR, 0), within)  # intervals from here on are near
    row, group = fine.pairs(near, rows + 1)
    far_row, far_group = coarse.pairs(np.zeros_like(near), near)
    values = [np.concatenate([a[group], b[far_group]]) for a, b in zip(fine.values, coarse.values, strict=True)]
    row = np.concatenate([row, far_row])
    gap, before, position, log_rate = values
    return Changes(sums[ends], row, gap, sums[ends][row] - before, ends[row] - position, log_rate)


def joined(parts: Sequence[Changes]) -> Changes:
    """The rows of several runs below each other."""
    offsets = np.cumsum([0, *(len(part.total) for part in parts)])[:-1]
    return Changes(
        np.concatenate([part.total for part in parts]),
        np.concatenate([part.row + offset for part, offset in zip(parts, offsets, strict=True)]),
        np.concatenate([part.gap for part in parts]),
        np.concatenate([part.progress for part in parts]),
        np.concatenate([part.since for part in parts]),
        np.concatenate([part.log_rate for part in parts]),
    )


class _Groups:
    """Groups of changes: by interval between rows, and in it from one edge to the next."""

    def __init__(self, rates: Array, sums: Array, edges: Sequence[Places]) -> None:
        gaps = gaps_of(rates)
        size = np.abs(gaps)
        left = np.concatenate([part[:-1] for part in edges])
        interval = np.repeat(np.arange(len(edges)), [len(part) - 1 for part in edges])
        columns = (gaps, size, size * sums[:-1], size * np.arange(len(rates)), size * np.log(floored(rates)))
        # Sums within each group, not differences of sums over all: what is left of these by rounding would count as a change.
        gap, weight, *moments = (np.add.reduceat(column[: edges[-1][-1]], left) for column in columns)
        changed = weight > 0.0
        means = [moment[changed] / weight[changed] for moment in moments]
        self.values = [gap[changed], *means]
        self._first = np.searchsorted(interval[changed], np.arange(len(edges) + 1))

    def pairs(self, low: Places, high: Places) -> tuple[Places, Places]:
        """Row and group of every pair of a row with the groups of the intervals ``low`` to ``high``, the latter left out."""
        first, last = self._first[low], self._first[high]
        counts = last - first
        row = np.repeat(np.arange(len(low)), counts)
        offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return row, np.repeat(first, counts) + offset


def _towards(start: int, end: int) -> Places:
    """Edges from ``start`` to ``end`` that lie the closer together the nearer the end."""
    edges, distance = [end], 0
    while edges[-1] > start:
        distance += max(1, int(_FINE * distance))
        edges.append(max(start, end - distance))
    return np.array(edges[::-1])


def _evenly(start: int, end: int) -> Places:
    return np.linspace(start, end, max(1, -(-(end - start) // _COARSE)) + 1).astype(np.int_)

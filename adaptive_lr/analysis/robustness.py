"""How much a result depends on the learning rate that somebody happened to pick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adaptive_lr.analysis.paired import estimate, logarithms
from adaptive_lr.analysis.stats import Array, Places

RATIOS = {"10^(1/3)": 10 ** (1 / 3), "10^(1/2)": 10**0.5, "10": 10.0, "100": 100.0}
"""The grid resolutions: neighbouring learning rates differ by this factor."""

SLOPE_RANGE = 100.0
"""The misspecification slope is fitted for rates up to this many times the best one."""


WORSE = 1.05
"""A finite loss this many times above the least possible one as that before training, or more, counts as diverged."""


def diverged(losses: Array, initial: float, optimum: float | None) -> NDArray[np.bool_]:
    """Whether a run's loss is not finite, or absurd: clearly worse than before training, not by what seeds differ before it.

    >>> diverged(np.array([1.0, 2.05, 1e20, np.nan]), 2.0, None).tolist()
    [False, False, True, True]
    """
    least = optimum or 0.0
    return ~(losses - least < WORSE * (initial - least))


def pairs(selection: Sequence[int], report: Sequence[int]) -> list[tuple[int, int]]:
    """The repetitions that seeds give: in each the first chooses and the second reports; no seed is in two of them.

    Where there are more of the one kind, the last of these join the other, so that half of all seeds choose.

    >>> pairs([100, 101], [0, 1])
    [(100, 0), (101, 1)]
    >>> pairs([100, 101], [0, 1, 2, 3, 4, 5])
    [(100, 0), (101, 1), (4, 2), (5, 3)]
    """
    surplus = max((abs(len(report) - len(selection))) // 2, 0)
    few, many = (selection, report) if len(selection) <= len(report) else (report, selection)
    moved = list(many[len(many) - surplus :])
    firsts, seconds = [*few, *moved], list(many[: len(few) + surplus])
    ordered = (firsts, seconds) if len(selection) <= len(report) else (seconds, firsts)
    return list(zip(*ordered, strict=True))


@dataclass(frozen=True)
class Sweep:
    """One schedule on one fine grid of learning rates, in R independent repetitions: in each a seed chooses and another one reports.

    Every number of a repetition comes from its two seeds alone, choices included. So Student's t over repetitions allows for the
    choices, whatever is chosen. A choice on all seeds together leaves its luck out: two identical schedules then differ in up to 25 % of
    cases instead of 5 %.

    Losses are final losses, lower is better; a trial that diverged counts as no training at all, and so does one that ended
    worse than it started: ``min(loss, initial)``.

    Attributes:
        rates: ascending, a constant factor apart, ``[L]``.
        selection: losses by which repetition r chooses, ``[R, L]``.
        report: losses on its other seed, which it reports, ``[R, L]``.
        optimum: the least possible loss, or None if it is not known.
        initial: the reported loss before training.
        per_decade: learning rates a decade.
        diverged: the share of trials at each rate that were not finite or ended worse than before training, ``[L]``.
    """

    rates: Array
    selection: Array
    report: Array
    optimum: float | None
    initial: float
    per_decade: int
    diverged: Array

    @classmethod
    def clipped(
        cls,
        *,
        rates: Array,
        selection: Array,
        report: Array,
        initial: tuple[float, float],
        optimum: float | None,
        per_decade: int,
    ) -> Sweep:
        """A sweep from raw losses, NaN where a trial diverged; ``initial`` before training, of the two metrics.

        Raises:
            ValueError: there are not as many rows of the two.
        """
        if selection.shape != report.shape:
            raise ValueError(
                f"a repetition needs a row to choose by and one to report, got {selection.shape} and {report.shape}"
            )
        lost = [diverged(losses, before, optimum) for losses, before in zip((selection, report), initial, strict=True)]
        return cls(
            rates=rates,
            selection=np.fmin(selection, initial[0]),
            report=np.fmin(report, initial[1]),
            optimum=optimum,
            initial=initial[1],
            per_decade=per_decade,
            diverged=np.concatenate(lost).mean(0),
        )

    @property
    def is_ratio(self) -> bool:
        """Whether losses are compared by their ratio, which has a meaning above a known optimum; by their difference elsewhere."""
        return self.optimum is not None

    def chosen(self, members: Places | slice = slice(None)) -> int:
        """The place of the best of the given rates, by the mean loss over all that choose: for people, not for intervals."""
        indices = np.arange(len(self.rates))[members]
        return int(indices[np.argmin(self.selection.mean(0)[indices])])

    def choices(self, members: Places | slice = slice(None)) -> Places:
        """The place of the best of the given rates in each repetition, the lowest of equals, ``[R]``."""
        indices = np.arange(len(self.rates))[members]
        return np.asarray(indices[np.argmin(self.selection[:, indices], axis=1)], dtype=np.int_)

    def reported(self, places: Places) -> Array:
        """Reported excess at a place of each repetition, ``[R] -> [R]``; see `excess`."""
        return np.asarray(self.report[np.arange(len(self.report)), places] - (self.optimum or 0.0), dtype=np.float64)

    @property
    def best(self) -> int:
        """The place of the best rate of the fine grid, see `chosen`."""
        return self.chosen()

    @property
    def at_boundary(self) -> bool:
        """Whether the best rate is the first or the last of the grid, so that a better one may lie outside."""
        return self.best in (0, len(self.rates) - 1)

    def cut_off(self, ratio: float) -> bool:
        """Whether the best rate is less than half a stride of a grid of that ratio from an end of the window.

        Such a grid would then, at some of its places, have its best rate outside of the window, and its regret is too small.
        """
        inside = min(self.best, len(self.rates) - 1 - self.best)
        return self.at_boundary or 2 * inside < self.stride(ratio)

    def stride(self, ratio: float) -> int:
        """How many steps of the fine grid are one of a grid of that ratio.

        Raises:
            ValueError: it is not a whole number of them, or wider than the window.
        """
        stride = round(self.per_decade * np.log10(ratio), 6)
        if stride != int(stride) or not 1 <= stride < len(self.rates):
            raise ValueError(
                f"a grid of ratio {ratio:g} cannot be taken from {self.per_decade} rates a decade, {len(self.rates)} in all"
            )
        return int(stride)

    def grids(self, ratio: float) -> list[Places]:
        """The grids of that ratio, one for each place it may start; a `ValueError` as in `stride`."""
        stride = self.stride(ratio)
        return [np.arange(offset, len(self.rates), stride) for offset in range(stride)]

    def fine(self) -> Array:
        """The excess of whoever tunes on the fine grid, ``[R]``."""
        return self.reported(self.choices())

    def tuned(self, ratio: float) -> Array:
        """The excess of whoever tunes on a grid of that ratio, ``[offsets, R]``; a `ValueError` as in `stride`."""
        return np.stack([self.reported(self.choices(grid)) for grid in self.grids(ratio)])

    def coarse(self, ratio: float) -> Array:
        """The same, the mean over all places where such a grid may start, ``[R]``."""
        return np.asarray(self.tuned(ratio).mean(0), dtype=np.float64)

    def worst(self, ratio: float) -> Array:
        """The same at the place that is worst by what is chosen on, ``[R]``."""
        by_selection = np.stack([self.selection[:, grid].min(1) for grid in self.grids(ratio)])
        return np.asarray(self.tuned(ratio)[by_selection.argmax(0), np.arange(len(self.report))], dtype=np.float64)

    def selected(self, ratio: float) -> Array:
        """The loss that whoever tunes on a grid of that ratio sees when choosing, the mean over its places, ``[R]``."""
        return np.asarray(
            np.mean([self.selection[:, grid].min(1) for grid in self.grids(ratio)], axis=0), dtype=np.float64
        )

    def sensitivity(self) -> Array:
        """Mean over the window of min(loss, initial) less the loss at the chosen rate, ``[R]``.

        Wortsman et al. 2023, arXiv:2309.14322, section 2; the rates are uniform in the logarithm.
        """
        return np.asarray(self.excess().mean(1) - self.fine(), dtype=np.float64)

    def excess(self) -> Array:
        """Reported losses above the optimum where that is known, the losses themselves elsewhere, ``[R, L]``."""
        return self.report - (self.optimum or 0.0)

    def misspecification(self) -> dict[str, float | None]:
        """Mean excess at rho times the best rate over that at the best rate, for rho = 1/100 … 100 inside the window."""
        excess, factors = self.excess().mean(0), {}
        for exponent in (-4, -3, -2, -1, 1, 2, 3, 4):
            index = self.best + round(exponent * self.per_decade / 2)
            inside = self.per_decade % 2 == 0 and 0 <= index < len(excess)
            label = f"10^{exponent / 2:g}"
            factors[label] = float(excess[index] / excess[self.best]) if inside else None
        return factors

    def slope_places(self, best: int, row: int) -> Places:
        """Places from a best rate up to ``SLOPE_RANGE`` times it where a repetition's training still did something."""
        last = min(best + round(self.per_decade * np.log10(SLOPE_RANGE)), len(self.rates) - 1)
        indices = np.arange(best, last + 1)
        dead = self.report[row, indices] >= 0.99 * self.initial
        return indices[: int(np.argmax(dead))] if dead.any() else indices

    def slope(self) -> dict[str, float] | None:
        """Slope of log excess against log rate above the best rate, with its interval and the least factor that it is fitted up to.

        Each repetition has its own best rate. None if one has under half a decade.

        Theory for bounded convex problems says 1/(2p+1) for a schedule that ends like (1-u)^p.
        """
        places = [self.slope_places(int(best), row) for row, best in enumerate(self.choices())]
        if min(map(len, places)) <= self.per_decade // 2:
            return None
        excess = self.excess()
        slopes = [fitted(self.rates[indices], excess[row, indices]) for row, indices in enumerate(places)]
        up_to = min(float(self.rates[indices[-1]] / self.rates[indices[0]]) for indices in places)
        return {**estimate(np.array(slopes)), "up_to": up_to}

    def basin(self, factor: float = 2.0) -> dict[str, Any]:
        """Decades around the best rate over which the mean excess is at most ``factor`` times the best one's.

        Interpolated between grid points in the logarithm of both.

        Returns:
            ``decades``, and whether the window ``cut_below`` or ``cut_above``: then the basin is at least as wide.
        """
        excess = logarithms(self.excess().mean(0))
        limit, axis = excess[self.best] + np.log(factor), np.log10(self.rates)
        ends, cut = [], []
        for step in (-1, 1):
            index = self.best
            while 0 <= index + step < len(axis) and excess[index + step] <= limit:
                index += step
            end, inside = axis[index], 0 <= index + step < len(axis)
            if inside:
                share = (limit - excess[index]) / (excess[index + step] - excess[index])
                end += share * (axis[index + step] - axis[index])
            ends.append(end)
            cut.append(not inside)
        return {"decades": float(ends[1] - ends[0]), "cut_below": cut[0], "cut_above": cut[1]}


def fitted(rates: Array, excess: Array) -> float:
    """The slope of log excess against log rate by least squares, ``[L]`` each.

    >>> round(fitted(np.array([1.0, 2.0, 4.0]), np.array([3.0, 6.0, 12.0])), 9)
    1.0
    """
    x = np.log(rates)
    weights = (x - x.mean()) / np.square(x - x.mean()).sum()
    return float(logarithms(excess) @ weights)

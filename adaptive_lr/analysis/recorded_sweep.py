"""How much a result depends on the learning rate, from losses at whatever rates there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from adaptive_lr.analysis.stats import LEVEL, Array, Places

RATIOS = (2.0, 10**0.5, 5.0, 10.0, 100.0)
"""Grid resolutions that are asked for: neighbouring learning rates at least this factor apart."""

RHO = (0.01, 0.1, 0.2, 0.5, 2 / 3, 1.5, 2.0, 5.0, 10.0, 100.0)
"""Misspecifications that are asked for, as factors on the best rate."""

SLOPE_RANGE = 100.0
_OFFSETS = 128
_UNEVEN = 3.0
_INSIDE = 4e-9
_SAME = 1.0 + 1e-6
"""Rates nearer to each other than this are one."""


@dataclass(frozen=True)
class Noise:
    """How much runs that should be alike differ, at the better half of each group's rates.

    Attributes:
        deviation: the standard deviation of one run, pooled over those rates that have several runs.
        freedom: its degrees of freedom.
        uneven: whether runs at the worse half of the rates typically differ much more.
    """

    deviation: float
    freedom: int
    uneven: bool = False

    @property
    def quantile(self) -> float:
        """Of Student's distribution, for a 95 % interval."""
        return float(stdtrit(self.freedom, 0.5 + LEVEL / 2))

    @classmethod
    def pooled(cls, groups: Sequence[Sequence[Array]]) -> Noise | None:
        """From the losses of the runs at each rate of each group; None if no rate among the better half has several finite ones."""
        better, worse = list[Array](), list[Array]()
        for cells in groups:
            middle = float(np.median([losses.mean() for losses in cells]))
            for losses in cells:
                if len(losses) > 1 and np.isfinite(losses).all():
                    (better if losses.mean() <= middle else worse).append(losses)
        freedom = sum(len(losses) - 1 for losses in better)
        if not freedom:
            return None
        squares = sum(float(np.square(losses - losses.mean()).sum()) for losses in better)
        deviation = float(np.sqrt(squares / freedom))
        typical = float(np.median([losses.std(ddof=1) for losses in worse])) if worse else 0.0
        return cls(deviation, freedom, uneven=typical > _UNEVEN * deviation)


@dataclass(frozen=True)
class RecordedSweep:
    """Runs of one group at ascending rates that need be on no grid.

    Attributes:
        rates: ascending, ``[L]``.
        losses: the mean over the runs at each rate, ``[L]``; infinite where one diverged and no loss before training is known.
        counts: runs at each rate, ``[L]``.
        diverged: the share of runs that diverged, ``[L]``.
        paired: losses by seed, ``[S, L]``, if every rate has the same seeds, once each, and there are several; else None.
        noise: pooled over all groups, or None.
        optimum: the least possible loss, or None if it is not known.
        initial: the loss before training, or None.
        seeds: the names of the seeds of ``paired``, in its order.
    """

    rates: Array
    losses: Array
    counts: Places
    diverged: Array
    paired: Array | None
    noise: Noise | None
    optimum: float | None = None
    initial: float | None = None
    seeds: tuple[str, ...] = ()

    def within(self, keep: Sequence[int] | Places) -> RecordedSweep:
        """At some of the rates only."""
        indices = np.asarray(keep, dtype=np.int_)
        return RecordedSweep(
            self.rates[indices],
            self.losses[indices],
            self.counts[indices],
            self.diverged[indices],
            None if self.paired is None else self.paired[:, indices],
            self.noise,
            self.optimum,
            self.initial,
            self.seeds,
        )

    @property
    def best(self) -> int:
        """The index of the rate with the least mean loss."""
        return int(np.argmin(self.losses))

    @property
    def at_boundary(self) -> bool:
        """Whether that is the lowest or highest rate, so that a better one may lie outside."""
        return self.best in (0, len(self.rates) - 1)

    def estimate(self, weights: Array) -> dict[str, float | None]:
        """A weighted sum of the losses with its 95 % interval, None where it is not finite or nothing is known of the noise.

        With paired seeds the interval is Student's, from the sum of each seed. Otherwise each mean has the pooled deviation over
        the root of its runs. Neither includes the choice of the rate. A loss without weight need not be finite.

        Args:
            weights: of the loss at each rate, ``[L]``.
        """
        used = np.flatnonzero(weights)
        value = float(weights[used] @ self.losses[used])
        if not np.isfinite(value):
            return {"value": None, "low": None, "high": None}
        half = self._half_width(weights[used], used)
        ends = (None, None) if half is None else (value - half, value + half)
        return {"value": value, "low": ends[0], "high": ends[1]}

    def _half_width(self, weights: Array, used: Places) -> float | None:
        if self.paired is not None and np.isfinite(self.paired[:, used]).all():
            return students_half(self.paired[:, used] @ weights)
        if self.noise is None:
            return None
        return float(
            self.noise.quantile * self.noise.deviation * np.sqrt(np.square(weights) @ (1.0 / self.counts[used]))
        )

    def at(self, index: int) -> dict[str, float | None]:
        """The mean loss at a rate, with its interval."""
        return self.estimate(self._unit(index))

    def _unit(self, index: int) -> Array:
        weights = np.zeros(len(self.rates))
        weights[index] = 1.0
        return weights

    def _mean_of(self, indices: Places) -> Array:
        return np.bincount(indices, minlength=len(self.rates)) / len(indices)

    def subgrids(self, ratio: float) -> list[Places]:
        """The grids of neighbours at least ``ratio`` apart that the recorded rates hold: the one through each rate, once each.

        The grid through a rate takes the next rate above that is far enough, and so on, and likewise below. On rates a constant factor
        apart these are the sub-grids at every offset. There are none if neighbours are farther apart than ``ratio`` throughout, or
        the window is narrower than it.
        """
        rates = self.rates
        if ratio * _SAME < (rates[1:] / rates[:-1]).min() or ratio > rates[-1] / rates[0] * _SAME:
            return []
        above = np.searchsorted(rates * _SAME, rates * ratio, side="left").tolist()
        below = (np.searchsorted(rates * ratio, rates * _SAME, side="right") - 1).tolist()
        grids: dict[tuple[int, ...], None] = {}
        for anchor in range(len(rates)):
            grid = [anchor]
            while below[grid[0]] >= 0:
                grid.insert(0, below[grid[0]])
            while above[grid[-1]] < len(rates):
                grid.append(above[grid[-1]])
            grids[tuple(grid)] = None
        return [np.array(grid, dtype=np.int_) for grid in grids]

    def tuned(self, ratio: float) -> Places:
        """The indices of the rates that whoever tunes on each of the sub-grids ends with."""
        return np.array([grid[np.argmin(self.losses[grid])] for grid in self.subgrids(ratio)], dtype=np.int_)

    def resolution(self, ratio: float, least: float | None = None) -> dict[str, Any] | None:
        """What a grid of that ratio costs; None if there is no such grid in the recorded rates.

        Args:
            ratio: the least factor between neighbours.
            least: the loss that costs are counted from, by default this group's own least.
        """
        tuned, best = self.tuned(ratio), self._unit(self.best)
        if not len(tuned):
            return None
        worst = int(tuned[np.argmax(self.losses[tuned])])
        mean_interpolated, worst_interpolated = self.interpolated(ratio)
        own = float(self.losses[self.best])
        reference = own if least is None else least
        return {
            "grids": len(tuned),
            "regret_mean": self.estimate(self._mean_of(tuned) - best),
            "regret_worst": self.estimate(self._unit(worst) - best),
            "regret_mean_interpolated": _finite(mean_interpolated - own),
            "regret_worst_interpolated": _finite(worst_interpolated - own),
            "cost_mean": _finite(float(self.losses[tuned].mean()) - reference),
            "cost_worst": _finite(float(self.losses[worst]) - reference),
            "cost_mean_interpolated": _finite(mean_interpolated - reference),
        }

    def interpolated(self, ratio: float) -> tuple[float, float]:
        """Mean and worst tuned loss of grids of exactly that ratio, placed anywhere; the loss linear in log rate between runs.

        Offsets are cut where a rate of the grid passes a recorded one. Between two cuts each rate's loss is a line, whose mean
        midpoints give exactly; what is left is an error where two lines cross, of second order in the width of the pieces.
        """
        points, period = np.log(self.rates), float(np.log(ratio))
        cuts = np.unique(
            np.concatenate([[0.0, 1.0], ((points - points[0]) / period) % 1.0, np.arange(_OFFSETS) / _OFFSETS])
        )
        middles, widths = (cuts[1:] + cuts[:-1]) / 2.0, np.diff(cuts)
        inside = max(_INSIDE, _INSIDE / period)
        ends = np.clip(np.concatenate([cuts[:-1] + inside, cuts[1:] - inside]), 0.0, 1.0)
        tuned = np.full(len(middles) + len(ends), np.inf)
        offsets = np.concatenate([middles, ends])
        for step in range(int((points[-1] - points[0]) / period) + 1):
            tuned = np.fmin(tuned, self._loss_at_log(points[0] + (offsets + step) * period))
        return float(tuned[: len(middles)] @ widths), float(tuned.max())

    def loss_at(self, rates: Array) -> Array:
        """Losses at any rates, linear in the logarithm between recorded ones; NaN outside, infinite beside a divergence."""
        return self._loss_at_log(np.log(np.atleast_1d(rates)))

    def _loss_at_log(self, x: Array) -> Array:
        points = np.log(self.rates)
        right = np.clip(np.searchsorted(points, x - 1e-9), 1, len(points) - 1)
        share = (x - points[right - 1]) / (points[right] - points[right - 1])
        low, high = self.losses[right - 1], self.losses[right]
        with np.errstate(invalid="ignore"):
            losses = np.where(share > 1.0 - 1e-9, high, np.where(share < 1e-9, low, low + share * (high - low)))
        outside = (x < points[0] - 1e-9) | (x > points[-1] + 1e-9)
        return np.where(outside, np.nan, np.where(np.isnan(losses), np.inf, losses))

    def misspecification(self) -> dict[str, dict[str, Any] | None]:
        """What rho times the best rate costs: difference and, where the optimum is known, ratio of the excess; None outside."""
        costs: dict[str, dict[str, Any] | None] = {}
        for rho in RHO:
            rate = self.rates[self.best] * rho
            loss = float(self.loss_at(np.array([rate]))[0])
            if not np.isfinite(loss):
                costs[f"{rho:.3g}"] = None
                continue
            best, recorded = float(self.losses[self.best]), bool(np.isclose(self.rates, rate, rtol=1e-6, atol=0).any())
            ratio = None if self.optimum is None else (loss - self.optimum) / max(best - self.optimum, 1e-300)
            costs[f"{rho:.3g}"] = {"difference": loss - best, "ratio": ratio, "interpolated": not recorded}
        return costs

    def sensitivity(self) -> dict[str, float | None]:
        """Mean over the recorded rates of the loss less the least one (Wortsman et al. 2023, arXiv:2309.14322, section 2)."""
        return self.estimate(1.0 / len(self.rates) - self._unit(self.best))

    def sensitivity_log(self) -> dict[str, float | None]:
        """The same mean with every part of the logarithmic window counted alike: the trapezoidal rule in log rate."""
        gaps = np.diff(np.log(self.rates))
        weights = np.concatenate([[gaps[0]], gaps[1:] + gaps[:-1], [gaps[-1]]]) / (2.0 * gaps.sum())
        return self.estimate(weights - self._unit(self.best))

    def basin(self, tolerance: float) -> dict[str, Any]:
        """Decades around the best rate in which the loss stays within a limit, and whether the window cut it off on either side.

        The limit is twice the excess of the best rate where the optimum is known, and ``1 + tolerance`` times its loss elsewhere.
        """
        best = float(self.losses[self.best])
        limit = best + tolerance * abs(best) if self.optimum is None else self.optimum + 2.0 * (best - self.optimum)
        axis, ends, cut = np.log10(self.rates), [], []
        for step in (-1, 1):
            index = self.best
            while 0 <= index + step < len(axis) and self.losses[index + step] <= limit:
                index += step
            inside = 0 <= index + step < len(axis)
            end = axis[index]
            if inside and np.isfinite(self.losses[index + step]):
                share = (limit - self.losses[index]) / (self.losses[index + step] - self.losses[index])
                end += share * (axis[index + step] - axis[index])
            ends.append(end)
            cut.append(not inside)
        return {"decades": float(ends[1] - ends[0]), "limit": limit, "cut_below": cut[0], "cut_above": cut[1]}

    def slope(self) -> float | None:
        """Slope of log excess against log rate from the best rate to 100 times it; None without an optimum or three rates."""
        if self.optimum is None:
            return None
        usable = np.isfinite(self.losses) & (self.losses > self.optimum)
        if self.initial is not None:
            usable &= self.losses - self.optimum < 0.99 * (self.initial - self.optimum)
        above = (self.rates >= self.rates[self.best]) & (self.rates <= self.rates[self.best] * SLOPE_RANGE * _SAME)
        indices = np.flatnonzero(usable & above)
        if len(indices) < 3:
            return None
        return float(np.polyfit(np.log(self.rates[indices]), np.log(self.losses[indices] - self.optimum), 1)[0])


def students_half(values: Array) -> float:
    """Half of Student's 95 % interval of a mean."""
    quantile = stdtrit(len(values) - 1, 0.5 + LEVEL / 2)
    return float(quantile * values.std(ddof=1) / np.sqrt(len(values)))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

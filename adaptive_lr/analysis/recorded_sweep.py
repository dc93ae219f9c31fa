"""How much a result depends on the learning rate, from losses at whatever rates there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptive_lr.analysis.recorded_noise import Noise, students_half, welch, welchs_half
from adaptive_lr.analysis.stats import Array, Places

RATIOS = (2.0, 10**0.5, 5.0, 10.0, 100.0)
"""Grid resolutions that are asked for: neighbouring learning rates at least this factor apart."""

RHO = (0.01, 0.1, 0.2, 0.5, 2 / 3, 1.5, 2.0, 5.0, 10.0, 100.0)
"""Misspecifications that are asked for, as factors on the best rate."""

SHARES = (0.05, 0.1, 0.2)
"""How much worse than at the best rate is asked for, as shares."""

SLOPE_RANGE = 100.0
_OFFSETS = 128
_INSIDE = 4e-9
_SAME = 1.0 + 1e-6
"""Rates nearer to each other than this are one."""


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
        variances: of the mean at each rate, ``[L]``, where the table has the deviations of its means; NaN where it has none; else None.
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
    variances: Array | None = None

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
            None if self.variances is None else self.variances[indices],
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
        the root of its runs, or its own where the table has it. None of them includes the choice of the rate. A loss without weight need not be finite.

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
        return self._unpaired(*self._terms(weights, used))

    def _terms(self, weights: Array, used: Places) -> tuple[Array, Array, Array]:
        """Of a weighted sum: the squares over the runs, the variance of each term where it is known, and their degrees of freedom."""
        squares, counts = np.square(weights), self.counts[used]
        known = np.full(len(used), np.nan) if self.variances is None else self.variances[used]
        return (
            squares / counts,
            np.asarray(squares * known, dtype=np.float64),
            np.asarray(counts - 1.0, dtype=np.float64),
        )

    def _unpaired(self, squares: Array, variances: Array, freedom: Array) -> float | None:
        if np.isfinite(variances).all():
            return welchs_half(variances, freedom)
        return (
            None if self.noise is None else float(self.noise.quantile * self.noise.deviation * np.sqrt(squares.sum()))
        )

    def at(self, index: int) -> dict[str, float | None]:
        """The mean loss at a rate, with its interval."""
        return self.estimate(self.unit(index))

    def unit(self, index: int) -> Array:
        """The weights ``[L]`` of one loss alone."""
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

    def near_boundary(self, ratio: float) -> bool:
        """Whether the best rate is less than half a stride of a grid of that ratio from an end of the rates.

        A grid placed anywhere then has, at some of its places, its nearest rate outside, and what it costs may be off.
        """
        reach = min(self.rates[self.best] / self.rates[0], self.rates[-1] / self.rates[self.best])
        return self.at_boundary or bool(reach * _SAME < np.sqrt(ratio))

    def resolution(self, ratio: float, lowest: RecordedSweep | None = None) -> dict[str, Any] | None:
        """What a grid of that ratio costs; None if there is no such grid in the recorded rates.

        Args:
            ratio: the least factor between neighbours.
            lowest: the group whose lowest loss costs are counted from, by default this one.
        """
        tuned, best = self.tuned(ratio), self.unit(self.best)
        if not len(tuned):
            return None
        worst = int(tuned[np.argmax(self.losses[tuned])])
        mean_interpolated, worst_interpolated = self.interpolated(ratio)
        own, other = float(self.losses[self.best]), lowest or self
        reference = float(other.losses[other.best])
        return {
            "grids": len(tuned),
            "at_boundary": self.near_boundary(ratio),
            "regret_mean": self.estimate(self._mean_of(tuned) - best),
            "regret_worst": self.estimate(self.unit(worst) - best),
            "regret_mean_interpolated": _finite(mean_interpolated - own),
            "regret_worst_interpolated": _finite(worst_interpolated - own),
            "cost_mean": _finite(float(self.losses[tuned].mean()) - reference),
            "cost_worst": _finite(float(self.losses[worst]) - reference),
            "cost_mean_interpolated": _finite(mean_interpolated - reference),
            "half": self._halves(ratio, other),
        }

    def _halves(self, ratio: float, lowest: RecordedSweep) -> dict[str, float | None]:
        """Half the 95 % intervals of the interpolated regret and cost; None where nothing is known of the noise."""
        if self.noise is None and self.paired is None:
            return {"regret_mean_interpolated": None, "cost_mean_interpolated": None}
        weights = self.interpolated_weights(ratio)
        return {
            "regret_mean_interpolated": self.half_difference(weights, self),
            "cost_mean_interpolated": self.half_difference(weights, lowest),
        }

    def half_difference(self, weights: Array, other: RecordedSweep) -> float | None:
        """Half the 95 % interval of weights @ losses less the lowest loss of a group, this one or another; None if not known.

        Student's t on the differences of each seed where both groups have the same ones at all rates, otherwise as in `estimate`.
        """
        best = other.unit(other.best)
        if other is self:
            return self._half_width_of(weights - best)
        mine, theirs = np.flatnonzero(weights), other.best
        if not np.isfinite(self.losses[mine]).all():
            return None
        if self.paired is not None and other.paired is not None and self.seeds == other.seeds:
            values = self.paired[:, mine] @ weights[mine] - other.paired[:, theirs]
            if np.isfinite(values).all():
                return students_half(values)
        terms = zip(self._terms(weights[mine], mine), other._terms(np.ones(1), np.array([theirs])), strict=True)
        return self._unpaired(*(np.concatenate(pair) for pair in terms))

    def error_of_difference(self, other: RecordedSweep) -> tuple[float, float, str] | None:
        """Of the lowest losses of two groups: the standard error, its degrees of freedom and the procedure; None if not known."""
        each = [sweep._terms(np.ones(1), np.array([sweep.best])) for sweep in (self, other)]
        squares, variances, freedom = (np.concatenate(pair) for pair in zip(*each, strict=True))
        if np.isfinite(variances).all():
            return *welch(variances, freedom), "Welch's t"
        if self.noise is None:
            return None
        return self.noise.deviation * float(np.sqrt(squares.sum())), float(self.noise.freedom), "t with pooled noise"

    def _half_width_of(self, weights: Array) -> float | None:
        used = np.flatnonzero(weights)
        return self._half_width(weights[used], used) if np.isfinite(self.losses[used]).all() else None

    def interpolated(self, ratio: float) -> tuple[float, float]:
        """Mean and worst tuned loss of grids of exactly that ratio, placed anywhere; the loss linear in log rate between runs.

        Offsets are cut where a rate of the grid passes a recorded one. Between two cuts each rate's loss is a line, whose mean
        midpoints give exactly; what is left is an error where two lines cross, of second order in the width of the pieces.
        """
        points, period = np.log(self.rates), float(np.log(ratio))
        cuts = self._cuts(period)
        middles, widths = (cuts[1:] + cuts[:-1]) / 2.0, np.diff(cuts)
        inside = max(_INSIDE, _INSIDE / period)
        ends = np.clip(np.concatenate([cuts[:-1] + inside, cuts[1:] - inside]), 0.0, 1.0)
        tuned = np.full(len(middles) + len(ends), np.inf)
        offsets = np.concatenate([middles, ends])
        for step in range(int((points[-1] - points[0]) / period) + 1):
            tuned = np.fmin(tuned, self._loss_at_log(points[0] + (offsets + step) * period))
        return float(tuned[: len(middles)] @ widths), float(tuned.max())

    def _cuts(self, period: float) -> Array:
        """Offsets in units of a period at which a rate of the grid passes a recorded one, and some between."""
        points = np.log(self.rates)
        passed = ((points - points[0]) / period) % 1.0
        return np.unique(np.concatenate([[0.0, 1.0], passed, np.arange(_OFFSETS) / _OFFSETS]))

    def interpolated_weights(self, ratio: float) -> Array:
        """The weights ``[L]`` with which the recorded losses make up the mean of `interpolated`: they sum to 1.

        At the middle of every piece between two cuts, the tuned loss is that of one point of the grid, and so a share of two losses.
        """
        points, period = np.log(self.rates), float(np.log(ratio))
        cuts = self._cuts(period)
        middles, widths = (cuts[1:] + cuts[:-1]) / 2.0, np.diff(cuts)
        least, chosen = np.full(len(middles), np.inf), np.full(len(middles), points[self.best])
        for step in range(int((points[-1] - points[0]) / period) + 1):
            x = points[0] + (middles + step) * period
            losses = self._loss_at_log(x)
            lower = losses < least
            least, chosen = np.where(lower, losses, least), np.where(lower, x, chosen)
        return self._weights_at_log(chosen, widths)

    def _weights_at_log(self, x: Array, weights: Array) -> Array:
        """Weights of the recorded losses in a weighted sum of those at points in log rate."""
        points = np.log(self.rates)
        right = np.clip(np.searchsorted(points, x - 1e-9), 1, len(points) - 1)
        share = np.clip((x - points[right - 1]) / (points[right] - points[right - 1]), 0.0, 1.0)
        upper = np.bincount(right, weights * share, minlength=len(points))
        lower = np.bincount(right - 1, weights * (1.0 - share), minlength=len(points))
        return np.asarray(upper + lower, dtype=np.float64)

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
            half = self.half_difference(self._weights_at_log(np.log([rate]), np.ones(1)), self)
            costs[f"{rho:.3g}"] = {
                "difference": loss - best,
                "half": half,
                "ratio": ratio,
                "interpolated": not recorded,
            }
        return costs

    def sensitivity(self) -> dict[str, float | None]:
        """Mean over the recorded rates of the loss less the least one (Wortsman et al. 2023, arXiv:2309.14322, section 2)."""
        return self.estimate(1.0 / len(self.rates) - self.unit(self.best))

    def sensitivity_log(self) -> dict[str, float | None]:
        """The same mean with every part of the logarithmic window counted alike: the trapezoidal rule in log rate."""
        gaps = np.diff(np.log(self.rates))
        weights = np.concatenate([[gaps[0]], gaps[1:] + gaps[:-1], [gaps[-1]]]) / (2.0 * gaps.sum())
        return self.estimate(weights - self.unit(self.best))

    def basin(self, tolerance: float) -> dict[str, Any]:
        """Decades around the best rate in which the loss stays within a limit, and whether the window cut it off on either side.

        The limit is twice the excess of the best rate where the optimum is known, and ``1 + tolerance`` times its loss elsewhere.
        """
        best = float(self.losses[self.best])
        limit = best + tolerance * abs(best) if self.optimum is None else self.optimum + 2.0 * (best - self.optimum)
        return self.stays_within(limit)

    def stays_within(self, limit: float) -> dict[str, Any]:
        """Decades below and above the best rate up to which the loss stays within a limit, linear in log rate between runs.

        Returns:
            ``decades``, their sum; ``below`` and ``above``; ``limit``; and whether the window ``cut_below`` or ``cut_above``: then the
            loss may stay within the limit for longer.
        """
        axis, sides, cut = np.log10(self.rates), [], []
        for step in (-1, 1):
            index = self.best
            while 0 <= index + step < len(axis) and self.losses[index + step] <= limit:
                index += step
            inside = 0 <= index + step < len(axis)
            end = axis[index]
            if inside and np.isfinite(self.losses[index + step]):
                share = (limit - self.losses[index]) / (self.losses[index + step] - self.losses[index])
                end += share * (axis[index + step] - axis[index])
            sides.append(end)
            cut.append(not inside)
        return {
            "decades": float(sides[1] - sides[0]),
            "below": float(axis[self.best] - sides[0]),
            "above": float(sides[1] - axis[self.best]),
            "limit": limit,
            "cut_below": cut[0],
            "cut_above": cut[1],
        }

    def tolerance(self, share: float, *, lost: bool = False) -> dict[str, Any] | None:
        """`stays_within` of what is worse than the best rate by a share of its excess, or by a lost share; None if that has no meaning.

        best + share x (best - optimum), where an optimum that is not known is 0; with ``lost``, best + share x (initial - best):
        the share of what training gained that is lost, which does not depend on where the loss has its zero.
        """
        best = float(self.losses[self.best])
        if not lost:
            return self.stays_within(best + share * abs(best - (self.optimum or 0.0)))
        if self.initial is None or self.initial <= best:
            return None
        return self.stays_within(best + share * (self.initial - best))

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


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

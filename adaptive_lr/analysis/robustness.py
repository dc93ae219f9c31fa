"""How much a result depends on the learning rate that somebody happened to pick."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adaptive_lr.analysis.stats import Array, Places, seeds_interval

RATIOS = {"10^(1/3)": 10 ** (1 / 3), "10^(1/2)": 10**0.5, "10": 10.0, "100": 100.0}
"""The grid resolutions: neighbouring learning rates differ by this factor."""

SLOPE_RANGE = 100.0
"""The misspecification slope is fitted for rates up to this many times the best one."""


@dataclass(frozen=True)
class Sweep:
    """One schedule on one fine grid of learning rates.

    Losses are final losses, lower is better; a trial that diverged counts as no training at all, and so does one that ended
    worse than it started: ``min(loss, initial)``.

    Attributes:
        rates: ascending, a constant factor apart, ``[L]``.
        selection: losses by which a rate is chosen, ``[S1, L]``.
        report: losses on other seeds, which are reported, ``[S2, L]``.
        optimum: the least possible loss, or None if it is not known.
        initial: the reported loss before training.
        per_decade: learning rates a decade.
        diverged: the share of trials that diverged at each rate, ``[L]``.
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
        """A sweep from raw losses, NaN where a trial diverged; ``initial`` before training, of the two metrics."""
        return cls(
            rates=rates,
            selection=np.fmin(selection, initial[0]),
            report=np.fmin(report, initial[1]),
            optimum=optimum,
            initial=initial[1],
            per_decade=per_decade,
            diverged=np.isnan(np.concatenate([selection, report])).mean(0),
        )

    def chosen(self, members: Places | slice = slice(None)) -> int:
        """The place of the best of the given rates, by the mean loss on the selection seeds."""
        indices = np.arange(len(self.rates))[members]
        return int(indices[np.argmin(self.selection.mean(0)[indices])])

    @property
    def best(self) -> int:
        """The place of the best rate of the fine grid."""
        return self.chosen()

    @property
    def at_boundary(self) -> bool:
        """Whether the best rate is the first or the last of the grid, so that a better one may lie outside."""
        return self.best in (0, len(self.rates) - 1)

    def tuned(self, ratio: float) -> Array:
        """The loss of whoever tunes on a grid of the given ratio, ``[offsets, S2]``: one row for each place it may start.

        Raises:
            ValueError: the ratio is not a whole number of steps of the fine grid, or wider than the window.
        """
        stride = round(self.per_decade * np.log10(ratio), 6)
        if stride != int(stride) or not 1 <= stride < len(self.rates):
            raise ValueError(
                f"a grid of ratio {ratio:g} cannot be taken from {self.per_decade} rates a decade, {len(self.rates)} in all"
            )
        offsets = range(int(stride))
        return np.stack([self.report[:, self.chosen(np.arange(o, len(self.rates), int(stride)))] for o in offsets])

    def regret(self, ratio: float) -> Array:
        """What the coarse grid costs against the fine one, ``[offsets, S2]``, in units of the loss."""
        return self.tuned(ratio) - self.report[:, self.best]

    def sensitivity(self) -> Array:
        """Mean over the window of min(loss, initial) - l*, l* the least mean loss; one value a seed, ``[S2]``.

        Wortsman et al. 2023, arXiv:2309.14322, section 2; the rates are uniform in the logarithm.
        """
        least = self.report[:, int(np.argmin(self.report.mean(0)))]
        sensitivity: Array = self.report.mean(1) - least
        return sensitivity

    def excess(self) -> Array:
        """Losses above the optimum where that is known, the losses themselves elsewhere, ``[S2, L]``."""
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

    def slope_places(self) -> Places:
        """Places from the best rate up to ``SLOPE_RANGE`` times it where training still did something for every seed."""
        last = min(self.best + round(self.per_decade * np.log10(SLOPE_RANGE)), len(self.rates) - 1)
        indices = np.arange(self.best, last + 1)
        dead = self.report.max(0)[indices] >= 0.99 * self.initial
        return indices[: int(np.argmax(dead))] if dead.any() else indices

    def slope(self) -> tuple[float, float, float] | None:
        """Slope of log(excess) against log(rate) above the best rate, with its interval; None with under half a decade.

        Theory for bounded convex problems says 1/(2p+1) for a schedule that ends like (1-u)^p.
        """
        indices = self.slope_places()
        if len(indices) <= self.per_decade // 2:
            return None
        x = np.log(self.rates[indices])
        weights = (x - x.mean()) / np.square(x - x.mean()).sum()
        excess = self.excess()[:, indices]

        def fitted(seeds: Places) -> Array:
            fit: Array = np.log(np.maximum(excess[seeds].mean(-2), 1e-300)) @ weights
            return fit

        return float(fitted(np.arange(len(excess)))), *seeds_interval(fitted, len(excess))

    def basin_width(self, factor: float = 2.0) -> float:
        """Decades around the best rate over which the mean excess is at most ``factor`` times the best one's.

        Interpolated between grid points in the logarithm of both; the window's edges bound it.
        """
        excess = np.log(np.maximum(self.excess().mean(0), 1e-300))
        limit, axis = excess[self.best] + np.log(factor), np.log10(self.rates)
        ends = []
        for step in (-1, 1):
            index = self.best
            while 0 <= index + step < len(axis) and excess[index + step] <= limit:
                index += step
            end = axis[index]
            if 0 <= index + step < len(axis):
                share = (limit - excess[index]) / (excess[index + step] - excess[index])
                end += share * (axis[index + step] - axis[index])
            ends.append(end)
        return float(ends[1] - ends[0])

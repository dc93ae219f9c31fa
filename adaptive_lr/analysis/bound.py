"""What theory says a wrong rate costs: the last-iterate bound of convex optimisation, from whichever step on is best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adaptive_lr.analysis.stats import Array
from adaptive_lr.errors import InputError
from adaptive_lr.schedules import AbstractSchedule, table

STEPS = 20_000
"""The horizon T of the bound; its ratios hardly depend on it, except far above the best rate, where T suffixes are too few."""

SLOPE_RANGE = (30.0, 1000.0)
"""Between these multiples of the best rate the exponent is fitted."""

_OFFSETS = 64
_BLOCK = 128
_NEIGHBOURS = (-3, -2, -1, 0, 1)


@dataclass(frozen=True)
class SuffixBound:
    """R(eta) = min over s of distance_s / eta + noise_s eta: a bound on the loss above the optimum after a run at base rate eta.

    For projected SGD on a convex domain of diameter D = 1 with gradients of norm at most G = 1, the last-iterate bound of Defazio
    et al. 2023 (arXiv:2310.07831, section 6.2) holds as if the run had started at any step s, since the distance to the optimum is at most D there
    too. The best s gives the exponents of Attia & Koren 2025 (arXiv:2503.09411): a rate rho times too large costs a factor
    rho^(1/(2p+1)) if the schedule ends like (1 - u)^p, a constant rate a factor rho, and a rate too small costs rho with every schedule.

    Attributes:
        distance: coefficient of 1/eta by s, ``[T]``.
        noise: coefficient of eta by s, ``[T]``.
    """

    distance: Array
    noise: Array

    @property
    def _start(self) -> int:
        return int(np.argmin(self.distance * self.noise))

    @property
    def best_rate(self) -> float:
        """The base rate with the least bound."""
        return float(np.sqrt(self.distance[self._start] / self.noise[self._start]))

    @property
    def best(self) -> float:
        """The bound at the best rate, times the square root of T: 2 for a linear decay, 3.39 for a constant rate."""
        return float(2.0 * np.sqrt(self.distance[self._start] * self.noise[self._start] * len(self.distance)))

    def factor(self, rho: float | Array) -> Array:
        """R(rho) / R(1): how much larger the bound is at rho times the best rate; in the shape of ``rho``.

        >>> from adaptive_lr import Constant, DampedCosine
        >>> [round(float(suffix_bound(one).factor(10.0)), 2) for one in (Constant(), DampedCosine())]
        [4.49, 1.74]
        """
        rates = self.best_rate * np.asarray(rho, dtype=np.float64)
        starts = np.arange(0, len(self.distance), _BLOCK)
        floors = [np.minimum.reduceat(coefficients, starts) for coefficients in (self.distance, self.noise)]
        least = []
        for rate in rates.ravel():  # only where a block's least coefficients come to no more than some step does
            reached = np.min(self.distance[starts] / rate + self.noise[starts] * rate)
            near = starts[floors[0] / rate + floors[1] * rate <= reached]
            part = slice(near[0], near[-1] + _BLOCK) if len(near) else slice(None)  # none if there are NaNs
            least.append(np.min(self.distance[part] / rate + self.noise[part] * rate))
        factors: Array = np.reshape(least, rates.shape) * np.sqrt(len(self.distance)) / self.best
        return factors

    def exponent(self) -> float:
        """Slope of log R against log rho over ``SLOPE_RANGE``: 1/(2p+1) if the schedule ends like (1 - u)^p."""
        rho = np.geomspace(*SLOPE_RANGE, 30)
        return float(np.polyfit(np.log(rho), np.log(self.factor(rho)), 1)[0])

    def grid(self, ratio: float) -> tuple[float, float]:
        """Geometric mean and worst of the factor over all places where a grid of a ratio may start, its best rate taken.

        Raises:
            InputError: the ratio is not above 1.
        """
        if not (np.isfinite(ratio) and ratio > 1.0):
            raise InputError(f"the ratio between neighbouring rates must be above 1, got {ratio!r}")
        offsets = ratio ** (np.arange(_OFFSETS) / _OFFSETS)
        tuned = np.min([self.factor(offsets * ratio**exponent) for exponent in _NEIGHBOURS], axis=0)
        return float(np.exp(np.log(tuned).mean())), float(tuned.max())


def suffix_bound(schedule: AbstractSchedule, steps: int = STEPS) -> SuffixBound:
    """The bound for any schedule; steps at which the rate is 0 at the end of the run do nothing and are left out.

    Raises:
        InputError: the rate is 0 throughout.
    """
    multipliers = table([schedule], steps)[0, :steps].numpy()
    used = np.flatnonzero(multipliers > 0.0)
    if not len(used):
        raise InputError(f"{schedule!r} is 0 throughout")
    multipliers = multipliers[: used[-1] + 1]
    sums, squares = (np.cumsum(row[::-1])[::-1] for row in (multipliers, multipliers**2))
    terms = np.zeros_like(multipliers)
    terms[:-1] = multipliers[:-1] / sums[1:] * squares[:-1] / sums[:-1]
    return SuffixBound(0.5 / sums, 0.5 * squares / sums + 0.5 * np.cumsum(terms[::-1])[::-1])

"""What theory says a wrong rate costs: the last-iterate bound of convex optimisation, from whichever step on is best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from adaptive_lr.analysis.stats import Array
from adaptive_lr.errors import InputError
from adaptive_lr.schedules import AbstractSchedule, table

STEPS = 20_000
"""The horizon T of the bound; its ratios hardly depend on it, except far above the best rate, where T suffixes are too few."""

SLOPE_RANGE = (30.0, 1000.0)
"""Between these multiples of the best rate the exponent is fitted."""

_OFFSETS = 64
_WINDOW = 64
_MARGIN = 0.5
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

        A ratio that is not above 1 is refused with an `InputError`.
        """
        checked_ratio(ratio)
        offsets = ratio ** (np.arange(_OFFSETS) / _OFFSETS)
        tuned = np.min([self.factor(offsets * ratio**exponent) for exponent in _NEIGHBOURS], axis=0)
        return float(np.exp(np.log(tuned).mean())), float(tuned.max())

    def worst(self, ratio: float) -> float:
        """The least over all base rates g of the largest R(rho g), rho in [ratio^(-1/2), ratio^(1/2)], times the square root of T.

        What the worst place of a grid of that ratio costs when its best rate is taken, absolute as `best` is: 2 is a tuned linear decay, and
        a schedule does not look good for being bad everywhere. For a loss that is convex in the logarithm of the rate it is `grid`'s worst
        times `best`.

        A ratio that is not above 1 is refused with an `InputError`.

        >>> from adaptive_lr import GridAware, Linear
        >>> [round(suffix_bound(schedule).worst(100.0), 2) for schedule in (Linear(), GridAware(ratio=100))]
        [5.16, 2.92]
        """
        checked_ratio(ratio)
        window = np.log(ratio) * np.linspace(-0.5, 0.5, _WINDOW + 1)
        spacing = window[1] - window[0]
        reach = int(np.ceil((0.5 * np.log(ratio) + _MARGIN) / spacing))
        logs = spacing * np.arange(-reach - _WINDOW // 2, reach + _WINDOW // 2 + 1)
        factors = self.factor(np.exp(logs))
        largest = np.lib.stride_tricks.sliding_window_view(factors, len(window)).max(axis=1)
        middle = spacing * (int(np.argmin(largest)) - reach)
        # The largest lies at an end of the window, or at a ripple that both windows hold: between neighbours a line will do.
        fine = np.linspace(middle - spacing, middle + spacing, 17)
        low, high = (np.interp(fine + end, logs, factors) for end in (window[0], window[-1]))
        inside = np.array([factors[(logs > x + window[0]) & (logs < x + window[-1])].max() for x in fine])
        return float(np.maximum(np.maximum(low, high), inside).min() * self.best)


def checked_ratio(ratio: float) -> float:
    """The ratio between neighbouring rates of a grid.

    Raises:
        InputError: it is not above 1.
    """
    if not (np.isfinite(ratio) and ratio > 1.0):
        raise InputError(f"the ratio between neighbouring rates must be above 1, got {ratio!r}")
    return float(ratio)


def coefficients(multipliers: Tensor, norms: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A_s and B_s of the bound A_s/gamma + gamma B_s on the last iterate at base rate gamma, counted from each step s; ``[T]`` both.

    A_s = 1/(2 sum_{t>=s} m_t) and B_s = sum_{t>=s} q_t/(2 sum_{t>=s} m_t) + 1/2 sum_{k=s}^{T-2} m_k/sum_{t>k} m_t
    sum_{t>=k} q_t/sum_{t>=k} m_t with q_t = (m_t g_t)^2: Defazio et al. 2023, arXiv:2310.07831, section 6.2, for an initial distance of 1.

    Args:
        multipliers: of the base rate at each of the T updates, the last above 0; ``[T]``, float64; gradients flow.
        norms: g_t, of the gradients; 1 unless given.
    """
    scaled = multipliers if norms is None else multipliers * norms
    sums, squares = (row.flip(-1).cumsum(-1).flip(-1) for row in (multipliers, scaled**2))
    terms = multipliers[:-1] / sums[1:] * squares[:-1] / sums[:-1]
    later = torch.cat([terms, terms.new_zeros(1)]).flip(-1).cumsum(-1).flip(-1)
    return 0.5 / sums, 0.5 * squares / sums + 0.5 * later


def used_multipliers(schedule: AbstractSchedule, steps: int) -> Tensor:
    """Multipliers at the updates of a run, without those at its end at which the rate is 0; they do nothing.

    Raises:
        InputError: the rate is 0 throughout.
    """
    multipliers = table([schedule], steps)[0, :steps]
    used = torch.nonzero(multipliers > 0.0)
    if not len(used):
        raise InputError(f"{schedule!r} is 0 throughout")
    return multipliers[: int(used[-1]) + 1]


def suffix_bound(schedule: AbstractSchedule, steps: int = STEPS) -> SuffixBound:
    """The bound for any schedule; steps at which the rate is 0 at the end of the run do nothing and are left out.

    A schedule that is 0 throughout is refused with an `InputError`.
    """
    distance, noise = coefficients(used_multipliers(schedule, steps))
    return SuffixBound(distance.numpy(), noise.numpy())

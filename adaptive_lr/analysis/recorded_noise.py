"""How much recorded runs differ that should be alike, and Student's interval of a mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from adaptive_lr.analysis.stats import LEVEL, Array

_UNEVEN = 3.0


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
        spreads = [[(float(losses.mean()), _squares(losses), len(losses)) for losses in cells] for cells in groups]
        return cls.reported(spreads)

    @classmethod
    def reported(cls, groups: Sequence[Sequence[tuple[float, float, int]]]) -> Noise | None:
        """The same from the mean, the sum of squares about it and the number of runs at each rate of each group.

        s^2 = sum of squares / sum of (n - 1). A sum of squares that is not finite, or one run, says nothing.
        """
        better, worse = list[tuple[float, int]](), list[float]()
        for cells in groups:
            middle = float(np.median([mean for mean, _, _ in cells]))
            for mean, squares, count in cells:
                if count < 2 or not np.isfinite(squares):
                    continue
                if mean <= middle:
                    better.append((squares, count - 1))
                else:
                    worse.append(float(np.sqrt(squares / (count - 1))))
        freedom = sum(degrees for _, degrees in better)
        if not freedom:
            return None
        deviation = float(np.sqrt(sum(squares for squares, _ in better) / freedom))
        typical = float(np.median(worse)) if worse else 0.0
        return cls(deviation, freedom, uneven=typical > _UNEVEN * deviation)


def students_half(values: Array) -> float:
    """Half of Student's 95 % interval of a mean."""
    quantile = stdtrit(len(values) - 1, 0.5 + LEVEL / 2)
    return float(quantile * values.std(ddof=1) / np.sqrt(len(values)))


def welch(variances: Array, freedom: Array) -> tuple[float, float]:
    """The standard error of a sum of independent estimates, and its degrees of freedom, infinite if nothing varies.

    sqrt(v), v = sum v_i, f = v^2 / sum (v_i^2 / f_i): Satterthwaite 1946, Biometrics Bulletin 2, and Welch 1947, Biometrika 34.

    Args:
        variances: estimated, of each term of the sum, ``[N]``.
        freedom: the degrees of freedom f_i of each of them, ``[N]``.

    >>> welch(np.array([1.0, 1.0]), np.array([2.0, 2.0]))
    (1.4142135623730951, 4.0)
    """
    total = float(variances.sum())
    if total <= 0.0:
        return 0.0, float("inf")
    return float(np.sqrt(total)), float(1.0 / (np.square(variances / total) / freedom).sum())


def welchs_half(variances: Array, freedom: Array) -> float:
    """Half of the 95 % interval of such a sum, see `welch`."""
    error, degrees = welch(variances, freedom)
    return 0.0 if error == 0.0 else float(stdtrit(degrees, 0.5 + LEVEL / 2.0)) * error


def _squares(losses: Array) -> float:
    """The sum of squares about the mean; infinite if a loss is not finite."""
    if not np.isfinite(losses).all():
        return float("inf")
    return float(np.square(losses - losses.mean()).sum())

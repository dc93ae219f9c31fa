"""Simulated sweeps whose truth is known, to try procedures on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adaptive_lr.analysis.any_rate import Starts
from adaptive_lr.analysis.robustness import Sweep
from adaptive_lr.analysis.stats import Array

INITIAL = 5.0
"""The loss before training."""

NOISES = ("normal", "heavy", "lognormal")
"""Distributions of the noise: normal, Student's with five degrees of freedom, and lognormal (skewness 0.95) less its mean."""


@dataclass(frozen=True, kw_only=True)
class Basin:
    """The expected loss over the decades x from the best rate: depth + left x^2 below it, depth + right x^2 above, at most 1.

    Attributes:
        depth: at the best rate.
        centre: log10 of the best rate.
        left: growth below it.
        right: growth above it.
    """

    depth: float = 0.0
    centre: float = -1.7
    left: float = 0.4
    right: float = 0.7

    def at(self, rates: Array) -> Array:
        """Expected losses, ``[L]``, in units of what training gains."""
        x = np.log10(rates) - self.centre
        return np.minimum(self.depth + np.where(x < 0.0, self.left, self.right) * np.square(x), 1.0)


@dataclass(frozen=True, kw_only=True)
class World:
    """How losses come about.

    With the optimum known, excess = 5 exp(7 (f - 1) + e): noise e multiplies. So a normal e makes a lognormal excess. Else loss = 1 + 4 f + e / 2, at
    most 5.

    e = shared + smooth + own: one number a seed, which all schedules have in common; a moving average over four neighbouring rates; and
    one of each trial. All three have the same distribution.

    Attributes:
        noise: one of ``NOISES``.
        optimum_known: whether losses are compared by their ratio.
        shared: standard deviation; of a heavy-tailed one, of the normal that is divided.
        smooth: likewise.
        own: likewise.
        decades: of the window, from 1e-4 upwards.
        per_decade: rates.
    """

    noise: str = "normal"
    optimum_known: bool = True
    shared: float = 0.2
    smooth: float = 0.15
    own: float = 0.1
    decades: int = 4
    per_decade: int = 6

    @property
    def rates(self) -> Array:
        """The fine grid, ``[L]``."""
        return np.asarray(10.0 ** (np.arange(self.decades * self.per_decade + 1) / self.per_decade - 4.0))

    def _drawn(self, shape: tuple[int, ...], source: np.random.Generator) -> Array:
        normal = source.standard_normal(shape)
        if self.noise == "heavy":
            return np.asarray(normal / np.sqrt(source.chisquare(5.0, shape) / 5.0))
        if self.noise == "lognormal":
            deviation = 0.3
            skewed = np.exp(deviation * normal) - np.exp(deviation**2 / 2.0)
            return np.asarray(skewed / np.sqrt(np.expm1(deviation**2) * np.exp(deviation**2)))
        return normal

    def losses(self, basins: list[Basin], seeds: int, source: np.random.Generator) -> Array:
        """Final losses of every schedule, seed and rate, ``[schedules, S, L]``."""
        count, length = len(basins), len(self.rates)
        shared = self._drawn((1, seeds, 1), source)
        wide = self._drawn((count, seeds, length + 3), source)
        smooth = sum(wide[..., shift : shift + length] for shift in range(4)) / 2.0
        noise = self.shared * shared + self.smooth * smooth + self.own * self._drawn((count, seeds, length), source)
        expected = np.stack([basin.at(self.rates) for basin in basins])[:, None]
        if self.optimum_known:
            return np.asarray(np.minimum(INITIAL * np.exp(7.0 * (expected - 1.0) + noise), INITIAL))
        return np.asarray(np.minimum(1.0 + 4.0 * expected + noise / 2.0, INITIAL))

    def sweeps(self, basins: dict[str, Basin], repetitions: int, source: np.random.Generator) -> dict[str, Sweep]:
        """A sweep for each schedule, on the same seeds; two seeds a repetition."""
        losses = self.losses(list(basins.values()), 2 * repetitions, source)
        return {
            label: Sweep.clipped(
                rates=self.rates,
                selection=rows[:repetitions],
                report=rows[repetitions:],
                initial=(INITIAL, INITIAL),
                optimum=0.0 if self.optimum_known else None,
                per_decade=self.per_decade,
            )
            for label, rows in zip(basins, losses, strict=True)
        }

    def starts(self, basins: dict[str, Basin], seeds: int, source: np.random.Generator) -> dict[str, Starts]:
        """What each contestant ends with from two rates a decade, on the same seeds."""
        losses = self.losses(list(basins.values()), seeds, source)
        return {
            label: Starts.clipped(
                rates=self.rates[:: self.per_decade // 2],
                losses=rows.T[:: self.per_decade // 2],
                initial=INITIAL,
                optimum=0.0 if self.optimum_known else None,
                seconds=0.0,
                extra_steps=0.0,
            )
            for label, rows in zip(basins, losses, strict=True)
        }


WORLDS = {
    "ratios, normal": World(),
    "ratios, heavy-tailed": World(noise="heavy"),
    "ratios, skewed": World(noise="lognormal"),
    "differences, normal": World(optimum_known=False),
    "differences, heavy-tailed": World(noise="heavy", optimum_known=False),
    "differences, skewed": World(noise="lognormal", optimum_known=False),
    "differences, coarse": World(optimum_known=False, per_decade=2, shared=0.3, smooth=0.3, own=0.2, decades=3),
}
"""What procedures are tried in, by name."""

"""The least-squares problem of a law: robust residuals of the logarithm of the loss, and exponents drawn towards 1/2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares

from adaptive_lr.analysis.stats import Array, Places
from adaptive_lr.meta.law_changes import Changes, gathered, joined
from adaptive_lr.meta.law_curves import Curve
from adaptive_lr.meta.laws import AbstractLaw

DELTA = 1e-3
"""Residuals of the logarithm beyond this count linearly (Luo et al. 2025)."""
CENTRE, SPREAD = 0.5, 0.2
"""What is known of the exponents beforehand: the logarithm is normal around that of 1/2, with this standard deviation."""
MOST_EVALUATIONS = 300
_LEAST = 1e-9


@dataclass(frozen=True)
class Solution:
    """Where a search ended: logarithms of the scaled parameters ``[P]``, half the sum of squares, whether it converged."""

    theta: Array
    cost: float
    converged: bool


@dataclass(frozen=True)
class Problem:
    """Curves below each other, in units in which the parameters hardly depend on each other.

    Attributes:
        kind: the law.
        changes: of all curves, rates in units of ``unit`` and totals in units of ``pivot`` beside.
        logarithms: of the losses, ``[n]``.
        weights: of the rows, ``[n]``: their share of the information.
        owner: of each row, the row that it is a copy of, or itself, ``[n]``.
        starts: the first row of each curve, and the number of rows, ``[curves + 1]``.
        unit: the largest rate.
        pivot: the geometric mean of S over the rows, in that unit.
        delta: from which residual on it counts linearly.
        information: rows that one row's worth of independent noise takes.
    """

    kind: type[AbstractLaw]
    changes: Changes
    logarithms: Array
    weights: Array
    owner: Places
    starts: Places
    unit: float
    pivot: float
    delta: float = DELTA
    information: float = 10.0

    @classmethod
    def of(cls, kind: type[AbstractLaw], curves: Sequence[Curve]) -> Problem:
        """The problem of curves; rows that several of them share, because they were one run until then, count once."""
        unit = max(curve.peak for curve in curves)
        changes = joined([gathered(curve.rates, curve.steps) for curve in curves]).scaled(unit)
        pivot = float(np.exp(np.log(changes.total).mean()))
        owner = _owners(curves)
        copies = np.bincount(owner, minlength=len(owner))[owner]
        return cls(
            kind=kind,
            changes=replace(changes, total=changes.total / pivot),
            logarithms=np.log(np.concatenate([curve.losses for curve in curves])),
            weights=1.0 / copies,
            owner=owner,
            starts=np.cumsum([0, *(len(curve.steps) for curve in curves)]),
            unit=unit,
            pivot=pivot,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return self.kind.names()

    @property
    def limits(self) -> tuple[Array, Array]:
        """Logarithms of the bounds."""
        pairs = np.log([self.kind.bounds[name] for name in self.names])
        return pairs[:, 0], pairs[:, 1]

    def scaled_law(self, theta: Array) -> AbstractLaw:
        """The law in the problem's units."""
        return self.kind(*np.exp(theta).tolist())

    def law(self, theta: Array) -> AbstractLaw:
        """The law in the units of the table."""
        scaled = self.scaled_law(theta)
        scaled = replace(scaled, A=scaled.A * self.pivot**scaled.alpha)
        return scaled.rescaled(1.0 / self.unit)

    def predicted(self, theta: Array) -> tuple[Array, Array]:
        """Logarithms of the predicted losses ``[n]``, and their derivatives ``[n, P]``."""
        losses, derivatives = self.scaled_law(theta).evaluate(self.changes)
        floored = np.maximum(losses, _LEAST)
        return np.log(floored), np.where(losses > _LEAST, 1.0, 0.0)[:, None] * derivatives / floored[:, None]

    def residuals(self, theta: Array) -> Array:
        """Recorded over predicted, in logarithms, ``[n]``."""
        return self.logarithms - self.predicted(theta)[0]

    def solve(self, start: Array, logarithms: Array | None = None, centres: Array | None = None) -> Solution:
        """The least cost near a start.

        Args:
            start: logarithms of the scaled parameters, ``[P]``.
            logarithms: of other losses than the recorded ones, ``[n]``.
            centres: what the exponents are drawn to instead of 1/2: logarithms, one for each of `AbstractLaw.shrunk`.
        """
        aim = self.logarithms if logarithms is None else logarithms
        drawn = [self.names.index(name) for name in self.kind.shrunk]
        centre = np.full(len(drawn), np.log(CENTRE)) if centres is None else centres
        root = np.sqrt(self.weights / self.information)
        pull = np.zeros((len(drawn), len(self.names)))
        pull[np.arange(len(drawn)), drawn] = 1.0 / SPREAD

        def values(theta: Array) -> Array:
            scaled = (self.predicted(theta)[0] - aim) / self.delta
            size = np.abs(scaled)
            robust = np.where(size <= 1.0, scaled, np.sign(scaled) * np.sqrt(np.maximum(2.0 * size - 1.0, 1.0)))
            return np.concatenate([root * robust, (theta[drawn] - centre) / SPREAD])

        def slopes(theta: Array) -> Array:
            predicted, derivatives = self.predicted(theta)
            size = np.abs(predicted - aim) / self.delta
            slope = root / np.sqrt(np.maximum(2.0 * size - 1.0, 1.0)) / self.delta
            return np.concatenate([slope[:, None] * derivatives, pull])

        low, high = self.limits
        start = np.clip(start, low + 1e-6, high - 1e-6)
        result = least_squares(
            values, start, slopes, bounds=(low, high), x_scale="jac", max_nfev=MOST_EVALUATIONS, ftol=1e-9, xtol=1e-9
        )
        return Solution(result.x, float(result.cost), result.status > 0)

    def start(self, generator: np.random.Generator) -> Array:
        """A place to begin at, drawn around what the losses suggest."""
        least, most = np.exp(self.logarithms.min()), np.exp(self.logarithms.max())
        values = {
            "L0": least * generator.uniform(0.6, 0.98),
            "A": max(most - least, 1e-2 * least) * generator.uniform(0.3, 1.0),
            "alpha": generator.uniform(0.3, 0.8),
            "B": 10.0 ** generator.uniform(-2.0, 0.0),
            "C": 10.0 ** generator.uniform(-3.0, -1.0),
            "beta": generator.uniform(0.3, 0.8),
            "gamma": generator.uniform(0.3, 0.8),
            "forgetting": 10.0 ** generator.uniform(-4.0, -2.0),
        }
        if "B" not in self.names:
            values["C"] = values["forgetting"] * 10.0 ** generator.uniform(-2.0, 0.0)
        return np.log([values[name] for name in self.names])


def _owners(curves: Sequence[Curve]) -> Places:
    owners: list[int] = []
    first: dict[tuple[int, float, float], int] = {}
    for curve in curves:
        sums = np.cumsum(curve.rates)[curve.steps]
        for step, loss, total in zip(curve.steps.tolist(), curve.losses.tolist(), sums.tolist(), strict=True):
            owners.append(first.setdefault((step, loss, float(f"{total:.9g}")), len(owners)))
    return np.array(owners, dtype=np.int_)

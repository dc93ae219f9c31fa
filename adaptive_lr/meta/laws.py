"""Laws of loss curves: the loss at every step of a run from its learning rates alone."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Self

import numpy as np
from scipy.signal import lfilter

from adaptive_lr.analysis.stats import Array, Places
from adaptive_lr.errors import InputError
from adaptive_lr.meta.law_changes import Changes, floored, gaps_of, sums_before

_TOGETHER = 2_000_000
"""Pairs of a row and a change that are evaluated at once: 16 MB an array."""


@dataclass(frozen=True)
class AbstractLaw(ABC):
    """L(t) = L0 + A S(t)^(-alpha) - D(t), with S(t) = sum of the rates eta_0 … eta_t and D the drop that falling rates bring.

    Rates of the warm-up belong to S, and their increments to D. A row "step t" has the rates up to and including eta_t behind it.

    Attributes:
        L0: the loss that no training goes below.
        A: the part of the loss that training removes, for rates in the unit of the table.
        alpha: how fast.
    """

    kind: ClassVar[str]
    """Stable name, used in files and on the command line."""
    title: ClassVar[str]
    shrunk: ClassVar[tuple[str, ...]] = ()
    """Exponents that a fit draws towards 1/2."""
    bounds: ClassVar[Mapping[str, tuple[float, float]]]
    """Where a fit looks for each parameter, for rates in units of the largest one and S in units of its geometric mean."""

    L0: float
    A: float
    alpha: float

    def __post_init__(self) -> None:
        for name, value in self.parameters().items():
            if not (math.isfinite(value) and value > 0.0):
                raise InputError(f"{type(self).__name__}.{name} must be a finite number above 0, got {value!r}")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The parameters' names, in order."""
        return tuple(item.name for item in fields(cls))

    def parameters(self) -> dict[str, float]:
        """The parameters by name."""
        return {name: float(getattr(self, name)) for name in self.names()}

    def losses(self, rates: Array, steps: Places | None = None) -> Array:
        """The loss at steps of a run, ``[n]``, exactly: every change of the rate counts.

        Args:
            rates: the learning rate at every step from 0 on, warm-up included, ``[T + 1]``.
            steps: at which steps, ``[n]``; all of them if None.

        Raises:
            InputError: a rate is negative or not finite, or all are 0 up to the first of the steps.
        """
        rates = checked_rates(rates)
        steps = np.arange(len(rates)) if steps is None else np.asarray(steps, dtype=np.int_)
        sums = sums_before(rates)[steps + 1]
        if len(sums) and not sums.min() > 0.0:
            raise InputError(
                "the rates are 0 up to the first step that is asked for: a law says nothing of what is not trained"
            )
        result: Array = self.L0 + self.A * sums**-self.alpha - self.drop(rates, steps)
        return result

    @abstractmethod
    def drop(self, rates: Array, steps: Places) -> Array:
        """D at steps ``[n]`` of the rates ``[T + 1]``."""

    @abstractmethod
    def evaluate(self, changes: Changes) -> tuple[Array, Array]:
        """Losses ``[n]`` at the rows of ``changes``, and their derivatives by the logarithm of each parameter ``[n, P]``."""

    @abstractmethod
    def final_gradient(self, rates: Array) -> tuple[float, Array]:
        """The loss at the last of the rates ``[T + 1]``, and its derivative by each of them."""

    @abstractmethod
    def rescaled(self, unit: float) -> Self:
        """The same law for rates that are all divided by ``unit``."""

    def _background(self, changes: Changes) -> tuple[Array, list[Array]]:
        """L0 + A S^-alpha, and its derivatives by the logarithms of L0, A and alpha."""
        logarithm = np.log(changes.total)
        power = self.A * np.exp(-self.alpha * logarithm)
        return self.L0 + power, [np.full_like(power, self.L0), power, -self.alpha * logarithm * power]


@dataclass(frozen=True)
class MultiPowerLaw(AbstractLaw):
    """D(t) = B sum over k <= t of (eta_(k-1) - eta_k) G(eta_k^(-gamma) S_k(t)), with G(x) = 1 - (1 + C x)^(-beta).

    S_k(t) is the sum of eta_k … eta_t: a fall of the rate pays off gradually, by the progress made since. Luo et al. 2025,
    arXiv:2503.12811.

    Attributes:
        L0: see `AbstractLaw`.
        A: see `AbstractLaw`.
        alpha: see `AbstractLaw`.
        B: what a fall of the rate brings in the end, for a unit of the rate.
        C: how soon.
        beta: the exponent with which a fall pays off.
        gamma: how much sooner at a low rate.

    >>> law = MultiPowerLaw(L0=3.0, A=0.5, alpha=0.5, B=400.0, C=2.0, beta=0.6, gamma=0.6)
    >>> [round(float(loss), 3) for loss in law.losses(np.array([3e-4] * 3000 + [1e-4] * 1000), np.array([2999, 3999]))]
    [3.527, 3.428]
    """

    kind = "multi_power"
    title = "multi-power law"
    shrunk = ("beta", "gamma")
    bounds = {  # noqa: RUF012  # a constant of the class
        "L0": (1e-3, 1e3),
        "A": (1e-4, 1e3),
        "alpha": (0.02, 5.0),
        "B": (1e-5, 1e3),
        "C": (1e-7, 1e4),
        "beta": (0.02, 10.0),
        "gamma": (0.01, 5.0),
    }

    B: float
    C: float
    beta: float
    gamma: float

    def drop(self, rates: Array, steps: Places) -> Array:
        """See the class; O(steps x changes) operations, 16 MB an array at a time."""
        sums, gaps = sums_before(rates), gaps_of(rates)
        changed = np.flatnonzero(gaps)
        drops = np.zeros(len(steps))
        if not len(changed):
            return drops
        together = max(1, _TOGETHER // len(changed))
        speed = self.C * floored(rates)[changed] ** -self.gamma
        for start in range(0, len(steps), together):
            part = steps[start : start + together]
            counted = changed[: np.searchsorted(changed, part.max(), side="right")]
            progress = np.maximum(sums[part + 1, None] - sums[None, counted], 0.0)
            paid = 1.0 - (1.0 + speed[: len(counted)] * progress) ** -self.beta
            drops[start : start + together] = np.where(counted <= part[:, None], paid, 0.0) @ gaps[counted]
        return self.B * drops

    def evaluate(self, changes: Changes) -> tuple[Array, Array]:
        """See `AbstractLaw`."""
        background, columns = self._background(changes)
        scaled = self.C * np.exp(-self.gamma * changes.log_rate) * changes.progress
        logarithm = np.log1p(scaled)
        rest = np.exp(-self.beta * logarithm)
        weight = self.B * changes.gap
        slope = weight * rest * self.beta * scaled / (1.0 + scaled)
        drop = changes.by_row(weight * (1.0 - rest))
        columns += [
            -drop,
            -changes.by_row(slope),
            -self.beta * changes.by_row(weight * rest * logarithm),
            self.gamma * changes.by_row(slope * changes.log_rate),
        ]
        return background - drop, np.stack(columns, axis=1)

    def final_gradient(self, rates: Array) -> tuple[float, Array]:
        """See `AbstractLaw`; O(T)."""
        left = np.cumsum(rates[::-1])[::-1]  # S_k(T)
        gaps = gaps_of(rates)
        levels = floored(rates)
        speed = self.C * levels**-self.gamma
        grown = 1.0 + speed * left
        paid = 1.0 - grown**-self.beta
        slope = gaps * self.beta * grown ** (-self.beta - 1.0) * speed
        drop = float(gaps @ paid)
        gradient = np.append(paid[1:], 0.0) - np.append(0.0, paid[1:])  # eta_k stands in two gaps, eta_0 in one
        gradient += np.cumsum(slope) - self.gamma * slope * left / levels
        total = float(left[0])
        loss = self.L0 + self.A * total**-self.alpha - self.B * drop
        return loss, -self.alpha * self.A * total ** (-self.alpha - 1.0) - self.B * gradient

    def rescaled(self, unit: float) -> Self:
        """See `AbstractLaw`."""
        return type(self)(
            L0=self.L0,
            A=self.A * unit**-self.alpha,
            alpha=self.alpha,
            B=self.B * unit,
            C=self.C * unit ** (1.0 - self.gamma),
            beta=self.beta,
            gamma=self.gamma,
        )


@dataclass(frozen=True)
class AnnealingLaw(AbstractLaw):
    """D(t) = C sum over i <= t, k <= i of (eta_(k-1) - eta_k) lambda^(i-k), with lambda = 1 - forgetting.

    A fall of the rate pays off over some 1 / forgetting steps, whatever the rate. Tissue et al. 2024, arXiv:2408.11029.

    Attributes:
        L0: see `AbstractLaw`.
        A: see `AbstractLaw`.
        alpha: see `AbstractLaw`.
        C: what a fall brings a step, for a unit of the rate.
        forgetting: 1 - lambda, below 1.

    >>> law = AnnealingLaw(L0=3.0, A=0.5, alpha=0.5, C=0.4, forgetting=1e-3)
    >>> [round(float(loss), 3) for loss in law.losses(np.array([3e-4] * 3000 + [1e-4] * 1000), np.array([2999, 3999]))]
    [3.527, 3.449]
    """

    kind = "annealing"
    title = "annealing law"
    bounds = {  # noqa: RUF012  # a constant of the class
        "L0": (1e-3, 1e3),
        "A": (1e-4, 1e3),
        "alpha": (0.02, 5.0),
        "C": (1e-9, 1e2),
        "forgetting": (1e-7, 0.5),
    }

    C: float
    forgetting: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.forgetting >= 1.0:
            raise InputError(f"AnnealingLaw.forgetting must be below 1, got {self.forgetting!r}")

    def drop(self, rates: Array, steps: Places) -> Array:
        """See the class; O(T) operations."""
        gaps = gaps_of(rates)
        momentum = lfilter([1.0], [1.0, self.forgetting - 1.0], gaps)
        result: Array = self.C * np.cumsum(momentum)[steps]
        return result

    def evaluate(self, changes: Changes) -> tuple[Array, Array]:
        """See `AbstractLaw`."""
        background, columns = self._background(changes)
        logarithm = math.log1p(-self.forgetting)
        rest = np.exp(changes.since * logarithm)
        weight = self.C * changes.gap
        paid = (1.0 - rest) / self.forgetting
        by_forgetting = changes.since * rest / (1.0 - self.forgetting) - paid  # times forgetting / forgetting
        drop = changes.by_row(weight * paid)
        columns += [-drop, -changes.by_row(weight * by_forgetting)]
        return background - drop, np.stack(columns, axis=1)

    def final_gradient(self, rates: Array) -> tuple[float, Array]:
        """See `AbstractLaw`; O(T)."""
        since = np.arange(len(rates), 0, -1)
        paid = (1.0 - (1.0 - self.forgetting) ** since) / self.forgetting
        gaps = gaps_of(rates)
        gradient = np.append(paid[1:], 0.0) - np.append(0.0, paid[1:])
        total = float(rates.sum())
        loss = self.L0 + self.A * total**-self.alpha - self.C * float(gaps @ paid)
        return loss, -self.alpha * self.A * total ** (-self.alpha - 1.0) - self.C * gradient

    def rescaled(self, unit: float) -> Self:
        """See `AbstractLaw`."""
        return type(self)(
            L0=self.L0, A=self.A * unit**-self.alpha, alpha=self.alpha, C=self.C * unit, forgetting=self.forgetting
        )


LAWS: tuple[type[AbstractLaw], ...] = (MultiPowerLaw, AnnealingLaw)
"""All laws."""


def checked_rates(rates: Array) -> Array:
    """The rates as float64.

    Raises:
        InputError: one of them is negative or not finite, or there is none.
    """
    rates = np.asarray(rates, dtype=np.float64)
    if rates.ndim != 1 or not len(rates):
        raise InputError(f"rates must be one row with at least one number, got the shape {rates.shape}")
    if not (np.isfinite(rates).all() and rates.min() >= 0.0):
        step = int(np.flatnonzero(~(np.isfinite(rates) & (rates >= 0.0)))[0])
        raise InputError(f"a learning rate must be a finite number of at least 0, got {rates[step]} at step {step}")
    return rates

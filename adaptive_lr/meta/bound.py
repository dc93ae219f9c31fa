"""Schedules from theory: what the last-iterate bound of convex optimisation says of a schedule, and the schedules that make it least."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from adaptive_lr.analysis.bound import STEPS, SuffixBound, checked_ratio, coefficients, suffix_bound, used_multipliers
from adaptive_lr.analysis.stats import Array
from adaptive_lr.errors import InputError
from adaptive_lr.schedules import AbstractSchedule, DampedCosine, Points
from adaptive_lr.schedules.base import checked_steps

METHODS = ("gradient", "scipy")
"""By gradients through the sums, with L-BFGS; or with SciPy's SLSQP on a second, plain evaluation and finite differences."""

EXPONENTS = (0.25, 16.0)
"""Between these the best exponent of a cosine-power is looked for."""

_SMOOTH = (0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
"""Temperatures of the smooth maximum and minimum that stand for the true ones, in logarithms of the bound."""
_COARSE = (0.1, *_SMOOTH)
_SPACING = 0.12
_LEAST_PART = 1e-6


@dataclass(frozen=True)
class LastIterateBound:
    """Omega(gamma) = A/gamma + gamma B: the bound on E f(x_T) - f* after T steps at the base rate gamma.

    Defazio et al. 2023, arXiv:2310.07831, section 6.2, in the form of Schaipp et al. 2025, arXiv:2501.18965, for convex losses. It assumes
    nothing of the domain, so a rate wrong by rho costs (rho + 1/rho)/2 with every schedule; a bounded domain is what tells
    schedules apart, see `adaptive_lr.analysis.bound.SuffixBound`.

    Attributes:
        distance: A, D^2 / (2 sum of m).
        noise: B.
    """

    distance: float
    noise: float

    @property
    def best_rate(self) -> float:
        """gamma* = sqrt(A/B)."""
        return float(np.sqrt(self.distance / self.noise))

    @property
    def best(self) -> float:
        """Omega* = 2 sqrt(A B)."""
        return float(2.0 * np.sqrt(self.distance * self.noise))

    def at(self, rate: float | Array) -> Array:
        """Omega at base rates, in their shape."""
        rates = np.asarray(rate, dtype=np.float64)
        return np.asarray(self.distance / rates + rates * self.noise)


def last_iterate_bound(
    schedule: AbstractSchedule, steps: int = 400, norms: Array | None = None, *, distance: float = 1.0
) -> LastIterateBound:
    """The bound of any schedule; steps at its end at which the rate is 0 are left out.

    Args:
        schedule: with the multipliers m_t = m(t/T), t = 0 … T - 1.
        steps: T.
        norms: of the gradients at each step, ``[T]``; 1 unless given.
        distance: D, from the start to the optimum.

    Raises:
        InputError: the rate is 0 throughout, or norms or distance are no positive numbers.

    >>> from adaptive_lr import Constant, Linear
    >>> [round(last_iterate_bound(schedule).best, 4) for schedule in (Linear(), Constant())]
    [0.1006, 0.1375]
    """
    if not (np.isfinite(distance) and distance > 0.0):
        raise InputError(f"the distance to the optimum must be a number above 0, got {distance!r}")
    multipliers = used_multipliers(schedule, steps)
    weights = None if norms is None else _checked_norms(norms, steps)[: len(multipliers)]
    reach, noise = coefficients(multipliers, weights)
    return LastIterateBound(float(distance**2 * reach[0]), float(noise[0]))


@dataclass(frozen=True)
class BestSchedule:
    """What a minimisation ends with.

    Attributes:
        multipliers: m_t, the greatest is 1; ``[T]``.
        rate: the base rate, for D = G = 1.
        bound: the least bound at it, or the least worst one, times the square root of T.
    """

    multipliers: Array
    rate: float
    bound: float

    def schedule(self) -> Points:
        """The same multipliers at u = t/T, 0 at the end of the run.

        >>> least_bound_schedule(4).schedule().u
        (0.0, 0.25, 0.5, 0.75, 1.0)
        """
        count = len(self.multipliers)
        return Points(u=tuple(float(step) / count for step in range(count + 1)), m=(*map(float, self.multipliers), 0.0))


def least_bound_schedule(steps: int, norms: Array | None = None, *, method: str = "gradient") -> BestSchedule:
    """The schedule of any form with the least `LastIterateBound` at its best rate; a linear decay for gradients of constant norm.

    Args:
        steps: T, at least 2.
        norms: of the gradients at each step, ``[T]``; 1 unless given. Times that a run measured, they give the schedule for the next run.
        method: one of ``METHODS``.

    Norms that are not T positive numbers, fewer than 2 steps and other methods are refused with an `InputError`.
    """
    _check(steps, method)
    weights = None if norms is None else _checked_norms(norms, steps)

    def objective(logs: Tensor) -> Tensor:
        distance, noise = coefficients(logs.exp(), weights)
        return 0.5 * (distance[0] * noise[0]).log()

    start = torch.zeros(steps, dtype=torch.float64)
    if method == "gradient":
        logs = _lbfgs(start, objective, iterations=500)
    else:
        from scipy.optimize import minimize

        def logarithm(values: Array) -> float:
            return _plain_logarithm(np.exp(values), weights)

        result = minimize(logarithm, np.zeros(steps), method="L-BFGS-B")
        logs = torch.as_tensor(result.x, dtype=torch.float64)
    multipliers = (logs - logs.max()).exp()
    distance, noise = (float(row[0]) for row in coefficients(multipliers, weights))
    bound = LastIterateBound(distance, noise)
    return BestSchedule(multipliers.numpy(), bound.best_rate, bound.best * np.sqrt(steps))


def minimax_schedule(ratio: float, steps: int = 100, *, method: str = "gradient") -> BestSchedule:
    """Among schedules that never rise, that with the least worst bound on a grid whose neighbouring rates differ by ``ratio``.

    min over m_0 >= … >= m_{T-1} and gamma of max over rho in [ratio^(-1/2), ratio^(1/2)] of R(rho gamma), R the
    `adaptive_lr.analysis.bound.SuffixBound`: such a grid has, wherever it starts, a rate that is wrong by no more than that. The worst is absolute, not relative
    to the schedule's own best, and the base rate is free, so that the scale of a schedule does not matter. A rate that is wrong by up to
    r either way is ``ratio = r^2``. Without a bounded domain the answer is a linear decay for every ratio (see `LastIterateBound`).
    `GridAware` is its closed form.

    Args:
        ratio: above 1.
        steps: T, at least 2; about a second for 50 by gradients.
        method: one of ``METHODS``.

    A ratio that is not above 1, fewer than 2 steps and other methods are refused with an `InputError`.
    """
    checked_ratio(ratio)
    _check(steps, method)
    offsets = np.log(ratio) * np.linspace(-0.5, 0.5, max(9, int(np.ceil(np.log(ratio) / _SPACING)) + 1))
    solved = _by_gradient(offsets, steps) if method == "gradient" else _by_scipy(offsets, steps)
    multipliers = solved[:-1] / solved[0]
    bound = SuffixBound(*(row.numpy() for row in coefficients(torch.as_tensor(multipliers))))
    return BestSchedule(multipliers, float(np.exp(solved[-1]) * solved[0]), bound.worst(ratio))


def best_cosine_power(ratio: float, steps: int = STEPS) -> tuple[float, float]:
    """The exponent of the cosine-power with the least worst bound on a grid of a ratio, and that bound times the square root of T.

    A ratio that is not above 1 is refused with an `InputError`.
    """
    from scipy.optimize import minimize_scalar

    def worst(logarithm: float) -> float:
        return suffix_bound(DampedCosine(exponent=float(np.exp(logarithm))), steps).worst(ratio)

    logarithms = np.log(np.geomspace(EXPONENTS[0], EXPONENTS[1], 15))
    nearest = int(np.argmin([worst(value) for value in logarithms]))
    ends = (logarithms[max(nearest - 1, 0)], logarithms[min(nearest + 1, len(logarithms) - 1)])
    result = minimize_scalar(worst, bounds=ends, method="bounded", options={"xatol": 1e-3})
    return float(np.exp(result.x)), float(result.fun)


def _by_gradient(offsets: Array, steps: int) -> Array:
    """Multipliers and log base rate, ``[T + 1]``: a softmax of decrements, summed from the end, so that every step of it falls."""
    shifts = torch.as_tensor(offsets)[:, None]

    def multipliers(variables: Tensor) -> Tensor:
        return variables[:-1].softmax(-1).flip(-1).cumsum(-1).flip(-1)

    def objective(variables: Tensor, smooth: float) -> Tensor:
        distance, noise = coefficients(multipliers(variables))
        rates = (variables[-1] + shifts).exp()
        bounds = (distance / rates + noise * rates).log()  # [offsets, T]
        least = -smooth * (-bounds / smooth).logsumexp(-1)
        return smooth * (least / smooth).logsumexp(-1)

    variables = torch.zeros(steps + 1, dtype=torch.float64)
    variables[-1] = -0.5 * np.log(steps)
    for smooth in _SMOOTH:
        variables = _lbfgs(variables, partial(objective, smooth=smooth))
    return torch.cat([multipliers(variables), variables[-1:]]).numpy()


def _by_scipy(offsets: Array, steps: int) -> Array:
    """Multipliers and log base rate, ``[T + 1]``, by SLSQP: least v with a smooth minimum over stops of at most v at every offset."""
    from scipy.optimize import Bounds, NonlinearConstraint, minimize
    from scipy.special import logsumexp

    def bounds(values: Array) -> Array:
        multipliers = values[:steps][::-1].cumsum()[::-1]
        distance, noise = _plain_coefficients(multipliers / multipliers[0])
        rates = np.exp(values[steps] + offsets)[:, None]
        return np.asarray(np.log(distance / rates + noise * rates))

    values: Array = np.append(np.full(steps, 1.0 / steps), [-0.5 * np.log(steps), 0.0])
    towards: Array = np.eye(steps + 2)[-1]
    least = _LEAST_PART / steps
    limits = Bounds(np.append(np.full(steps, least), [-np.inf, -np.inf]), np.append(np.ones(steps), [np.inf, np.inf]))

    def last(values: Array) -> float:
        return float(values[-1])

    def slope(values: Array) -> Array:
        return towards

    for smooth in _COARSE:

        def spare(values: Array, smooth: float = smooth) -> Array:
            return np.asarray(values[-1] + smooth * logsumexp(-bounds(values) / smooth, axis=1))

        values[-1] -= spare(values).min()
        result = minimize(
            last,
            values,
            jac=slope,
            bounds=limits,
            method="SLSQP",
            constraints=NonlinearConstraint(spare, 0.0, np.inf),
            options={"maxiter": 150, "ftol": 1e-8},
        )
        values = np.append(np.maximum(result.x[:steps], least), result.x[steps:])
        values[:steps] /= values[:steps].sum()
    return np.append(values[:steps][::-1].cumsum()[::-1], values[steps])


def _lbfgs(start: Tensor, objective: Callable[[Tensor], Tensor], iterations: int = 200) -> Tensor:
    variables = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [variables],
        max_iter=iterations,
        history_size=50,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = objective(variables)
        value.backward()
        return value

    optimizer.step(closure)
    return variables.detach()


def _plain_coefficients(multipliers: Array, norms: Array | None = None) -> tuple[Array, Array]:
    """A_s and B_s as `coefficients`, summed by parts: 2 B_s = sum_{k=s}^{T-2} q_k / sum_{t>k} m_t + q_{T-1} / m_{T-1}."""
    sums = multipliers[::-1].cumsum()[::-1]
    squares = (multipliers if norms is None else multipliers * norms) ** 2
    quotients = squares / np.append(sums[1:], multipliers[-1])
    return 0.5 / sums, 0.5 * quotients[::-1].cumsum()[::-1]


def _plain_logarithm(multipliers: Array, norms: Tensor | None) -> float:
    distance, noise = _plain_coefficients(multipliers, None if norms is None else norms.numpy())
    return float(0.5 * np.log(distance[0] * noise[0]))


def _checked_norms(norms: Array, steps: int) -> Tensor:
    values = torch.as_tensor(np.asarray(norms, dtype=np.float64))
    if values.shape != (steps,):
        raise InputError(
            f"norms must be one number for each of the {steps} steps, got an array of shape {tuple(values.shape)}"
        )
    if not bool((values.isfinite() & (values > 0.0)).all()):
        step = int(torch.nonzero(~(values.isfinite() & (values > 0.0)))[0])
        raise InputError(f"norms must be positive numbers, got {float(values[step])!r} at step {step}")
    return values


def _check(steps: int, method: str) -> None:
    if checked_steps(steps) < 2:
        raise InputError(f"a schedule of {steps} step has no shape: take at least 2")
    if method not in METHODS:
        raise InputError(f"a method is one of {', '.join(METHODS)}, got {method!r}")

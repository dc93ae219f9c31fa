"""Fit a law to recorded curves, with intervals, and say when that cannot be done."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from adaptive_lr.analysis.stats import LEVEL, Array, Places
from adaptive_lr.errors import FitError, InputError
from adaptive_lr.meta.law_changes import gathered
from adaptive_lr.meta.law_curves import Curve
from adaptive_lr.meta.law_problem import DELTA, SPREAD, Problem, Solution
from adaptive_lr.meta.laws import AbstractLaw, MultiPowerLaw

STARTS = 8
"""Places that the search begins at."""
REPLICATES = 100
"""Fits to resampled residuals."""
WIDEST = 100.0
"""The ratio of an interval's ends, in the fit's own units, from which on a parameter counts as open."""
_OPEN_SHARE = 0.025
_NORMAL = 1.959964
_FEWEST = 30
_QUANTILES = np.linspace(0.025, 0.975, 39)

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Scores:
    """How predicted losses agree with recorded ones.

    Attributes:
        r2: 1 - sum of squared errors over that of the deviations from the mean.
        mae: mean of |error|.
        rmse: root of the mean squared error.
        relative: mean of |error| / loss («PredE»).
        worst: largest |error| / loss («WorstE»).
    """

    r2: float
    mae: float
    rmse: float
    relative: float
    worst: float


def scores(recorded: Array, predicted: Array) -> Scores:
    """How ``predicted`` ``[n]`` agree with ``recorded`` ``[n]``.

    >>> round(scores(np.array([4.0, 2.0]), np.array([4.0, 2.1])).worst, 3)
    0.05
    """
    errors = np.abs(predicted - recorded)
    spread = float(np.square(recorded - recorded.mean()).sum())
    return Scores(
        r2=1.0 - float(np.square(errors).sum()) / spread if spread else math.nan,
        mae=float(errors.mean()),
        rmse=float(np.sqrt(np.square(errors).mean())),
        relative=float((errors / recorded).mean()),
        worst=float((errors / recorded).max()),
    )


@dataclass(frozen=True)
class Prediction:
    """Losses at steps ``[n]``, and the ends of 95 % intervals for what would be recorded there."""

    steps: Places
    losses: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class LawFit:
    """A fitted law.

    Attributes:
        law: the parameters.
        draws: the parameters of fits to resampled residuals.
        noise: quantiles of the residuals of the logarithm, ``[39]``.
        in_sample: how the law agrees with the curves that it was fitted to.
        peak: the largest rate of them.
        lowest: the smallest rate after a warm-up.
        longest: the last step.
        rows: how many the fit read.
        losses: the least and the greatest.
        notes: what a reader must know.
    """

    law: AbstractLaw
    draws: tuple[AbstractLaw, ...]
    noise: tuple[float, ...]
    in_sample: Scores
    peak: float
    lowest: float
    longest: int
    rows: int
    losses: tuple[float, float]
    notes: tuple[str, ...] = ()

    def interval(self, name: str) -> tuple[float, float]:
        """The 95 % interval of a parameter."""
        low, high = np.quantile([getattr(draw, name) for draw in self.draws], [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
        return float(low), float(high)

    def predict(self, rates: Array, steps: Places) -> Prediction:
        """Losses at ascending ``steps`` ``[n]`` of a run with the rates ``[T + 1]``.

        An interval covers what the parameters leave open and the residuals of the fit, not a law that does not hold.
        """
        changes = gathered(rates, steps)
        losses = self.law.losses(rates, steps)
        logarithms = np.log([np.maximum(draw.evaluate(changes)[0], 1e-300) for draw in self.draws])
        spread = (logarithms[:, None, :] + np.array(self.noise)[:, None]).reshape(-1, len(losses))
        low, high = np.exp(np.quantile(spread, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0))
        return Prediction(np.asarray(steps), losses, np.minimum(low, losses), np.maximum(high, losses))

    def cautions(self, rates: Array, warmup: int) -> list[str]:
        """What a schedule asks of the law that no curve showed it."""
        cautions = []
        if len(rates) - 1 > 1.05 * self.longest:
            cautions.append(f"{len(rates) - 1} steps are more than the {self.longest} of the longest curve.")
        if abs(rates.max() / self.peak - 1.0) > 0.01:
            cautions.append(
                f"The peak {rates.max():g} is not that of the curves, {self.peak:g}: these laws do not describe other peaks."
            )
        if rates[warmup:].min() < 0.99 * self.lowest:
            cautions.append(
                f"The rate falls to {rates[warmup:].min():g}, below the lowest of the curves, {self.lowest:g}."
            )
        return cautions


def fit_law(
    curves: Sequence[Curve],
    kind: type[AbstractLaw] = MultiPowerLaw,
    *,
    starts: int = STARTS,
    replicates: int = REPLICATES,
    seed: int = 0,
    report: Report | None = None,
) -> LawFit:
    """Fit a law to curves: Huber's loss on residuals of log(loss), from several starts, with intervals.

    The residuals of neighbouring rows are alike, since no law holds exactly. So rows count as fewer, by the time over which
    residuals are alike, and intervals come from a dependent wild bootstrap (Shao 2010): each curve's residuals are multiplied by a
    stationary Gaussian series that forgets as fast as they do, the law is fitted anew, and the exponents are drawn to a value from
    what is known of them beforehand. Blocks of rows would tear apart rows that curves share; these keep one factor.

    Args:
        curves: as `read_curves` has them.
        kind: the law.
        starts: places that the search begins at.
        replicates: fits to resampled residuals.
        seed: of the starts and of the resampling.
        report: is called with the number of fits that have ended, and that of all.

    An `InputError` says that the curves cannot tell what a falling rate brings, or have too few rows.

    Raises:
        FitError: the search does not converge, or the curves leave a parameter open; the message has the intervals.
    """
    curves = [curve.thinned() for curve in curves]
    _check_informative(curves)
    generator = np.random.default_rng(seed)
    problem = Problem.of(kind, curves)
    reported = report or (lambda done, total: None)
    total = starts + replicates
    solutions = []
    for index in range(starts):
        solutions.append(problem.solve(problem.start(generator)))
        reported(index + 1, total)
    best = _best(solutions)
    problem, rho = _with_noise(problem, best)
    best = problem.solve(best.theta)
    if not best.converged:
        raise FitError(
            f"the fit of the {kind.title} does not converge from {starts} starts: more varied schedules are needed"
        )
    draws = []
    for index in range(replicates):
        draws.append(_replicate(problem, best, rho, generator))
        reported(starts + index + 1, total)
    thetas = np.array([draw.theta for draw in draws if draw.converged])
    if len(thetas) < 0.9 * replicates:
        raise FitError(
            f"{replicates - len(thetas)} of {replicates} fits to resampled residuals do not converge: the curves do not "
            f"determine the {kind.title}, and there are no intervals"
        )
    notes = [note for curve in curves for note in curve.notes]
    notes += _disagreement(solutions) + _check_identified(problem, best, thetas)
    return _described(problem, best, thetas, curves, notes)


def _check_informative(curves: Sequence[Curve]) -> None:
    if not curves:
        raise InputError("a fit needs at least one curve")
    falls = [curve.rates[curve.warmup : curve.steps[-1] + 1].min() < 0.99 * curve.peak for curve in curves]
    if not any(falls):
        names = "the rate" if len(curves) == 1 else "the rate of every curve"
        raise InputError(
            f"{names} is constant after its warm-up, so that what a falling rate brings cannot be identified: "
            "add a curve with a cosine, or with a rate that drops"
        )
    count = sum(len(curve.steps) for curve in curves)
    if count < _FEWEST:
        raise InputError(f"the curves have {count} rows after their warm-ups: too few, a fit needs at least {_FEWEST}")


def _best(solutions: Sequence[Solution]) -> Solution:
    return min(solutions, key=lambda solution: (not solution.converged, solution.cost))


def _disagreement(solutions: Sequence[Solution]) -> list[str]:
    least = _best(solutions).cost
    others = sum(solution.cost > 1.01 * least + 1e-12 for solution in solutions)
    if others <= len(solutions) // 2:
        return []
    return [
        f"{others} of {len(solutions)} starts ended elsewhere, with a larger error; more starts may find a better fit."
    ]


def _with_noise(problem: Problem, best: Solution) -> tuple[Problem, float]:
    """The problem with the size of its residuals, and how alike neighbouring ones are (lag-1 correlation)."""
    residuals = problem.residuals(best.theta)
    scale = 1.4826 * float(np.median(np.abs(residuals)))
    clipped = np.clip(residuals / max(scale, 1e-12), -3.0, 3.0)
    inside = np.setdiff1d(np.arange(1, len(residuals)), problem.starts)
    rho = float((clipped[inside] * clipped[inside - 1]).sum() / max(np.square(clipped[inside]).sum(), 1e-12))
    rho = min(max(rho, 0.0), 0.98)
    return replace(problem, delta=max(DELTA, scale), information=(1.0 + rho) / (1.0 - rho)), rho


def _replicate(problem: Problem, best: Solution, rho: float, generator: np.random.Generator) -> Solution:
    count, parameters = len(problem.logarithms), len(problem.names)
    factors = np.empty(count)
    for start, end in zip(problem.starts[:-1], problem.starts[1:], strict=True):
        noise = generator.standard_normal(end - start)
        noise[1:] *= math.sqrt(1.0 - rho * rho)
        value = 0.0
        for index, fresh in enumerate(noise.tolist()):
            value = rho * value + fresh
            factors[start + index] = value
    factors = factors[problem.owner] * math.sqrt(count / max(count - parameters, 1))
    residuals = problem.residuals(best.theta)
    centres = np.log(0.5) + SPREAD * generator.standard_normal(len(problem.kind.shrunk))
    return problem.solve(best.theta, problem.logarithms - residuals + residuals * factors, centres)


def _check_identified(problem: Problem, best: Solution, thetas: Array) -> list[str]:
    """Notes about exponents that are as assumed.

    Raises:
        FitError: an interval has no end.
    """
    low, high = np.quantile(thetas, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
    least, most = problem.limits
    at_bound = ((thetas < least + 1e-3) | (thetas > most - 1e-3)).mean(axis=0)
    is_open = (at_bound > _OPEN_SHARE) | (high - low > math.log(WIDEST))
    if is_open.any():
        laws = [problem.law(theta) for theta in thetas]
        words = []
        for name in problem.names:
            ends = np.quantile([getattr(law, name) for law in laws], [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
            words.append(f"{name} {ends[0]:.3g} to {ends[1]:.3g}")
        names = [name for name, is_so in zip(problem.names, is_open, strict=True) if is_so]
        verb = "are" if len(names) > 1 else "is"
        raise FitError(
            f"{' and '.join(names)} of the {problem.kind.title} {verb} not identifiable from these curves; 95 % intervals: {', '.join(words)}. "
            "Add curves with other schedules, best one that drops to a lower constant rate"
        )
    notes = []
    for name in problem.kind.shrunk:
        index = problem.names.index(name)
        if high[index] - low[index] > 0.75 * 2.0 * _NORMAL * SPREAD:
            notes.append(
                f"The curves say little of {name}: its interval is mostly what was assumed beforehand, 0.34 to 0.74."
            )
    return notes


def _described(
    problem: Problem, best: Solution, thetas: Array, curves: Sequence[Curve], notes: Sequence[str]
) -> LawFit:
    predicted, _ = problem.predicted(best.theta)
    residuals = problem.logarithms - predicted
    recorded = np.exp(problem.logarithms)
    return LawFit(
        law=problem.law(best.theta),
        draws=tuple(problem.law(theta) for theta in thetas),
        noise=tuple(float(value) for value in np.quantile(residuals, _QUANTILES)),
        in_sample=scores(recorded, np.exp(predicted)),
        peak=problem.unit,
        lowest=min(float(curve.rates[curve.warmup : curve.steps[-1] + 1].min()) for curve in curves),
        longest=max(int(curve.steps[-1]) for curve in curves),
        rows=len(recorded),
        losses=(float(recorded.min()), float(recorded.max())),
        notes=tuple(dict.fromkeys(notes)),
    )

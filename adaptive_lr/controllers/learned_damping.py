"""A policy with few weights: dimensionless readings of training in, the change of the rate's logarithm out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from adaptive_lr.controllers.anchor import Anchor
from adaptive_lr.controllers.base import (
    COUNT,
    LOG_FACTOR,
    AbstractController,
    Limits,
    Moment,
    Observation,
    Signal,
    average,
    cosine,
    finite,
    zeros,
)
from adaptive_lr.controllers.distance_anchor import LARGEST_SQUARE, STRAIGHTNESS, walk
from adaptive_lr.controllers.probe import FAR, ROUNDINGS, ordinary, typical
from adaptive_lr.documents import parse_json
from adaptive_lr.errors import SpecError
from adaptive_lr.spec import Scalar, number, numbers, spec

READINGS = ("constant", "step", "share", "alignment", "straightness", "progress", "time", "loss", "drift", "horizon")
"""What the policy reads at a look, in the order of its weights."""

PHASES = ("throughout", "early")
"""Each reading has a weight for all looks, and one that is added at looks before they are evenly spaced."""

WEIGHTS = len(READINGS) * len(PHASES)

SHIPPED = Path(__file__).with_name("learned_damping.json")
"""The weights that the default has, and where they come from; written by ``adaptive-lr learn``."""

LOG_STEP: Limits = (-4.0, 4.0)
"""Of ln(step/edge) no more than this is believed: further out it is rounding, or an accident."""

STRIDE = 0.35
"""Early looks are further apart by this share of the time passed, until they are evenly spaced."""

LARGEST_CHANGE = (2.0, 0.7)
"""Of ln of the rate at a look: at an early one, and at a later one."""

FAST, SLOW = 0.6, 0.9
"""Decays by look of the two running means of ln of the edge, whose difference is its drift; and of the others the first."""


class LearnedDampingState(NamedTuple):
    """See `LearnedDamping`; every number ``[B]``."""

    log_factor: Tensor
    """ln of the factor on the schedule."""
    log_edge: Tensor
    """Fast running mean of ln of the edge, in units of the base rate."""
    slow_log_edge: Tensor
    """The slow one."""
    probes: Tensor
    """Probes that said something."""
    log_descent: Tensor
    """Running mean of ln <g, D>."""
    alignment: Tensor
    """Running mean of cos(g_t, g_{t-1}), over looks."""
    path: Tensor
    """Sum of |Delta_s|^2 over all steps, from those of the looks."""
    farthest: Tensor
    """The largest |theta - theta_0|^2 of all looks."""
    progress: Tensor
    """P, running mean of f(theta_0) - f(theta)."""
    promise: Tensor
    """Q, running mean of <g, D>."""
    compared: Tensor
    """Looks at which f(theta_0) was evaluated too."""
    first_loss: Tensor
    """The loss at the first look that had one."""
    loss: Tensor
    """Running mean of the loss."""


FORMAT = 1
"""Of the file of weights."""

LARGEST_WEIGHT = 100.0
"""Readings are of the order of 1, and the change of the rate is bounded: a larger weight is an accident."""


def read_weights(path: Path) -> tuple[float, ...]:
    """The weights of a policy in a file that ``adaptive-lr learn`` wrote.

    Raises:
        SpecError: the file is none of this format, its policy reads something else, or a weight is no number.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SpecError(f"{path} cannot be read as the file of a policy: {reason}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        version = content.get("format") if isinstance(content, dict) else None
        raise SpecError(
            f"{path} must be the file of a policy of format {FORMAT}, got format {version!r}: learn it anew"
        )
    for name, expected in (("readings", READINGS), ("phases", PHASES)):
        if content.get(name) != list(expected):
            raise SpecError(f"the policy in {path} has other {name} than {', '.join(expected)}: learn it anew")
    weights = content.get("weights")
    if not isinstance(weights, list) or len(weights) != WEIGHTS:
        raise SpecError(f"the policy in {path} must have {WEIGHTS} weights: learn it anew")
    for name, weight in zip(weight_names(), weights, strict=True):
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not abs(weight) <= LARGEST_WEIGHT:
            raise SpecError(
                f"the weight of {name} in {path} must be a number in [-{LARGEST_WEIGHT:g}, {LARGEST_WEIGHT:g}], got {weight!r}: learn it anew"
            )
    return tuple(float(weight) for weight in weights)


def weight_names() -> list[str]:
    """What each weight is for, in their order: a reading and a phase."""
    return [f"{reading}, {phase}" for phase in PHASES for reading in READINGS]


def _interval(total_steps: int, every: float) -> int:
    """The steps from one look to the next where they are evenly spaced; rounded up, so that short runs do not have more of them."""
    return max(4, math.ceil(every * total_steps - 1e-9))


def _gap(step: int, interval: int) -> int:
    """The steps from a look at this one to the next."""
    return min(interval, max(1, round(STRIDE * step)))


def look_steps(total_steps: int, every: float, until: float) -> tuple[list[int], int]:
    """The steps of all looks, and how many of them are early: apart by ``STRIDE`` of the time passed, then by ``every`` of the run.

    >>> look_steps(160, 0.04, 0.2)
    ([0, 1, 2, 3, 4, 5, 7, 9, 12, 16, 22, 29], 10)
    """
    interval, end = _interval(total_steps, every), math.ceil(until * total_steps)
    looks, early, step = [], 0, 0
    while step < end:
        looks.append(step)
        gap = _gap(step, interval)
        early += gap < interval
        step += gap
    return looks, early


@cache
def _plan(total_steps: int, every: float, until: float) -> tuple[dict[int, int], int]:
    """The place of each step with a look among the looks, and how many are early."""
    looks, early = look_steps(total_steps, every, until)
    return {step: place for place, step in enumerate(looks)}, early


@spec
class LearnedDamping(AbstractController):
    """eta_t = m(u) e^s, s <- s + c tanh(<w + w' [early], x> / c) at a look: a policy of 20 weights over ten dimensionless readings x.

    *Looks* come at steps 0, 1, 2, 3, …, further and further apart, and at last every ``every`` of the run, until u = ``until``. At each the
    loss is evaluated again after the step, on the same minibatch; c is 2 at early looks and 0.7 later.

    *Readings*, each within [-2, 2] and 0 where it is not known; e is the edge, at which the step would not lower the loss any more, D the
    optimizer's direction, theta_0 where training began:

    - ``constant``: 1;
    - ``step``: ln(p/e)/2 of this step, with p/e = 1 + (f(theta - p D) - f(theta))/(p <g, D>), as on a parabola;
    - ``share``: (s - ln e)/2 with the running mean of ln e: where the schedule's peak lies;
    - ``alignment``: running mean of cos(g_t, g_{t-1}), which is what noise leaves of the gradient;
    - ``straightness``: ln R/2, R as in `DistanceAnchor`, from the first step on;
    - ``progress``: (3/2 + ln sqrt(P/(T e Q)))/2, P and Q as in `ProgressAnchor`, from every other later look;
    - ``time``: u;
    - ``loss``: ln(f/f at the first look)/4, both positive: the one that a shift of the loss changes;
    - ``drift``: of ln e, fast less slow running mean;
    - ``horizon``: ln(T/500)/2.

    The step of a look is shortened where s falls, and taken back where the loss rises out of all proportion or is not finite, which counts
    as four e-foldings beyond the edge. With all weights zero it is the schedule itself, and nothing is looked at.

    The default weights were learned: `SHIPPED` says from which tasks and seeds, by which objective and when. It is ours; no paper. Learned
    schedules with readings of this kind are those of Xu, Dai, Kemp & Metz 2019 (arXiv:1909.09712), and learned controllers inside optimizers those of
    Moudgil et al. 2025 (arXiv:2501.12670), both with networks for policies.
    """

    kind = "learned_damping"
    needs = Anchor.needs | Signal.PREVIOUS_GRADIENT | Signal.START | Signal.DISTANCE | Signal.PROBE_START
    tuned_on: ClassVar[tuple[str, ...]] = ("random-convex 0..59 seeds 100..102", "random-network 0..59 seeds 100..102")
    weights: tuple[Scalar, ...] = numbers("[-100, 100]", default=read_weights(SHIPPED))
    every: float = number("(0, 1]", default=0.04)
    until: float = number("(0, 1]", default=0.4)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The policy in a file that ``adaptive-lr learn`` wrote; a `SpecError` where there is none that can be used."""
        return cls(weights=read_weights(Path(path)))

    def check(self) -> None:
        """As many weights as the policy has.

        Raises:
            SpecError: there are more or fewer.
        """
        if len(self.weights) != WEIGHTS:
            raise SpecError(
                f"LearnedDamping.weights must be {WEIGHTS} numbers, one for each of {', '.join(READINGS)} {' and '.join(PHASES)}, got {len(self.weights)}"
            )

    @property
    def _idle(self) -> bool:
        return all(not isinstance(weight, Tensor) and weight == 0.0 for weight in self.weights)

    def batch_key(self) -> tuple[object, ...]:
        """See the base class; weights may differ, of which none is then a policy without any."""
        return type(self), self.every, self.until, self._idle

    def stacked(self, others: Sequence[Self]) -> Self:
        """See the base class."""
        columns = torch.tensor([other.weights for other in others], dtype=torch.float64)
        return replace(self, weights=tuple(columns.unbind(1)))

    def signals(self, step: int, total_steps: int) -> Signal:
        """A probe at a look, at every other later one also of the start; a copy of the start until the last; nothing with weights of zero."""
        looks, early = _plan(total_steps, self.every, self.until)
        if self._idle or step > next(reversed(looks)):
            return Signal.NONE
        place = looks.get(step)
        if place is None:
            return Signal.START
        compares = place >= early and (place - early) % 2 == 0
        return self.needs if compares else self.needs & ~Signal.PROBE_START

    def init(self, trials: int) -> LearnedDampingState:
        """The schedule as it is."""
        return LearnedDampingState(*len(LearnedDampingState._fields) * (zeros(trials),))

    def limits(self) -> dict[str, Limits]:
        """See the base class."""
        counts = dict.fromkeys(("probes", "path", "farthest", "compared"), COUNT)
        logs = dict.fromkeys(("log_factor", "log_edge", "slow_log_edge"), LOG_FACTOR)
        return counts | logs | {"alignment": (-1.0, 1.0)}

    def multiplier(self, state: LearnedDampingState, now: Moment) -> Tensor:
        """See the class."""
        return state.log_factor.exp() * now.scheduled

    def update(self, state: LearnedDampingState, seen: Observation) -> tuple[LearnedDampingState, Tensor]:
        """See the class."""
        step, total_steps = seen.now.step, seen.now.total_steps
        looks, early = _plan(total_steps, self.every, self.until)
        if step not in looks:
            return state, seen.trial
        place = looks[step]
        log_step, heard = _stepped(seen)
        known = state.probes > 0.0
        usual = torch.where(known, ordinary(seen.descent, state.log_descent), True)
        near = seen.probe_loss - seen.loss <= FAR * seen.trial * state.log_descent.exp()
        accident = ~seen.probe_loss.isfinite() & seen.loss.isfinite() | heard & known & ~(near & usual)
        measured = self._measured(state, seen, log_step, heard & usual, place)
        change = self._change(measured, seen, log_step, heard | accident, early=place < early)
        updated = measured._replace(log_factor=(measured.log_factor + change).clamp(*LOG_FACTOR))
        made = seen.trial * change.clamp(max=0.0).exp()
        return updated, torch.where(accident, 0.0, made)

    def _measured(
        self, state: LearnedDampingState, seen: Observation, log_step: Tensor, heard: Tensor, place: int
    ) -> LearnedDampingState:
        """Everything that is remembered, after a look."""
        step, total_steps = seen.now.step, seen.now.total_steps
        first = heard & (state.probes == 0.0)
        log_edge = (seen.trial.clamp(min=1e-300).log() - log_step).clamp(*LOG_FACTOR)
        reading = cosine(seen.gradient_dot_previous, seen.gradient_square, seen.previous_gradient_square)
        gap = _gap(step, _interval(total_steps, self.every))
        walked = gap * seen.direction_square * self.multiplier(state, seen.now).square()
        gain, compared = seen.start_loss - seen.loss, finite(seen.start_loss, seen.loss, seen.descent)
        new, has_loss = state.compared == 0.0, seen.loss.isfinite()
        unseen = has_loss & (state.first_loss == 0.0)
        return LearnedDampingState(
            log_factor=state.log_factor,
            log_edge=_running(state.log_edge, log_edge, FAST, heard, first),
            slow_log_edge=_running(state.slow_log_edge, log_edge, SLOW, heard, first),
            probes=state.probes + heard,
            log_descent=typical(state.log_descent, seen.descent, state.probes > 0.0),
            alignment=average(state.alignment, reading, FAST, finite(reading)),
            path=torch.where(walked.isfinite() & heard, state.path + walked, state.path).clamp(max=LARGEST_SQUARE),
            farthest=torch.where(seen.distance_square > state.farthest, seen.distance_square, state.farthest).clamp(
                max=LARGEST_SQUARE
            ),
            progress=_running(state.progress, gain, FAST, compared, new),
            promise=_running(state.promise, seen.descent, FAST, compared, new),
            compared=state.compared + compared,
            first_loss=torch.where(unseen, seen.loss, state.first_loss),
            loss=_running(state.loss, seen.loss, FAST, has_loss, unseen),
        )

    def _change(
        self, state: LearnedDampingState, seen: Observation, log_step: Tensor, heard: Tensor, *, early: bool
    ) -> Tensor:
        """The change of s, ``[B]``; none where the probe said nothing."""
        readings = self._readings(state, seen, log_step)
        weights = torch.stack([torch.as_tensor(weight, dtype=torch.float64).reshape(-1) for weight in self.weights])
        weights = weights[: len(READINGS)] + (weights[len(READINGS) :] if early else 0.0)
        largest = LARGEST_CHANGE[0 if early else 1]
        change = largest * ((weights * readings).sum(0) / largest).tanh()
        return torch.where(heard, change.nan_to_num(nan=0.0), 0.0)

    def _readings(self, state: LearnedDampingState, seen: Observation, log_step: Tensor) -> Tensor:
        """What the policy reads, ``[10, B]``."""
        total_steps, known = seen.now.total_steps, state.probes > 0.0
        nothing = torch.zeros_like(state.log_factor)
        steps = max(1, seen.now.step)
        ratio = state.farthest / (walk(steps, seen.memory) * state.path).clamp(min=1e-300)
        moved = (state.path > 0.0) & (state.farthest > 0.0)
        expected = (total_steps * state.log_edge.exp() * state.promise).clamp(min=1e-300)
        share = (state.progress.clamp(min=0.0) / expected).clamp(1e-12, 1e12).log() / 2.0
        falls = (state.loss / torch.where(state.first_loss > 0.0, state.first_loss, 1.0)).clamp(1e-9, 1e9).log()
        positive = (state.loss > 0.0) & (state.first_loss > 0.0)
        readings = torch.stack(
            [
                nothing + 1.0,
                log_step / 2.0,
                torch.where(known, state.log_factor - state.log_edge, 0.0) / 2.0,
                state.alignment,
                torch.where(moved, ratio.clamp(*STRAIGHTNESS).log(), 0.0) / 2.0,
                torch.where(state.compared > 0.0, 1.5 + share, 0.0) / 2.0,
                nothing + seen.now.progress,
                torch.where(positive, falls, 0.0) / 4.0,
                state.log_edge - state.slow_log_edge,
                nothing + math.log(total_steps / 500.0) / 2.0,
            ]
        )
        return readings.nan_to_num(nan=0.0).clamp(-2.0, 2.0)

    def readings(self, state: LearnedDampingState) -> dict[str, Tensor]:
        """The edge e, the factor on the schedule and its share of the edge, and the alignment of gradients."""
        edge, factor = state.log_edge.exp(), state.log_factor.exp()
        return {"edge": edge, "factor": factor, "share": factor / edge, "alignment": state.alignment}


def _stepped(seen: Observation) -> tuple[Tensor, Tensor]:
    """ln(p/e) within ``LOG_STEP`` and whether the probe says it, each ``[B]``; a step lost in rounding is as far below the edge as can be."""
    promise, rise = seen.trial * seen.descent, seen.probe_loss - seen.loss
    usable = finite(seen.loss, seen.descent) & (seen.descent > 0.0)
    rounding = ROUNDINGS * seen.resolution * seen.loss.abs()
    lost = (promise <= rounding) & (rise <= rounding)
    ratio = torch.where(lost | ~(promise > 0.0), 0.0, 1.0 + rise / promise.clamp(min=1e-300))
    log_step = ratio.nan_to_num(nan=math.inf, posinf=math.inf).clamp(math.exp(LOG_STEP[0]), math.exp(LOG_STEP[1])).log()
    failed = seen.loss.isfinite() & ~seen.probe_loss.isfinite()
    return torch.where(failed, LOG_STEP[1], log_step), usable | failed


def _running(old: Tensor, new: Tensor, decay: float, usable: Tensor, first: Tensor) -> Tensor:
    """A running mean that begins with its first reading."""
    return torch.where(first, torch.where(usable, new, old), average(old, new, decay, usable))

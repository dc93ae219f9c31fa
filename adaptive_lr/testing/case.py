"""What is checked, and what a check is."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from adaptive_lr.errors import SpecError

Groups = list[dict[str, Any]]


class SchedulerFactory(Protocol):
    """Puts the scheduler under test on an optimizer, every time with the same hyperparameters."""

    def __call__(self, optimizer: Optimizer, /) -> LRScheduler:
        """The scheduler."""
        ...


class NotApplicable(Exception):  # noqa: N818  # not an error: the case makes no claim that the check could look at
    """The check says nothing about this case."""


def with_momentum(groups: Groups) -> Optimizer:
    """SGD with momentum 0.9: an optimizer that has a state."""
    # Some schedulers read the rate in `optimizer.defaults`.
    return SGD(groups, lr=float(groups[0]["lr"]), momentum=0.9)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A scheduler under test, and what it claims.

    Args:
        name: for messages.
        factory: puts the scheduler on an optimizer. Rates that it is given as numbers must be those in ``rates``.
        total_steps: T, the number of updates that the schedule is made for; a dozen is enough.
        ends: that the last value holds after T. Otherwise the rates only have to stay between 0 and the highest one.
        rates: the base rate of each parameter group.
        as_tensor: that the rates are float64 tensors, not floats.
        optimizer: builds the optimizer from its parameter groups.
        first: the multiple of the base rate that the first update uses, if the scheduler has a claim about it.
        peak: the update at which the rate is highest, and the multiple of the base rate there.
        last: the multiple of the base rate after T steps.
        resume_at: the scheduler built with ``last_epoch``, if it can be resumed in that way.
        other: the same scheduler with other hyperparameters, for what happens when it loads a state of the first.
        long: the same scheduler with a horizon of a thousand steps or more, for errors that grow with it.
        takes_metrics: that ``step(metrics)`` is accepted.
        metric: by update, what is passed to every ``step``; for schedulers that are driven by it.
        step: what is called after update ``at`` instead of ``step()`` or ``step(metric)``, for a scheduler that wants more,
            such as a closure.
        with_horizon: the same scheduler for another T, for what a long run costs.
        with_scaler: the same scheduler with a `torch.amp.GradScaler`, if it can be told of one.
        numpy: the same scheduler with every number that it is given as a NumPy number.
        reordered: the same scheduler with its arguments named in another order; it loads states of the first.
        maximizing: the same scheduler for a metric of which more is better.
        refused: calls with bad arguments that the scheduler has to refuse, such as an extension into the past.

    Raises:
        SpecError: ``total_steps`` is below 6, too few to stop in between, or there are less than two rates.
    """

    name: str
    factory: SchedulerFactory
    total_steps: int
    ends: bool = True
    rates: tuple[float, ...] = (0.5, 0.125)
    as_tensor: bool = False
    optimizer: Callable[[Groups], Optimizer] = with_momentum
    first: float | None = None
    peak: tuple[int, float] | None = None
    last: float | None = None
    resume_at: Callable[[Optimizer, int], LRScheduler] | None = None
    other: SchedulerFactory | None = None
    long: Case | None = None
    takes_metrics: bool = False
    metric: Callable[[int], float] | None = None
    step: Callable[[Any, int], object] | None = None
    with_horizon: Callable[[Optimizer, int], LRScheduler] | None = None
    with_scaler: Callable[[Optimizer, GradScaler], LRScheduler] | None = None
    numpy: SchedulerFactory | None = None
    reordered: SchedulerFactory | None = None
    maximizing: SchedulerFactory | None = None
    refused: Sequence[Callable[[Any], object]] = ()

    def __post_init__(self) -> None:
        if self.total_steps < 6:
            raise SpecError(f"Case.total_steps must be at least 6, got {self.total_steps}")
        if len(self.rates) < 2:
            raise SpecError(f"Case.rates must have at least two entries, got {self.rates}")


@dataclass(frozen=True)
class Check:
    """A claim about schedulers that can be tested; call it with a case.

    Whatever the scheduler raises on the way is a failure too, and warnings are those of the scheduler, so they do not
    leave the check.
    """

    function: Callable[[Case], None]

    @property
    def name(self) -> str:
        """The name of the function, without ``check_``."""
        return self.function.__name__.removeprefix("check_")

    @property
    def claim(self) -> str:
        """The claim in one line."""
        return (self.function.__doc__ or "").strip().splitlines()[0]

    def __call__(self, case: Case) -> None:
        """Hold the case to the claim.

        Raises:
            AssertionError: it does not hold; the message is one line.
            NotApplicable: the case has nothing that the claim is about.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                self.function(case)
            except (AssertionError, NotApplicable):
                raise
            except Exception as error:
                raise AssertionError(_reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, AttributeError) and hasattr(error.obj, "optimizer"):
        return f"the scheduler has no {error.name}"
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def expect(claim: bool, otherwise: str) -> None:
    """Nothing, if ``claim`` holds; ``assert`` would be silent under ``python -O``.

    Raises:
        AssertionError: it does not, with ``otherwise`` as the message.
    """
    if not claim:
        raise AssertionError(otherwise)


def require(condition: bool, what: str) -> None:
    """Nothing, if the case says what the check needs.

    Raises:
        NotApplicable: it does not.
    """
    if not condition:
        raise NotApplicable(what)


def require_holds(check: Check, case: Case) -> None:
    """Nothing, unless the case fails another check, so that one fault is told once.

    Raises:
        NotApplicable: it fails.
    """
    try:
        check(case)
    except NotApplicable:
        return
    except AssertionError:
        raise NotApplicable(f"{check.name} does not hold") from None


class Pair(NamedTuple):
    """An optimizer and the scheduler on it."""

    optimizer: Optimizer
    scheduler: LRScheduler


def new_parameter() -> Tensor:
    """Two numbers to train, float64."""
    return torch.tensor([1.0, -0.5], dtype=torch.float64, requires_grad=True)


def new_optimizer(case: Case, *, dtype: torch.dtype | None = None) -> Optimizer:
    """The optimizer of the case; with ``dtype``, its rates are tensors of that type."""
    if dtype is None and case.as_tensor:
        dtype = torch.float64
    rates = [rate if dtype is None else torch.tensor(rate, dtype=dtype) for rate in case.rates]
    return case.optimizer([{"params": [new_parameter()], "lr": rate} for rate in rates])


def build(case: Case, *, dtype: torch.dtype | None = None) -> Pair:
    """A fresh optimizer with a fresh scheduler on it."""
    optimizer = new_optimizer(case, dtype=dtype)
    return Pair(optimizer, case.factory(optimizer))


def number(case: Case, value: float) -> float | Tensor:
    """A rate in the form in which the case holds rates."""
    return torch.tensor(value, dtype=torch.float64) if case.as_tensor else value


def load(pair: Pair, saved: Pair) -> None:
    """Load copies of the states of another pair, the optimizer's first."""
    pair.optimizer.load_state_dict(copy.deepcopy(saved.optimizer.state_dict()))
    pair.scheduler.load_state_dict(copy.deepcopy(saved.scheduler.state_dict()))


def overwrite(group: dict[str, Any], rate: float) -> None:
    """Write a rate into a group by hand; a tensor is written in place."""
    present = group["lr"]
    if isinstance(present, Tensor):
        present.fill_(rate)
    else:
        group["lr"] = rate


def rates(optimizer: Optimizer) -> list[float]:
    """The rate of each group, as the optimizer holds it."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def parameters(optimizer: Optimizer) -> list[Tensor]:
    """Every parameter, by group."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def update(optimizer: Optimizer) -> None:
    """One update on the loss ½|p|²."""
    for parameter in parameters(optimizer):
        parameter.grad = parameter.detach().clone()
    optimizer.step()


def advance(case: Case, scheduler: LRScheduler, at: int) -> None:
    """One ``step()`` after update ``at``, with a metric if the case is driven by one, or what the case calls instead."""
    if case.step is not None:
        case.step(scheduler, at)
    elif case.metric is None:
        scheduler.step()
    else:
        step: Callable[[float], None] = scheduler.step  # type: ignore[assignment]
        step(case.metric(at))


def train(case: Case, pair: Pair, updates: int, *, start: int = 0) -> list[list[float]]:
    """The rates that each update used, shape ``[updates][groups]``."""
    used = []
    for at in range(start, start + updates):
        used.append(rates(pair.optimizer))
        update(pair.optimizer)
        advance(case, pair.scheduler, at)
    return used


def uninterrupted(case: Case) -> list[list[float]]:
    """The rates before each of the T updates and after the last one, shape ``[T + 1][groups]``."""
    pair = build(case)
    return [*train(case, pair, case.total_steps), rates(pair.optimizer)]


def expect_same(
    got: Sequence[Sequence[float]], want: Sequence[Sequence[float]], when: str, *, relative: float = 0.0, start: int = 0
) -> None:
    """Nothing, if the rates are the same, by default to the last bit; an `AssertionError` names the first difference.

    ``relative`` is measured against the larger of the two; what is below 1e-15 counts as zero then.
    """
    expect(len(got) == len(want), f"{when}: {len(got)} steps instead of {len(want)}")
    for at, (got_row, want_row) in enumerate(zip(got, want, strict=True), start):
        expect(len(got_row) == len(want_row), f"{when}: {len(got_row)} rates for {len(want_row)} groups")
        for a, b in zip(got_row, want_row, strict=True):
            slack = max(relative * max(abs(a), abs(b)), 1e-15 if relative else 0.0)
            expect(a == b or abs(a - b) <= slack, f"{when}: step {at} has the rate {a:.7g}, not {b:.7g}")


def warnings_during(action: Callable[[], object]) -> list[str]:
    """The warnings of an action, each in one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    return [" ".join(str(warning.message).split())[:120] for warning in caught]


def stops(case: Case) -> tuple[int, int, int]:
    """The steps at which runs are interrupted: the first, one in the middle, the last but one."""
    return 1, case.total_steps // 2, case.total_steps - 1

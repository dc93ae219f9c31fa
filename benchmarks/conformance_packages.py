"""The packages that the table of conformance measures, and the arguments that their schedulers are built with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from conformance_columns import LONG, RATES, STEPS, Column, Package, column
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim import lr_scheduler as torch_schedulers
from torch.optim.lr_scheduler import ChainedScheduler, CosineAnnealingLR, LinearLR, SequentialLR

from adaptive_lr import WSD, AbstractSchedule, DampedCosine, Plateau, Restarts, ScheduledLR, Warmup


def line(step: int) -> float:
    """1 - t/12."""
    return max(0.0, 1.0 - step / STEPS)


def long_line(step: int) -> float:
    """1 - t/1000."""
    return max(0.0, 1.0 - step / LONG)


def parabola(step: int) -> float:
    """(1 - t/12)²."""
    return line(step) ** 2


def warmup_then_cosine(optimizer: Optimizer, *, warmup: int, total: int, last_epoch: int = -1) -> SequentialLR:
    """SequentialLR([LinearLR, CosineAnnealingLR])."""
    first = LinearLR(optimizer, start_factor=0.25, total_iters=warmup)
    second = CosineAnnealingLR(optimizer, T_max=total - warmup)
    return SequentialLR(optimizer, [first, second], [warmup], last_epoch=last_epoch)


def warmup_times_cosine(optimizer: Optimizer, *, warmup: int, total: int) -> ChainedScheduler:
    """ChainedScheduler([LinearLR, CosineAnnealingLR])."""
    first = LinearLR(optimizer, start_factor=0.25, total_iters=warmup)
    return ChainedScheduler([first, CosineAnnealingLR(optimizer, T_max=total)], optimizer)


def of_torch(torch: Any) -> Iterator[Column]:
    """Every closed schedule of torch.

    Yields:
        A column for each.
    """
    start: dict[str, Any] = {"first": 1.0}
    yield column(torch.StepLR, {"step_size": 4, "gamma": 0.5}, other={"step_size": 3}, ends=False, **start)
    yield column(
        torch.MultiStepLR, {"milestones": [4, 8], "gamma": 0.5}, other={"milestones": [2, 8]}, last=0.25, **start
    )
    yield column(torch.ConstantLR, {"factor": 0.5, "total_iters": 8}, other={"factor": 0.25}, first=0.5, last=1.0)
    yield column(
        torch.LinearLR,
        {"start_factor": 0.25, "total_iters": STEPS},
        other={"total_iters": 8},
        long={"total_iters": LONG},
        first=0.25,
        peak=(STEPS, 1.0),
        last=1.0,
    )
    yield column(
        torch.ExponentialLR, {"gamma": 0.875}, other={"gamma": 0.75}, long={"gamma": 0.999}, ends=False, **start
    )
    yield column(
        torch.PolynomialLR,
        {"total_iters": STEPS, "power": 2.0},
        other={"total_iters": 16},
        long={"total_iters": LONG},
        last=0.0,
        **start,
    )
    yield column(
        torch.CosineAnnealingLR, {"T_max": STEPS}, other={"T_max": 16}, long={"T_max": LONG}, last=0.0, **start
    )
    yield column(
        torch.CosineAnnealingWarmRestarts,
        {"T_0": 4, "T_mult": 2},
        other={"T_0": 3},
        long={"T_0": LONG},
        label="WarmRestarts",
        ends=False,
        peak=(4, 1.0),
        **start,
    )
    yield column(
        torch.CyclicLR,
        {"base_lr": [0.125, 0.03125], "max_lr": list(RATES), "step_size_up": 3, "cycle_momentum": False},
        other={"step_size_up": 4},
        long={"step_size_up": LONG // 2},
        ends=False,
        first=0.25,
        peak=(3, 1.0),
    )
    yield column(
        torch.OneCycleLR,
        {"max_lr": list(RATES), "total_steps": STEPS, "pct_start": 0.25},
        other={"pct_start": 0.5},
        long={"total_steps": LONG},
        first=1 / 25,
        peak=(2, 1.0),
    )
    yield column(
        torch.LambdaLR,
        {"lr_lambda": line},
        other={"lr_lambda": parabola},
        long={"lr_lambda": long_line},
        last=0.0,
        **start,
    )
    plateau = {"factor": 0.5, "patience": 1}
    yield column(
        torch.ReduceLROnPlateau,
        plateau,
        other={"patience": 3},
        resumable=False,
        ends=False,
        takes_metrics=True,
        metric=lambda step: 1.0,
        maximizing=lambda optimizer: torch.ReduceLROnPlateau(optimizer, mode="max", **plateau),
    )
    composed = {"warmup": 4, "total": STEPS}
    shared: dict[str, Any] = {"other": {"warmup": 2}, "long": {"total": LONG}, "first": 0.25, "last": 0.0}
    warmup = "LinearLR(start_factor=0.25, total_iters=4)"
    sequence = f"SequentialLR(schedulers=[{warmup}, CosineAnnealingLR(T_max=8)], milestones=[4])"
    yield column(warmup_then_cosine, composed, label="SequentialLR", call=sequence, peak=(4, 1.0), **shared)
    chain = f"ChainedScheduler([{warmup}, CosineAnnealingLR(T_max=12)])"
    yield column(warmup_times_cosine, composed, label="ChainedScheduler", call=chain, resumable=False, **shared)


def of_adaptive_lr(package: Any) -> Iterator[Column]:
    """Five schedules of this package; its tests hold all of them to all checks.

    Yields:
        A column for each.
    """
    schedules = {
        "DampedCosine": DampedCosine(exponent=2.0),
        "Warmup": Warmup(steps=4, start=0.25, then=DampedCosine()),
        "WSD": WSD(),
        "Restarts": Restarts(steps=4, mult=2, then=DampedCosine()),
    }
    for label, schedule in schedules.items():
        row = package.table([schedule], STEPS)[0].tolist()
        built = column(
            ScheduledLR,
            {"schedule": schedule, "total_steps": STEPS},
            other={"schedule": DampedCosine(exponent=5.0)},
            long={"total_steps": LONG},
            label=label,
            first=row[0],
            peak=(row.index(max(row)), max(row)),
            last=row[-1],
            takes_metrics=True,
            with_scaler=partial(_scaled, schedule),
            refused=(lambda scheduler: scheduler.extend(2),),
        )
        yield built
    plateau = {"schedule": Plateau(damping=0.5, patience=1), "total_steps": STEPS}
    yield column(
        ScheduledLR,
        plateau,
        other={"schedule": Plateau(damping=0.5, patience=3)},
        long={"total_steps": LONG},
        label="Plateau",
        resumable=False,
        ends=False,
        takes_metrics=True,
        metric=lambda step: 1.0,
        maximizing=_maximizing,
    )


def _scaled(schedule: AbstractSchedule, optimizer: Optimizer, scaler: GradScaler) -> ScheduledLR:
    return ScheduledLR(optimizer, schedule, total_steps=STEPS, grad_scaler=scaler)


def _maximizing(optimizer: Optimizer) -> ScheduledLR:
    return ScheduledLR(optimizer, Plateau(damping=0.5, patience=1, mode="max"), total_steps=STEPS)


def of_transformers(package: Any) -> Iterator[Column]:
    """The functions behind the names of ``get_scheduler`` that have a horizon.

    Yields:
        A column for each.
    """
    steps = {"num_warmup_steps": 4, "num_training_steps": STEPS}
    shared: dict[str, Any] = {"other": {"num_warmup_steps": 2}, "long": {"num_training_steps": LONG}, "peak": (4, 1.0)}
    yield column(package.get_linear_schedule_with_warmup, steps, label="linear", first=0.0, last=0.0, **shared)
    yield column(package.get_cosine_schedule_with_warmup, steps, label="cosine", first=0.0, last=0.0, **shared)
    floor = {**steps, "min_lr": 0.0625}
    yield column(
        package.get_cosine_with_min_lr_schedule_with_warmup, floor, label="cosine_with_min_lr", first=0.0, **shared
    )
    yield column(
        package.get_polynomial_decay_schedule_with_warmup,
        {**steps, "lr_end": 0.0, "power": 2.0},
        label="polynomial",
        first=0.0,
        last=0.0,
        **shared,
    )
    wsd = {**steps, "num_decay_steps": 4}
    yield column(package.get_wsd_schedule, wsd, label="wsd", first=0.0, last=0.0, **shared)


def of_pytorch_optimizer(package: Any) -> Iterator[Column]:
    """Its own classes; most of them give the same rate to all groups, so nothing is promised by group.

    Yields:
        A column for each.
    """
    linear = {"t_max": STEPS, "max_lr": RATES[0], "warmup_steps": 4}
    for name in ("LinearScheduler", "CosineScheduler", "PolyScheduler"):
        make = getattr(package, name)
        yield column(make, linear, other={"warmup_steps": 2}, long={"t_max": LONG}, resumable=False)
    yield column(
        package.REXScheduler,
        {"total_steps": STEPS, "max_lr": RATES[0]},
        other={"max_lr": 0.25},
        long={"total_steps": LONG},
        resumable=False,
    )
    yield column(
        package.CosineAnnealingWarmupRestarts,
        {"first_cycle_steps": 6, "max_lr": RATES[0], "warmup_steps": 2},
        other={"warmup_steps": 1},
        long={"first_cycle_steps": LONG},
        label="WarmupRestarts",
        ends=False,
    )
    wsd = {"num_warmup_steps": 4, "num_stable_steps": 4, "num_decay_steps": 4}
    yield column(
        package.lr_scheduler.get_wsd_schedule,
        wsd,
        other={"num_warmup_steps": 2},
        long={"num_stable_steps": LONG - 8},
        label="wsd",
        last=0.0,
    )


def of_pytorch_scheduler(package: Any) -> Iterator[Column]:
    """Three of its classes.

    Yields:
        A column for each.
    """
    steps = {"total_steps": STEPS}
    long = {"total_steps": LONG}
    yield column(package.KDecayScheduler, {**steps, "k": 1.5}, other={"k": 3.0}, long=long, first=1.0, last=0.0)
    warm = {**steps, "warmup_steps": 4}
    yield column(
        package.CosineWithWarmupScheduler,
        warm,
        other={"warmup_steps": 2},
        long=long,
        label="CosineWithWarmup",
        peak=(4, 1.0),
        last=0.0,
    )
    yield column(
        package.CosineAnnealingWarmupRestarts,
        {"first_cycle_steps": 6, "max_lr": RATES[0], "min_lr": 0.0, "warmup_steps": 2},
        other={"warmup_steps": 1},
        long={"first_cycle_steps": LONG},
        label="WarmupRestarts",
        ends=False,
    )


def of_timm(package: Any) -> Iterator[Column]:
    """Its cosine, with an adapter that counts, as its ``step`` wants the number of the step.

    Yields:
        A column for each.
    """
    yield column(
        partial(_Counting, package.CosineLRScheduler),
        {"t_initial": STEPS, "warmup_t": 4, "warmup_prefix": True},
        other={"warmup_t": 2},
        long={"t_initial": LONG},
        label="CosineLRScheduler",
        resumable=False,
        last=0.0,
    )


class _Counting:
    """Calls ``step(t)`` of a scheduler that does not count by itself."""

    def __init__(self, make: Callable[..., Any], optimizer: Optimizer, **arguments: Any) -> None:
        self.optimizer = optimizer
        self.scheduler = make(optimizer, **arguments)
        self.last_epoch = 0
        self.scheduler.step(0)

    def step(self) -> None:
        self.last_epoch += 1
        self.scheduler.step(self.last_epoch)

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch, "scheduler": self.scheduler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last_epoch = state["last_epoch"]
        self.scheduler.load_state_dict(state["scheduler"])


PACKAGES = (
    Package("torch", torch_schedulers.__name__, of_torch),
    Package("adaptive-lr", "adaptive_lr", of_adaptive_lr),
    Package("transformers", "transformers", of_transformers),
    Package("pytorch-optimizer", "pytorch_optimizer", of_pytorch_optimizer),
    Package("pytorch-scheduler", "pytorch_scheduler", of_pytorch_scheduler),
    Package("timm", "timm.scheduler", of_timm),
)
"""Where schedulers are taken from; what is not installed is left out and said to be."""

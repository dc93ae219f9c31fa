"""Schedulers that pass every check; the wrong ones differ from them in one thing."""

import copy
import math
import warnings
from typing import Any, ClassVar, cast

from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

STEPS = 12
PEAK = 3


def multiplier(step: int, floor: float, total_steps: int = STEPS) -> float:
    """From 0.25 to 1 in three steps, from there to ``floor`` along a line."""
    if step < PEAK:
        return 0.25 + 0.25 * step
    u = min((step - PEAK) / (total_steps - PEAK), 1.0)
    return 1.0 + (floor - 1.0) * u


def warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=3)


class Right(LRScheduler):
    """Base rates are the ``initial_lr`` of the groups, and nowhere else."""

    FLOOR: ClassVar[float] = 0.125

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        floor: float | None = None,
        total_steps: int = STEPS,
        last_epoch: int = -1,
        grad_scaler: GradScaler | None = None,
    ) -> None:
        self.floor = float(self.FLOOR if floor is None else floor)
        self.horizon = int(total_steps)
        self.updates = None if grad_scaler is None else Updates(optimizer)
        self.past_the_end = False
        if not hasattr(optimizer.step, "__func__"):
            cast(Any, optimizer.step)._wrapped_by_lr_sched = True
        used = any(group.get("initial_lr", group["lr"]) != group["lr"] for group in optimizer.param_groups)
        # The rates of a loaded optimizer look like rates set by hand, until a state is loaded into the scheduler.
        self.rates_are_doubtful = used and last_epoch == -1
        super().__init__(optimizer, last_epoch)
        self.constructed = [float(base) for base in self.base_lrs]

    @property
    def base_lrs(self) -> list[float | Tensor]:
        return [group["initial_lr"] for group in self.optimizer.param_groups]

    @base_lrs.setter
    def base_lrs(self, bases: list[float | Tensor]) -> None:
        for group, base in zip(self.optimizer.param_groups, bases, strict=True):
            group["initial_lr"] = base if isinstance(base, Tensor) else float(base)

    def at(self, step: int) -> float:
        return multiplier(step, self.floor, self.horizon)

    def get_lr(self) -> list[float | Tensor]:
        return [group["initial_lr"] * self.at(max(self.last_epoch, 0)) for group in self.optimizer.param_groups]

    def step(self, metrics: float | None = None) -> None:
        if hasattr(self, "constructed"):  # torch's constructor calls step() too
            if self.updates is not None and not self.updates.made():
                return
            self.adopt()
            self.look()
            self.observe(metrics)
        super().step()

    def observe(self, metrics: float | None) -> None:
        """Nothing: the schedule is driven by the step alone."""

    def adopt(self) -> None:
        present = self.at(max(self.last_epoch, 0))
        for group in self.optimizer.param_groups:
            if "initial_lr" not in group:
                group["initial_lr"] = copy.deepcopy(group["lr"]) / present if present else copy.deepcopy(group["lr"])

    def look(self) -> None:
        """Say what is about to be overwritten, or has ended."""
        if self.rates_are_doubtful:
            warn("the groups have an initial_lr, which is the base rate, and another rate, which is not used")
        self.rates_are_doubtful = False
        for group in self.optimizer.param_groups:
            if group.get("written", group["lr"]) != group["lr"]:
                warn(f"the rate {float(group['lr'])} was written by somebody else and is overwritten")
        if self.last_epoch >= self.horizon and self.at(self.last_epoch) == 0.0 and not self.past_the_end:
            self.past_the_end = True
            warn("the schedule has ended, and the rate is 0")

    def write(self) -> None:
        self.adopt()
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(float(rate))
            else:
                group["lr"] = float(rate)

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        self.write()
        self.remember()

    def remember(self) -> None:
        self._last_lr = [copy.deepcopy(group["lr"]) for group in self.optimizer.param_groups]
        for group in self.optimizer.param_groups:
            group["written"] = copy.deepcopy(group["lr"])

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch, "step_count": self._step_count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if not self.is_sound(state_dict):
            raise ValueError(f"this is not the state of a {type(self).__name__}: {state_dict}")
        self.take(state_dict)

    def is_sound(self, state: dict[str, Any]) -> bool:
        return all(type(state.get(name)) is int for name in ("last_epoch", "step_count"))

    def take(self, state: dict[str, Any]) -> None:
        self.last_epoch, self._step_count = state["last_epoch"], state["step_count"]
        self.rates_are_doubtful = False
        self.write()
        self.remember()
        loaded = [float(base) for base in self.base_lrs]
        if any(a != b for a, b in zip(loaded, self.constructed, strict=False)):
            warn(f"the base rates {loaded} of the loaded optimizer are used, not those of the new one")

    def extend(self, total_steps: int) -> None:
        """A horizon that is not over yet."""
        if total_steps <= self.last_epoch:
            raise ValueError(f"total_steps must be above {self.last_epoch}, got {total_steps}")
        self.horizon = total_steps


class Updates:
    """Tells whether an optimizer has made an update, whatever a scaler's scale does."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.count = self.seen = 0
        optimizer.register_step_post_hook(self.counted)

    def counted(self, *_: object) -> None:
        self.count += 1

    def made(self) -> bool:
        """Whether there was one since the last question."""
        before, self.seen = self.seen, self.count
        return self.count > before


class RightDownToZero(Right):
    """Ends at nothing."""

    FLOOR: ClassVar[float] = 0.0


class RightPlateau(Right):
    """Halves the rate when a metric has stood still for more than two steps."""

    def __init__(self, optimizer: Optimizer, *, maximize: bool = False, **others: Any) -> None:
        self.damping, self.waited, self.best, self.sign = 1.0, 0, math.inf, -1.0 if maximize else 1.0
        super().__init__(optimizer, **others)

    def at(self, step: int) -> float:
        return self.damping

    def is_better(self, metric: float) -> bool:
        return metric < self.best - 1e-4 * abs(self.best) if math.isfinite(self.best) else metric < self.best

    def observe(self, metrics: float | None) -> None:
        if metrics is None:
            return
        if self.is_better(self.sign * metrics):
            self.best, self.waited = self.sign * metrics, 0
        else:
            self.waited += 1
        if self.waited > 2:
            self.damping, self.waited = 0.5 * self.damping, 0

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "damping": self.damping, "waited": self.waited, "best": self.best}

    def is_sound(self, state: dict[str, Any]) -> bool:
        kinds = {"damping": float, "waited": int, "best": float}
        sound = all(type(state.get(name)) is kind for name, kind in kinds.items())
        return super().is_sound(state) and sound and not math.isnan(state["damping"] + state["best"])

    def take(self, state: dict[str, Any]) -> None:
        self.damping, self.waited, self.best = state["damping"], state["waited"], state["best"]
        super().take(state)

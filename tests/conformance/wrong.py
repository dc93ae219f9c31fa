"""A scheduler that is right, and others that are each wrong in one thing."""

import copy
import warnings
from collections import Counter
from typing import Any, Self, cast

import torch
from torch import Tensor
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


class Right(LRScheduler):
    """Passes every check; the others differ from it in one thing."""

    def __init__(
        self, optimizer: Optimizer, *, floor: float = 0.125, total_steps: int = STEPS, last_epoch: int = -1
    ) -> None:
        self.floor = floor
        self.horizon = total_steps
        if not hasattr(optimizer.step, "__func__"):
            cast(Any, optimizer.step)._wrapped_by_lr_sched = True
        super().__init__(optimizer, last_epoch)

    def at(self, step: int) -> float:
        return multiplier(step, self.floor, self.horizon)

    def get_lr(self) -> list[float | Tensor]:
        return [group["initial_lr"] * self.at(max(self.last_epoch, 0)) for group in self.optimizer.param_groups]

    def step(self, metrics: float | None = None) -> None:
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", copy.deepcopy(group["lr"]))
        super().step()

    def write(self) -> None:
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

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch, "step_count": self._step_count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.last_epoch, self._step_count = state_dict["last_epoch"], state_dict["step_count"]
        self.write()
        self.remember()


class SkipsTheFirstValue(Right):
    def at(self, step: int) -> float:
        return super().at(step) if step else 0.5


class MissesThePeak(Right):
    def at(self, step: int) -> float:
        return super().at(step) if step != PEAK else 0.9375


class EndsTooHigh(Right):
    def at(self, step: int) -> float:
        return super().at(step) if step < self.horizon else self.floor + 0.0625


class ClimbsAgain(Right):
    def at(self, step: int) -> float:
        return super().at(step) if step <= self.horizon else self.floor + 0.0625 * (step - self.horizon)


class GoesBelowZero(Right):
    def at(self, step: int) -> float:
        return super().at(step) if step <= self.horizon else self.floor - 0.0625 * (step - self.horizon)


class OneFloorForAllGroups(Right):
    def get_lr(self) -> list[float | Tensor]:
        # Only in the middle, as the case promises other values at the ends, and below the peak of the smaller group.
        low = 0.11 if 5 <= self.last_epoch < 7 else 0.0
        return [rate if float(rate) > low else low + 0.0 * rate for rate in super().get_lr()]


class TellsTheLastRateTooLate(Right):
    def step(self, metrics: float | None = None) -> None:
        before = getattr(self, "_last_lr", None)
        super().step(metrics)
        self._last_lr = before or self._last_lr


class CountsByItself(Right):
    counted = 0

    def _update_lr(self, epoch: int | None = None) -> None:
        self.counted = self.last_epoch + 1 if epoch is None else epoch
        super()._update_lr(epoch)

    def get_lr(self) -> list[float | Tensor]:
        return [group["initial_lr"] * self.at(max(self.counted, 0)) for group in self.optimizer.param_groups]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.counted = state_dict["last_epoch"]
        super().load_state_dict(state_dict)


class KeepsChanges(Right):
    """Scales what it finds, as a recursive formula does."""

    def remember(self) -> None:
        super().remember()
        self.written = [float(group["lr"]) for group in self.optimizer.param_groups]

    def _update_lr(self, epoch: int | None = None) -> None:
        held = [float(group["lr"]) for group in self.optimizer.param_groups]
        written = [*getattr(self, "written", held), *held[len(getattr(self, "written", held)) :]]
        super()._update_lr(epoch)
        for group, now, before in zip(self.optimizer.param_groups, held, written, strict=True):
            if now != before and self.last_epoch > 1:
                group["initial_lr"] *= now / before
        self.write()
        self.remember()


class TakesALoadedRateForANewBase(Right):
    """Wrong only where the optimizer is loaded between the construction and the scheduler."""

    def remember(self) -> None:
        super().remember()
        self.written = [float(group["lr"]) for group in self.optimizer.param_groups]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for group, written in zip(self.optimizer.param_groups, self.written, strict=True):
            if float(group["lr"]) != written:
                group["initial_lr"] = copy.deepcopy(group["lr"])
        super().load_state_dict(state_dict)


class BaseIsThePresentRate(Right):
    def __init__(self, optimizer: Optimizer, *, last_epoch: int = -1, **others: Any) -> None:
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group["initial_lr"] = copy.deepcopy(group["lr"])
        super().__init__(optimizer, last_epoch=last_epoch, **others)


class HoldsOnToGroups(Right):
    """Writes into the groups that it saw last when it was built or loaded; loading an optimizer makes new ones."""

    def __init__(self, optimizer: Optimizer, **others: Any) -> None:
        self.groups = optimizer.param_groups
        super().__init__(optimizer, **others)

    def write(self) -> None:
        present = self.optimizer.param_groups
        self.optimizer.param_groups = self.groups
        super().write()
        self.optimizer.param_groups = present

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.groups = self.optimizer.param_groups
        super().load_state_dict(state_dict)


class IgnoresLastEpoch(Right):
    def __init__(self, optimizer: Optimizer, *, last_epoch: int = -1, **others: Any) -> None:
        super().__init__(optimizer, **others)


class ForgetsTheLastRateWhenLoaded(Right):
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        before = self._last_lr
        super().load_state_dict(state_dict)
        self._last_lr = before


class SavesAnObject(Right):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "seen": Tally(self.last_epoch)}


class Tally:
    def __init__(self, steps: int) -> None:
        self.steps: Counter[str] = Counter(steps=steps)


class LoadsItsHyperparameters(Right):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "floor": self.floor}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.floor = state_dict["floor"]
        super().load_state_dict(state_dict)


class CopiesShareTheOptimizer(Right):
    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return copy.copy(self)


class HoldsALambda(Right):
    def __init__(self, optimizer: Optimizer, **others: Any) -> None:
        self.formula = lambda step: step
        super().__init__(optimizer, **others)


class ReplacesTensors(Right):
    def write(self) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = torch.as_tensor(rate, dtype=group["lr"].dtype) if isinstance(rate, Tensor) else rate


class RoundsAtEveryStep(Right):
    """Multiplies a tensor by the ratio of two multipliers, in the tensor's precision."""

    def write(self) -> None:
        super().write()
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor) and group["lr"].dtype == torch.float32 and self.last_epoch > 0:
                step = self.last_epoch
                before = self._last_lr[0] if group is self.optimizer.param_groups[0] else self._last_lr[1]
                group["lr"].copy_(torch.as_tensor(before) * (self.at(step) / self.at(step - 1)))


class GivesItsTensorsAway(Right):
    def remember(self) -> None:
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]


class LeavesFusedOptimizersAlone(Right):
    def at(self, step: int) -> float:
        return 1.0 if self.optimizer.defaults.get("fused") else super().at(step)


class ShiftedInSequential(Right):
    """Has a counter that SequentialLR does not know, and so does not set back."""

    counted = -1

    def _update_lr(self, epoch: int | None = None) -> None:
        self.counted = self.counted + 1 if epoch is None else epoch
        super()._update_lr(epoch)

    def write(self) -> None:
        present, self.last_epoch = self.last_epoch, self.counted
        super().write()
        self.last_epoch = present

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.counted = state_dict["last_epoch"]
        super().load_state_dict(state_dict)

    def __init__(self, optimizer: Optimizer, *, last_epoch: int = -1, **others: Any) -> None:
        self.counted = last_epoch
        super().__init__(optimizer, last_epoch=last_epoch, **others)


class NeedsThePlainStep(Right):
    """Reads ``optimizer.step.__func__``, as torch does."""

    def __init__(self, optimizer: Optimizer, **others: Any) -> None:
        if not hasattr(optimizer.step, "_wrapped_by_lr_sched"):
            assert cast(Any, optimizer.step).__func__ is not None
        super().__init__(optimizer, **others)


class BreaksOnNewGroups(Right):
    def get_lr(self) -> list[float | Tensor]:
        zipped = zip(self.base_lrs, self.optimizer.param_groups, strict=True)
        return [base * self.at(max(self.last_epoch, 0)) for base, _ in zipped]


class ForgetsNewGroups(Right):
    def get_lr(self) -> list[float | Tensor]:
        groups = self.optimizer.param_groups
        return [*super().get_lr()[: len(self.base_lrs)], *(group["lr"] for group in groups[len(self.base_lrs) :])]


class WarnsAtTheFirstStep(Right):
    def step(self, metrics: float | None = None) -> None:
        if self._step_count == 1:
            warnings.warn("step() before optimizer.step()", UserWarning, stacklevel=2)
        super().step(metrics)


class WarnsWhenLoaded(Right):
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        warnings.warn("the optimizer should be loaded as well", UserWarning, stacklevel=2)
        super().load_state_dict(state_dict)


class IsFrozenByAccelerate(Right):
    def __init__(self, optimizer: Optimizer, **others: Any) -> None:
        self.total_steps = STEPS
        super().__init__(optimizer, **others)


class TakesNoMetrics(Right):
    def step(self) -> None:  # type: ignore[override]
        super().step()


class OnlyTheFirstOfAChain(Right):
    """Holds its value where another scheduler was on the optimizer before and nothing sets it to the start."""

    def __init__(self, optimizer: Optimizer, *, last_epoch: int = -1, **others: Any) -> None:
        self.waits = last_epoch == -1 and all(
            group.get("initial_lr") == group["lr"] for group in optimizer.param_groups
        )
        super().__init__(optimizer, last_epoch=last_epoch, **others)

    def at(self, step: int) -> float:
        return super().at(0 if self.waits else step)

    def _update_lr(self, epoch: int | None = None) -> None:
        self.waits = self.waits and epoch is None
        super()._update_lr(epoch)


WRONG: dict[type[Right], str] = {
    SkipsTheFirstValue: "first_value",
    MissesThePeak: "peak",
    EndsTooHigh: "last_value",
    ClimbsAgain: "holds_past_the_horizon",
    GoesBelowZero: "holds_past_the_horizon",
    OneFloorForAllGroups: "groups_keep_their_ratio",
    TellsTheLastRateTooLate: "last_lr_at_every_step",
    CountsByItself: "get_lr_is_pure",
    KeepsChanges: "manual_change_is_not_kept",
    TakesALoadedRateForANewBase: "resume",
    BaseIsThePresentRate: "resume_optimizer_before_construction",
    HoldsOnToGroups: "resume_scheduler_first",
    IgnoresLastEpoch: "resume_by_last_epoch",
    ForgetsTheLastRateWhenLoaded: "last_lr_after_loading",
    SavesAnObject: "state_is_plain_data",
    LoadsItsHyperparameters: "changed_hyperparameters",
    CopiesShareTheOptimizer: "deepcopy",
    HoldsALambda: "pickle",
    ReplacesTensors: "tensor_rates_stay_in_place",
    RoundsAtEveryStep: "tensor_rates_do_not_drift",
    GivesItsTensorsAway: "last_lr_is_a_copy",
    LeavesFusedOptimizersAlone: "fused_and_foreach",
    ShiftedInSequential: "inside_sequential",
    OnlyTheFirstOfAChain: "inside_chained",
    BreaksOnNewGroups: "added_group",
    ForgetsNewGroups: "added_group",
    NeedsThePlainStep: "wrapped_step",
    WarnsAtTheFirstStep: "no_false_warnings",
    WarnsWhenLoaded: "no_false_warnings_after_resuming",
    IsFrozenByAccelerate: "driven_like_accelerate",
    TakesNoMetrics: "driven_like_lightning",
}

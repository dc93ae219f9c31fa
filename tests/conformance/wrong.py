"""Schedulers that are each wrong in one thing."""

import copy
import warnings
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from tests.conformance.right import PEAK, STEPS, Right


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

    def take(self, state: dict[str, Any]) -> None:
        self.counted = state["last_epoch"]
        super().take(state)


class KeepsChanges(Right):
    """Scales what it finds, as a recursive formula does."""

    def _update_lr(self, epoch: int | None = None) -> None:
        for group in self.optimizer.param_groups:
            now, before = float(group["lr"]), float(group.get("written", group["lr"]))
            if now != before and self.last_epoch > 0:
                group["initial_lr"] *= now / before
        super()._update_lr(epoch)


class TakesALoadedRateForANewBase(Right):
    """Wrong only where the optimizer is loaded between the construction and the scheduler, after one update."""

    def take(self, state: dict[str, Any]) -> None:
        if state["last_epoch"] == 1 and float(self.optimizer.param_groups[0]["lr"]) != 0.25 * self.constructed[0]:
            for group in self.optimizer.param_groups:
                group["initial_lr"] = copy.deepcopy(group["lr"])
            self.constructed = [float(base) for base in self.base_lrs]
        super().take(state)


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

    def take(self, state: dict[str, Any]) -> None:
        self.groups = self.optimizer.param_groups
        super().take(state)


class IgnoresLastEpoch(Right):
    def __init__(self, optimizer: Optimizer, *, last_epoch: int = -1, **others: Any) -> None:
        super().__init__(optimizer, **others)


class ForgetsTheLastRateWhenLoaded(Right):
    def take(self, state: dict[str, Any]) -> None:
        before = self._last_lr
        super().take(state)
        self._last_lr = before


class SavesAnObject(Right):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "seen": Tally(self.last_epoch)}


@dataclass
class Tally:
    steps: int


class LoadsItsHyperparameters(Right):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "floor": self.floor}

    def is_sound(self, state: dict[str, Any]) -> bool:
        return super().is_sound(state) and type(state.get("floor")) is float and 0.0 <= state["floor"] < 1.0

    def take(self, state: dict[str, Any]) -> None:
        self.floor = state["floor"]
        super().take(state)


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

    loading = False

    def take(self, state: dict[str, Any]) -> None:
        self.loading = True
        super().take(state)
        self.loading = False

    def write(self) -> None:
        before = [copy.deepcopy(group["lr"]) for group in self.optimizer.param_groups]
        super().write()
        ratio = self.at(self.last_epoch) / self.at(max(self.last_epoch - 1, 0))
        for group, rate in zip(self.optimizer.param_groups, before, strict=True):
            if isinstance(rate, Tensor) and rate.dtype == torch.float32 and self.last_epoch > 0 and not self.loading:
                group["lr"].copy_(rate * ratio)


class GivesItsTensorsAway(Right):
    def remember(self) -> None:
        super().remember()
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

    def take(self, state: dict[str, Any]) -> None:
        self.counted = state["last_epoch"]
        super().take(state)

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
        if len(self.optimizer.param_groups) > len(getattr(self, "constructed", self.optimizer.param_groups)):
            raise ValueError("zip() argument 2 is longer than argument 1")
        return super().get_lr()


class ForgetsNewGroups(Right):
    def get_lr(self) -> list[float | Tensor]:
        groups = self.optimizer.param_groups
        known = len(getattr(self, "constructed", groups))
        return [*super().get_lr()[:known], *(group["lr"] for group in groups[known:])]


class WarnsAtTheFirstStep(Right):
    def step(self, metrics: float | None = None) -> None:
        if self._step_count == 1:
            warnings.warn("step() before optimizer.step()", UserWarning, stacklevel=2)
        super().step(metrics)


class WarnsWhenLoaded(Right):
    def take(self, state: dict[str, Any]) -> None:
        warnings.warn("the optimizer should be loaded as well", UserWarning, stacklevel=2)
        super().take(state)


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

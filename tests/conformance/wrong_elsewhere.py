"""Schedulers that are each wrong in one thing: among groups, elsewhere, with other people's numbers, or in silence."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from tests.conformance.right import Right, RightDownToZero, RightPlateau


class AddsUpInSharedTensors(Right):
    """Zeroes every tensor and then adds to each, as two calls for all of them do."""

    def write(self) -> None:
        super().write()
        tensors = [group["lr"] for group in self.optimizer.param_groups if isinstance(group["lr"], Tensor)]
        numbers = [
            float(rate)
            for rate, group in zip(self.get_lr(), self.optimizer.param_groups, strict=True)
            if isinstance(group["lr"], Tensor)
        ]
        for tensor in tensors:
            tensor.zero_()
        for tensor, number in zip(tensors, numbers, strict=True):
            tensor.add_(number)


class TakesAPresentRateForABase(Right):
    def adopt(self) -> None:
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", float(group["lr"]) + 0.0 * group["lr"])


class IgnoresAnInitialRate(Right):
    def adopt(self) -> None:
        known = getattr(self, "known", None)
        if known is None:
            self.known = known = len(self.optimizer.param_groups)
        for group in self.optimizer.param_groups[known:]:
            if "written" not in group:
                group.pop("initial_lr", None)
        self.known = len(self.optimizer.param_groups)
        super().adopt()


class CountsConstructedGroups(Right):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "groups": len(self.optimizer.param_groups)}

    def is_sound(self, state: dict[str, Any]) -> bool:
        return super().is_sound(state) and state.get("groups") == len(self.constructed)


class NeedsEveryGroup(Right):
    most = 0

    def write(self) -> None:
        self.most = max(self.most, len(self.optimizer.param_groups))
        if len(self.optimizer.param_groups) < self.most:
            raise IndexError("list index out of range")
        super().write()


class LooksAtTheFirstParameter(Right):
    def write(self) -> None:
        for group in self.optimizer.param_groups:
            assert group["params"][0].device is not None
        super().write()


class KeepsOldBaseRates(Right):
    """Takes the base rates of the state, as torch does, and says nothing."""

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "bases": [float(base) for base in self.base_lrs]}

    def is_sound(self, state: dict[str, Any]) -> bool:
        return super().is_sound(state) and isinstance(state.get("bases"), list)

    def take(self, state: dict[str, Any]) -> None:
        for group, base in zip(self.optimizer.param_groups, state["bases"], strict=True):
            group["initial_lr"] = base + 0.0 * group["lr"]
        self.constructed = state["bases"]
        super().take(state)


class MatchesArgumentsByPlace(Right):
    def __init__(self, optimizer: Optimizer, **arguments: Any) -> None:
        self.arguments = list(arguments)
        super().__init__(optimizer, **arguments)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "arguments": list(self.arguments)}

    def take(self, state: dict[str, Any]) -> None:
        super().take(state)
        if state.get("arguments") == self.arguments[::-1] != self.arguments:
            self.floor = 0.5


class RevivesZeroRates(Right):
    """Writes its rate before every update that finds a rate of 0, whoever makes it."""

    def __init__(self, optimizer: Optimizer, **others: Any) -> None:
        super().__init__(optimizer, **others)
        optimizer.register_step_pre_hook(self.revive)

    def revive(self, *_: object) -> None:
        for group in self.optimizer.param_groups:
            if float(group["lr"]) == 0.0:
                group["lr"] = group["written"]


class CountsOnATensor(Right):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "floor": torch.tensor(self.floor, device="cpu")}

    def is_sound(self, state: dict[str, Any]) -> bool:
        return super().is_sound(state) and isinstance(state.get("floor"), Tensor)

    def take(self, state: dict[str, Any]) -> None:
        assert math.isfinite(float(state["floor"]))
        super().take(state)


class ComparesScales(Right):
    """Takes a scale that is lower than the one it knows for a skipped update."""

    def __init__(self, optimizer: Optimizer, *, grad_scaler: Any = None, **others: Any) -> None:
        self.scaler, self.scale = grad_scaler, 0.0 if grad_scaler is None else grad_scaler.get_scale()
        super().__init__(optimizer, **others)

    def step(self, metrics: float | None = None) -> None:
        if self.scaler is not None:
            before, self.scale = self.scale, self.scaler.get_scale()
            if self.scale < before:
                return
        super().step(metrics)


class TakesHalfOfAState(Right):
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if type(state_dict.get("last_epoch")) is int:
            self.last_epoch = state_dict["last_epoch"]
        super().load_state_dict(state_dict)


class TakesAnyState(Right):
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if type(state_dict.get("last_epoch")) is int and type(state_dict.get("step_count")) is int:
            super().load_state_dict(state_dict)


class OverwritesWithoutAWord(Right):
    def remember(self) -> None:
        super().remember()
        for group in self.optimizer.param_groups:
            del group["written"]


class ReadsItsBasesOnce(Right):
    """Has ``base_lrs`` for show."""

    @property
    def base_lrs(self) -> list[float | Tensor]:
        return [group["initial_lr"] for group in self.optimizer.param_groups]

    @base_lrs.setter
    def base_lrs(self, bases: list[float | Tensor]) -> None:
        pass


class TakesTheOldBaseForGranted(Right):
    def look(self) -> None:
        self.rates_are_doubtful = False
        super().look()


class EndsWithoutAWord(RightDownToZero):
    past_the_end = True

    def look(self) -> None:
        self.past_the_end = True
        super().look()


class RepeatsTheEnd(RightDownToZero):
    def look(self) -> None:
        self.past_the_end = False
        super().look()


class ExtendsBeforeItRefuses(Right):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "horizon": self.horizon}

    def is_sound(self, state: dict[str, Any]) -> bool:
        return super().is_sound(state) and type(state.get("horizon")) is int

    def extend(self, total_steps: int) -> None:
        self.horizon = total_steps
        super().extend(total_steps)


class IgnoresBadExtensions(Right):
    def extend(self, total_steps: int) -> None:
        if total_steps > self.last_epoch:
            super().extend(total_steps)


class NeedsPythonRates(Right):
    def __init__(self, optimizer: Optimizer, **others: Any) -> None:
        if any(isinstance(group["lr"], np.generic) for group in optimizer.param_groups):
            raise ValueError("a rate must be a number")
        super().__init__(optimizer, **others)


class SavesNumPyRates(Right):
    """Keeps the kind of number that it was given."""

    def __init__(self, optimizer: Optimizer, **others: Any) -> None:
        self.kinds = [group["lr"] for group in optimizer.param_groups if isinstance(group["lr"], np.generic)]
        super().__init__(optimizer, **others)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), **{f"kind {index}": kind for index, kind in enumerate(self.kinds)}}


class NeedsPythonNumbers(Right):
    def __init__(self, optimizer: Optimizer, *, total_steps: int = 12, **others: Any) -> None:
        if not isinstance(total_steps, int):
            raise TypeError(f"total_steps must be a whole number, got {total_steps}")
        super().__init__(optimizer, total_steps=total_steps, **others)


class ComputesOnTheDefaultDevice(Right):
    def at(self, step: int) -> float:
        return float(torch.tensor(super().at(step), dtype=torch.float64))


class LooksBackAtEveryStep(Right):
    def step(self, metrics: float | None = None) -> None:
        sum(range(min(self.horizon // 100, 10_000)))
        super().step(metrics)


class HasATable(Right):
    def __init__(self, optimizer: Optimizer, *, total_steps: int = 12, **others: Any) -> None:
        self.table = bytearray(8 * total_steps)
        super().__init__(optimizer, total_steps=total_steps, **others)


class SavesItsTable(Right):
    def state_dict(self) -> dict[str, Any]:
        table = {"table": b"0" * (self.horizon // 10)} if self.horizon > 10_000 else {}
        return {**super().state_dict(), **table}


class HasANegativeMargin(RightPlateau):
    def is_better(self, metric: float) -> bool:
        return metric < self.best - 1e-4 * self.best if math.isfinite(self.best) else metric < self.best


class KnowsOneMode(RightPlateau):
    def __init__(self, optimizer: Optimizer, *, maximize: bool = False, **others: Any) -> None:
        super().__init__(optimizer, **others)


class MovesTheBestWhenMaximizing(RightPlateau):
    def is_better(self, metric: float) -> bool:
        return super().is_better(metric) or (self.sign < 0.0 and metric > self.best + 1.0)


WRONG_ELSEWHERE: dict[type[Right], str] = {
    AddsUpInSharedTensors: "shared_tensor_rate",
    TakesAPresentRateForABase: "rate_of_added_group",
    IgnoresAnInitialRate: "initial_rate_of_added_group",
    CountsConstructedGroups: "group_added_before_loading",
    NeedsEveryGroup: "removed_group",
    LooksAtTheFirstParameter: "emptied_group",
    KeepsOldBaseRates: "changed_base_rates",
    MatchesArgumentsByPlace: "reordered_arguments",
    RevivesZeroRates: "foreign_update",
    CountsOnATensor: "map_location",
    ComparesScales: "grad_scaler",
    TakesHalfOfAState: "damaged_state",
    TakesAnyState: "damaged_state",
    OverwritesWithoutAWord: "rate_written_by_hand",
    ReadsItsBasesOnce: "base_rates_set_by_hand",
    TakesTheOldBaseForGranted: "second_phase",
    EndsWithoutAWord: "told_past_the_end",
    RepeatsTheEnd: "told_past_the_end",
    ExtendsBeforeItRefuses: "refused_call",
    IgnoresBadExtensions: "refused_call",
    NeedsPythonRates: "numpy_rates",
    SavesNumPyRates: "numpy_rates",
    NeedsPythonNumbers: "numpy_arguments",
    ComputesOnTheDefaultDevice: "default_device",
    LooksBackAtEveryStep: "cost_of_a_step",
    HasATable: "memory_of_a_long_run",
    SavesItsTable: "memory_of_a_long_run",
    HasANegativeMargin: "negative_metric",
    KnowsOneMode: "maximized_metric",
    MovesTheBestWhenMaximizing: "maximized_metric",
}

"""The rates that a scheduler wrote into an optimizer, and whether they are still there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor


class Written:
    """What was written last. A tensor is read only where another one stands in its place, for that may wait for an accelerator."""

    def __init__(self) -> None:
        self._rates: list[float | Tensor] = []
        self._versions: list[int] = []

    def take(self, groups: Sequence[dict[str, Any]]) -> None:
        """Take what is there now for what was written."""
        self._rates = [group["lr"] for group in groups]
        self._versions = [_version(rate) for rate in self._rates]

    def intact(self, groups: Sequence[dict[str, Any]]) -> bool:
        """Whether every rate is still what was written; groups that came later do not count."""
        return self.changed(groups) is None

    def changed(self, groups: Sequence[dict[str, Any]]) -> int | None:
        """The first group with another rate than was written, if there is one."""
        for index, (group, rate, version) in enumerate(zip(groups, self._rates, self._versions, strict=False)):
            present = group["lr"]
            if present is rate and version == _version(present):
                continue
            if present is rate or float(present) != float(rate):
                return index
        return None

    def rate(self, index: int) -> float:
        """The rate that was written into a group, or what became of it in its tensor."""
        return float(self._rates[index])


def _version(rate: float | Tensor) -> int:
    return rate._version if isinstance(rate, Tensor) else 0

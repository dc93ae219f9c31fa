"""Whether the optimizer made an update since it was last asked, under a gradient scaler."""

from __future__ import annotations

import weakref
from typing import Any

from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from adaptive_lr.feedback.attachment import bare, weakly


class Updates:
    """Sees the optimizer's steps by a hook, and what the scaler found in the gradients of that very step.

    Comparing the scale with that of before is not enough: it also falls where a state is loaded or a person sets it.
    """

    def __init__(self, optimizer: Optimizer, scaler: GradScaler) -> None:
        self.scaler = scaler
        self._seen = self._made = False
        self._scale: float | None = scaler.get_scale()
        self.attach(optimizer)

    def attach(self, optimizer: Optimizer) -> None:
        """Look at this optimizer for as long as this object lives; a copy has no hooks."""
        hook = bare(optimizer).register_step_post_hook(weakly(self._after_step))
        # None replaces another's: of schedulers that are composed, each asks for itself.
        weakref.finalize(self, hook.remove)

    def forget(self) -> None:
        """A state was loaded: what came before does not count."""
        self._made, self._scale = False, None

    def skipped(self) -> bool:
        """Whether there was no update since the last call."""
        made, self._made = self._made, False
        if self._seen:
            return not made
        # No step was ever seen: the first ones may have been skipped, or the optimizer does not call its hooks.
        before, self._scale = self._scale, self.scaler.get_scale()
        return before is not None and self._scale < before

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        self._seen = True
        verdict: Any = getattr(optimizer, "found_inf", None)  # what a fused optimizer goes by
        if verdict is None:
            states: dict[Any, Any] = getattr(self.scaler, "_per_optimizer_states", {})
            verdict = sum(
                float(value) for value in states.get(id(optimizer), {}).get("found_inf_per_device", {}).values()
            )
        self._made = self._made or not bool(verdict)

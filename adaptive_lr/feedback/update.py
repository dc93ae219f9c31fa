"""A controller at work: what the torch scheduler and the batched trainer have in common."""

from __future__ import annotations

import re
import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adaptive_lr.controllers.base import EXACT, HALF, AbstractController, Moment, Observation, Signal, bounded
from adaptive_lr.errors import SpecError
from adaptive_lr.feedback.statistics import Replay, Space, Statistics, Vector

RESOLUTION = {
    kind: torch.tensor(share * torch.finfo(kind).eps, dtype=torch.float64)
    for kind, share in ((torch.float64, 1.0), (torch.float32, 1.0), (torch.float16, 0.25), (torch.bfloat16, 0.25))
}
"""By the precision of a loss; sums in half precision are made in single, so that only the last rounding counts."""

TOLD = (1, 10)
"""The rescues of which is told."""

_NUMBER = re.compile(r"-?\d[\d.]*(e[-+]?\d+)?")
"""What may differ in a remark that is the same all the same."""


class Part(NamedTuple):
    """The gradient of the first part of a minibatch."""

    square: Tensor
    """Its squared norm, ``[B]``."""
    share: float = 0.5
    """Which part of the minibatch that is."""


class Control:
    """One controller for B trials, around their updates.

    For every update: `before`, then the optimizer's step at the multiplier that it returns, then `after`.

    Args:
        controller: the rule.
        space: where the parameters of the trials are.

    Raises:
        SpecError: the controller asks for what cannot be seen of these parameters.
    """

    def __init__(self, controller: AbstractController, space: Space) -> None:
        space.prepare(controller.needs)
        self.controller = controller
        self.space = space
        self.statistics = Statistics(space)
        self.state: Any = controller.init(space.trials)
        self.trial = torch.ones(space.trials, dtype=torch.float64, device="cpu")
        self.ignored = torch.zeros(space.trials, dtype=torch.float64, device="cpu")
        """How often something that was not finite was seen, ``[B]``."""
        self.kept = torch.zeros(space.trials, dtype=torch.bool, device="cpu")
        """Which trials have something to go back to, ``[B]``."""
        self.restored = torch.zeros(space.trials, dtype=torch.bool, device="cpu")
        """Which trials went back to what was kept in the last update, ``[B]``."""
        self.rescues = torch.zeros(space.trials, dtype=torch.float64, device="cpu")
        """How often they did so, ``[B]``."""
        self._step = 0
        self._seen_at: Moment | None = None
        self._remarked: set[str] = set()
        self._held: tuple[Moment | None, Any, Tensor] = None, None, self.trial
        self._nobody = torch.zeros(space.trials, dtype=torch.bool, device="cpu")
        self.silent = False
        """Whether `tell` says nothing."""
        self.seen: dict[str, Tensor] = {}
        """What was seen of the last update, by the names of `Observation`."""

    def held(self, now: Moment) -> Tensor:
        """The multiplier before the update at ``now``, finite and not negative, ``[B]``."""
        known, state, multiplier = self._held
        if known is now and state is self.state:
            return multiplier
        multiplier = _safe(self.controller.multiplier(self.state, now), now)
        self._held = now, self.state, multiplier
        return multiplier

    def before(self, now: Moment, *, probing: bool = True) -> Tensor:
        """Read what comes before the step; the multiplier to make it at, ``[B]``: what is held where nothing is to be probed."""
        signals = self.controller.signals(now.step, now.total_steps)
        self.statistics.before(signals, self.controller.signals(now.step + 1, now.total_steps))
        if Signal.STEP in signals:
            trial = self.controller.trial(self.state, now) if probing else self.held(now)
            self.trial = bounded(_safe(trial, now))  # the step is divided by it
        else:
            self.trial = self.held(now)  # what is not seen cannot be revised
        return self.trial

    def after(
        self,
        now: Moment,
        loss: Tensor | None,
        replay: Replay,
        part: Part | None = None,
        metric: Tensor | None = None,
    ) -> Tensor:
        """Read what the step led to, let the controller decide, revise the step; the multiplier it ended with, ``[B]``.

        Args:
            now: the same as in `before`.
            loss: the minibatch's loss, ``[B]``, if it was asked for.
            replay: evaluates the loss again.
            part: what the gradient of the minibatch's first part was, if it was asked for.
            metric: what was measured before the update on data that is not trained on, ``[B]``; None if nothing was.
        """
        signals = self.controller.signals(now.step, now.total_steps)
        if not signals & ~Signal.START:
            self.seen, self.restored = {}, self._nobody
            return self.trial
        if loss is not None:
            self.statistics.values["loss"] = loss
        if part is not None:
            self.statistics.values["half_square"] = part.square
        if metric is not None and Signal.METRIC in signals:
            self.statistics.values["metric"] = metric
        self.statistics.after(signals, self.trial, replay)
        resolution = self._resolution()
        self.seen = self.statistics.gathered()
        share = HALF if part is None else torch.tensor(part.share, dtype=torch.float64)
        beta = self.space.memory if Signal.DISTANCE in signals else 0.0
        memory = torch.tensor(beta, dtype=torch.float64, device="cpu")
        seen = Observation(
            now=now, trial=self.trial, part_share=share, resolution=resolution, memory=memory, **self.seen
        )
        state, decided = self.controller.update(self.state, seen)
        self._seen_at = now
        sound = _sound(seen, signals)
        made = self.trial
        if Signal.STEP in signals:
            usable = seen.descent.isfinite() & decided.isfinite() & (decided > 0.0)
            made = torch.where(usable, decided, 0.0)
            if not torch.equal(made, self.trial):
                self.statistics.revise(made / self.trial)
        # From here on nothing can fail but going back: what raised before has taught the controller nothing.
        self.state = state
        if not bool(sound.all()):
            self.ignored = self.ignored + (~sound).to(torch.float64)
        fallen = self.controller.restores(state)
        if Signal.KEEP in signals:
            # What was copied before the first step is all there is, even if the loss of the first minibatch is not finite.
            self.space.confirm(sound | ~self.kept)
            self.kept = torch.ones_like(sound)
        if fallen is not None:
            fallen = fallen & self.kept  # nothing is claimed that was none
        self.restored = self._nobody if fallen is None else fallen
        self._step = now.step
        if fallen is not None and bool(fallen.any()):
            self.rescues = self.rescues + self.restored.to(torch.float64)
            self.space.restore(self.restored)
            made = torch.where(self.restored, 0.0, made)
        return made

    def _resolution(self) -> Tensor:
        """The distance of 1 from the next larger number in the coarsest precision of what the probe showed."""
        values = self.statistics.values
        read = [values[name] for name in ("probe_loss", "probe_descent") if name in values]
        kinds = {value.dtype for value in read}
        if any(value.device.type != "cpu" for value in read):
            kinds.add(torch.float32)  # in which they are gathered
        return max((RESOLUTION[kind] for kind in kinds), default=EXACT, key=float)

    def tell(self) -> None:
        """Warn if the last update was the first of the one trial to be rescued, or the tenth: training must not seem to go well then."""
        if not self.silent:
            self._tell_remark()
        if self.silent or not bool(self.restored[0]) or (count := int(self.rescues[0])) not in TOLD:
            return
        scale = self.controller.readings(self.state).get("scale")
        rate = "" if scale is None else f", and the rate is multiplied by {float(scale[0]):g} from here on"
        times = "" if count == 1 else f", for the {count}th time"
        warnings.warn(
            f"step {self._step}: loss or gradient is not finite{times}; parameters, optimizer state and buffers went back to the last copy{rate}",
            UserWarning,
            stacklevel=3,
        )

    def _tell_remark(self) -> None:
        """Warn of what the controller remarks on after an update that it saw; of the same, whatever its numbers, once."""
        seen_at, self._seen_at = self._seen_at, None
        text = None if seen_at is None else self.controller.remark(self.state, seen_at)
        if text is not None and (remark := _NUMBER.sub("#", text)) not in self._remarked:
            self._remarked.add(remark)
            warnings.warn(text, UserWarning, stacklevel=4)

    def state_dict(self) -> dict[str, Any]:
        """The controller's state and what the statistics remember, as plain data and tensors."""
        buffers = {
            name: [piece.clone() for piece in vector]
            for name, vector in self.statistics.buffers.items()
            if name != "gradient" or self.space.intact(vector)
        }
        return {
            "state": flattened(self.state),
            "trial": self.trial.clone(),
            "ignored": self.ignored.clone(),
            "kept": self.kept.clone(),
            "rescues": self.rescues.clone(),
            "values": {name: value.clone() for name, value in self.statistics.values.items()},
            "buffers": buffers,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
            SpecError: the controller can never have been in that state; nothing was changed.
        """
        # Wherever the state was loaded to: what is the controller's lives on the CPU, what is the parameters' beside them.
        template, tensors = self.controller.init(self.space.trials), list(saved["state"])
        if len(tensors) != (expected := len(flattened(template))):
            kind = type(self.controller).__name__
            raise SpecError(
                f"the state of {kind} has {len(tensors)} parts, of this version it has {expected}: train from the start"
            )
        state = rebuilt(
            template, [tensor.to("cpu", copy=True) if isinstance(tensor, Tensor) else tensor for tensor in tensors]
        )
        self.controller.check_state(state, self.space.trials)
        self.state = state
        self.trial, self.ignored, self.kept, self.rescues = (
            saved[name].to("cpu", copy=True) for name in ("trial", "ignored", "kept", "rescues")
        )
        parameters = self.space.parameters()
        first = parameters[0].device
        self.statistics.values = {name: value.to(first, copy=True) for name, value in saved["values"].items()}
        buffers: dict[str, Vector] = saved["buffers"]
        self.statistics.buffers = {
            name: [
                piece.to(parameters[index].device if len(vector) == len(parameters) else first, copy=True)
                for index, piece in enumerate(vector)
            ]
            for name, vector in buffers.items()
        }


def flattened(state: Any) -> list[Tensor]:
    """The tensors in a state of (nested) named tuples, in order."""
    if isinstance(state, Tensor):
        return [state]
    return [tensor for part in state for tensor in flattened(part)]


def rebuilt(template: Any, tensors: list[Tensor]) -> Any:
    """A state like ``template`` from the tensors of `flattened`, which are used up."""
    if isinstance(template, Tensor):
        return tensors.pop(0)
    parts = [rebuilt(part, tensors) for part in template]
    return type(template)(*parts)


def _safe(multiplier: Tensor, now: Moment) -> Tensor:
    """Where a rule went wrong, the schedule itself."""
    return torch.where(multiplier.isfinite() & (multiplier >= 0.0), multiplier, now.scheduled)


def _sound(seen: Observation, signals: Signal) -> Tensor:
    """Where loss and gradient, as far as they were asked for, are finite."""
    sound = torch.ones_like(seen.trial, dtype=torch.bool)
    for signal, value in ((Signal.LOSS, seen.loss), (Signal.GRADIENT, seen.gradient_square)):
        if signal in signals:
            sound = sound & value.isfinite()
    return sound

"""The gradient of one step, remembered for the next."""

from __future__ import annotations

import operator

import torch

from adaptive_lr.feedback.statistics import Vector


class LastGradient:
    """By reference where every step makes new tensors, as after ``zero_grad(set_to_none=True)``; copied elsewhere.

    The first is copied and referred to as well, and if the references are still sound when the next one comes, they do from then on.
    Should a loop that made new tensors ever write into old ones, that one gradient is lost, and copies are made again. Only on the CPU:
    captured graphs of an accelerator use their memory again without a trace.
    """

    def __init__(self) -> None:
        self._references: Vector = []
        self._versions: list[int] = []
        self._copy: Vector = []
        self._sound: bool | None = None

    def keep(self, gradients: Vector) -> Vector:
        """What stands for the gradients until the next step."""
        if self._sound is not False and any(gradient.device.type != "cpu" for gradient in gradients):
            self._sound = False
        if self._sound is not False:
            self._references, self._versions = list(gradients), [gradient._version for gradient in gradients]
            if self._sound:
                self._copy = []
                return self._references
        if len(self._copy) == len(gradients):
            torch._foreach_copy_(self._copy, gradients)
        else:
            self._copy = [gradient.detach().clone() for gradient in gradients]
        return self._copy

    def intact(self, remembered: Vector, present: Vector | None = None) -> bool:
        """Whether what `keep` returned is what it was, now that the ``present`` gradients are there."""
        if not self._references or (self._sound and not self._refers_to(remembered)):
            return True
        sound = self._versions == [reference._version for reference in self._references]
        if present is not None:
            pairs = zip(self._references, present, strict=True)
            sound = sound and all(reference.data_ptr() != gradient.data_ptr() for reference, gradient in pairs)
            if self._sound is None or not sound:
                by_reference, self._sound = bool(self._sound), sound
                self._references = self._references if sound else []
                return sound or not by_reference
        return sound or not self._sound

    def _refers_to(self, remembered: Vector) -> bool:
        """Whether these are the very tensors, and not what a state or a longer gradient was made of."""
        return len(remembered) == len(self._references) and all(map(operator.is_, remembered, self._references))

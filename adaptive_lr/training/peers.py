"""Optimizers of other packages that set their learning rate or do without a schedule, to be compared with."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

from torch import Tensor
from torch.optim import Optimizer

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import choice, number, spec
from adaptive_lr.training.base import AbstractOptimizer, FlatState, StackedUpdate


@dataclass(frozen=True)
class _Source:
    """Where an optimizer comes from, and what it is given besides the fields of `Peer`."""

    package: str
    module: str
    name: str
    momentum: str = "betas"
    settings: tuple[tuple[str, Any], ...] = ()


_SOURCES = {
    "schedulefree_sgd": _Source("schedulefree", "schedulefree", "SGDScheduleFree", "momentum"),
    "schedulefree_adamw": _Source("schedulefree", "schedulefree", "AdamWScheduleFree"),
    # A schedule may have a warm-up, for which Prodigy's documentation asks for the safeguard.
    "prodigy": _Source("prodigyopt", "prodigyopt", "Prodigy", settings=(("safeguard_warmup", True),)),
    "dadapt_sgd": _Source("dadaptation", "dadaptation", "DAdaptSGD", "momentum"),
    # Prodigy decouples the weight decay by default, and AdamW is what both are compared with.
    "dadapt_adam": _Source("dadaptation", "dadaptation", "DAdaptAdam", settings=(("decouple", True),)),
    "momo": _Source("momo-opt", "momo", "Momo", "beta"),
    "momo_adam": _Source("momo-opt", "momo", "MomoAdam"),
}

_BETA2 = 0.999


@spec
class Peer(AbstractOptimizer):
    """An optimizer of another package, with its documented settings; ``pip install 'adaptive-lr[peers]'`` installs them all.

    What the trial's rate eta, base rate times schedule, means to each:

    - ``schedulefree_sgd``, ``schedulefree_adamw``: the step size; gradients at y = (1 - momentum) z + momentum x, metrics at the
      average x (Defazio et al. 2024, arXiv:2405.15682). Meant for a constant schedule, with or without a warm-up.
    - ``prodigy`` (Mishchenko & Defazio 2023, arXiv:2306.06101), ``dadapt_sgd``, ``dadapt_adam`` (Defazio & Mishchenko 2023,
      arXiv:2301.07733): a multiplier of the rate that they estimate, best left at a base rate of 1. With the safeguard that
      warm-up needs, the estimate of ``prodigy`` itself grows with a constant multiplier.
    - ``momo``, ``momo_adam``: the largest rate; the step size min(eta, (loss - 0 + …) / |d|^2) is below it near the lower bound
      0 of the loss (Schaipp et al. 2023, arXiv:2305.07583).

    ``momentum`` is beta1 where the method is a kind of Adam, with beta2 = 0.999; 0.9 is the default of all these packages but of
    D-Adaptation's SGD, where it is 0. Weight decay is decoupled from the gradient but in ``schedulefree_sgd`` and ``dadapt_sgd``.
    """

    kind = "peer"
    batched: ClassVar[bool] = False
    name: str = choice(tuple(_SOURCES))
    momentum: float = number("[0, 1)", default=0.9)
    weight_decay: float = number("[0, inf)", default=0.0)

    def check(self) -> None:
        """Without momentum, schedule-free methods have no way back from y to x.

        Raises:
            SpecError: there is none.
        """
        if self._averages and self.momentum == 0.0:
            raise SpecError(f"Peer.momentum must lie in (0, 1) for {self.name}, got {self.momentum!r}")

    def unavailable(self) -> str | None:
        """Why ``literal`` would raise an error, in a line that says what to install; None if it would not."""
        source = _SOURCES[self.name]
        if importlib.util.find_spec(source.module) is not None:
            return None
        return f"Peer {self.name!r} needs the package {source.package}: pip install 'adaptive-lr[peers]'"

    def literal(self, parameters: Iterable[Tensor], base_lr: float) -> Optimizer:
        """The optimizer of the package, which is imported here and not before.

        Raises:
            SpecError: the package is not installed.
        """
        if (reason := self.unavailable()) is not None:
            raise SpecError(reason)
        source = _SOURCES[self.name]
        make = getattr(importlib.import_module(source.module), source.name)
        momentum: object = (self.momentum, _BETA2) if source.momentum == "betas" else self.momentum
        arguments = {source.momentum: momentum, "weight_decay": self.weight_decay, **dict(source.settings)}
        with contextlib.redirect_stdout(io.StringIO()):  # some print that the weight decay is decoupled
            made: Optimizer = make(parameters, lr=base_lr, **arguments)
        return made

    def stacked(self, state: FlatState) -> StackedUpdate:
        """There is none.

        Raises:
            SpecError: always.
        """
        raise SpecError(f"Peer {self.name!r} trains one trial at a time; it has no form for many")

    def prepare_training(self, optimizer: Optimizer) -> None:
        """From x to y where the method averages."""
        if self._averages:
            cast("_TwoPoints", optimizer).train()

    def prepare_evaluation(self, optimizer: Optimizer) -> None:
        """From y to x where the method averages."""
        if self._averages:
            cast("_TwoPoints", optimizer).eval()

    def literal_step(self, optimizer: Optimizer, loss: Tensor) -> None:
        """With the loss where the method reads it."""
        if self.name in {"momo", "momo_adam"}:
            cast("_ReadsLoss", optimizer).step(loss=loss)
        elif self.name != "dadapt_sgd" or optimizer.param_groups[0]["lr"] > 0.0:
            # DAdaptSGD 3.2 raises UnboundLocalError at a rate of zero, with which every warm-up begins.
            optimizer.step()

    @property
    def _averages(self) -> bool:
        return self.name in {"schedulefree_sgd", "schedulefree_adamw"}


class _TwoPoints(Protocol):
    def train(self) -> None: ...

    def eval(self) -> None: ...


class _ReadsLoss(Protocol):
    def step(self, *, loss: Tensor) -> object: ...

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
    """Where an optimizer comes from, and how it calls its momentum."""

    package: str
    module: str
    name: str
    momentum: str = "betas"


_SOURCES = {
    "schedulefree_sgd": _Source("schedulefree", "schedulefree", "SGDScheduleFree", "momentum"),
    "schedulefree_adamw": _Source("schedulefree", "schedulefree", "AdamWScheduleFree"),
    "prodigy": _Source("prodigyopt", "prodigyopt", "Prodigy"),
    "dadapt_sgd": _Source("dadaptation", "dadaptation", "DAdaptSGD", "momentum"),
    "dadapt_adam": _Source("dadaptation", "dadaptation", "DAdaptAdam"),
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
      arXiv:2301.07733): a multiplier of the rate that they estimate, meant to be 1 at the peak.
    - ``momo``, ``momo_adam``: the largest step size; a smaller one is taken where a linear model of the loss reaches 0 with it
      (Schaipp et al. 2023, arXiv:2305.07583). The bound 0 is not near the least loss of every task.

    ``safeguard`` is Prodigy's ``safeguard_warmup``, which its authors recommend with a linear warm-up and with restarts. With it
    the estimate shrinks with the base rate instead of making up for a small one: sweep base rates with "off".

    ``momentum`` is beta1 where the method is a kind of Adam, with beta2 = 0.999; 0.9 is the default of all these packages but of
    D-Adaptation's SGD, where it is 0. Weight decay is decoupled from the gradient but in ``schedulefree_sgd`` and ``dadapt_sgd``.
    """

    kind = "peer"
    sets_rate: ClassVar[bool] = True
    name: str = choice(tuple(_SOURCES))
    momentum: float = number("[0, 1)", default=0.9)
    weight_decay: float = number("[0, inf)", default=0.0)
    safeguard: str = choice(("on", "off"), default="on")

    @property
    def batched(self) -> bool:
        """It has no stacked form."""
        return False

    def check(self) -> None:
        """Without momentum, schedule-free methods have no way back from y to x; and Prodigy alone has a safeguard.

        Raises:
            SpecError: there is none.
        """
        if self.safeguard == "off" and self.name != "prodigy":
            raise SpecError(f"Peer.safeguard is a setting of prodigy and must be left at 'on' for {self.name}")
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
        with contextlib.redirect_stdout(io.StringIO()):  # some print that the weight decay is decoupled
            made: Optimizer = make(parameters, lr=base_lr, **self._arguments(source))
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
        elif self.name == "dadapt_sgd" and optimizer.param_groups[0]["lr"] == 0.0:
            # With that rate, the first of every warm-up, DAdaptSGD 3.2 fails; it has changed nothing by then.
            with contextlib.suppress(ZeroDivisionError, UnboundLocalError):
                optimizer.step()
        else:
            optimizer.step()

    def _arguments(self, source: _Source) -> dict[str, Any]:
        momentum = (self.momentum, _BETA2) if source.momentum == "betas" else self.momentum
        arguments: dict[str, Any] = {source.momentum: momentum, "weight_decay": self.weight_decay}
        if self.name == "prodigy":
            arguments["safeguard_warmup"] = self.safeguard == "on"
        if self.name == "dadapt_adam":
            arguments["decouple"] = True  # as the other kinds of Adam, and AdamW, with which they are compared
        return arguments

    @property
    def _averages(self) -> bool:
        return self.name in {"schedulefree_sgd", "schedulefree_adamw"}


class _TwoPoints(Protocol):
    def train(self) -> None: ...

    def eval(self) -> None: ...


class _ReadsLoss(Protocol):
    def step(self, *, loss: Tensor) -> object: ...

"""Optimizers of other packages that set their learning rate or do without a schedule, to be compared with."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Protocol, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from adaptive_lr.errors import SpecError
from adaptive_lr.spec import choice, number, spec
from adaptive_lr.training.base import AbstractOptimizer, FlatState, Search, StackedUpdate
from adaptive_lr.training.iterate_average import IterateAverage
from adaptive_lr.training.peer_packages import DOCUMENTED, Documented

_POLLING = "relative_polling"


@spec
class Peer(AbstractOptimizer):
    """An optimizer of another package, with its documented settings; ``pip install 'adaptive-lr[peers]'`` installs them all.

    `documented` gives each at its own start parameter; `adaptive_lr.training.peer_packages` has a table of what is documented. What the
    trial's rate eta, base rate times schedule, means where ``start`` is ``lr``:

    - ``schedulefree_sgd``, ``schedulefree_adamw``: the step size; gradients at y = (1 - momentum) z + momentum x, metrics at the
      average x (Defazio et al. 2024, arXiv:2405.15682). Meant for a constant schedule, with or without a warm-up.
    - ``prodigy`` (Mishchenko & Defazio 2023, arXiv:2306.06101), ``dadapt_sgd``, ``dadapt_adam`` (Defazio & Mishchenko 2023,
      arXiv:2301.07733), ``prodigy_plus``: a multiplier of the rate that they estimate, meant to be 1 at the peak.
    - ``momo``, ``momo_adam``: the largest step size; a smaller one is taken where a linear model of the loss reaches 0 with it
      (Schaipp et al. 2023, arXiv:2305.07583). The bound 0 is not near the least loss of every task.
      ``prodigy_plus`` is schedule-free, too, and computes in single precision whatever the trial's is.
    - ``dog``: a factor on (distance from the start)/sqrt(sum of squared gradients), meant to be 1 (Ivgi et al. 2023,
      arXiv:2302.12022). Metrics at the average of its iterates, without which its authors say it must not be compared.
    - ``relative_polling``: the first of the rates that are tried; SGD makes the steps. It writes its rates itself, so that the schedule
      must be `Constant`.

    With ``start`` at ``d0`` or ``reps_rel`` the base rate of the trial is that argument instead, the first estimate of the distance to
    the solution (for ``dog`` relative to 1 + |theta|), and the rate is the schedule alone: a factor of 1 at its peak, as documented.

    ``safeguard`` is Prodigy's ``safeguard_warmup``, "off" by default, which its authors recommend with a linear warm-up and with
    restarts. With it the estimate shrinks with the base rate instead of making up for a small one: sweep base rates with "off".

    ``momentum`` is beta1 where the method is a kind of Adam; None becomes the documented default. Weight decay is decoupled from the
    gradient but in ``schedulefree_sgd``, ``dadapt_sgd``, ``dog`` and ``relative_polling``.
    """

    kind = "peer"
    sets_rate: ClassVar[bool] = True
    name: str = choice(tuple(DOCUMENTED))
    momentum: float = number("[0, 1)", default=None)
    weight_decay: float = number("[0, inf)", default=0.0)
    safeguard: str = choice(("on", "off"), default=None)
    start: str = choice(("lr", "d0", "reps_rel"), default="lr", added=True)

    def __post_init__(self) -> None:
        """What is not given is as documented."""
        documented: dict[str, Any] = {"momentum": 0.0, "safeguard": "off" if self.name == "prodigy" else "on"}
        if self.name in DOCUMENTED:
            documented["momentum"] = DOCUMENTED[self.name].momentum
        for field, value in documented.items():
            if getattr(self, field) is None:
                object.__setattr__(self, field, value)
        super().__post_init__()

    @classmethod
    def documented(cls, name: str) -> Peer:
        """The peer as documented, the trial's base rate being its own start parameter.

        >>> Peer.documented("dadapt_sgd").start, Peer.documented("momo").start
        ('d0', 'lr')
        """
        known = cls(name=name).settings
        return cls(name=name, start=known.start)

    @property
    def settings(self) -> Documented:
        """What its package says of it."""
        return DOCUMENTED[self.name]

    @property
    def memory(self) -> float:
        """Its momentum or beta1."""
        return self.momentum

    @property
    def batched(self) -> bool:
        """It has no stacked form."""
        return False

    @property
    def searches(self) -> bool:
        """See the base class."""
        return self.name == _POLLING

    def check(self) -> None:
        """Without momentum, schedule-free methods have no way back from y to x; Prodigy alone has a safeguard; not all have all starts.

        Raises:
            SpecError: a setting does not belong to the peer.
        """
        if self.safeguard == "off" and self.name != "prodigy":
            raise SpecError(f"Peer.safeguard is a setting of prodigy and must be left at 'on' for {self.name}")
        if self._two_points and self.momentum == 0.0:
            raise SpecError(f"Peer.momentum must lie in (0, 1) for {self.name}, got {self.momentum!r}")
        if not self.settings.takes and self.momentum != 0.0:
            raise SpecError(f"Peer.momentum must be 0 for {self.name}, which has none, got {self.momentum!r}")
        if self.start not in {"lr", self.settings.start}:
            allowed = " or ".join(repr(start) for start in dict.fromkeys(("lr", self.settings.start)))
            raise SpecError(f"Peer.start must be {allowed} for {self.name}, got {self.start!r}")

    def unavailable(self) -> str | None:
        """Why ``literal`` would raise an error, in a line that says what to install; None if it would not."""
        if importlib.util.find_spec(self.settings.module) is not None:
            return None
        return f"Peer {self.name!r} needs the package {self.settings.package}: pip install 'adaptive-lr[peers]'"

    def literal(self, parameters: Iterable[Tensor], base_lr: float) -> Optimizer:
        """The optimizer of the package, which is imported here and not before; for ``relative_polling`` the SGD that it steps with.

        Raises:
            SpecError: the package is not installed.
        """
        if (reason := self.unavailable()) is not None:
            raise SpecError(reason)
        if self.name == _POLLING:
            return torch.optim.SGD(parameters, lr=base_lr, momentum=self.momentum, weight_decay=self.weight_decay)
        package, trained = importlib.import_module(self.settings.module), list(parameters)
        with _silence(self.settings.module):
            made: Optimizer = getattr(package, self.settings.name)(trained, **self.arguments(base_lr))
        if self.name == "prodigy_plus":
            made.print_dtype_warning = False  # type: ignore[attr-defined]  # it is the trial's float64
        if self.name == "dog":
            IterateAverage.of(made, package.PolynomialDecayAverager(nn.ParameterList(trained)))
        return made

    def arguments(self, base_lr: float) -> dict[str, Any]:
        """What the optimizer of the package is made with, beside the parameters."""
        settings = self.settings
        arguments: dict[str, Any] = {"lr": base_lr, "weight_decay": self.weight_decay}
        if self.start != "lr":
            arguments |= {"lr": 1.0, self.start: base_lr}
        if settings.takes:
            both = (self.momentum, settings.beta2)
            arguments[settings.takes] = both if settings.takes == "betas" else self.momentum
        if self.name == "prodigy":
            arguments["safeguard_warmup"] = self.safeguard == "on"
        if self.name == "dadapt_adam":
            arguments["decouple"] = True  # as the other kinds of Adam, and AdamW, with which they are compared
        return arguments

    def search(self, optimizer: Optimizer, module: nn.Module) -> Search | None:
        """See the base class: the candidates are ranked by the loss of the minibatch, which is the default of the package."""
        if self.name != _POLLING:
            return None
        polling = getattr(importlib.import_module(self.settings.module), self.settings.name)(optimizer, module)

        def step(closure: Any) -> float:
            def scored() -> tuple[Tensor, float]:
                loss = closure()
                return loss, -float(loss.detach())

            return float(polling.step(scored).loss)

        return step

    def stacked(self, state: FlatState) -> StackedUpdate:
        """There is none.

        Raises:
            SpecError: always.
        """
        raise SpecError(f"Peer {self.name!r} trains one trial at a time; it has no form for many")

    def prepare_training(self, optimizer: Optimizer) -> None:
        """From the average to where gradients are taken, for those that average."""
        if self._two_points:
            cast("_TwoPoints", optimizer).train()
        elif self.name == "dog":
            IterateAverage.find(optimizer).leave()

    def prepare_evaluation(self, optimizer: Optimizer) -> None:
        """From where gradients are taken to the average, for those that average."""
        if self._two_points:
            cast("_TwoPoints", optimizer).eval()
        elif self.name == "dog":
            IterateAverage.find(optimizer).enter()

    def literal_step(self, optimizer: Optimizer, loss: Tensor) -> None:
        """With the loss where the method reads it."""
        if self.name in {"momo", "momo_adam"}:
            cast("_ReadsLoss", optimizer).step(loss=loss)
        elif self.name == "dadapt_sgd" and optimizer.param_groups[0]["lr"] == 0.0:
            # With that rate, the first of every warm-up, DAdaptSGD 3.2 fails; it has changed nothing by then.
            with contextlib.suppress(ZeroDivisionError, UnboundLocalError):
                optimizer.step()
        elif self.name == "dog":
            with contextlib.suppress(
                AssertionError
            ):  # of a gradient that is not finite: the trial has diverged by then
                optimizer.step()
        else:
            optimizer.step()

    @property
    def _two_points(self) -> bool:
        return self.name in {"schedulefree_sgd", "schedulefree_adamw", "prodigy_plus"}


@contextlib.contextmanager
def _silence(module: str) -> Iterator[None]:
    """Without what the packages say of settings, such as that the weight decay is decoupled."""
    logger = logging.getLogger(module)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


class _TwoPoints(Protocol):
    def train(self) -> None: ...

    def eval(self) -> None: ...


class _ReadsLoss(Protocol):
    def step(self, *, loss: Tensor) -> object: ...

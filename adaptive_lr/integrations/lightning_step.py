"""The ``training_step`` of a module in Lightning, made again where a controller probes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.trainer import call
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature

from adaptive_lr.errors import SpecError
from adaptive_lr.integrations.again import Start, Step, devices_of
from adaptive_lr.schedulers.controlled_lr import ControlledLR

Again = Callable[[], Any]


class WatchedModule:
    """Watches ``training_step`` and ``optimizer_step`` of a module, until `release`.

    Args:
        trainer: the trainer.
        pl_module: the module.
        in_charge: the scheduler that is at work, if there is one; asked before each of the calls.
        after_update: called after each ``optimizer_step``.
    """

    def __init__(
        self,
        trainer: Any,
        pl_module: Any,
        in_charge: Callable[[Any], ControlledLR | None],
        after_update: Callable[[Any], None],
    ) -> None:
        self._trainer, self._module = trainer, pl_module
        self._in_charge, self._after_update = in_charge, after_update
        self._step: Step | None = None
        self._start: Start | None = None
        self._expected = False
        self._again: Again | None = None
        names = ("training_step", "optimizer_step")
        self._before = {name: vars(pl_module)[name] for name in names if name in vars(pl_module)}
        self._training_step = pl_module.training_step
        vars(pl_module)["training_step"] = _like(pl_module.training_step, self._watched_step)
        vars(pl_module)["optimizer_step"] = _like(
            pl_module.optimizer_step, self._watched_update(pl_module.optimizer_step)
        )

    def release(self) -> None:
        """Leave the module as it was."""
        for name in ("training_step", "optimizer_step"):
            vars(self._module).pop(name, None)
        vars(self._module).update(self._before)

    def expect(self) -> None:
        """The next call is for another batch."""
        self._expected, self._again = True, None

    def taken(self) -> tuple[bool, Again | None]:
        """Whether the loss of a batch is there for the first time, and how to evaluate it again, if it will be."""
        first, self._expected = self._expected, False
        again, self._again = self._again, None
        return first, again

    def _watched_step(self, *arguments: Any, **keywords: Any) -> Any:
        if self._start is not None:
            assert self._step is not None
            return self._step(self._quietly, arguments, keywords, self._start)
        scheduler = self._in_charge(self._trainer)
        if scheduler is None or not self._expected or not scheduler.probes:
            return self._training_step(*arguments, **keywords)
        if is_param_in_hook_signature(self._training_step, "dataloader_iter", explicit=True):
            raise SpecError(
                "training_step takes dataloader_iter, so its batches cannot be had again where the controller probes: take batch"
            )
        if self._step is None:
            self._step = Step(self._module, devices=devices_of(scheduler.optimizer))
        result, start = self._step.first(self._training_step, arguments, keywords)
        self._again = functools.partial(self._repeat, start)
        return result

    def _repeat(self, start: Start) -> Any:
        positional, keywords = start.copied_arguments()
        self._start = start
        try:
            return call._call_strategy_hook(self._trainer, "training_step", *positional, **keywords)
        finally:
            self._start = None

    def _quietly(self, *arguments: Any, **keywords: Any) -> Any:
        with _silent(self._module):  # inside, for attributes are put back around it
            return self._training_step(*arguments, **keywords)

    def _watched_update(self, optimizer_step: Callable[..., Any]) -> Callable[..., Any]:
        def update(*arguments: Any, **keywords: Any) -> Any:
            self._in_charge(self._trainer)
            result = optimizer_step(*arguments, **keywords)
            self._after_update(self._trainer)
            return result

        return update


def _like(original: Callable[..., Any], watched: Callable[..., Any]) -> Callable[..., Any]:
    """A function that Lightning takes for the original one, of which it reads the signature."""

    @functools.wraps(original)
    def function(*arguments: Any, **keywords: Any) -> Any:
        return watched(*arguments, **keywords)

    function.__wrapped__ = getattr(original, "__wrapped__", original)
    return function


@contextmanager
def _silent(pl_module: Any) -> Iterator[None]:
    """No logging.

    Yields:
        Nothing.
    """
    names = ("log", "log_dict")
    own = {name: vars(pl_module)[name] for name in names if name in vars(pl_module)}
    for name in names:
        vars(pl_module)[name] = _nothing
    try:
        yield
    finally:
        for name in names:
            vars(pl_module).pop(name, None)
        vars(pl_module).update(own)


def _nothing(*_: Any, **__: Any) -> None:
    return None

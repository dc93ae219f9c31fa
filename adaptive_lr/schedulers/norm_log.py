"""Norms of gradients, logged while training, for a schedule that is made of them afterwards."""

from __future__ import annotations

import math
import os
import time
import warnings
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed
from torch.optim import Optimizer

from adaptive_lr.errors import OutputError, SpecError
from adaptive_lr.feedback.attachment import bare, nested, weakly
from adaptive_lr.files import make_folder, replace_file
from adaptive_lr.schedulers.horizon import ENDLESS

HEADER = "step,grad_norm,grad_norm_l1"
"""First line of a log: the number of the update, counted from 0, and the L2 and L1 norm of its gradient."""

LINES = 1000
"""A longer run has lines for every so many steps that there are as many, or up to twice as many: the schedule is made of medians over a
tenth of them."""

SECONDS = 1.0
"""How long a line waits at most until it is written; reading a number waits for an accelerator."""

PATIENCE = 10
"""After so many steps without a gradient a log says that it stays empty."""

_BLIND = (
    "log_norms has seen no step of the optimizer with gradients in {steps} scheduler steps, so {path} stays empty: construct the scheduler on "
    "the very optimizer whose step() is called, and call that before scheduler.step()"
)
_STOPPED = "log_norms stops here: {error}; training goes on without it"


class NormFile:
    """A CSV with a line for each step, in ascending order, whatever is resumed.

    The first line that is written takes the place of the lines of its step and of later ones, which are those of a run that was broken off
    behind its last checkpoint, or of an earlier run.

    Raises:
        SpecError: there is something else at the path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[tuple[int, Tensor, int]] = []
        self._last: int | None = None
        self._stopped = False
        if path.is_dir():
            raise SpecError(f"log_norms takes the name of a CSV file, got the folder {path}")
        if path.exists():
            with path.open("rb") as file:
                start = file.read(len(HEADER) + 1)
            if start and start.strip() != HEADER.encode():
                raise SpecError(f"log_norms: {path} is there and is no log of norms: give another name")

    def add(self, step: int, norms: Tensor, updates: int) -> None:
        """A line: the L2 norm of all gradients of the step put side by side and the sum of their L1 norms, ``[2]``; means are written."""
        if self._rows and step <= self._rows[-1][0]:  # a state was loaded
            self._rows = [row for row in self._rows if row[0] < step]
        self._rows.append((step, norms, updates))

    def flush(self) -> None:
        """Write what was added; where that cannot be done, say so once and write nothing any more."""
        rows, self._rows = self._rows, []
        if not rows or self._stopped or _rank() != 0:
            return
        lines = [_line(step, norms.tolist(), updates) for step, norms, updates in rows]
        try:
            if self._last is None or rows[0][0] <= self._last:
                self._begin(rows[0][0])
            with self.path.open("a", encoding="ascii", newline="") as file:
                file.write("".join(lines))
        except (OSError, OutputError) as error:
            self._stopped = True
            warnings.warn(_STOPPED.format(error=" ".join(str(error).split())), UserWarning, stacklevel=2)
        self._last = rows[-1][0]

    def _begin(self, step: int) -> None:
        """Leave the lines before a step, of which the last may have been cut off by a kill."""
        earlier = (
            self.path.read_text(encoding="ascii", errors="replace").split("\n")[1:-1] if self.path.exists() else []
        )
        numbered = [(line.partition(",")[0], line) for line in earlier]
        lines = [HEADER, *(line for number, line in numbered if number.isdecimal() and int(number) < step)]
        replace_file(self.path, "".join(f"{line}\n" for line in lines).encode())


class NormLog:
    """Reads gradients when the optimizer makes its step, for they may be cleared right after it.

    Norms are those of the gradient that the optimizer gets, of all groups together: after accumulation, after clipping, and divided by the
    scale of a `GradScaler`. They stay on their device until a line is written.
    """

    def __init__(self, optimizer: Optimizer, path: str | os.PathLike[str]) -> None:
        self.file = NormFile(Path(path))
        make_folder(self.file.path.parent)
        self._pending: Tensor | None = None
        self._updates = self._blind = 0
        self._seen = self._evaluating = False
        self._due = True
        self._flushed = time.monotonic()
        weakref.finalize(self, self.file.flush)  # also when Python ends
        inner = bare(optimizer)
        for hook in (
            inner.register_step_pre_hook(weakly(self._before_step)),
            inner.register_step_post_hook(weakly(self._after_step)),
        ):
            weakref.finalize(self, hook.remove)

    def expect(self, step: int, steps: int) -> None:
        """The coming update is of this step of so many; what was read before does not count."""
        self.discard()
        self._due = steps >= ENDLESS or step % max(steps // LINES, 1) == 0

    def close(self, step: int, steps: int) -> None:
        """The scheduler goes on from a step of so many: what was read since the last time makes its line."""
        last = step + 1 >= steps
        if self._pending is not None:
            self.file.add(step, self._pending, self._updates)
        elif self._due and not self._seen:
            self._blind += 1
            if self._blind == PATIENCE or (last and self._blind < PATIENCE):
                message = _BLIND.format(steps=self._blind, path=self.file.path)
                warnings.warn(message, UserWarning, stacklevel=4)
                self._blind = PATIENCE
        if last or time.monotonic() - self._flushed > SECONDS:
            self.flush()
        self.expect(step + 1, steps)

    def discard(self) -> None:
        """What was read belongs to an update that does not count."""
        self._pending, self._updates = None, 0

    def flush(self) -> None:
        """Write all lines that are complete."""
        self.file.flush()
        self._flushed = time.monotonic()

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not self._due or nested(optimizer):
            return
        # A closure makes the gradients inside of the step.
        self._evaluating = kwargs.get("closure", args[1] if len(args) > 1 else None) is not None
        if not self._evaluating:
            self._read(optimizer)

    def _after_step(self, optimizer: Optimizer, *_: Any) -> None:
        if self._evaluating:
            self._evaluating = False
            self._read(optimizer)

    def _read(self, optimizer: Optimizer) -> None:
        verdict = getattr(optimizer, "found_inf", None)
        if verdict is not None and bool(verdict):
            return  # a fused optimizer under a scaler, which will do nothing
        with torch.no_grad():
            norms = gradient_norms(optimizer)
            if norms is None:
                return
            scale = getattr(optimizer, "grad_scale", None)
            if scale is not None:  # a fused optimizer divides by it itself
                norms = norms / scale.to(norms)
            if self._pending is not None:
                pending = self._pending.to(norms)
                norms = torch.stack([torch.hypot(pending[0], norms[0]), pending[1] + norms[1]])
            self._pending, self._updates, self._seen = norms, self._updates + 1, True


def gradient_norms(optimizer: Optimizer) -> Tensor | None:
    """L2 and L1 norm of the gradients of all groups together, ``[2]``, on their device; None if there are none."""
    alike: dict[tuple[type[Tensor], torch.device, torch.dtype], list[Tensor]] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is not None and gradient.numel():
                values = gradient.coalesce().values() if gradient.is_sparse else gradient
                kind = (type(values), values.device, values.dtype)  # sharded ones apart
                alike.setdefault(kind, []).append(values)
    parts = [_norms(gradients) for gradients in alike.values()]
    if len(parts) < 2:
        return parts[0] if parts else None
    table = torch.stack([part.to(parts[0].device, torch.float32) for part in parts])
    return torch.stack([torch.linalg.vector_norm(table[:, 0]), table[:, 1].sum()])


def _norms(gradients: list[Tensor]) -> Tensor:
    # The sum of many numbers in half precision is none.
    dtype = torch.float32 if gradients[0].dtype in (torch.float16, torch.bfloat16) else None
    lengths = [
        torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, order, dtype=dtype)), order)
        for order in (2, 1)
    ]
    return torch.stack([_complete(length) for length in lengths])


def _complete(norm: Any) -> Tensor:
    """Of gradients that are spread over processes, that of all parts."""
    total: Tensor = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
    return total


def _line(step: int, norms: list[float], updates: int) -> str:
    return f"{step},{norms[0] / math.sqrt(updates):.9g},{norms[1] / updates:.9g}\n"


def _rank() -> int:
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0

"""Compiled loops on disk: made once for a graph, a torch and a processor, then loaded in milliseconds by any process."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import logging
import os
import platform
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from filelock import FileLock
from platformdirs import user_cache_path
from torch import Tensor, nn

from adaptive_lr.errors import CompileError, in_a_line

Run = Callable[[list[Tensor], list[Tensor]], list[Tensor]]
"""From the state and the series of what each step is given: the new state, and what else the steps gave, of all steps."""

FOLDER_VARIABLE = "ADAPTIVE_LR_COMPILED"
"""The environment variable that names another folder."""

_SHOWN = 200
"""Characters of what a compiler says, which may be a thousand lines."""

_OPTIONS = {
    "aot_inductor.compile_wrapper_opt_level": "O0",  # it only calls the kernels; half of the time goes into it otherwise
    "cpp.threads": 1,
}


def folder() -> Path:
    """Where compiled loops are."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else user_cache_path("adaptive_lr") / "compiled"


def package(step: torch.fx.GraphModule, state: Sequence[Tensor], series: Sequence[Tensor]) -> Run:
    """The loop over a step's graph, compiled here or before.

    Args:
        step: from the state and what one step is given to the new state and one more tensor, or several.
        state: only shapes and precision matter.
        series: with the steps in front, of any number from 2 on.

    Raises:
        CompileError: it cannot be compiled.
    """
    path = folder() / f"{digest(step, [*state, *series])}.pt2"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            return _loaded(path) or _compiled(step, state, series, path)
    except OSError as error:
        raise CompileError(f"compiled loops cannot be kept in {path.parent}: {in_a_line(error)}") from error


def digest(step: torch.fx.GraphModule, tensors: Sequence[Tensor]) -> str:
    """What a compiled loop depends on: the graph with its constants, shapes, torch, and the processor."""
    hashed = hashlib.sha256(str(step.graph).encode())
    for name, constant in sorted(step.named_buffers()):
        stored = io.BytesIO()
        torch.save(constant, stored)
        hashed.update(name.encode() + stored.getvalue())
    for tensor in tensors:
        hashed.update(f"{tuple(tensor.shape)} {tensor.dtype} {tensor.device}".encode())
    hashed.update(f"{torch.__version__} {_OPTIONS} {_processor()}".encode())
    return hashed.hexdigest()[:32]


@functools.cache
def _processor() -> str:
    """What the compiler is allowed to use."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        flags = next(line for line in lines if line.lower().startswith(("flags", "features")))
    except (OSError, StopIteration, UnicodeDecodeError):
        flags = platform.processor()
    return f"{platform.machine()} {flags} {torch.backends.cpu.get_cpu_capability()}"


def _loaded(path: Path) -> Run | None:
    if not path.exists():
        return None
    try:
        return _run_of(path)
    except Exception:  # whatever a damaged file raises: it is made again
        path.unlink(missing_ok=True)
        return None


def _run_of(path: Path) -> Run:
    with _quiet():
        loaded = torch._inductor.aoti_load_package(str(path), run_single_threaded=True)

    def run(state: list[Tensor], series: list[Tensor]) -> list[Tensor]:
        results: list[Tensor] = list(loaded(state, series))
        return results

    return run


def _compiled(step: torch.fx.GraphModule, state: Sequence[Tensor], series: Sequence[Tensor], path: Path) -> Run:
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".pt2")
    os.close(handle)
    try:
        with _quiet(), torch.no_grad():
            # Clones, since what are views of the same buffer would be taken to change one another.
            exported = _exported(step, [part.clone() for part in state], [part.clone() for part in series])
            torch._inductor.aoti_compile_and_package(exported, package_path=name, inductor_configs=dict(_OPTIONS))
        run = _run_of(Path(name))
        Path(name).replace(path)
    except Exception as error:
        raise CompileError(f"the training loop cannot be compiled ({shorten(in_a_line(error), _SHOWN)})") from error
    finally:
        Path(name).unlink(missing_ok=True)
    return run


def _exported(step: torch.fx.GraphModule, state: list[Tensor], series: list[Tensor]) -> Any:
    # The one place that knows torch's scan, which is a prototype.
    from torch._higher_order_ops.scan import scan

    width = len(state)

    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.step = step

        def forward(self, state: list[Tensor], series: list[Tensor]) -> list[Tensor]:
            def once(carried: list[Tensor], current: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
                results = list(self.step(*carried, *current))
                return results[:width], results[width:]

            last, given = scan(once, state, series)
            return [*last, *given]

    steps = torch.export.Dim("steps", min=2, max=2**31 - 1)
    return torch.export.export(
        Steps(), (state, series), dynamic_shapes=([None] * len(state), [{0: steps}] * len(series)), strict=False
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch warns of when it compiles, which says nothing to whoever trains."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

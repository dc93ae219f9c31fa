"""Compiled loops of `train_batch` against the same training written in JAX: model, minibatches, initial values, rates and update are the same.

Both are held to the same losses first: a comparison of two different computations says nothing.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pairs import one_core, pairs, seconds, without_evaluation
from rows import Aim, Case, IncomparableError, LeftOutError, Measured
from trainer_cost import LONE_TRANSFORMER, TRANSFORMERS, Load, convolutional, perceptron, trained

from adaptive_lr.schedules import table
from adaptive_lr.tasks import StreamingLogistic
from adaptive_lr.training import SGD
from adaptive_lr.training.trial import window_ends

TITLE = "Against JAX"
ABOUT = """Steps a second of all trials together, `train_batch` with a compiled loop over JAX: the same model, minibatches, initial values, rates and update,
compiled with `jit` around `scan`, the faster of `vmap` and `lax.map` over the trials. JAX's minibatches lie ready in memory; ours are
drawn or gathered inside. Both have one thread on one core, in processor time. Compilation is in neither, and is said beside the row.
Before it is timed, both must have the same losses over the first 50 steps, to 1e-4."""

CHECKED = 50
"""Steps over which the losses are compared, at least."""

TOLERANCE = 1e-4
"""Relative difference of losses that is rounding in float32."""

FLAGS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

LOADS: tuple[tuple[Load, float], ...] = (
    (Load(what="MNIST-1D perceptron, batch 100, 32 trials", task=perceptron(100), count=32, steps=1000), 1.0),
    (Load(what="MNIST-1D perceptron, batch 10, 32 trials", task=perceptron(10), count=32, steps=2000), 1.0),
    (
        Load(
            what="streaming logistic regression, d = 100, batch 4, 512 trials; JAX's examples lie ready, ours are drawn",
            task=StreamingLogistic(),
            count=512,
            steps=4000,
            optimizer=SGD(),
        ),
        0.8,
    ),
    (
        Load(
            what="MNIST-1D convolutional network without normalisation, batch 100, 8 trials",
            task=convolutional("none"),
            count=8,
            steps=160,
            high=3e-2,  # at .1 a loss departs by 1e-3 as soon as one maximum changes by rounding
        ),
        0.9,
    ),
    (LONE_TRANSFORMER, 1.0),
    (TRANSFORMERS, 1.0),
)
"""What is trained, and which part of JAX's speed is the aim."""


@dataclass(frozen=True)
class Peer:
    """A load in JAX, compiled.

    Attributes:
        name: how it is written.
        run: trains all trials; returns the losses ``[B, T]``, when they are there.
        compiling: seconds of processor time that compiling took.
    """

    name: str
    run: Callable[[], NDArray[np.float32]]
    compiling: float


def peers(load: Load) -> list[Peer]:
    """The ways of writing a load in JAX, each with `vmap` and with `lax.map` over its trials."""
    from jax_models import losses, update_of

    start, update = update_of(load.optimizer)
    built = []
    for name, loss in losses(load.task).items():
        for over in ("vmap", "map"):
            label = f"{over}, {name}" if name else over
            built.append(_compiled(label, over, _trained(loss, start, update), _arguments(load)))
    return built


def _trained(loss: Any, start: Any, update: Any) -> Callable[..., Any]:
    """Losses ``[T]`` and last parameters of one trial, from its rates ``[T]``, first parameters and minibatches ``[T, …]``."""
    import jax

    def train(rates: Any, parameters: Any, inputs: Any, targets: Any) -> Any:
        def step(carried: Any, minibatch: Any) -> Any:
            rate, x, y = minibatch
            values, state = carried
            value, gradients = jax.value_and_grad(loss)(values, x, y)
            return update(values, gradients, state, rate), value

        last, values = jax.lax.scan(step, (parameters, start(parameters)), (rates, inputs, targets))
        return values, last[0]

    return train


def _compiled(name: str, over: str, train: Callable[..., Any], arguments: tuple[Any, ...]) -> Peer:
    import jax

    if over == "vmap":
        mapped = jax.vmap(train, in_axes=(0, None, None, None))
    else:

        def mapped(rates: Any, *shared: Any) -> Any:
            return jax.lax.map(lambda row: train(row, *shared), rates)

    programs: list[Any] = []
    compiling = seconds(lambda: programs.append(jax.jit(mapped).lower(*arguments).compile()))

    def run() -> NDArray[np.float32]:
        return np.asarray(jax.block_until_ready(programs[0](*arguments))[0])

    return Peer(name, run, compiling)


def _arguments(load: Load) -> tuple[Any, ...]:
    """Rates ``[B, T]``, first parameters, and minibatches, as arrays of JAX."""
    import jax.numpy as jnp

    trials = load.trials()
    multipliers = table([trial.schedule for trial in trials], load.steps)[:, : load.steps]
    bases = torch.tensor([trial.base_lr for trial in trials], dtype=torch.float64).unsqueeze(1)
    first = {
        name: jnp.asarray(value.to(torch.float32).numpy()) for name, value in load.task.initial(trials[0].seed).items()
    }
    minibatches = list(load.task.minibatches(trials[0].seed, load.steps, torch.float32))
    inputs, targets = (torch.stack(parts) for parts in zip(*minibatches, strict=True))
    rates = (multipliers * bases).to(torch.float32)
    return jnp.asarray(rates.numpy()), first, _as_jax(inputs), _as_jax(targets)


def _as_jax(values: torch.Tensor) -> Any:
    import jax.numpy as jnp

    return jnp.asarray((values if values.is_floating_point() else values.to(torch.int32)).numpy())


def refuse_different(ours: NDArray[np.floating[Any]], theirs: NDArray[np.floating[Any]], what: str) -> None:
    """Compare losses ``[B, points]``.

    Raises:
        IncomparableError: some differ by more than ``TOLERANCE``, relative to theirs, or are not finite.
    """
    difference = np.abs(ours - theirs) / np.abs(theirs)
    if not np.nan_to_num(difference, nan=np.inf).max() <= TOLERANCE:
        trial, point = np.unravel_index(np.nan_to_num(difference, nan=np.inf).argmax(), difference.shape)
        raise IncomparableError(
            f"{what}: at point {point} of trial {trial} our loss is {ours[trial, point]:.7g} and JAX's {theirs[trial, point]:.7g}, "
            f"more than {TOLERANCE:g} apart: not the same computation, so nothing is timed"
        )


def check(load: Load) -> None:
    """Compare the losses of a short run, means over the same windows, in every way of writing it; a `IncomparableError` if they differ."""
    short = replace(load, steps=CHECKED)
    ours = np.stack([result.curves["train_loss"] for result in trained(short.trials())])
    edges = [0, *window_ends(CHECKED)]
    for peer in peers(short):
        values = peer.run().astype(np.float64)
        theirs = np.stack([values[:, begin:end].mean(1) for begin, end in pairwise(edges)], axis=1)
        refuse_different(ours, theirs, f"{load.what}, {peer.name}")


def share_of_jax(load: Load, count: int) -> Measured:
    """Our speed over JAX's, for each pair.

    Raises:
        LeftOutError: JAX is not installed.
    """
    if importlib.util.find_spec("jax") is None:
        raise LeftOutError("jax is not installed: pip install -e '.[bench]'")
    if FLAGS not in (flags := os.environ.get("XLA_FLAGS", "")):
        os.environ["XLA_FLAGS"] = f"{flags} {FLAGS}".strip()  # read when jax is imported
    with one_core(), without_evaluation(load.task):
        check(load)
        candidates = peers(load)
        peer = min(candidates, key=lambda candidate: (candidate.run(), seconds(candidate.run))[1])
        trials = load.trials()
        first = seconds(lambda: trained(trials))
        timings = pairs(lambda: trained(trials), peer.run, count)
    preparing = max(0.0, first - min(ours for ours, _ in timings))
    note = f"JAX: {peer.name}; compiling {preparing:.1f} s, JAX {peer.compiling:.1f} s"
    return Measured([theirs / ours for ours, theirs in timings], note)


def cases(*, quick: bool) -> list[Case]:
    """A row for each load."""

    def case(load: Load, aim: float) -> Case:
        shorter = replace(load, steps=max(40, load.steps // 10)) if quick else load
        return Case(what=load.what, aim=Aim(aim), measure=lambda count: share_of_jax(shorter, count))

    return [case(load, aim) for load, aim in LOADS]

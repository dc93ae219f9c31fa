"""How much of the core the trainer uses: of its products, of its memory; and what it takes of the machine's memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from pairs import one_core, pairs, without_evaluation
from rows import Aim, Case, LeftOutError, Measured
from trainer_cost import Load, perceptron, trained

from adaptive_lr.tasks import StreamingLogistic
from adaptive_lr.training import SGD

TITLE = "Share of the core, and memory"
ABOUT = """What bare `torch.bmm` in float32 takes for the products of the perceptron's steps, all else left out, over what `train_batch`
takes, in processor time; and what five passes over the weights take at the speed of `torch.add` on arrays of their size, over what
`train_batch` takes for the streaming task, which has as little to compute. Memory is the peak of a fresh process, torch's own included."""

SIZES = (40, 100, 100, 10)
PASSES = 5
"""A step of SGD reads weights, writes gradients, reads them, reads weights and writes them."""

PRODUCTS = Load(what="", task=perceptron(100), count=32, steps=800)
STREAM = Load(what="", task=StreamingLogistic(), count=512, steps=2000, optimizer=SGD())

MANY = Load(what="", task=perceptron(100), count=512, steps=60)

PEAK = """
import sys
sys.path.insert(0, sys.argv[1])
from hardware_cost import MANY, peak_kilobytes
from trainer_cost import trained
trained(MANY.trials())
print(peak_kilobytes())
"""


def products(trials: int, batch: int) -> tuple[Callable[[], None], float]:
    """The products of one step, forward and backward, into buffers that are there; and its floating-point operations."""
    operands = []
    for index, (fan_in, fan_out) in enumerate(pairwise(SIZES)):
        below, delta = torch.randn(trials, batch, fan_in), torch.randn(trials, batch, fan_out)
        weight = torch.randn(trials, fan_out, fan_in)
        operands += [(below, weight.transpose(1, 2)), (delta.transpose(1, 2), below)]
        if index:
            operands.append((delta, weight))
    buffers = [torch.bmm(left, right) for left, right in operands]
    operations = sum(2.0 * left.numel() * right.shape[2] for left, right in operands)

    def step() -> None:
        for (left, right), out in zip(operands, buffers, strict=True):
            torch.bmm(left, right, out=out)

    return step, operations


def share_of_products(load: Load, count: int) -> Measured:
    """Time of the bare products over that of the trainer, for each pair."""
    step, operations = products(load.count, 100)

    def bare() -> None:
        for _ in range(load.steps):
            step()

    values, timings = _shares(load, bare, count)
    rate = load.steps * operations / min(alone for alone, _ in timings)
    return Measured(values, f"bare products: {rate / 1e9:.0f} GFLOP/s")


def share_of_bandwidth(load: Load, count: int) -> Measured:
    """Time of ``PASSES`` passes over the weights over that of the trainer, for each pair."""
    left, right, out = (torch.randn(load.count, 100) for _ in range(3))

    def bare() -> None:
        for _ in range(load.steps):
            torch.add(left, right, out=out)

    values, timings = _shares(load, bare, count)
    rate = load.steps * 3 * out.nbytes / min(alone for alone, _ in timings)
    return Measured([value * PASSES / 3 for value in values], f"bare passes: {rate / 1e9:.0f} GB/s")


def _shares(load: Load, bare: Callable[[], None], count: int) -> tuple[list[float], list[tuple[float, float]]]:
    trials = load.trials()
    with one_core(), without_evaluation(load.task):
        bare()
        trained(trials)
        timings = pairs(bare, lambda: trained(trials), count)
    return [alone / trained for alone, trained in timings], timings


def peak_kilobytes() -> int:
    """The most memory that this process has had, by Linux's count of its own pages.

    Not `getrusage`, which after an exec still says what the process that started this one had.

    Raises:
        LeftOutError: the system does not say.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise LeftOutError("/proc/self/status does not say how much memory the process had")


def peak(count: int) -> Measured:
    """Gigabytes (1e9 bytes) of processes that train 512 perceptrons at once."""
    peak_kilobytes()  # refuses here, not in the process, where it cannot be measured
    command = [sys.executable, "-c", PEAK, str(Path(__file__).parent)]
    values = []
    for _ in range(count):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        values.append(int(done.stdout.split()[-1]) * 1024 / 1e9)
    return Measured(values)


def cases(*, quick: bool) -> list[Case]:
    """Products, bandwidth and memory."""
    dense, stream = ((replace(load, steps=load.steps // 10 if quick else load.steps)) for load in (PRODUCTS, STREAM))
    return [
        Case(
            what="MNIST-1D perceptron, batch 100, 32 trials: share of the speed of bare products",
            aim=Aim(0.6),
            unit="share",
            measure=lambda count: share_of_products(dense, count),
        ),
        Case(
            what="streaming logistic regression, 512 trials: share of the speed of bare passes over memory",
            aim=Aim(0.25),
            unit="share",
            measure=lambda count: share_of_bandwidth(stream, count),
        ),
        Case(
            what="MNIST-1D perceptron, batch 100, 512 trials at once: peak memory",
            aim=Aim(2.0, at_most=True),
            unit="GB",
            measure=lambda count: peak(min(count, 3)),
        ),
    ]

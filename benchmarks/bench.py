"""Ratios of speed against the usual ways, measured pair by pair in one run on one core: ``make bench``.

Absolute times depend on the machine and on who else uses it; a ratio of two things timed in turn hardly does. The median of the
pairs is printed with its range.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from search_cost import table as cost_of_searching
from statistics_cost import table as cost_of_looking
from torch.optim.lr_scheduler import CosineAnnealingLR

from adaptive_lr import DampedCosine, ScheduledLR, table
from adaptive_lr.tasks import AbstractTask, Perceptron, StreamingLogistic
from adaptive_lr.training import SGD, Trial, train, train_batch

PAIRS = 5


def seconds(action: Callable[[], object]) -> float:
    """How long the action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def ratios(slow: Callable[[], object], fast: Callable[[], object], work: float = 1.0) -> list[float]:
    """Time of ``slow`` over time of ``fast``, times ``work``, for each of some pairs after a warm-up."""
    slow(), fast()
    return sorted(work * seconds(slow) / seconds(fast) for _ in range(PAIRS))


def trainer(task: AbstractTask, count: int, steps: int, sequential: int) -> list[float]:
    """Trials a second of the batched trainer over those of the sequential loop."""
    rates = torch.logspace(-3, -1, count).tolist()
    trials = [
        Trial(task=task, schedule=DampedCosine(), optimizer=SGD(momentum=0.9), base_lr=rate, steps=steps, seed=0)
        for rate in rates
    ]
    few = trials[:: max(1, count // sequential)][:sequential]
    return ratios(lambda: [train(trial) for trial in few], lambda: train_batch(trials), count / len(few))


def _mnist1d(batch: int) -> Perceptron:
    return Perceptron(dataset="mnist1d", hidden=(100, 100), batch=batch)


def stepping(groups: int, total_steps: int, *, as_tensor: bool) -> list[float]:
    """Time of a step of torch's cosine over that of ours."""
    repeats = 20 if as_tensor else min(2000, total_steps // 8)

    def stepper(ours: bool) -> Callable[[], object]:
        parameters = [{"params": [torch.zeros(1, requires_grad=True)]} for _ in range(groups)]
        optimizer = torch.optim.SGD(parameters, lr=torch.tensor(0.1) if as_tensor else 0.1)
        scheduler = (
            ScheduledLR(optimizer, DampedCosine(), total_steps=total_steps)
            if ours
            else CosineAnnealingLR(optimizer, T_max=total_steps)
        )
        optimizer.step()
        scheduler.step()
        return lambda: [scheduler.step() for _ in range(repeats)]

    return ratios(stepper(ours=False), stepper(ours=True))


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rows = [
        (
            "batched trainer, MNIST-1D perceptron, batch 100, 32 trials",
            trainer(_mnist1d(100), 32, 1000, 2),
            3.5,
        ),
        (
            "batched trainer, MNIST-1D perceptron, batch 10, 32 trials",
            trainer(_mnist1d(10), 32, 2000, 2),
            10.0,
        ),
        (
            "batched trainer, streaming logistic regression, 512 trials",
            trainer(StreamingLogistic(), 512, 500, 2),
            150.0,
        ),
        *(
            (
                f"ScheduledLR.step(), {kind} rates, {n} groups, T = {steps:.0e}, against CosineAnnealingLR",
                stepping(n, steps, as_tensor=tensor),
                aim,
            )
            for kind, tensor, aim in (("float", False, 4.0), ("tensor", True, 20.0))
            for n in (1, 10, 100)
            for steps in (1_000, 10_000_000)
        ),
    ]
    grid = Table("what", "times faster", "range of the pairs", "aim", title=f"medians of {PAIRS} pairs, one core")
    for name, speedups, aim in rows:
        grid.add_row(name, f"{statistics.median(speedups):.1f}", f"{speedups[0]:.1f} to {speedups[-1]:.1f}", f"{aim:g}")
    Console().print(grid)
    specs = [DampedCosine(k=0.5 + index / 1000) for index in range(1000)]
    Console().print(cost_of_looking())
    Console().print(cost_of_searching())
    Console().print(f"table of 1000 schedules x 10001 steps: {seconds(lambda: table(specs, 10_000)):.2f} s")


if __name__ == "__main__":
    main()

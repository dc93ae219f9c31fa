"""Train one trial the way everybody does: a module, an optimizer from `torch.optim`, a scheduler, a loop.

This is the reference that the batched trainer is held to, and the baseline that it is timed against.
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from torch import nn

from adaptive_lr.lr_scheduler import ScheduledLR
from adaptive_lr.tasks import AbstractTask
from adaptive_lr.training.trial import RunResult, Status, Trial, monitored, window_ends


def train(trial: Trial) -> RunResult:
    """Train one trial; the same result as `train_batch`, up to rounding."""
    started = time.perf_counter()
    task, module = trial.task, _initialised(trial)
    parameters = list(module.parameters())
    optimizer = trial.optimizer.literal(parameters, trial.base_lr)
    scheduler = ScheduledLR(optimizer, trial.schedule, total_steps=trial.steps)
    initial = _metrics(task, module, final=True)
    metrics = dict.fromkeys(initial, math.nan)
    ends = window_ends(trial.steps)
    train_curve, monitored_curve = (np.full(len(ends), np.nan) for _ in range(2))
    losses: list[float] = []
    stopped = None
    minibatches = task.minibatches(trial.seed, trial.steps, trial.torch_dtype)
    for step, (inputs, targets) in enumerate(minibatches):
        optimizer.zero_grad()
        loss = task.loss(module(inputs), targets)
        if task.penalty:
            loss = loss + 0.5 * task.penalty * sum(one.square().sum() for one in parameters)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            stopped = step
            break
        if step + 1 in ends:
            point = ends.index(step + 1)
            train_curve[point] = np.mean(losses)
            losses = []
            if monitored(point, len(ends)):
                found = _metrics(task, module, final=step + 1 == trial.steps)
                if not math.isfinite(found[task.selection_metric]):
                    stopped, train_curve[point] = step + 1, math.nan
                    break
                monitored_curve[point] = found[task.selection_metric]
                metrics |= found if step + 1 == trial.steps else {}
    return RunResult(
        trial=trial,
        status=Status.OK if stopped is None else Status.DIVERGED,
        stopped_at=stopped,
        initial=initial,
        metrics=metrics,
        curves={
            "step": np.asarray(ends, dtype=np.int32),
            "train_loss": train_curve,
            task.selection_metric: monitored_curve,
        },
        seconds=time.perf_counter() - started,
    )


def _initialised(trial: Trial) -> nn.Module:
    module = trial.task.module().to(trial.torch_dtype)
    module.load_state_dict({n: v.to(trial.torch_dtype) for n, v in trial.task.initial(trial.seed).items()})
    return module


def _metrics(task: AbstractTask, module: nn.Module, *, final: bool) -> dict[str, float]:
    with torch.no_grad():
        stacked = {name: value.detach().unsqueeze(0) for name, value in module.named_parameters()}
        return {name: value.item() for name, value in task.evaluate(stacked, final=final).items()}

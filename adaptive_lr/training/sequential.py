"""Train one trial the way everybody does: a module, an optimizer from `torch.optim`, a scheduler, a loop.

This is the reference that the batched trainer is held to, and the baseline that it is timed against.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from adaptive_lr.controllers import Signal, Static
from adaptive_lr.schedulers.controlled_lr import ControlledLR
from adaptive_lr.schedulers.scheduled_lr import ScheduledLR
from adaptive_lr.tasks.base import Inputs, as_tuple, on_each
from adaptive_lr.training.controlled import Recorder
from adaptive_lr.training.trial import RunResult, Status, Trial, half_of, monitored, window_ends
from adaptive_lr.training.tuning import AsGiven, RateHalving


def train(trial: Trial) -> RunResult:
    """Train one trial; the same result as `train_batch`, up to rounding."""
    started = time.process_time()
    if isinstance(trial.tuning, RateHalving):
        return replace(_halved(trial, trial.tuning), seconds=time.process_time() - started)
    run = LiteralRun(trial)
    run.advance_to(trial.steps)
    return run.result(time.process_time() - started)


def _halved(trial: Trial, tuning: RateHalving) -> RunResult:
    """The candidates are begun alike; only the last comes to the end. The rate that was found is the curve ``control/rate``."""
    last = replace(
        trial,
        tuning=AsGiven(),
        steps=tuning.last(trial.steps),
        schedule=tuning.schedule(trial.steps, trial.schedule),
    )
    runs = [LiteralRun(replace(last, base_lr=rate)) for rate in tuning.rates(trial.base_lr)]
    for rung in tuning.rungs(trial.steps):
        losses = [run.metric() if run.advance_to(rung.until) else math.inf for run in runs]
        order = sorted(range(len(runs)), key=lambda index: losses[index])
        runs = [runs[index] for index in sorted(order[: -(-len(runs) // 2)])]
    (found,) = runs
    found.advance_to(last.steps)
    result = found.result(0.0)
    steps = result.curves["step"].astype(np.float64)
    rate = {"control/step": steps, "control/rate": np.full(len(steps), found.trial.base_lr)}
    return replace(result, trial=trial, curves=result.curves | rate)


class LiteralRun:
    """One trial in training."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.task = trial, trial.task
        self.module = trial.task.built().to(trial.torch_dtype)
        start = self.module.state_dict() | trial.task.initial(trial.seed) | trial.task.initial_buffers()
        self.module.load_state_dict(start)
        self.parameters = list(self.module.parameters())
        self.optimizer = trial.optimizer.literal(self.parameters, trial.base_lr)
        self.search = trial.optimizer.search(self.optimizer, self.module)
        self.update: Callable[[int, Inputs, Tensor], float] = self._scheduled if self.search is None else self._searched
        self.recorder: Recorder | None = None
        if isinstance(trial.controller, Static):
            self.scheduler = ScheduledLR(self.optimizer, trial.schedule, total_steps=trial.steps)
        else:
            self.scheduler = self.controlled = ControlledLR(
                self.optimizer, trial.schedule, trial.controller, total_steps=trial.steps
            )
            self.controlled.control.silent = True  # as a batch of trials is; its curves show what happened
            self.update, self.recorder = self._controlled, Recorder(trial.controller, trial.steps, 1)
        self.initial = self._metrics(final=True)
        self.final = dict.fromkeys(self.initial, math.nan)
        self.ends = window_ends(trial.steps)
        self.train_curve, self.monitored_curve = (np.full(len(self.ends), np.nan) for _ in range(2))
        self.losses: list[float] = []
        self.stopped: int | None = None
        self.point = self.step = 0
        self.minibatches = iter(trial.task.minibatches(trial.seed, trial.steps, trial.torch_dtype))

    def advance_to(self, until: int) -> bool:
        """Train to the step ``until``, counted from the beginning; False if the trial has diverged."""
        while self.stopped is None and self.step < until:
            inputs, targets = next(self.minibatches)
            self.advance(self.step, inputs, targets)
            self.step += 1
        return self.stopped is None

    def advance(self, step: int, inputs: Inputs, targets: Tensor) -> bool:
        """One update; False once the trial has diverged."""
        self.losses.append(self.update(step, inputs, targets))
        # Under a controller or in a search a loss that is not finite may be followed by one that is; what counts is where the trial stands.
        if self.recorder is None and self.search is None and not math.isfinite(self.losses[-1]):
            self.stopped = step
            return False
        return self._close_window(step) if step + 1 == self.ends[self.point] else True

    def _scheduled(self, step: int, inputs: Inputs, targets: Tensor) -> float:
        self.optimizer.zero_grad()
        loss = self._loss(inputs, targets)
        loss.backward()
        self.trial.optimizer.clip(self.parameters)
        self.trial.optimizer.literal_step(self.optimizer, loss.detach())
        self.scheduler.step()
        return loss.item()

    def _searched(self, step: int, inputs: Inputs, targets: Tensor) -> float:
        assert self.search is not None
        return self.search(lambda: self._loss(inputs, targets))

    def _controlled(self, step: int, inputs: Inputs, targets: Tensor) -> float:
        self.optimizer.zero_grad()
        loss = self._loss_in_halves(inputs, targets) if self._halves(step) else self._loss(inputs, targets)
        if loss.requires_grad:
            loss.backward()
        norm = self.trial.optimizer.clip(self.parameters)
        if Signal.METRIC in self.trial.controller.signals(step, self.trial.steps):
            self.controlled.observe(self._metrics(final=False)[self.task.selection_metric])
        self.optimizer.step()
        self.controlled.step(loss, closure=lambda: self._loss(inputs, targets), grad_norm=norm)
        assert self.recorder is not None
        control = self.controlled.control
        made = torch.tensor([self.controlled.applied_multiplier], dtype=torch.float64)
        self.recorder.record(step, control, made, torch.ones(1, dtype=torch.bool))
        return loss.item()

    def _loss(self, inputs: Inputs, targets: Tensor) -> Tensor:
        loss = self.task.loss(self.module(*as_tuple(inputs)), targets)
        if self.task.penalty:
            loss = (
                loss
                + 0.5
                * self.task.penalty
                * torch.stack([parameter.square().sum() for parameter in self.parameters]).sum()
            )
        return loss

    def _halves(self, step: int) -> bool:
        return Signal.HALF in self.trial.controller.signals(step, self.trial.steps)

    def _loss_in_halves(self, inputs: Inputs, targets: Tensor) -> Tensor:
        half = half_of(len(targets))
        first = self._loss(on_each(lambda part: part[:half], inputs), targets[:half]) / 2
        first.backward()
        self.controlled.micro_batch()
        second = self._loss(on_each(lambda part: part[half:], inputs), targets[half:]) / 2
        second.backward()
        return first.detach() + second.detach()

    def _close_window(self, step: int) -> bool:
        point, last, task = self.point, step + 1 == self.trial.steps, self.task
        if not math.isfinite(self.losses[-1]) and not self._restored():
            bad = [index for index, loss in enumerate(self.losses) if not math.isfinite(loss)]
            self.stopped = step + 1 - len(self.losses) + bad[0]
            return False
        finite = [loss for loss in self.losses if math.isfinite(loss)]
        self.train_curve[point] = np.mean(finite) if finite else math.nan
        self.losses, self.point = [], point + 1
        if monitored(point, len(self.ends)):
            metrics = self._metrics(final=last)
            if not math.isfinite(metrics[task.selection_metric]):
                self.stopped, self.train_curve[point] = step + 1, math.nan
                return False
            self.monitored_curve[point] = metrics[task.selection_metric]
            self.final |= metrics if last else {}
        return True

    def metric(self) -> float:
        """The selection metric now; infinity where it is not finite."""
        value = self._metrics(final=False)[self.task.selection_metric]
        return value if math.isfinite(value) else math.inf

    def _restored(self) -> bool:
        return self.search is not None or (self.recorder is not None and bool(self.controlled.control.restored[0]))

    def _metrics(self, *, final: bool) -> dict[str, float]:
        rule, optimizer = self.trial.optimizer, self.optimizer
        rule.prepare_evaluation(optimizer)
        with torch.no_grad():
            stacked = {name: value.unsqueeze(0) for name, value in self.module.state_dict().items()}
            metrics = {name: value.item() for name, value in self.task.evaluate(stacked, final=final).items()}
        rule.prepare_training(optimizer)
        return metrics

    def result(self, seconds: float) -> RunResult:
        """What the trial leaves behind."""
        curves = {
            "step": np.asarray(self.ends, dtype=np.int32),
            "train_loss": self.train_curve,
            self.task.selection_metric: self.monitored_curve,
        }
        if self.recorder is not None:
            curves |= self.recorder.curves(0)
        return RunResult(
            trial=self.trial,
            status=Status.OK if self.stopped is None else Status.DIVERGED,
            stopped_at=self.stopped,
            initial=self.initial,
            metrics=self.final,
            curves=curves,
            seconds=seconds,
        )

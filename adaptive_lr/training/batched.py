"""Train many trials at once: same task, each with its own learning rates, and those of a seed on the same minibatches."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from adaptive_lr.control import Control, Part
from adaptive_lr.controllers import Signal, Static
from adaptive_lr.errors import SpecError
from adaptive_lr.schedules import table
from adaptive_lr.training.controlled import Base, Recorder, StackedSpace, moment
from adaptive_lr.training.optimizers import FlatState
from adaptive_lr.training.sequential import train
from adaptive_lr.training.trial import RunResult, Status, Trial, half_of, monitored, window_ends

_PARAMETERS_A_BATCH = 500_000
"""Parameters of all trials of a batch together: parameters, gradients and activations should stay in the cache."""


def batches(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Trials grouped into batches for `train_batch`: the plan depends on nothing but the list.

    Seeds with few trials share a batch; the trials of one with too many are spread over several.
    """
    groups: dict[object, dict[int, list[Trial]]] = {}
    for trial in trials:
        groups.setdefault(_batch_key(trial), {}).setdefault(trial.seed, []).append(trial)
    planned = []
    for seeds in groups.values():
        members = next(iter(seeds.values()))
        if not members[0].optimizer.batched:
            planned += [[one] for members in seeds.values() for one in members]
            continue
        size = sum(value.numel() for value in members[0].task.initial(0).values())
        limit = min(512, max(8, _PARAMETERS_A_BATCH // size))
        for alike in _of_one_length(list(seeds.values())):
            count = -(-len(alike[0]) // limit)
            together = max(1, limit // len(alike[0]))
            for begin in range(0, len(alike), together):
                part = alike[begin : begin + together]
                planned += [[one for row in part for one in row[index::count]] for index in range(count)]
    return planned


def _of_one_length(rows: list[list[Trial]]) -> list[list[list[Trial]]]:
    found: dict[int, list[list[Trial]]] = {}
    for row in rows:
        found.setdefault(len(row), []).append(row)
    return list(found.values())


def train_batch(trials: Sequence[Trial]) -> list[RunResult]:
    """Train trials of one task, optimizer, controller, horizon and precision; results in the same order.

    A trial whose loss is no longer finite is frozen and changes no other trial, not even by a bit. If not every seed has as many
    trials, the seeds are trained one after another.

    Raises:
        SpecError: the trials differ in more than schedule, base rate and seed.
    """
    if not trials:
        return []
    first = trials[0]
    if any(_batch_key(trial) != _batch_key(first) for trial in trials):
        raise SpecError("the trials of a batch may differ in schedule, base_lr and seed only")
    if not first.optimizer.batched:
        return [train(trial) for trial in trials]
    seeds: dict[int, list[int]] = {}
    for place, trial in enumerate(trials):
        seeds.setdefault(trial.seed, []).append(place)
    rows = list(seeds.values())
    found: dict[int, RunResult] = {}
    for together in [rows] if len({len(row) for row in rows}) == 1 else [[row] for row in rows]:
        places = [place for row in together for place in row]
        found |= dict(zip(places, _train_together([trials[place] for place in places]), strict=True))
    return [found[place] for place in range(len(trials))]


def _train_together(trials: Sequence[Trial]) -> list[RunResult]:
    """Trials in the order of their seeds, as many of each."""
    started, first = time.process_time(), trials[0]
    seeds = list(dict.fromkeys(trial.seed for trial in trials))
    run = _Run(trials, seeds)
    streams = [first.task.minibatches(seed, first.steps, first.torch_dtype) for seed in seeds]
    with torch.no_grad():
        for step, drawn in enumerate(zip(*streams, strict=True)):
            inputs, targets = (torch.stack(parts) for parts in zip(*drawn, strict=True))
            if not run.advance(step, inputs, targets):
                break
        return run.results(time.process_time() - started)


def _batch_key(trial: Trial) -> tuple[object, ...]:
    return trial.task, trial.optimizer, trial.controller, trial.steps, trial.dtype


class _Run:
    """The state of a batch in training; ``alive`` says which of its trials have not diverged."""

    def __init__(self, trials: Sequence[Trial], seeds: Sequence[int]) -> None:
        first, count = trials[0], len(trials)
        self.trials, self.task, self.dtype = trials, first.task, first.torch_dtype
        self.multipliers = table([trial.schedule for trial in trials], first.steps).t().contiguous()
        self.bases = torch.tensor([trial.base_lr for trial in trials], dtype=torch.float64)
        self.rates = (self.multipliers * self.bases).to(self.dtype)
        initial = [self.task.initial(seed) for seed in seeds]
        self.names = list(initial[0])
        stacked = [torch.stack([one[name] for one in initial]).to(self.dtype) for name in self.names]
        each = count // len(seeds)
        self.initial = {
            name: value.repeat_interleave(each)
            for name, value in self.task.evaluate(dict(zip(self.names, stacked, strict=True)), final=True).items()
        }
        self.state = FlatState([one.repeat_interleave(each, 0) for one in stacked])
        self.update = first.optimizer.stacked(self.state)
        self.gradients = self.task.gradient_function()
        self.control = None if isinstance(first.controller, Static) else _Controlled(self)
        self.alive = torch.ones(count, dtype=torch.bool)
        self.stopped: list[int | None] = [None] * count
        self.final = {name: torch.full_like(value, torch.nan) for name, value in self.initial.items()}
        self.ends = window_ends(first.steps)
        self.train_curve = np.full((len(self.ends), count), np.nan)
        self.monitored_curve = self.train_curve.copy()
        self.window: list[Tensor] = []
        self.point = 0

    def advance(self, step: int, inputs: Tensor, targets: Tensor) -> bool:
        """One update of every living trial; False once none is left."""
        losses = self.gradients(self.state.parameters, inputs, targets, self.state.gradients)
        self.window.append(losses)
        if self.control is None:
            self.update.step(self.rates[step])
        else:
            self.control.step(step, losses, inputs, targets)
        return self._close_window(step) if step + 1 == self.ends[self.point] else True

    def _close_window(self, step: int) -> bool:
        losses, last = torch.stack(self.window), self.point == len(self.ends) - 1
        finite = losses.isfinite()
        # A controller may bring a trial back from a loss that is not finite; what counts is where it stands at the end.
        living = self.alive & (finite.all(0) if self.control is None else finite[-1] | self.control.restored)
        if monitored(self.point, len(self.ends)):
            metrics = self._metrics(final=last)
            metric = metrics[self.task.selection_metric]
            living &= metric.isfinite()
            self.monitored_curve[self.point, living.numpy()] = metric[living].numpy()
            if last:
                self.final = {name: torch.where(living, value, torch.nan) for name, value in metrics.items()}
        fallen = self.alive & ~living
        for row in fallen.nonzero().flatten().tolist():
            bad = (~finite[:, row]).nonzero()
            first_bad = int(bad[0]) if len(bad) else len(losses)
            self.stopped[row] = step + 1 - len(losses) + first_bad
        means = torch.where(finite, losses, torch.nan).to(torch.float64).nanmean(0)
        self.train_curve[self.point, living.numpy()] = means[living].numpy()
        if bool(fallen.any()):
            self._freeze(fallen)
        self.alive, self.window, self.point = living, [], self.point + 1
        return bool(living.any())

    def _freeze(self, fallen: Tensor) -> None:
        # They stay in the batch: without them the others would be rounded differently.
        self.rates[:, fallen] = 0.0
        self.state.clear(self.state.flat, fallen)
        self.update.clear(fallen)

    def _metrics(self, *, final: bool) -> dict[str, Tensor]:
        named = dict(zip(self.names, self.state.parameters, strict=True))
        return self.task.evaluate(named, final=final)

    def results(self, seconds: float) -> list[RunResult]:
        found = []
        for row, trial in enumerate(self.trials):
            stopped = self.stopped[row]
            curves = {
                "step": np.asarray(self.ends, dtype=np.int32),
                "train_loss": self.train_curve[:, row],
                self.task.selection_metric: self.monitored_curve[:, row],
            }
            if self.control is not None:
                curves |= self.control.recorder.curves(row)
            found.append(
                RunResult(
                    trial=trial,
                    status=Status.OK if stopped is None else Status.DIVERGED,
                    stopped_at=stopped,
                    initial={name: float(value[row]) for name, value in self.initial.items()},
                    metrics={name: float(value[row]) for name, value in self.final.items()},
                    curves=curves,
                    seconds=seconds / len(self.trials),
                )
            )
        return found


class _Controlled:
    """The updates of a batch whose rates a controller sets."""

    def __init__(self, run: _Run) -> None:
        trials, controller = run.trials, run.trials[0].controller
        self._run, self._controller, self._steps = run, controller, trials[0].steps
        self._space = StackedSpace(run.state, run.update, len(trials))
        self._control = Control(controller, self._space)
        self._base = Base([trial.schedule for trial in trials], self._steps)
        self._losses = run.task.loss_function()
        self._scratch = torch.empty_like(run.state.flat)
        self.recorder = Recorder(controller, self._steps, len(trials))

    def step(self, step: int, losses: Tensor, inputs: Tensor, targets: Tensor) -> None:
        """One update; the gradients are there."""
        run, control = self._run, self._control
        now = moment(step, self._steps, run.multipliers[step], self._base)
        part = None
        if Signal.HALF in self._controller.signals(step, self._steps):
            part = Part(self._first_half(inputs, targets))
        trial = control.before(now)
        run.update.step((run.bases * trial * run.alive).to(run.dtype))

        def replay(gradient: bool) -> tuple[Tensor, list[Tensor]]:
            parameters = run.state.parameters
            if not gradient:
                return self._losses(parameters, inputs, targets), []
            found = run.gradients(parameters, inputs, targets, run.state.views(self._scratch))
            return found, [self._scratch]

        made = control.after(now, losses, replay, part)
        self.recorder.record(step, control, made, run.alive)

    @property
    def restored(self) -> Tensor:
        """Which trials the last update put back, ``[B]``."""
        return self._control.restored

    def _first_half(self, inputs: Tensor, targets: Tensor) -> Tensor:
        half = half_of(inputs.shape[1])
        parameters, into = self._run.state.parameters, self._run.state.views(self._scratch)
        self._run.gradients(parameters, inputs[:, :half], targets[:, :half], into)
        return self._space.dot([self._scratch], [self._scratch])

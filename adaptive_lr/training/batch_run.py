"""Trials in training together, each with its own learning rates, those of a seed on the same minibatches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from adaptive_lr.controllers import Signal, Static
from adaptive_lr.errors import SpecError
from adaptive_lr.feedback.update import Control, Part
from adaptive_lr.schedules import table
from adaptive_lr.tasks.base import Inputs, Minibatch, on_each, stacked
from adaptive_lr.training.controlled import Base, Recorder, StackedSpace, moment
from adaptive_lr.training.optimizers import FlatState
from adaptive_lr.training.paused import Paused, stacked_buffers
from adaptive_lr.training.stretches import CompiledSteps, steps_of_a_block, stretch_ends
from adaptive_lr.training.trial import RunResult, Status, half_of, monitored, window_ends


class BatchRun:
    """The state of a batch in training; ``alive`` says which of its trials have not diverged.

    Args:
        paused: the trials, as far as they have come.
        compiled: whether steps at which no controller looks are trained by a compiled loop.
        of_a_seed: how many trials a seed will have, for which the loop is made; those that it has if nothing is said.
    """

    def __init__(self, paused: Paused, *, compiled: bool = False, of_a_seed: int | None = None) -> None:
        started, first, count = time.process_time(), paused.trials[0], len(paused.trials)
        self.trials, self.task, self.dtype, self.point = paused.trials, first.task, first.torch_dtype, 0
        self.step = paused.step
        self.seeds = list(dict.fromkeys(trial.seed for trial in self.trials))
        self.multipliers = table([trial.schedule for trial in self.trials], first.steps).t().contiguous()
        self.bases = torch.tensor([trial.base_lr for trial in self.trials], dtype=torch.float64)
        self.rates = (self.multipliers * self.bases).to(self.dtype)
        parameters, self.initial = paused.part("parameter"), paused.part("initial")
        self.names, self.buffers = list(parameters), paused.part("module")
        self.state = FlatState(list(parameters.values()))
        self.update = first.optimizer.stacked(self.state)
        self.gradients = self.task.gradient_function()
        self.control = None if isinstance(first.controller, Static) else _Controlled(self)
        self.final = {name: torch.full_like(value, torch.nan) for name, value in self.initial.items()}
        self.ends = window_ends(first.steps)
        self.alive, self.stopped = paused.rows["alive"], paused.rows["stopped"].tolist()
        self.train_curve = paused.rows["train_curve"].numpy().T.copy()
        self.monitored_curve = paused.rows["monitored_curve"].numpy().T.copy()
        self.window = list(paused.rows["window"].unbind(1))
        if paused.step:
            self._take_up(paused)
        self.compiled = self._compiled_steps(of_a_seed or count // len(self.seeds)) if compiled else None
        self.seconds = paused.rows["seconds"] + (time.process_time() - started) / count

    def _take_up(self, paused: Paused) -> None:
        buffers = [view for flat in self.update.buffers() for view in self.state.views(flat)]
        for view, value in zip(buffers, paused.part("buffer").values(), strict=True):
            view.copy_(value)
        self.update.resume(paused.step)
        self.rates[:, ~self.alive] = 0.0
        self.point = sum(end <= paused.step for end in self.ends)

    def advance(self, until: int) -> None:
        """Train to the step ``until``, counted from the beginning; minibatches are drawn anew, and those before passed over."""
        started = time.process_time()
        with torch.no_grad():
            if self.compiled is None:
                self._step_by_step(until)
            else:
                self._by_stretches(until, self.compiled)
        self.step = until
        self.seconds += (time.process_time() - started) / len(self.trials)

    def _step_by_step(self, until: int) -> None:
        steps = self.trials[0].steps
        streams = [islice(self.task.minibatches(seed, steps, self.dtype), self.step, until) for seed in self.seeds]
        for step, drawn in enumerate(zip(*streams, strict=True), self.step):
            inputs, targets = stacked(drawn)
            # Before the end all go on, since a trial that is dead may yet stand beside one that is not.
            if not self._update(step, inputs, targets) and until == steps:
                return

    def _compiled_steps(self, of_a_seed: int) -> CompiledSteps:
        optimizer, buffers = self.trials[0].optimizer, list(self.buffers.values())
        return CompiledSteps(self.task, optimizer, self.state, self.update, buffers, len(self.seeds), of_a_seed)

    def _by_stretches(self, until: int, compiled: CompiledSteps) -> None:
        steps, count = self.trials[0].steps, len(self.ends)
        stops = [end for point, end in enumerate(self.ends) if monitored(point, count)]
        longest = steps_of_a_block(self.task, len(self.seeds), self.dtype)
        stretches = stretch_ends(self.step, until, stops, self._quiet, longest)
        ends = [end for end, _ in stretches]
        streams = [self.task.blocks(seed, steps, self.dtype, ends, self.step) for seed in self.seeds]
        begin = self.step
        for (end, quiet), blocks in zip(stretches, zip(*streams, strict=True), strict=True):
            if quiet:
                living = self._stretch(begin, end, blocks, compiled)
            else:
                living = self._stretch_of_updates(begin, end, blocks)
            if not living and until == steps:
                return
            begin = end

    def _quiet(self, step: int) -> bool:
        return self.control is None or self.control.quiet(step)

    def _stretch(self, begin: int, end: int, blocks: Sequence[Minibatch], compiled: CompiledSteps) -> bool:
        if self.control is None:
            rates, recorded = self.rates[begin:end], None
        else:
            rates, recorded = self.control.quiet_rates(begin, end)
        losses, living = compiled.train(blocks, rates), True
        self.update.resume(end)
        for step, row in enumerate(losses, begin):
            self.window.append(row)
            if recorded is not None:
                recorded(step)
            if step + 1 == self.ends[self.point]:
                living = self._close_window(step)
        return living

    def _stretch_of_updates(self, begin: int, end: int, blocks: Sequence[Minibatch]) -> bool:
        living = True
        for offset in range(end - begin):
            living = self._update(begin + offset, *stacked([_at(offset, block) for block in blocks]))
        return living

    def paused(self) -> Paused:
        """How far the trials have come; what is done with the run later does not change it.

        Raises:
            SpecError: they are under a controller, whose state is not among the rows.
        """
        if self.control is not None:
            raise SpecError("trials under a controller are trained in one go")
        buffers = [view for flat in self.update.buffers() for view in self.state.views(flat)]
        window = torch.stack(self.window, 1) if self.window else torch.empty(len(self.trials), 0, dtype=self.dtype)
        rows = {
            **{
                f"parameter.{name}": parameter.clone()
                for name, parameter in zip(self.names, self.state.parameters, strict=True)
            },
            **{f"buffer.{index}": view.clone() for index, view in enumerate(buffers)},
            **{f"module.{name}": buffer.clone() for name, buffer in self.buffers.items()},
            **{f"initial.{name}": value for name, value in self.initial.items()},
            "alive": self.alive,
            "stopped": torch.tensor(self.stopped),
            "seconds": self.seconds.clone(),
            "train_curve": torch.from_numpy(self.train_curve.T.copy()),
            "monitored_curve": torch.from_numpy(self.monitored_curve.T.copy()),
            "window": window,
        }
        return Paused(self.trials, self.step, rows)

    def metric(self) -> Tensor:
        """The selection metric now, ``[B]``; NaN for trials that have diverged."""
        started = time.process_time()
        with torch.no_grad():
            selection = torch.where(self.alive, self._metrics(final=False)[self.task.selection_metric], torch.nan)
        self.seconds += (time.process_time() - started) / len(self.trials)
        return selection

    def _update(self, step: int, inputs: Inputs, targets: Tensor) -> bool:
        """One update of every living trial; False once none is left."""
        remembered = list(self.buffers.values())
        losses = self.gradients(self.state.parameters, inputs, targets, self.state.gradients, remembered)
        self.window.append(losses)
        if self.control is None:
            self.update.step(self.rates[step])
        else:
            self.control.step(step, losses, inputs, targets)
        return self._close_window(step) if step + 1 == self.ends[self.point] else True

    def _close_window(self, step: int) -> bool:
        losses, last = torch.stack(self.window), self.point == len(self.ends) - 1
        sums = losses.to(torch.float64).sum(0)
        some = not bool(sums.isfinite().all())  # of the losses, perhaps, are not finite
        finite = losses.isfinite() if some else torch.ones_like(losses, dtype=torch.bool)
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
        means = torch.where(finite, losses, torch.nan).to(torch.float64).nanmean(0) if some else sums / len(losses)
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
        for name, value in stacked_buffers(self.task, self.dtype, len(fallen)).items():
            self.buffers[name][fallen] = value[fallen]

    def _metrics(self, *, final: bool) -> dict[str, Tensor]:
        named = dict(zip(self.names, self.state.parameters, strict=True))
        return self.task.evaluate(named | self.buffers, final=final)

    def results(self) -> list[RunResult]:
        """What the trials leave behind, after the last step."""
        results = []
        for row, trial in enumerate(self.trials):
            stopped = None if self.stopped[row] < 0 else self.stopped[row]
            curves = {
                "step": np.asarray(self.ends, dtype=np.int32),
                "train_loss": self.train_curve[:, row],
                self.task.selection_metric: self.monitored_curve[:, row],
            }
            if self.control is not None:
                curves |= self.control.recorder.curves(row)
            results.append(
                RunResult(
                    trial=trial,
                    status=Status.OK if stopped is None else Status.DIVERGED,
                    stopped_at=stopped,
                    initial={name: float(value[row]) for name, value in self.initial.items()},
                    metrics={name: float(value[row]) for name, value in self.final.items()},
                    curves=curves,
                    seconds=float(self.seconds[row]),
                )
            )
        return results


class _Controlled:
    """The updates of a batch whose rates a controller sets."""

    def __init__(self, run: BatchRun) -> None:
        trials, controller = run.trials, run.trials[0].controller
        if any(trial.controller != controller for trial in trials):
            controller = controller.stacked([trial.controller for trial in trials])
        self._run, self._controller, self._steps = run, controller, trials[0].steps
        buffers, memory = list(run.buffers.values()), trials[0].optimizer.memory
        self._space = StackedSpace(run.state, run.update, buffers, len(trials), memory=memory)
        self._control = Control(controller, self._space)
        self._base = Base([trial.schedule for trial in trials], self._steps)
        self._losses = run.task.loss_function()
        self._scratch = torch.empty_like(run.state.flat)
        self.recorder = Recorder(controller, self._steps, len(trials))

    def step(self, step: int, losses: Tensor, inputs: Inputs, targets: Tensor) -> None:
        """One update; the gradients are there."""
        run, control = self._run, self._control
        now = moment(step, self._steps, run.multipliers[step], self._base)
        signals, part, metric = self._controller.signals(step, self._steps), None, None
        if Signal.HALF in signals:
            part = Part(self._first_half(inputs, targets))
        if Signal.METRIC in signals:
            metric = run._metrics(final=False)[run.task.selection_metric]
        trial = control.before(now)
        run.update.step((run.bases * trial * run.alive).to(run.dtype))

        def replay(gradient: bool) -> tuple[Tensor, list[Tensor]]:
            parameters = run.state.parameters
            if not gradient:
                return self._losses(parameters, inputs, targets, self._remembered()), []
            into = run.state.views(self._scratch)
            return run.gradients(parameters, inputs, targets, into, self._remembered()), [self._scratch]

        made = control.after(now, losses, replay, part, metric)
        self.recorder.record(step, control, made, run.alive)

    def quiet(self, step: int) -> bool:
        """Whether nothing is looked at in this step, nor remembered for the next."""
        signals, following = (self._controller.signals(t, self._steps) for t in (step, step + 1))
        return not signals & ~Signal.START and not following & (Signal.PREVIOUS_GRADIENT | Signal.PREVIOUS_STEP)

    def quiet_rates(self, begin: int, end: int) -> tuple[Tensor, Callable[[int], None]]:
        """The rates ``[K, B]`` of quiet steps, which depend on none of these, and what is to be called after each of them."""
        run, made = self._run, []
        for step in range(begin, end):
            now = moment(step, self._steps, run.multipliers[step], self._base)
            made.append(self._control.before(now))
            self._control.after(now, None, _never)
        rates = torch.stack([(run.bases * multiplier * run.alive).to(run.dtype) for multiplier in made])

        def recorded(step: int) -> None:
            self.recorder.record(step, self._control, made[step - begin], run.alive)

        return rates, recorded

    @property
    def restored(self) -> Tensor:
        """Which trials the last update put back, ``[B]``."""
        return self._control.restored

    def _remembered(self) -> list[Tensor]:
        """Copies, since passes that train nothing leave the buffers as they are."""
        return [buffer.clone() for buffer in self._run.buffers.values()]

    def _first_half(self, inputs: Inputs, targets: Tensor) -> Tensor:
        half = half_of(targets.shape[1])
        parameters, into = self._run.state.parameters, self._run.state.views(self._scratch)
        first = on_each(lambda part: part[:, :half], inputs)
        self._run.gradients(parameters, first, targets[:, :half], into, self._remembered())
        return self._space.dot([self._scratch], [self._scratch])


def _at(step: int, block: Minibatch) -> Minibatch:
    """The minibatch of a step from those of several."""
    inputs, targets = block
    return on_each(lambda part: part[step], inputs), targets[step]


def _never(gradient: bool) -> tuple[Tensor, list[Tensor]]:
    raise AssertionError("nothing is looked at in a quiet step")

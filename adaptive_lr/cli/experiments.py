"""``adaptive-lr run`` and ``adaptive-lr report``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from adaptive_lr.cli.common import Report, Results, clear_errors, err, out, store_path

if TYPE_CHECKING:
    from adaptive_lr.experiment import AbstractExperiment
    from adaptive_lr.training import Trial
    from adaptive_lr.trials.planning import Choice
    from adaptive_lr.trials.processes import Processes
    from adaptive_lr.trials.runner import Job
    from adaptive_lr.trials.store import Store

CORES = os.cpu_count() or 1

Runs = Annotated[Path, typer.Option(help="Folder that TensorBoard events are written to.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="A tiny version; its numbers mean nothing.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes, each on one core.")]
Everything = Annotated[bool, typer.Option("--all", help="Write TensorBoard events of all trials, not of a selection.")]


def run(
    experiments: Annotated[list[str], typer.Argument(help="Names as in `adaptive-lr list`, or paths of their files.")],
    smoke: Smoke = False,
    workers: Workers = CORES,
    results: Results = Path("results"),
    report: Report = Path("report"),
    runs: Runs = Path("runs"),
    everything: Everything = False,
) -> None:
    """Run experiments and write the report. Stop it whenever you like: run again, it goes on where it was.

    Example: [bold]adaptive-lr run e01_grid_resolution[/bold]
    """
    with clear_errors():
        from adaptive_lr.reporting.kept import kept_numbers
        from adaptive_lr.trials.processes import Processes
        from adaptive_lr.trials.runner import do
        from adaptive_lr.trials.store import Store

        loaded = _loaded(experiments, smoke)
        report, runs = (report / "smoke", runs / "smoke") if smoke else (report, runs)
        kept_numbers(report)  # says now, not after hours, that something else stands where the report will
        with Store(store_path(results), write=True) as store:
            with Processes(workers, do) as processes:
                for experiment in loaded:
                    _run_one(experiment, store, workers, processes)
            _report(loaded, store, report, runs, everything, workers)


def rebuild(
    experiments: Annotated[
        list[str] | None, typer.Argument(help="Experiments to analyse anew, whose files are executed.")
    ] = None,
    smoke: Smoke = False,
    workers: Workers = CORES,
    results: Results = Path("results"),
    report: Report = Path("report"),
    runs: Runs = Path("runs"),
    everything: Everything = False,
) -> None:
    """Write the report again, training nothing.

    Without names, from the numbers in report.json: no file is executed. The experiments that are named are analysed anew from their
    finished trials, and get their TensorBoard events; those that the report has besides stay in it.
    """
    with clear_errors():
        from adaptive_lr.trials.store import Store

        report, runs = (report / "smoke", runs / "smoke") if smoke else (report, runs)
        if experiments:
            loaded = _loaded(experiments, smoke)
            with Store(store_path(results)) as store:
                _report(loaded, store, report, runs, everything, workers)
        else:
            _draw_again(report, results, workers)


def _loaded(names: Sequence[str], smoke: bool) -> list[AbstractExperiment]:
    """The experiments that are named, and a line for each file that is executed for them.

    Raises:
        ExperimentError: two have the same name.
    """
    from adaptive_lr.errors import ExperimentError
    from adaptive_lr.experiment import experiment_path, load_experiment

    loaded: list[AbstractExperiment] = []
    for name in names:
        err.print(f"executing {escape(str(experiment_path(name)))}", soft_wrap=True)
        experiment = load_experiment(name)
        if experiment.name in {other.name for other in loaded}:
            raise ExperimentError(f"two of these experiments are called {experiment.name}: give each a name of its own")
        loaded.append(experiment.smoke() if smoke else experiment)
    return loaded


def _draw_again(report: Path, results: Path, workers: int) -> None:
    """The page and the figures from the numbers that are there.

    Raises:
        ExperimentError: there are none.
    """
    from adaptive_lr.errors import ExperimentError
    from adaptive_lr.experiment import experiment_names
    from adaptive_lr.reporting.kept import kept_numbers
    from adaptive_lr.reporting.report import write_report
    from adaptive_lr.trials.store import Store

    numbers = kept_numbers(report)
    for name in experiment_names():
        if name not in numbers:
            err.print(
                f"left out: {escape(name)}, which is not in {escape(str(report / 'report.json'))}", soft_wrap=True
            )
    if not numbers:
        raise ExperimentError(f"no experiment is finished in {report}: run one, or name those to analyse anew")
    provenance = []
    if store_path(results).exists():
        with Store(store_path(results)) as store:
            provenance = store.provenance()
    with err.status("writing the report"):
        page = write_report([], provenance, report, workers=workers)
    _say_where(page)


def _run_one(experiment: AbstractExperiment, store: Store, workers: int, processes: Processes[Job, Any]) -> None:
    out.print(f"[bold]{experiment.name}[/bold]: {escape(experiment.question)}")
    left_out = experiment.left_out()
    for study, reason in left_out.items():
        err.print(f"left out: {escape(study)}: {escape(reason)}", soft_wrap=True)
    for number, trials in enumerate(experiment.stages(store)):
        stored = len(store.finished(trial.digest() for trial in trials))
        if store.damaged:
            err.print(f"{len(store.damaged)} stored trials are damaged and are trained again")
        if not trials:
            if not left_out:
                out.print("no trials: what it looks at was recorded elsewhere")
            return
        which = "trials" if number == 0 else "more trials, which follow from those"
        out.print(f"{len(trials)} {which}, {stored} of them finished before; {workers} processes")
        if stored < len(trials):
            _train(trials, store, workers, processes, len(trials) - stored)


def _train(trials: Sequence[Trial], store: Store, workers: int, processes: Processes[Job, Any], count: int) -> None:
    """Train the trials that are not stored, so many of them, behind a bar."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from adaptive_lr.trials.runner import run_trials

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=err, speed_estimate_period=60.0, disable=not err.is_terminal) as progress:
        bar = progress.add_task("trials", total=count, rate="starting")
        announced, refused = 0, False

        def advance(finished: int) -> None:
            nonlocal announced
            progress.advance(bar, finished)
            task = progress.tasks[0]
            speed = task.finished_speed or task.speed
            progress.update(bar, rate=f"{speed:.0f} trials/s" if speed else "")
            # A log file gets a line now and then, not a bar.
            if not err.is_terminal and task.percentage >= announced + 10:
                announced = int(task.percentage) // 10 * 10
                err.print(f"{task.completed:.0f} of {task.total:.0f} trials after {task.elapsed or 0.0:.0f} s")

        def chosen(choice: Choice, trial: Trial) -> None:
            nonlocal refused
            if choice.reason and not refused:
                refused = True
                err.print(f"without compiled loops: {escape(choice.reason)}", soft_wrap=True)
            if choice.seconds:
                rates = ", ".join(f"{seconds * 1e3:.3g} ms {backend}" for backend, seconds in choice.seconds.items())
                what = f"{trial.task.label}, {trial.optimizer.kind}"
                err.print(escape(f"{what}: trained {choice.backend} (a step of a trial: {rates})"), soft_wrap=True)

        run_trials(trials, store, workers=workers, processes=processes, advance=advance, chosen=chosen)


def _report(
    experiments: list[AbstractExperiment], store: Store, report: Path, runs: Path, everything: bool, workers: int
) -> None:
    from adaptive_lr.reporting.report import write_report
    from adaptive_lr.reporting.tensorboard import write_events

    with err.status("analysing"):
        analysed = [experiment.analyse(store) for experiment in experiments]
    with err.status("writing the report"):
        page = write_report(analysed, store.provenance(), report, workers=workers)
    with err.status("writing TensorBoard events"):
        for experiment, numbers in zip(experiments, analysed, strict=True):
            write_events(experiment.runs_to_show(numbers, everything=everything), store, runs / experiment.name)
    _say_where(page)
    if example := _example(analysed):
        out.print(
            f"curves: [bold]tensorboard --logdir {escape(str(runs))}[/bold] (a filter such as {escape(example)} over the list of runs "
            "finds a few of them)",
            soft_wrap=True,
        )


def _say_where(page: Path) -> None:
    out.print(
        f"report: [bold]{escape(str(page))}[/bold] (open it in a browser; the numbers are in report.json beside it)",
        soft_wrap=True,
    )


def _example(analysed: Sequence[Mapping[str, Any]]) -> str | None:
    """A filter for TensorBoard, from the first experiment that has curves; None if none has."""
    for experiment in analysed:
        if experiment["studies"] and "reference" in experiment:
            return f"{next(iter(experiment['studies']))}/{experiment['reference']}/"
    return None

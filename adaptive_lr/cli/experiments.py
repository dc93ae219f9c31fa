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
    from adaptive_lr.trials.store import Store

Runs = Annotated[Path, typer.Option(help="Folder that TensorBoard events are written to.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="A tiny version that ends in seconds; its numbers mean nothing.")]
Everything = Annotated[bool, typer.Option("--all", help="Write TensorBoard events of all trials, not of a selection.")]


def run(
    experiments: Annotated[list[str], typer.Argument(help="Names as in `adaptive-lr list`, or paths of their files.")],
    smoke: Smoke = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each on one core.")] = os.cpu_count() or 1,
    results: Results = Path("results"),
    report: Report = Path("report"),
    runs: Runs = Path("runs"),
    everything: Everything = False,
) -> None:
    """Run experiments and write the report. Stop it whenever you like: run again, it goes on where it was.

    Example: [bold]adaptive-lr run e01_grid_resolution[/bold]
    """
    with clear_errors():
        from adaptive_lr.experiment import load_experiment
        from adaptive_lr.trials.store import Store

        loaded = [load_experiment(name) for name in experiments]
        with Store(store_path(results), write=True) as store:
            for one in loaded:
                _run_one(one.smoke() if smoke else one, store, workers)
            _report([one.smoke() if smoke else one for one in loaded], store, report, runs, everything, smoke)


def rebuild(
    experiments: Annotated[list[str] | None, typer.Argument(help="Which ones; all by default.")] = None,
    smoke: Smoke = False,
    results: Results = Path("results"),
    report: Report = Path("report"),
    runs: Runs = Path("runs"),
    everything: Everything = False,
) -> None:
    """Write the report and the TensorBoard events again from finished trials, running nothing.

    Without names, experiments that are not finished are left out, and it says so.
    """
    with clear_errors():
        from adaptive_lr.trials.store import Store

        loaded = [one.smoke() if smoke else one for one in _loaded(experiments)]
        with Store(store_path(results)) as store:
            _report(loaded if experiments else _finished(loaded, store), store, report, runs, everything, smoke)


def _finished(experiments: Sequence[AbstractExperiment], store: Store) -> list[AbstractExperiment]:
    """Those of which every trial is stored; what is left out is told.

    Raises:
        ExperimentError: there is none.
    """
    from adaptive_lr.errors import ExperimentError

    found = []
    for one in experiments:
        trials = one.trials()
        stored = len(store.finished(trial.digest() for trial in trials))
        if stored == len(trials):
            found.append(one)
        else:
            err.print(f"left out: {one.name}, {stored} of its {len(trials)} trials are finished")
    if not found:
        raise ExperimentError(f"no experiment is finished in {store.path}: run one first")
    return found


def _loaded(names: Sequence[str] | None) -> list[AbstractExperiment]:
    from adaptive_lr.errors import ExperimentError
    from adaptive_lr.experiment import experiment_names, load_experiment

    loaded = [load_experiment(name) for name in names or experiment_names()]
    if not loaded:
        raise ExperimentError("there are no experiments in ./experiments: name the files")
    return loaded


def _run_one(experiment: AbstractExperiment, store: Store, workers: int) -> None:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from adaptive_lr.experiment import run_experiment

    trials = experiment.trials()
    stored = len(store.finished(trial.digest() for trial in trials))
    out.print(f"[bold]{experiment.name}[/bold]: {escape(experiment.question)}")
    if not trials:
        out.print("no trials: what it looks at was recorded elsewhere")
        return
    out.print(f"{len(trials)} trials, {stored} of them finished before; {workers} processes")
    if stored == len(trials):
        return
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=err, speed_estimate_period=60.0, disable=not err.is_terminal) as progress:
        bar = progress.add_task("trials", total=len(trials) - stored, rate="starting")

        said = 0

        def advance(count: int) -> None:
            nonlocal said
            progress.advance(bar, count)
            task = progress.tasks[0]
            speed = task.finished_speed or task.speed
            progress.update(bar, rate=f"{speed:.0f} trials/s" if speed else "")
            if not err.is_terminal and task.percentage >= said + 10:  # a log file gets a line now and then, not a bar
                said = int(task.percentage) // 10 * 10
                err.print(f"{task.completed:.0f} of {task.total:.0f} trials after {task.elapsed or 0.0:.0f} s")

        run_experiment(experiment, store, workers=workers, advance=advance)


def _report(
    experiments: list[AbstractExperiment], store: Store, report: Path, runs: Path, everything: bool, smoke: bool
) -> None:
    from adaptive_lr.reporting.report import write_report
    from adaptive_lr.reporting.tensorboard import write_events

    report, runs = (report / "smoke", runs / "smoke") if smoke else (report, runs)
    with err.status("analysing"):
        analysed = [one.analyse(store) for one in experiments]
    with err.status("writing the report"):
        page = write_report(analysed, store.provenance(), report)
    with err.status("writing TensorBoard events"):
        for one, numbers in zip(experiments, analysed, strict=True):
            write_events(one.runs_to_show(numbers, everything=everything), store, runs / one.name)
    out.print(
        f"report: [bold]{escape(str(page))}[/bold] (open it in a browser; the numbers are in report.json beside it)",
        soft_wrap=True,
    )
    if example := _example(analysed):
        out.print(
            f"curves: [bold]tensorboard --logdir {escape(str(runs))}[/bold] (a filter such as {escape(example)} over the list of runs "
            "finds a few of them)",
            soft_wrap=True,
        )


def _example(analysed: Sequence[Mapping[str, Any]]) -> str | None:
    """A filter for TensorBoard, from the first experiment that has curves; None if none has."""
    for one in analysed:
        if one["studies"] and "reference" in one:
            return f"{next(iter(one['studies']))}/{one['reference']}/"
    return None

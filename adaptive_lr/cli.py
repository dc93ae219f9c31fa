"""The command line: ``adaptive-lr …``. Anything heavy is imported when a command needs it, so that help is instant."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from adaptive_lr.errors import AdaptiveLRError, ExperimentError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adaptive_lr.experiment import AbstractExperiment
    from adaptive_lr.store import Store

app = typer.Typer(
    help="Damping in learning-rate schedules: run the experiments, read the report, look at schedules.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out, err = Console(highlight=False), Console(stderr=True, highlight=False)

Results = Annotated[Path, typer.Option(help="Folder of the store with finished trials.")]
Report = Annotated[Path, typer.Option(help="Folder that the report is written to.")]
Runs = Annotated[Path, typer.Option(help="Folder that TensorBoard events are written to.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="A tiny version that ends in seconds; its numbers mean nothing.")]
Everything = Annotated[bool, typer.Option("--all", help="Write TensorBoard events of all trials, not of a selection.")]


@app.command()
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
    with _clear_errors():
        from adaptive_lr.experiment import load_experiment
        from adaptive_lr.store import Store

        loaded = [load_experiment(name) for name in experiments]
        with Store(_store_path(results), write=True) as store:
            for one in loaded:
                _run_one(one.smoke() if smoke else one, store, workers)
            _report([one.smoke() if smoke else one for one in loaded], store, report, runs, everything, smoke)


@app.command("report")
def rebuild(
    experiments: Annotated[list[str] | None, typer.Argument(help="Which ones; all by default.")] = None,
    smoke: Smoke = False,
    results: Results = Path("results"),
    report: Report = Path("report"),
    runs: Runs = Path("runs"),
    everything: Everything = False,
) -> None:
    """Write the report and the TensorBoard events again from finished trials, running nothing."""
    with _clear_errors():
        from adaptive_lr.experiment import experiment_names, load_experiment
        from adaptive_lr.store import Store

        loaded = [load_experiment(name) for name in experiments or experiment_names()]
        if not loaded:
            raise ExperimentError("there are no experiments in ./experiments: name the files")
        with Store(_store_path(results)) as store:
            _report([one.smoke() if smoke else one for one in loaded], store, report, runs, everything, smoke)


@app.command()
def plot(
    schedules: Annotated[
        list[str],
        typer.Argument(
            help="Names, each followed by its fields, as in: damped_cosine exponent=2 wsd cooldown=0.1; warmup=0.05 or warmup=500 goes with any."
        ),
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A .png or .svg file.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="The number of updates T.")] = 1000,
    vs: Annotated[bool, typer.Option("--vs", help="For reading only: what follows is drawn for comparison.")] = False,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Draw in the terminal instead of writing a file.")
    ] = False,
) -> None:
    """Draw schedules, as schedule.png or in the terminal.

    Example: [bold]adaptive-lr plot damped_cosine k=1.5 exponent=2 warmup=0.05 --vs wsd cosine --terminal[/bold]
    """
    with _clear_errors():
        from adaptive_lr.reporting import figures
        from adaptive_lr.schedules.parse import parse_schedules

        parsed = parse_schedules(schedules)
        if terminal:
            from adaptive_lr.reporting.terminal import draw_schedules

            out.print(draw_schedules(parsed, steps, out.width), highlight=False, markup=False)
            return
        path = output or Path("schedule.png")
        figures.save(figures.schedules_figure(parsed, steps), path)
        out.print(f"wrote {escape(str(path))}")


@app.command("list")
def show() -> None:
    """List the schedules and controllers with their fields, the tasks and the experiments."""
    with _clear_errors():
        import dataclasses

        from rich.table import Table

        from adaptive_lr.controllers import CONTROLLERS
        from adaptive_lr.experiment import experiment_names, load_experiment
        from adaptive_lr.schedules import SCHEDULES
        from adaptive_lr.schedules.parse import ALIASES
        from adaptive_lr.tasks import TASKS

        for title, kinds in (("schedules", SCHEDULES), ("controllers", CONTROLLERS), ("tasks", TASKS)):
            grid = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), show_header=False)
            for kind in kinds:
                names = [kind.kind, *(alias for alias, name in ALIASES.items() if name == kind.kind)]
                fields = ", ".join(item.name for item in dataclasses.fields(kind))  # type: ignore[arg-type]
                formula = escape(" ".join((kind.__doc__ or "").split("\n\n")[0].replace("``", "").split()))
                grid.add_row(f"[bold]{', '.join(names)}[/bold]", f"{formula} [dim]{escape(fields)}[/dim]")
            out.print(grid)
            out.print()
        grid = Table(title="experiments", title_justify="left", box=None, padding=(0, 2, 0, 0), show_header=False)
        for name in experiment_names():
            grid.add_row(f"[bold]{name}[/bold]", escape(load_experiment(name).question))
        out.print(grid)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    """Damping in learning-rate schedules: run the experiments, read the report, look at schedules."""
    if version:
        from importlib.metadata import version as installed

        out.print(installed("adaptive-lr"))
        raise typer.Exit


def _store_path(results: Path) -> Path:
    return results / "store.sqlite"


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
    out.print(
        f"curves: [bold]tensorboard --logdir {escape(str(runs))}[/bold] (a filter such as "
        f"{escape(next(iter(analysed[0]['studies'])))}/{escape(analysed[0]['reference'])}/ over the list of runs finds a few of them)",
        soft_wrap=True,
    )


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn a user's mistake into one line and exit code 2, a failed run into one line and exit code 1."""
    try:
        yield
    except KeyboardInterrupt:
        err.print("interrupted; finished trials are stored: run again to go on")
        raise typer.Exit(130) from None
    except RunError as error:
        err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    except (AdaptiveLRError, OSError) as error:
        err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None

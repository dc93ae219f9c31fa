"""``adaptive-lr search-schedule``: the shape of a schedule on a built-in task, each shape at its own best rate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from adaptive_lr.cli.common import Results, clear_errors, err, out, store_path
from adaptive_lr.cli.searched import bar, summary, write_page
from adaptive_lr.errors import SpecError

if TYPE_CHECKING:
    from rich.table import Table

    from adaptive_lr.schedules import AbstractSchedule
    from adaptive_lr.shapes.verdict import Verdict
    from adaptive_lr.tasks import AbstractTask
    from adaptive_lr.training import AbstractOptimizer

SELECTION = 100
"""The first of the seeds that a search sees; those that it is judged on begin at 0."""


def search_schedule(
    task: Annotated[
        list[str], typer.Argument(help="A task and its fields, as in: perceptron dataset=digits hidden=48,48.")
    ],
    schedule: Annotated[
        str, typer.Option(help="Whose numbers are searched, as in: damped_cosine warmup=0.05.")
    ] = "damped_cosine",
    optimizer: Annotated[
        str | None, typer.Option(help="As in: adamw weight_decay=0.1; else sgd, with momentum=0.9 for networks.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="The number of updates T.")] = 1000,
    low: Annotated[float, typer.Option(help="The lowest base rate that a shape is tried at.")] = 0.01,
    high: Annotated[float, typer.Option(help="The highest one.")] = 10.0,
    per_decade: Annotated[int, typer.Option(min=1, help="So many of them between 1 and 10.")] = 4,
    space: Annotated[
        Path | None, typer.Option(help="A YAML or JSON file: ranges by name; else those that the schedule declares.")
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            help="The loss of a shape: best, at its best rate; worst or mean, over rates around it; grids, expected on a grid of "
            "rates of a random ratio and offset (with --per-decade 6)."
        ),
    ] = "best",
    window: Annotated[float, typer.Option(help="The factor that these reach to either side.")] = 10.0,
    trials: Annotated[int, typer.Option(help="How many shapes are to be tried in all, earlier ones included.")] = 64,
    together: Annotated[int, typer.Option(min=1, help="How many are trained at once; part of the history.")] = 16,
    sampler: Annotated[str, typer.Option(help="tpe, gp, cmaes, qmc, grid or random.")] = "tpe",
    seed: Annotated[int, typer.Option(help="Of the sampler.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Runs a shape and rate, each with a seed of its own.")] = 5,
    report_seeds: Annotated[
        int, typer.Option(min=2, help="Other seeds, which the winner is judged on: half of them choose rates.")
    ] = 20,
    pruner: Annotated[
        str | None, typer.Option(help="halving: only the best third goes on, twice; a rough look in less time.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, each on one core; 1 for none but this.")] = 1,
    directory: Annotated[Path, typer.Option(help="Where the search is kept; the same one again goes on.")] = Path(
        "search"
    ),
    results: Results = Path("results"),
    storage: Annotated[str | None, typer.Option(help="Of the Optuna study, as in postgresql://…; else a file.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder that a page about the search is written to.")] = None,
) -> None:
    """Search the shape of a schedule on a built-in task, and judge the winner on seeds that the search did not see.

    Each shape is trained at every base rate of a grid, so that none wins by fitting one rate. Stop it whenever you like: run again, it goes on.

    Example: [bold]adaptive-lr search-schedule streaming_logistic --low 0.1 --trials 64 --workers 2[/bold]

    Exit codes: 0 all shapes are tried, 1 a run failed, 2 something was asked for wrongly, 130 interrupted. [bold]adaptive-lr list[/bold] has the tasks.
    """
    with clear_errors():
        from adaptive_lr.experiment.base import geometric_grid
        from adaptive_lr.schedules.parse import parse_spec
        from adaptive_lr.shapes.batched import search_shapes
        from adaptive_lr.shapes.judge import judge
        from adaptive_lr.shapes.shape_search import ShapeSearch
        from adaptive_lr.tasks import TASKS
        from adaptive_lr.trials.store import Store

        trained = parse_spec(task, TASKS, "task")
        chosen: Any = {"objective": objective, "pruner": pruner, "sampler": sampler}
        shapes = ShapeSearch(
            task=trained,
            optimizer=_optimizer(optimizer, trained),
            schedule=_schedule(schedule),
            steps=steps,
            rates=tuple(float(f"{rate:.12g}") for rate in geometric_grid(low, high, per_decade)),
            selection_seeds=range(SELECTION, SELECTION + seeds),
            report_seeds=range(report_seeds),
            objective=chosen["objective"],
            window=window,
            space=space,
            together=together,
            pruner=chosen["pruner"],
        )
        if report is not None:
            from adaptive_lr.reporting.search_report import refuse_directory

            refuse_directory(report, directory)  # before hours of work, not after
        with Store(store_path(results), write=True) as store:
            with bar(trials) as advance:
                result = search_shapes(
                    shapes,
                    trials=trials,
                    directory=directory,
                    store=store,
                    workers=workers,
                    sampler=chosen["sampler"],
                    seed=seed,
                    storage=storage,
                    advance=advance,
                )
            summary(result)
            with err.status("training the winner and the baselines on other seeds"):
                verdict = judge(shapes, result, store, workers=workers)
        _show(verdict, shapes.task.report_metric)
        if report is not None:
            title = f"Search of {shapes.schedule!r} on {shapes.task!r}"
            write_page(result, report, title=title, verdict=verdict.sentence())


def _schedule(text: str) -> AbstractSchedule:
    from adaptive_lr.schedules.parse import parse_schedules, split_words

    schedules = list(parse_schedules(split_words(text)).values())
    if len(schedules) != 1:
        raise SpecError(f"--schedule takes one schedule, got {text!r}")
    return schedules[0]


def _optimizer(text: str | None, task: AbstractTask) -> AbstractOptimizer:
    from adaptive_lr.schedules.parse import parse_spec, split_words
    from adaptive_lr.tasks import CharacterModel, Perceptron
    from adaptive_lr.training import OPTIMIZERS, SGD

    if text is not None:
        return parse_spec(split_words(text), OPTIMIZERS, "optimizer")
    return SGD(momentum=0.9) if isinstance(task, CharacterModel | Perceptron) else SGD()


def _show(verdict: Verdict, metric: str) -> None:
    from adaptive_lr.shapes.verdict import times

    out.print()
    out.print(escape(verdict.sentence()), soft_wrap=True)
    out.print()
    measures = [row["measure"] for row in verdict.comparisons]
    losses = _table(
        f"{metric} over {verdict.repetitions} repetitions, each on other seeds", "schedule", "best rate", *measures
    )
    for judged in (verdict.winner, *verdict.baselines):
        edge = "†" if judged.at_boundary else ""
        costs = [f"{judged.costs[measure]['value']:.3g}" for measure in measures]
        losses.add_row(judged.label, f"{judged.rate:.3g}{edge}", *costs)
    out.print(losses)
    out.print()
    ratios = _table("The tuned one against the best baseline", "measure", "best baseline", "ratio", "p", "verdict")
    for row in verdict.comparisons:
        ratios.add_row(row["measure"], row["baseline"], escape(times(row)), f"{row['adjusted']:.2g}", row["verdict"])
    out.print(ratios)
    out.print(
        "[dim]tuned: at the best rate; 10^(1/3) … 100: on a grid of that ratio, in the mean over where it may begin. In brackets: 95 % intervals "
        f"of Student's t over the repetitions; in each, one seed chooses every rate, another one reports. p: {verdict.comparisons[0]['procedure']}. "
        "Better: than every baseline; the one that is hardest to beat is named. † at the edge of the grid of rates.[/dim]"
    )


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for index, name in enumerate(columns):
        left = index == 0 or name in ("best baseline", "verdict")
        table.add_column(name, justify="left" if left else "right")
    return table

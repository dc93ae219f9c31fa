"""``adaptive-lr advise``: which schedule to take for a coarse grid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from adaptive_lr.cli.common import Results, clear_errors, err, out, store_path
from adaptive_lr.cli.robustness import By, Ignore, Initial, Seed, Where, Window, make_request, read_runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from adaptive_lr.analysis.recorded import Request


def advise(
    grid_ratio: Annotated[
        float | None, typer.Option(help="The ratio between neighbouring learning rates that you can afford.")
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Or the number of trials, spread over --decades.")] = None,
    decades: Annotated[float, typer.Option(help="How uncertain the best rate is.")] = 4.0,
    task_kind: Annotated[str, typer.Option(help="convex, network, language or any.")] = "any",
    runs: Annotated[
        Path | None,
        typer.Option(help="Runs of your own: what `adaptive-lr robustness` takes, with --lr, --loss, --by."),
    ] = None,
    rate: Annotated[str | None, typer.Option("--lr", help="Column of the learning rate in --runs.")] = None,
    loss: Annotated[str | None, typer.Option("--loss", help="Column of the loss in --runs.")] = None,
    by: By = None,
    seed: Seed = None,
    where: Where = None,
    ignore: Ignore = None,
    window: Window = None,
    initial_loss: Initial = None,
    report: Annotated[Path, typer.Option(help="Folder of a report, whose experiments are the evidence.")] = Path(
        "report"
    ),
    results: Results = Path("results"),
    json_out: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say which schedule to take when only a coarse grid of learning rates, or a few trials, can be afforded.

    Example: [bold]adaptive-lr advise --budget 8 --task-kind convex[/bold]
    """
    with clear_errors():
        from adaptive_lr.analysis.advice import Question
        from adaptive_lr.analysis.advice import advise as advice

        question, words = Question.afforded(ratio=grid_ratio, budget=budget, decades=decades, kind=task_kind)
        numbers = None
        if runs is not None:
            request = make_request(
                *_columns(rate, loss), by=by, seed=seed, where=where, ignore=ignore, initial=initial_loss, window=window
            )
            numbers = _own_runs(runs, request, question.ratio)
        found = advice(question, _evidence(report, results), numbers)
        if json_out:
            import json

            typer.echo(json.dumps(found | {"question": words}, indent=1, sort_keys=True, allow_nan=False))
        else:
            _show(found, words)


def _columns(rate: str | None, loss: str | None) -> tuple[str, str]:
    from adaptive_lr.errors import InputError

    if rate is None or loss is None:
        raise InputError("--runs needs --lr and --loss, the columns of the learning rate and the loss")
    return rate, loss


def _own_runs(runs: Path, request: Request, ratio: float) -> dict[str, Any]:
    from adaptive_lr.analysis.recorded_summary import summarise

    table, _ = read_runs(runs, request, run=None, step=None, reduce="last")
    return summarise(table, request, ratios=[ratio])


def _evidence(report: Path, results: Path) -> dict[str, Any]:
    """The firmest there is: a report, else a finished store, else what ships."""
    from adaptive_lr.analysis.evidence import evidence_from_numbers, evidence_from_report, shipped_evidence
    from adaptive_lr.errors import ExperimentError, InputError, StoreError

    if (report / "report.json").is_file():
        try:
            return evidence_from_report(report / "report.json")
        except InputError as error:
            err.print(f"[dim]{escape(str(error))}[/dim]", soft_wrap=True)
    if store_path(results).is_file():
        from adaptive_lr.experiment import load_experiment
        from adaptive_lr.trials.store import Store

        try:
            with err.status("analysing the store"), Store(store_path(results)) as store:
                return evidence_from_numbers([load_experiment("e01_grid_resolution").analyse(store)])
        except (StoreError, ExperimentError) as error:
            err.print(f"[dim]{escape(str(error))}[/dim]", soft_wrap=True)
    return shipped_evidence()


def _show(found: Mapping[str, Any], words: str) -> None:
    from adaptive_lr.reporting.advice_prose import headline, sentences

    out.print(escape(words))
    out.print(f"[bold]{escape(headline(found))}[/bold]")
    out.print()
    for sentence in sentences(found):
        out.print(f"• {escape(sentence)}")
    out.print()
    if found["measured"]:
        _measured_table(found["measured"])
    _predicted_table(found["predicted"])
    out.print("What this does not know:")
    for sentence in found["unknown"]:
        out.print(f"- {escape(sentence)}")
    out.print(f"[dim]Evidence: {escape(found['source'])}[/dim]")


def _measured_table(measured: Mapping[str, Any]) -> None:
    grid = _grid("Experiments: loss over the tuned cosine's")
    for name in ("schedule", "mean over tasks", "at worst", "on", "cheapest on", "best rate at an edge on"):
        grid.add_column(name, justify="left" if name in ("schedule", "on") else "right")
    for label, row in measured["schedules"].items():
        ends = "" if row["low"] is None else f" [{row['low']:.3g}, {row['high']:.3g}]"
        cells = (f"{row['worst']:.3g}", row["worst_task"], str(row["lowest_in"]), str(row["at_boundary"]))
        grid.add_row(*(escape(one) for one in (label, f"{row['value']:.3g}{ends}", *cells)))
    out.print(grid)
    out.print()


def _predicted_table(predicted: Mapping[str, Any]) -> None:
    grid = _grid("The bound: over that of a tuned linear decay")
    for name in ("schedule", "tuned", "mean over the grid's places", "worst place"):
        grid.add_column(name, justify="left" if name == "schedule" else "right")
    shown = {row["spec"]: row for one in predicted["best_of_family"].values() for row in one.values()}
    for row in sorted(shown.values(), key=lambda row: float(row["worst"])):
        grid.add_row(escape(row["spec"]), *(f"{row[key]:.2f}" for key in ("tuned", "mean", "worst")))
    out.print(grid)
    out.print()


def _grid(title: str) -> Table:
    from rich.table import Table

    return Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))

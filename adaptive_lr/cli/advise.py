"""``adaptive-lr advise``: which schedule to take for a coarse grid, and which controller."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from adaptive_lr.cli.common import clear_errors, err, out
from adaptive_lr.cli.grids import Grid
from adaptive_lr.cli.recorded_options import Options, reading_runs

if TYPE_CHECKING:
    from collections.abc import Mapping


@reading_runs(
    rate=Annotated[str | None, typer.Option("--lr", help="Column of the learning rate in --runs.")],
    loss=Annotated[str | None, typer.Option("--loss", help="Column of the loss or metric in --runs.")],
    ratios=None,
    tolerance=None,
)
def advise(
    *,
    grid_ratio: Annotated[
        float | None,
        typer.Option(
            help="The ratio between neighbouring learning rates that you can afford; 10 is one rate a decade."
        ),
    ] = None,
    budget: Annotated[int | None, typer.Option(help="Or the number of trials, spread over --decades.")] = None,
    decades: Annotated[float, typer.Option(help="How uncertain the best rate is, in powers of ten.")] = 4.0,
    task_kind: Annotated[
        str,
        typer.Option(
            help="What you train, so that the experiments nearest to it count: convex, network, language or any."
        ),
    ] = "any",
    runs: Annotated[
        Path | None,
        typer.Option(
            help="Runs of your own, which go before all experiments: a file or folder as for `adaptive-lr robustness`, with --lr, --loss, --by."
        ),
    ] = None,
    options: Options,
    report: Annotated[
        Path,
        typer.Option(
            help="Folder of a report, whose report.json is the evidence; what ships with the package for all that it lacks."
        ),
    ] = Path("report"),
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Say everything: the tables, the bound, controllers, what is not known."),
    ] = False,
    json_out: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Say in five lines which schedule to take when only a coarse grid of learning rates can be afforded, and which controller.

    One of --grid-ratio and --budget is needed. What counts, the firmest first: your own runs, experiments, runs that others recorded, a bound.

    Example: [bold]adaptive-lr advise --budget 8 --task-kind convex[/bold]

    With your own runs: [bold]adaptive-lr advise --grid-ratio 10 --runs runs.csv --lr lr --loss val_loss --by schedule --seed seed[/bold]
    """
    with clear_errors():
        from adaptive_lr.analysis.advice import Question
        from adaptive_lr.analysis.advice import advise as advice_on

        question, words = Question.afforded(ratio=grid_ratio, budget=budget, decades=decades, kind=task_kind)
        numbers = None
        if runs is not None:
            numbers = _own_runs(runs, options, question.ratio)
        else:
            options.refuse_without_runs()
        advice = advice_on(question, _evidence(report), numbers)
        if json_out:
            import json

            typer.echo(json.dumps(advice | {"question": words}, indent=1, sort_keys=True, allow_nan=False))
        elif verbose:
            _show(advice, words)
        else:
            _show_shortly(advice, words)


def _own_runs(source: Path, options: Options, ratio: float) -> dict[str, Any]:
    from adaptive_lr.analysis.recorded_summary import summarise

    request = options.request()
    table, notes = options.read(source, request)
    numbers = summarise(table, request, ratios=[ratio])
    return numbers | {"notes": [*notes, *numbers["notes"]]}


def _evidence(report: Path) -> dict[str, Any]:
    """A report's numbers where there is one, else what ships. Both are data: nothing of a folder is ever executed here."""
    from adaptive_lr.analysis.evidence import completed, evidence_from_report, shipped_evidence
    from adaptive_lr.errors import InputError

    if (report / "report.json").is_file():
        try:
            return completed(evidence_from_report(report / "report.json"))
        except InputError as error:
            err.print(f"[dim]{escape(str(error))}; what ships with the package is used[/dim]", soft_wrap=True)
    return shipped_evidence()


def _show_shortly(advice: Mapping[str, Any], words: str) -> None:
    from adaptive_lr.reporting.advice_prose import in_short

    styles = ("", "bold", "", "", "dim")
    for line, style in zip(in_short(advice, words), styles, strict=True):
        out.print(escape(line), style=style, soft_wrap=True)


def _show(advice: Mapping[str, Any], words: str) -> None:
    from adaptive_lr.reporting.advice_prose import headline, sentences, sources

    out.print(escape(words))
    out.print(f"[bold]{escape(headline(advice))}[/bold]")
    out.print()
    for sentence in sentences(advice):
        out.print(f"• {escape(sentence)}")
    out.print()
    if advice["measured"]:
        _measured_table(advice["measured"])
    _predicted_table(advice["predicted"])
    out.print("What this does not know:")
    for sentence in advice["unknown"]:
        out.print(f"- {escape(sentence)}")
    for note in advice["notes"]:
        out.print(f"[dim]- {escape(note)}[/dim]")
    out.print(f"[dim]Evidence: {escape(sources(advice))}[/dim]")


def _measured_table(measured: Mapping[str, Any]) -> None:
    names = ("mean over tasks", "at worst", "on", "cheapest on", "best rate at an edge on")
    grid = Grid("Experiments: loss over the tuned cosine's", "schedule", names, left=("on",))
    for label, row in measured["schedules"].items():
        ends = "" if row["low"] is None else f" [{row['low']:.3g}, {row['high']:.3g}]"
        cells = (f"{row['worst']:.3g}", row["worst_task"], str(row["lowest_in"]), str(row["at_boundary"]))
        grid.rows.append((label, (f"{row['value']:.3g}{ends}", *cells)))
    grid.print()


def _predicted_table(predicted: Mapping[str, Any]) -> None:
    names = ("tuned", "mean over the grid's places", "worst place")
    grid = Grid("The bound: over that of a tuned linear decay", "schedule", names)
    shown = {row["spec"]: row for rows in predicted["best_of_family"].values() for row in rows.values()}
    for row in sorted(shown.values(), key=lambda row: float(row["worst"])):
        grid.rows.append((row["spec"], [f"{row[key]:.2f}" for key in ("tuned", "mean", "worst")]))
    grid.print()

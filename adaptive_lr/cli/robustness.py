"""``adaptive-lr robustness``: how much recorded results depend on the learning rate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from adaptive_lr.cli.common import clear_errors, err, out
from adaptive_lr.cli.grids import Grid
from adaptive_lr.cli.recorded_options import Options, checked_tolerance, option, ratios_of, reading_runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@reading_runs()
def robustness(
    *,
    source: Annotated[
        Path,
        typer.Argument(help="A .csv, .tsv, .json or .jsonl, also with .gz, or a folder of TensorBoard event files."),
    ],
    options: Options,
    report: Annotated[Path | None, typer.Option(help="Folder to write a page, figures and the numbers to.")] = None,
    json_out: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON instead of tables.")] = False,
) -> None:
    """Say how much results depend on the learning rate, from runs that you have.

    Example: [bold]adaptive-lr robustness runs.csv --lr peak_lr --loss final_loss --by schedule --seed seed[/bold]
    """
    with clear_errors():
        numbers = _numbers(source, options)
        if json_out:
            import json

            typer.echo(json.dumps(numbers, indent=1, sort_keys=True, allow_nan=False))
        else:
            _show(numbers)
        if report is not None:
            command = _command(source, options, report)
            page = _write(numbers, source, command, report)
            (err if json_out else out).print(f"report: [bold]{escape(str(page))}[/bold]", soft_wrap=True)


def _numbers(source: Path, options: Options) -> dict[str, Any]:
    from adaptive_lr.analysis.recorded_summary import summarise

    request = options.request()
    asked, checked = ratios_of(options.ratios), checked_tolerance(options.tolerance)
    table, notes = options.read(source, request)
    with err.status(f"analysing {len(table)} runs"):
        numbers = summarise(table, request, ratios=asked, tolerance=checked)
    return numbers | {"notes": [*notes, *numbers["notes"]]}


def _show(numbers: Mapping[str, Any]) -> None:
    from adaptive_lr.reporting import recorded_prose as prose

    for sentence in prose.answer(numbers):
        out.print(f"• {escape(sentence)}")
    out.print()
    _own_rates(numbers)
    if numbers["common"]:
        _common_rates(numbers)
    wording = prose.words(numbers)
    limit = (
        f"with at most twice the {wording.best} one's distance to the {wording.bound}"
        if numbers["optimum"] is not None
        else f"within {100 * numbers['tolerance']:g} %"
    )
    out.print(
        "[dim]† at the edge of the recorded rates. ± half a 95 % interval. ~ between recorded rates. regret: how far a grid of that ratio, placed "
        f"anywhere, ends {wording.worse} a group's own {wording.best} {wording.level}; cost: the same, {wording.worse} the {wording.best} of all groups; at ρ: how "
        f"far {wording.worse} the {wording.best} at ρ times the best rate; basin: decades {limit}. A page (--report) and --json have more.[/dim]"
    )
    for sentence in numbers["notes"]:
        out.print(f"[dim]- {escape(sentence)}[/dim]")


def _own_rates(numbers: Mapping[str, Any]) -> None:
    from adaptive_lr.reporting import recorded_prose as prose

    ratios = prose.shown_ratios(numbers)
    shown = [ratio for ratio in ratios if float(ratio) <= 10.0][-2:] or ratios[:2]
    factors = [rho for rho in ("0.5", "2") if rho in prose.shown_rho(numbers)]
    columns = [
        *_best_names(numbers),
        *(f"regret ×{ratio}" for ratio in shown),
        *(f"at ρ={rho}" for rho in factors),
        "basin",
    ]
    rows = {
        label: [
            *_best(row),
            *(prose.resolution(row, ratio, "regret_mean_interpolated") for ratio in shown),
            *(prose.at_rho(row, rho) for rho in factors),
            prose.basin(row),
        ]
        for label, row in numbers["groups"].items()
    }
    _grid("Each group on its own rates", numbers, columns, rows)


def _common_rates(numbers: Mapping[str, Any]) -> None:
    from adaptive_lr.analysis.tables import shortened
    from adaptive_lr.reporting import recorded_prose as prose

    judged = prose.judged_ratio(numbers)
    columns = [
        *_best_names(numbers),
        "sensitivity",
        "sensitivity, log",
        *([f"regret ×{judged}", f"cost ×{judged}"] if judged else []),
    ]
    rows = {
        label: [
            *_best(row),
            prose.difference(row["sensitivity"]),
            prose.difference(row["sensitivity_log"]),
            *([prose.resolution(row, judged, key) for key in _INTERPOLATED] if judged else []),
        ]
        for label, row in numbers["common"]["groups"].items()
    }
    rates = shortened([f"{rate:g}" for rate in numbers["common"]["rates"]], 40)
    _grid(f"All groups on the rates they have in common: {rates}", numbers, columns, rows)


def _best_names(numbers: Mapping[str, Any]) -> list[str]:
    from adaptive_lr.reporting import recorded_prose as prose

    wording = prose.words(numbers)
    return ["best rate", f"{wording.best} {wording.level}"]


def _best(row: Mapping[str, Any]) -> list[str]:
    from adaptive_lr.reporting import recorded_prose as prose

    return [f"{row['best_rate']:g}{'†' if row['at_boundary'] else ''}", prose.loss(row["best"])]


_INTERPOLATED = ("regret_mean_interpolated", "cost_mean_interpolated")


def _grid(title: str, numbers: Mapping[str, Any], columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> None:
    Grid(title, ", ".join(numbers["by"]) or "group", columns, list(rows.items())).print()


def _write(numbers: Mapping[str, Any], source: Path, command: str, report: Path) -> Path:
    from adaptive_lr.analysis.tables import visible
    from adaptive_lr.experiment.recorded import page_numbers
    from adaptive_lr.reporting.report import write_report

    name = visible(source.name)
    page = page_numbers(
        name="recorded",
        title=f"How much depends on the learning rate: {name}",
        question=f"How much does {numbers['loss']} depend on {numbers['rate']} in these runs?",
        about=[],
        rerun=command,
    )
    with err.status("drawing the page"):
        return write_report([page | {"studies": {"runs": {"title": name, **numbers}}}], [], report)


def _command(source: Path, options: Options, report: Path) -> str:
    """What to type, where this was typed, for the same page."""
    import shlex

    from adaptive_lr.analysis.tables import visible

    name = str(source)
    words = ["adaptive-lr", "robustness", f"./{name}" if name.startswith("-") else name, *options.words()]
    return visible(shlex.join([*words, *option("--report", str(report))]))

"""``adaptive-lr robustness``: how much recorded results depend on the learning rate."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from adaptive_lr.cli.common import clear_errors, err, out

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adaptive_lr.analysis.recorded import Request
    from adaptive_lr.analysis.tables import Table

Rate = Annotated[str, typer.Option("--lr", help="Column of the learning rate: one number a run, the peak.")]
Loss = Annotated[
    str, typer.Option("--loss", help="Column of the loss, lower is better; for event files a scalar's tag.")
]
By = Annotated[list[str] | None, typer.Option("--by", help="Column that makes groups; may be given again.")]
Seed = Annotated[str | None, typer.Option("--seed", help="Column of the seed.")]
Where = Annotated[list[str] | None, typer.Option("--where", help="Only runs with column=value; may be given again.")]
Ignore = Annotated[
    list[str] | None, typer.Option("--ignore", help="Column that may vary inside a group; may be given again.")
]
Run = Annotated[str | None, typer.Option("--run", help="Column of the run, if a row is a step and not a run.")]
Step = Annotated[str | None, typer.Option("--step", help="Column of the step, to order rows by; with --run.")]
Reduce = Annotated[str, typer.Option("--reduce", help="The loss of a run: its last or its min, over steps.")]
Initial = Annotated[float | None, typer.Option(help="The loss before training; what ends above it counts as diverged.")]
Optimum = Annotated[float | None, typer.Option(help="The least possible loss, if it is known.")]
Window = Annotated[str | None, typer.Option(help="Lowest and highest rate to look at, as in 1e-4:3e-3.")]


def robustness(
    source: Annotated[Path, typer.Argument(help="A .csv, a .jsonl, or a folder of TensorBoard event files.")],
    rate: Rate,
    loss: Loss,
    by: By = None,
    seed: Seed = None,
    where: Where = None,
    ignore: Ignore = None,
    run: Run = None,
    step: Step = None,
    reduce: Reduce = "last",
    initial_loss: Initial = None,
    optimum: Optimum = None,
    window: Window = None,
    ratios: Annotated[
        list[float] | None, typer.Option("--ratio", help="A grid resolution to ask for; may be given again.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="The basin: losses up to this share above the lowest.")] = 0.01,
    report: Annotated[Path | None, typer.Option(help="Folder to write a page, figures and the numbers to.")] = None,
    json_out: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON instead of tables.")] = False,
) -> None:
    """Say how much results depend on the learning rate, from runs that you have.

    Example: [bold]adaptive-lr robustness runs.csv --lr peak_lr --loss final_loss --by schedule --seed seed[/bold]
    """
    with clear_errors():
        from adaptive_lr.analysis.recorded_summary import summarise

        request = make_request(
            rate,
            loss,
            by=by,
            seed=seed,
            where=where,
            ignore=ignore,
            initial=initial_loss,
            optimum=optimum,
            window=window,
        )
        table, notes = read_runs(source, request, run=run, step=step, reduce=reduce)
        numbers = summarise(table, request, ratios=_ratios(ratios), tolerance=_checked(tolerance))
        numbers["notes"] = [*notes, *numbers["notes"]]
        if json_out:
            import json

            typer.echo(json.dumps(numbers, indent=1, sort_keys=True, allow_nan=False))
        else:
            _show(numbers)
        if report is not None:
            page = _write(numbers, source, report)
            (err if json_out else out).print(f"report: [bold]{escape(str(page))}[/bold]", soft_wrap=True)


def make_request(
    rate: str,
    loss: str,
    *,
    by: Sequence[str] | None,
    seed: str | None,
    where: Sequence[str] | None,
    ignore: Sequence[str] | None,
    initial: float | None,
    window: str | None,
    optimum: float | None = None,
) -> Request:
    """What the options ask for.

    Raises:
        InputError: an option is not of its form.
    """
    from adaptive_lr.analysis.recorded import Request
    from adaptive_lr.errors import InputError

    for one in where or ():
        if "=" not in one.strip("="):
            raise InputError(f"--where takes column=value, got {one!r}")
    for name, value in (("--initial-loss", initial), ("--optimum", optimum)):
        if value is not None and not math.isfinite(value):
            raise InputError(f"{name} must be a finite number, got {value!r}")
    return Request(
        rate=rate,
        loss=loss,
        by=tuple(by or ()),
        seed=seed,
        where=tuple((one.partition("=")[0], one.partition("=")[2]) for one in where or ()),
        ignore=tuple(ignore or ()),
        initial=initial,
        optimum=optimum,
        window=_window(window),
    )


def read_runs(
    source: Path, request: Request, *, run: str | None, step: str | None, reduce: str
) -> tuple[Table, list[str]]:
    """The table of a source, one row a run, and what was done to get it."""
    from adaptive_lr.analysis.tables import one_row_a_run, read_table

    if source.is_dir():
        from adaptive_lr.reporting.events import read_events

        with err.status("reading event files"):
            return read_events(source, tag=request.loss, reduce=reduce), []
    table = read_table(source)
    if run is None:
        return table, []
    table, words = one_row_a_run(table, run=run, loss=request.loss, rate=request.rate, step=step, reduce=reduce)
    return table, [words]


def _window(text: str | None) -> tuple[float, float] | None:
    from adaptive_lr.errors import InputError

    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise InputError(f"--window takes two rates, as in 1e-4:3e-3, got {text!r}") from None
    if not 0.0 < low < high:
        raise InputError(f"--window needs 0 < lowest < highest, got {text!r}")
    return low, high


def _ratios(given: Sequence[float] | None) -> Sequence[float]:
    from adaptive_lr.analysis.recorded_sweep import RATIOS
    from adaptive_lr.errors import InputError

    for one in given or ():
        if not (math.isfinite(one) and one > 1.0):
            raise InputError(f"--ratio must be above 1, got {one!r}")
    return sorted(set(given)) if given else RATIOS


def _checked(tolerance: float) -> float:
    from adaptive_lr.errors import InputError

    if not (math.isfinite(tolerance) and tolerance > 0.0):
        raise InputError(f"--tolerance must be above 0, got {tolerance!r}")
    return tolerance


def _show(numbers: Mapping[str, Any]) -> None:
    from adaptive_lr.reporting import recorded_prose as prose

    for sentence in prose.answer(numbers):
        out.print(f"• {escape(sentence)}")
    out.print()
    _own_rates(numbers)
    if numbers["common"]:
        _common_rates(numbers)
    limit = (
        "with at most twice the lowest excess"
        if numbers["optimum"] is not None
        else f"within {100 * numbers['tolerance']:g} %"
    )
    out.print(
        "[dim]† at the edge of the recorded rates. ± half a 95 % interval. ~ between recorded rates. regret: what a grid of that ratio, placed "
        "anywhere, adds to a group's own lowest loss; cost: the same above the lowest of all groups; at ρ: loss above the lowest at ρ times the best "
        f"rate; basin: decades {limit}. A page (--report) and --json have more.[/dim]"
    )
    for sentence in numbers["notes"]:
        out.print(f"[dim]- {escape(sentence)}[/dim]")


def _own_rates(numbers: Mapping[str, Any]) -> None:
    from adaptive_lr.reporting import recorded_prose as prose

    every = prose.shown_ratios(numbers)
    shown = [one for one in every if float(one) <= 10.0][-2:] or every[:2]
    rho = [one for one in ("0.5", "2") if one in prose.shown_rho(numbers)]
    columns = [*_BEST, *(f"regret ×{one}" for one in shown), *(f"at ρ={one}" for one in rho), "basin"]
    rows = {
        label: [
            *_best(row),
            *(prose.resolution(row, one, "regret_mean_interpolated") for one in shown),
            *(prose.at_rho(row, one) for one in rho),
            prose.basin(row),
        ]
        for label, row in numbers["groups"].items()
    }
    _table("Each group on its own rates", numbers, columns, rows)


def _common_rates(numbers: Mapping[str, Any]) -> None:
    from adaptive_lr.reporting import recorded_prose as prose

    judged = prose.judged_ratio(numbers)
    columns = [*_BEST, "sensitivity", "sensitivity, log", *([f"regret ×{judged}", f"cost ×{judged}"] if judged else [])]
    rows = {
        label: [
            *_best(row),
            prose.difference(row["sensitivity"]),
            prose.difference(row["sensitivity_log"]),
            *([prose.resolution(row, judged, key) for key in _INTERPOLATED] if judged else []),
        ]
        for label, row in numbers["common"]["groups"].items()
    }
    rates = ", ".join(f"{one:g}" for one in numbers["common"]["rates"])
    _table(f"All groups on the rates they have in common: {rates}", numbers, columns, rows)


def _best(row: Mapping[str, Any]) -> list[str]:
    from adaptive_lr.reporting import recorded_prose as prose

    return [f"{row['best_rate']:g}{'†' if row['at_boundary'] else ''}", prose.loss(row["best"])]


_BEST = ("best rate", "lowest loss")
_INTERPOLATED = ("regret_mean_interpolated", "cost_mean_interpolated")


def _table(title: str, numbers: Mapping[str, Any], columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> None:
    from rich.table import Table

    grid = Table(title=escape(title), title_justify="left", box=None, padding=(0, 2, 0, 0))
    grid.add_column(escape(", ".join(numbers["by"])) or "group")
    for name in columns:
        grid.add_column(escape(name), justify="right")
    for label, cells in rows.items():
        grid.add_row(escape(label), *cells)
    out.print(grid)
    out.print()


def _write(numbers: Mapping[str, Any], source: Path, report: Path) -> Path:
    from adaptive_lr.experiment.recorded import page_numbers
    from adaptive_lr.reporting.report import write_report

    page = page_numbers(
        name="recorded",
        title=f"How much depends on the learning rate: {source.name}",
        question=f"How much does {numbers['loss']} depend on {numbers['rate']} in these runs?",
        about=[],
        rerun=_command(numbers, source),
    )
    return write_report([page | {"studies": {"runs": {"title": source.name, **numbers}}}], [], report)


def _command(numbers: Mapping[str, Any], source: Path) -> str:
    import shlex

    words = ["adaptive-lr", "robustness", source.name, "--lr", numbers["rate"], "--loss", numbers["loss"]]
    for option, values in (("--by", numbers["by"]), ("--ignore", numbers["ignored"])):
        words += [word for one in values for word in (option, one)]
    words += [word for name, value in numbers["where"] for word in ("--where", f"{name}={value}")]
    if numbers["seed"]:
        words += ["--seed", numbers["seed"]]
    for option, value in (("--initial-loss", numbers["initial"]), ("--optimum", numbers["optimum"])):
        words += [] if value is None else [option, f"{value:g}"]
    if numbers["window"]:
        words += ["--window", ":".join(f"{one:g}" for one in numbers["window"])]
    return shlex.join([*words, "--report", "report"])

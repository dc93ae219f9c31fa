"""``adaptive-lr refine``: a schedule from the gradient norms of an earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from adaptive_lr.cli.common import clear_errors, err, out
from adaptive_lr.cli.recorded_options import pairs

if TYPE_CHECKING:
    from adaptive_lr.analysis.tables import Table
    from adaptive_lr.meta.norms import Norms
    from adaptive_lr.meta.refinement import Refinement
    from adaptive_lr.schedules import AbstractSchedule

COLUMNS = {"sgd": "grad_norm", "adam": "grad_norm_l1"}
"""Of what ``ScheduledLR(…, log_norms=…)`` writes, the column whose norm counts for an optimizer."""


def refine(
    source: Annotated[
        Path,
        typer.Argument(
            help="A row a step: what log_norms wrote, or any .csv, .tsv, .json or .jsonl, also with .gz; or the folder of a run with TensorBoard "
            "event files."
        ),
    ],
    optimizer: Annotated[
        str,
        typer.Option(help="sgd, also with momentum; adam, also AdamW, Lion and others with steps of about one length."),
    ] = "sgd",
    norm: Annotated[
        str | None,
        typer.Option(
            help="Column of the gradient norm, a scalar's tag for event files; grad_norm for sgd, grad_norm_l1 for adam if it is not said."
        ),
    ] = None,
    step: Annotated[str, typer.Option(help="Column of the number of the update.")] = "step",
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="Only rows with column=value, to take one run; may be given again."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="T, the number of updates, if the log ends before the run did.")
    ] = None,
    first_step: Annotated[
        int | None,
        typer.Option("--first-step", help="The number of the run's first update, if that is neither 0 nor 1."),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(
            help="What gradients were clipped to, if the column has the norms before: the norm that counts is the one after."
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="By what share of itself the rate may differ to save points; 0.02 if it is not said."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="A .json, .yaml or .yml file.")] = Path("refined.json"),
    plot: Annotated[Path | None, typer.Option(help="Draw it beside a linear decay, as .png or .svg.")] = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Draw it in the terminal.")] = False,
) -> None:
    """Make a schedule from the gradient norms of an earlier run: run once, refine, run again.

    Example: [bold]adaptive-lr refine norms.csv --optimizer adam --output refined.json --terminal[/bold]

    The rule is that of Defazio et al. 2023 (arXiv:2310.07831): with constant norms a linear decay, a warm-up where norms fall at first, an
    earlier decay where they rise at the end. Log the norms with ScheduledLR(…, log_norms="norms.csv").
    """
    with clear_errors():
        from adaptive_lr.meta.norms import Span, norms_from_table
        from adaptive_lr.meta.refinement import TOLERANCE
        from adaptive_lr.meta.refinement import refine as refined

        column = _column(optimizer, norm)
        _check_outputs(output, plot)
        table, notes = _read(source, column, step, where)
        norms = norms_from_table(table, step=step, norm=column, span=Span(first=first_step, total=steps), clip=clip)
        result = refined(norms, optimizer=optimizer, tolerance=TOLERANCE if tolerance is None else tolerance)
        for note in (*notes, *norms.notes):
            err.print(f"note: {escape(note)}", soft_wrap=True)
        _write(result.schedule, output)
        _tell(result, norms, optimizer)
        _draw(result.schedule, len(norms.values), plot, terminal=terminal)
        _show_use(output, len(norms.values))


def _column(optimizer: str, norm: str | None) -> str:
    """The column to read.

    Raises:
        InputError: there are no weights for the optimizer.
    """
    from adaptive_lr.errors import InputError

    if optimizer not in COLUMNS:
        raise InputError(f"--optimizer is {' or '.join(COLUMNS)}, got {optimizer!r}")
    return norm or COLUMNS[optimizer]


def _read(source: Path, column: str, step: str, where: list[str] | None) -> tuple[Table, list[str]]:
    """A row a step of one run, and what was wrong with the files.

    Raises:
        InputError: they cannot be read, an option does not go with them, or no row is left.
    """
    from adaptive_lr.analysis.outcomes import same
    from adaptive_lr.errors import InputError

    if source.is_dir():
        from adaptive_lr.reporting.events import read_steps

        if where or step != "step":
            raise InputError(
                f"{'--where' if where else '--step'} is for tables: event files have their own steps, and a run is a folder"
            )
        return read_steps(source, tag=column)
    from adaptive_lr.analysis.table_files import read_table

    table = read_table(source)
    conditions = pairs("--where", where)
    texts = [(table.column(name), value) for name, value in conditions]
    rows = [row for row in range(len(table)) if all(same(cells[row], value) for cells, value in texts)]
    if not rows:
        raise InputError(
            f"{table.source} has no row with {' and '.join('='.join(condition) for condition in conditions)}"
        )
    return table.rows(rows), []


def _check_outputs(output: Path, plot: Path | None) -> None:
    """Refuse endings before anything is computed.

    Raises:
        OutputError: there is no such form of a schedule or of a figure.
    """
    from adaptive_lr.errors import OutputError

    if output.suffix.lower() not in (".json", ".yaml", ".yml"):
        raise OutputError(f"a schedule is written as .json, .yaml or .yml, got {output.name}")
    if plot is not None and plot.suffix.lower() not in (".png", ".svg"):
        raise OutputError(f"a figure is written as .png or .svg, got {plot.name}")


def _write(schedule: AbstractSchedule, output: Path) -> None:
    from adaptive_lr.files import make_folder, replace_file
    from adaptive_lr.serialise import to_json, to_yaml

    text = to_json(schedule, indent=None) + "\n" if output.suffix.lower() == ".json" else to_yaml(schedule)
    make_folder(output.parent)
    replace_file(output, text.encode())


def _tell(result: Refinement, norms: Norms, optimizer: str) -> None:
    """What the norms do, and what came of it."""
    smoothed, schedule = result.smoothed, result.schedule
    peak = schedule.u[schedule.m.index(max(schedule.m))]
    out.print(
        f"{len(norms.values)} steps, {norms.logged} norms: smoothed, they begin at {smoothed[0]:.3g}, end at {smoothed[-1]:.3g} and lie "
        f"between {smoothed.min():.3g} and {smoothed.max():.3g}",
        soft_wrap=True,
    )
    points = f"{len(schedule.u)} points"
    rise = (
        f"rises from {schedule.m[0]:.3g} to its peak at {float(peak):.1%} of the run"
        if peak > 0.0
        else "begins at its peak"
    )
    gain = (
        f"; bound for convex losses {1.0 - result.gain:.1%} below that of a linear decay" if optimizer == "sgd" else ""
    )
    out.print(f"schedule: {points}, {rise}, ends at 0{gain}", soft_wrap=True)


def _draw(schedule: AbstractSchedule, steps: int, plot: Path | None, *, terminal: bool) -> None:
    from adaptive_lr.schedules import Linear

    drawn = {"refined": schedule, "linear": Linear()}
    shown = min(steps, 1000)
    if terminal:
        from adaptive_lr.reporting.terminal import draw_schedules

        out.print(draw_schedules(drawn, shown, out.width), highlight=False, markup=False)
    if plot is not None:
        from adaptive_lr.drawing import save
        from adaptive_lr.reporting.schedule_figures import schedules_figure

        save(schedules_figure(drawn, shown), plot)
        out.print(f"wrote {escape(str(plot))}", soft_wrap=True)


def _show_use(output: Path, steps: int) -> None:
    kind = "json" if output.suffix.lower() == ".json" else "yaml"
    out.print(f"wrote {escape(str(output))}; to use it:", soft_wrap=True)
    path = escape(repr(str(output)))
    out.print(f"schedule = adaptive_lr.from_{kind}(pathlib.Path({path}).read_text())", soft_wrap=True)
    out.print(f"scheduler = adaptive_lr.ScheduledLR(optimizer, schedule, total_steps={steps})", soft_wrap=True)

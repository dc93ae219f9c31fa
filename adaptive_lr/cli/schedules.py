"""``adaptive-lr plot`` and ``adaptive-lr list``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from adaptive_lr.cli.common import clear_errors, out, printable

MOST_POINTS = 20_000_000
"""Points of a picture, which is some 2 GB while it is made."""


def plot(
    schedules: Annotated[
        list[str],
        typer.Argument(
            help="Names, each followed by its fields, as in: damped_cosine exponent=2 wsd cooldown=0.1; warmup=0.05 or warmup=500 goes with any."
        ),
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A .png or .svg file.")] = None,
    steps: Annotated[int, typer.Option(min=1, max=1_000_000, help="The number of updates T.")] = 1000,
    vs: Annotated[bool, typer.Option("--vs", help="For reading only: what follows is drawn for comparison.")] = False,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Draw in the terminal instead of writing a file.")
    ] = False,
) -> None:
    """Draw schedules, as schedule.png or in the terminal.

    Example: [bold]adaptive-lr plot damped_cosine k=1.5 exponent=2 warmup=0.05 --vs wsd cosine --terminal[/bold]
    """
    with clear_errors():
        from adaptive_lr.controllers import CONTROLLERS
        from adaptive_lr.drawing import save
        from adaptive_lr.errors import SpecError
        from adaptive_lr.reporting.schedule_figures import schedules_figure
        from adaptive_lr.schedules.parse import parse_schedules

        for word in schedules:
            if word in {controller.kind for controller in CONTROLLERS} | {
                controller.__name__ for controller in CONTROLLERS
            }:
                raise SpecError(f"{word} is a controller: what it does depends on training, so it cannot be drawn")
        parsed = parse_schedules(schedules)
        if len(parsed) * steps > MOST_POINTS:
            raise SpecError(f"{len(parsed)} schedules of {steps} steps are too much for a picture: say fewer --steps")
        if terminal:
            from adaptive_lr.reporting.terminal import draw_schedules

            out.print(draw_schedules(parsed, steps, out.width), highlight=False, markup=False)
            return
        path = output or Path("schedule.png")
        save(schedules_figure(parsed, steps), path)
        out.print(f"wrote {escape(str(path))}")


def show() -> None:
    """List the schedules and controllers with their fields, the tasks and the experiments."""
    with clear_errors():
        import dataclasses

        from rich.table import Table

        from adaptive_lr.controllers import CONTROLLERS
        from adaptive_lr.experiment import experiment_names, stated_question
        from adaptive_lr.schedules import SCHEDULES
        from adaptive_lr.schedules.parse import ALIASES
        from adaptive_lr.tasks import TASKS

        for title, kinds in (("schedules", SCHEDULES), ("controllers", CONTROLLERS), ("tasks", TASKS)):
            grid = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), show_header=False)
            for kind in kinds:
                names = [kind.kind, *(alias for alias, name in ALIASES.items() if name == kind.kind)]
                names = [kind.__name__] if title == "controllers" else names
                fields = ", ".join(item.name for item in dataclasses.fields(kind))  # type: ignore[arg-type]
                formula = escape(" ".join((kind.__doc__ or "").split("\n\n")[0].replace("``", "").split()))
                grid.add_row(f"[bold]{', '.join(names)}[/bold]", f"{formula} [dim]{escape(fields)}[/dim]")
            out.print(grid)
            out.print()
        grid = Table(title="experiments", title_justify="left", box=None, padding=(0, 2, 0, 0), show_header=False)
        for name in experiment_names():  # their files are read, not executed
            grid.add_row(f"[bold]{escape(printable(name))}[/bold]", escape(printable(stated_question(name))))
        out.print(grid)

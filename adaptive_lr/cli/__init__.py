"""The command line: ``adaptive-lr …``, a module for each group of commands.

Anything heavy is imported when a command needs it, so that help is instant.
"""

from __future__ import annotations

from typing import Annotated

import typer

from adaptive_lr.cli import (
    advise,
    data,
    experiments,
    laws,
    learn,
    papers,
    refine,
    robustness,
    schedules,
    search,
    search_schedule,
)
from adaptive_lr.cli.common import app, out

__all__ = ["app"]


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        out.print(version("adaptive-lr"))
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Damping in learning-rate schedules: run the experiments, read the report, look at schedules."""


app.command()(experiments.run)
app.command("report")(experiments.rebuild)
app.command()(schedules.plot)
app.command()(papers.papers)
app.command("list")(schedules.show)
app.command()(robustness.robustness)
app.command()(advise.advise)
app.command()(refine.refine)
app.command()(learn.learn)
app.command()(search.search)
app.command("search-schedule")(search_schedule.search_schedule)
app.command("fit-law")(laws.fit_law)
app.command("predict-loss")(laws.predict_loss)
app.command("design-schedule")(laws.design_schedule)
app.add_typer(data.app, name="data")

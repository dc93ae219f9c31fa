"""What is shown of a search, while it runs and afterwards."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from adaptive_lr.cli.common import err, out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from adaptive_lr.search import Progress, SearchResult


@contextmanager
def bar(total: int) -> Iterator[Callable[[Progress], None]]:
    """A bar with the best so far, or a line now and then where there is no terminal.

    Yields:
        What moves it.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[best]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Bar(*columns, console=err, speed_estimate_period=60.0, disable=not err.is_terminal) as moving:
        row, announced = moving.add_task("trials", total=total, best=""), 0

        def advance(progress: Progress) -> None:
            nonlocal announced
            best = "" if progress.best_value is None else f"best {progress.best_value:.6g}"
            failed = f", {progress.failed} failed" if progress.failed else ""
            moving.update(row, completed=progress.finished, best=escape(best + failed))
            tenth = 10 * progress.finished // total
            if not err.is_terminal and tenth > announced:
                announced = tenth
                err.print(f"{progress.finished} of {total} trials; {best}{failed}")

        yield advance


def summary(result: SearchResult) -> None:
    """What was found, in a few lines."""
    finished = len(result.trials) - result.skipped
    extras = [f"{count} {word}" for count, word in ((result.pruned, "pruned"), (result.skipped, "failed")) if count]
    counts = f"{finished} trials finished" + (f" ({', '.join(extras)})" if extras else "")
    out.print(f"{counts}, {result.ran} runs done now", soft_wrap=True)
    if len(result.directions) > 1:
        for trial in result.pareto():
            out.print(f"{', '.join(f'{value:.6g}' for value in trial.values)} at {_words(trial.point)}", soft_wrap=True)
    elif result.pruned + result.skipped < len(result.trials):
        out.print(f"best {result.best_value:.6g} at [bold]{_words(result.best)}[/bold]", soft_wrap=True)
    out.print(f"look at it: [bold]optuna-dashboard {escape(shlex.quote(result.storage))}[/bold]", soft_wrap=True)


def write_page(result: SearchResult, folder: Path, *, title: str, verdict: str | None = None) -> None:
    """Write the page about the search, and say where."""
    from adaptive_lr.reporting.search_report import write_search_report

    page = write_search_report(result, folder, title=title, verdict=verdict)
    out.print(f"report: [bold]{escape(str(page))}[/bold]", soft_wrap=True)


def _words(point: dict[str, Any]) -> str:
    shown = {name: f"{value:.6g}" if isinstance(value, float) else str(value) for name, value in point.items()}
    return escape(" ".join(f"{name}={value}" for name, value in shown.items()))

"""``adaptive-lr data``: which data sets there are, and getting them here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from adaptive_lr.cli.common import clear_errors, err, out, say_error

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from adaptive_lr.tasks.data.declaration import AnyDataset, FetchedDataset

app = typer.Typer(
    help="Data sets: which there are, fetching them, and where they are.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(help="A name as in `adaptive-lr data list`.")]


@app.command("list")
def show() -> None:
    """List the data sets: what they are, under which licence, from where, and whether they are here."""
    with clear_errors():
        from adaptive_lr.cli.grids import Grid
        from adaptive_lr.tasks.data.catalogue import CATALOGUE
        from adaptive_lr.tasks.data.resolver import root

        columns = ("title", "licence", "download", "from", "here")
        grid = Grid("data sets", "name", columns, left=("title", "licence", "from", "here"))
        grid.rows.extend((info.name, _cells(info)) for info in CATALOGUE.values())
        grid.print()
        out.print(f"folder: {escape(str(root()))}", soft_wrap=True)


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Names as in `adaptive-lr data list`.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All data sets.")] = False,
) -> None:
    """Fetch data sets into the cache, or into the folder that ADAPTIVE_LR_DATA names. Those that are here are checked.

    Stop it whenever you like: run again, it goes on with the set that it was at. If one fails the others are fetched all the same.

    Example: [bold]adaptive-lr data fetch fashion-mnist shakespeare[/bold]
    """
    with clear_errors():
        from adaptive_lr.errors import DataError
        from adaptive_lr.tasks.data.catalogue import CATALOGUE, find

        if not names and not everything:
            raise DataError("say which data sets, or --all")
        wanted = list(CATALOGUE.values()) if everything else [find(name) for name in dict.fromkeys(names or ())]
        try:
            failed = [info.name for info in wanted if not _fetched(info)]
        except KeyboardInterrupt:
            err.print("interrupted; the data sets that are fetched stay: run again to go on")
            raise typer.Exit(130) from None
        if failed:
            err.print(f"not fetched: {', '.join(failed)}", soft_wrap=True)
            raise typer.Exit(1)


@app.command()
def where(name: Name) -> None:
    """Print the folder of a data set that is here."""
    with clear_errors():
        from adaptive_lr.errors import DataError
        from adaptive_lr.tasks.data.catalogue import find
        from adaptive_lr.tasks.data.declaration import InstalledDataset
        from adaptive_lr.tasks.data.resolver import home, is_here, root

        info = find(name)
        if isinstance(info, InstalledDataset):
            raise DataError(f"{info.name} comes with {info.package} and has no folder")
        if not is_here(info):
            raise DataError(f"{info.name} is not in {root()}: adaptive-lr data fetch {info.name}")
        out.print(escape(str(home(info))), soft_wrap=True)


def _cells(info: AnyDataset) -> tuple[str, str, str, str, str]:
    from adaptive_lr.tasks.data.declaration import InstalledDataset
    from adaptive_lr.tasks.data.resolver import is_here

    if isinstance(info, InstalledDataset):
        return info.title, info.licence, "", f"comes with {info.package}", "yes"
    size = f"{info.download_bytes / 1e6:.1f} MB"
    return info.title, info.licence, size, info.origins[0].label, "yes" if is_here(info) else "no"


def _fetched(info: AnyDataset) -> bool:
    """Whether a set is here in the end; says so, or why not."""
    from adaptive_lr.errors import DataError
    from adaptive_lr.tasks.data.declaration import InstalledDataset
    from adaptive_lr.tasks.data.resolver import home, is_here, read

    start, was_here = time.monotonic(), is_here(info)
    try:
        if isinstance(info, InstalledDataset):
            read(info)
            out.print(f"{info.name}: comes with {info.package}")
            return True
        with _bar(info) as (progress, bar):
            read(info, progress=lambda count: progress.update(bar, completed=min(count, info.download_bytes)))
    except DataError as error:
        say_error(error)
        return False
    did = "here" if was_here else f"fetched in {time.monotonic() - start:.1f} s"
    out.print(f"{info.name}: {did}, {escape(str(home(info)))}", soft_wrap=True)
    return True


@contextmanager
def _bar(info: FetchedDataset) -> Iterator[tuple[Progress, TaskID]]:
    """A bar that goes away when the set is here; none where the output is a file.

    Yields:
        The bars, and the number of this one.
    """
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        yield progress, progress.add_task(info.name, total=info.download_bytes)

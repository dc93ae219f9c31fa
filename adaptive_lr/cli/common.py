"""What all commands share: the application, the consoles, options, and errors in one line."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from adaptive_lr.errors import AdaptiveLRError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterator

app = typer.Typer(
    help="Damping in learning-rate schedules: run the experiments, read the report, look at schedules.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out, err = Console(highlight=False), Console(stderr=True, highlight=False)

Results = Annotated[Path, typer.Option(help="Folder of the store with finished trials.")]
Report = Annotated[Path, typer.Option(help="Folder that the report is written to.")]


def store_path(results: Path) -> Path:
    """The store in a folder of results."""
    return results / "store.sqlite"


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn a user's mistake into one line and exit code 2, a failed run into one line and exit code 1.

    Raises:
        typer.Exit: with that code.
    """
    try:
        yield
    except KeyboardInterrupt:
        err.print("interrupted; finished trials are stored: run again to go on")
        raise typer.Exit(130) from None
    except RunError as error:
        err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    except (AdaptiveLRError, OSError) as error:
        err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None

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


LONGEST = 2000
"""Characters of a message; what somebody gave may be longer."""


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn a user's mistake into one line and exit code 2, a failed run into one line and exit code 1, Ctrl-C into 130.

    Raises:
        typer.Exit: with that code.
        BrokenPipeError: whoever reads the output has enough, which typer takes quietly.
    """
    try:
        yield
    except KeyboardInterrupt:
        err.print("interrupted; finished trials are stored: run again to go on")
        raise typer.Exit(130) from None
    except RunError as error:
        say_error(error)
        raise typer.Exit(1) from None
    except BrokenPipeError:
        raise
    except (AdaptiveLRError, OSError) as error:
        say_error(error)
        raise typer.Exit(2) from None
    except RecursionError:
        err.print("[red]error:[/red] what was given is nested too deeply")
        raise typer.Exit(2) from None
    except MemoryError:
        err.print("[red]error:[/red] there is not enough memory for what was asked")
        raise typer.Exit(1) from None


def say_error(error: Exception) -> None:
    """The message on one line that no terminal takes for commands, below the traceback of a person's own file if there is one."""
    for note in getattr(error, "__notes__", ()):
        err.print(escape(printable(note)), soft_wrap=True)
    line = printable(" ".join(str(error).split()))
    err.print(f"[red]error:[/red] {escape(line if len(line) <= LONGEST else line[:LONGEST] + '…')}", soft_wrap=True)


def printable(text: str) -> str:
    """The text without what a terminal takes for commands, or cannot show."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)

"""``adaptive-lr search``: the hyperparameters of a function of one's own."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from adaptive_lr.cli.common import clear_errors, err
from adaptive_lr.cli.searched import bar, summary, write_page
from adaptive_lr.errors import RunError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator


def search(
    function: Annotated[str, typer.Argument(help="Where the function stands: MODULE:NAME or FILE.py:NAME.")],
    space: Annotated[Path, typer.Option(help="A YAML or JSON file: ranges and choices by name.")],
    trials: Annotated[int, typer.Option(help="How many trials are to be finished in all, earlier ones included.")],
    directory: Annotated[Path, typer.Option(help="Where the search is kept; the same one again goes on.")] = Path(
        "search"
    ),
    workers: Annotated[int, typer.Option(min=0, help="Processes, each on one core; 0 for none but this.")] = 1,
    sampler: Annotated[str, typer.Option(help="tpe, gp, cmaes, qmc, grid or random.")] = "tpe",
    seed: Annotated[int, typer.Option(help="Of the sampler, and the first trial.seed.")] = 0,
    seeds: Annotated[int, typer.Option(help="Runs a point, each with a seed of its own; their mean counts.")] = 1,
    direction: Annotated[
        list[str] | None, typer.Option(help="minimize or maximize; once for each number that is returned.")
    ] = None,
    pruner: Annotated[
        str | None, typer.Option(help="halving, for functions that yield; or wilcoxon, over seeds.")
    ] = None,
    on_error: Annotated[
        str, typer.Option(help="raise: a run that fails ends the search; skip: it counts as failed.")
    ] = ("raise"),
    storage: Annotated[str | None, typer.Option(help="Of the Optuna study, as in postgresql://…; else a file.")] = None,
    cluster: Annotated[
        str | None, typer.Option(help="A Dask scheduler, as in tcp://host:8786, instead of workers.")
    ] = (None),
    name: Annotated[str | None, typer.Option(help="Of the study; else that of the directory.")] = None,
    in_flight: Annotated[int, typer.Option(help="Trials without a result at a time; part of the history.")] = 8,
    report: Annotated[Path | None, typer.Option(help="Folder that a page about the search is written to.")] = None,
) -> None:
    """Search the hyperparameters of a function. Stop it whenever you like: run again, it goes on where it was.

    Example: [bold]adaptive-lr search my_module:train --space space.yaml --trials 50 --workers 2[/bold]

    Exit codes: 0 all trials are finished, 1 a run failed, 2 something was asked for wrongly, 130 interrupted.
    """
    with clear_errors():
        from adaptive_lr.search.function import search as run

        choices: Any = {
            "sampler": sampler,
            "pruner": pruner,
            "on_error": on_error,
            "direction": direction or "minimize",
        }
        if report is not None:
            from adaptive_lr.reporting.search_report import refuse_directory

            refuse_directory(report, directory)  # before hours of work, not after
        train = _loaded(function)
        with bar(trials) as advance, _traceback():
            found = run(
                train,
                space,
                trials=trials,
                directory=directory,
                workers=workers,
                seed=seed,
                seeds=seeds,
                storage=storage,
                cluster=cluster,
                name=name,
                in_flight=in_flight,
                advance=advance,
                say=lambda text: err.print(escape(text), soft_wrap=True),
                **choices,
            )
        summary(found)
        if report is not None:
            write_page(found, report, title=f"Search of {function}")


def _loaded(place: str) -> Any:
    """The function at MODULE:NAME, looked for in the working directory too.

    Raises:
        SpecError: there is no such function.
        RunError: its module cannot be imported.
    """
    module, colon, name = place.rpartition(":")
    if not colon or not module or not name:
        raise SpecError(f"the function must be given as MODULE:NAME or FILE.py:NAME, got {place!r}")
    folder = Path.cwd()
    if module.endswith(".py"):
        if not Path(module).is_file():
            raise SpecError(f"there is no file {module}")
        folder, module = Path(module).resolve().parent, Path(module).stem
    sys.path.insert(0, str(folder))
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.split(".")[0] == error.name:
            raise SpecError(f"there is no module {module!r} here or among the installed ones") from None
        raise RunError(f"{module} cannot be imported: {error}") from error
    except Exception as error:
        raise RunError(f"{module} cannot be imported: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise SpecError(f"{module} has no function {name!r}")
        found = getattr(found, part)
    return found


@contextmanager
def _traceback() -> Iterator[None]:
    """Show where in the function it was that a run failed.

    Raises:
        RunError: whatever was raised inside.
    """
    try:
        yield
    except RunError as error:
        for note in getattr(error, "__notes__", ()):
            err.print(escape(note.rstrip()), soft_wrap=True)
        raise

"""``adaptive-lr search``: the hyperparameters of a function of one's own."""

from __future__ import annotations

import importlib
import importlib.machinery
import re
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
    from collections.abc import Callable, Iterator


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
        with _arguments(function), bar(trials) as advance, _traceback():
            result = run(
                _loaded(function),
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
        summary(result)
        if report is not None:
            write_page(result, report, title=f"Search of {function}")


def _loaded(address: str) -> Any:
    """The function at MODULE:NAME, looked for in the working directory too, or in FILE.py:NAME, whatever else is called so.

    Raises:
        SpecError: there is no such function.
    """
    module, colon, name = address.rpartition(":")
    if not colon or not module or not name:
        raise SpecError(f"the function must be given as MODULE:NAME or FILE.py:NAME, got {address!r}")
    if module.endswith(".py"):
        if not Path(module).is_file():
            raise SpecError(f"there is no file {module}")
        target = _imported(module, lambda: _from_file(Path(module).resolve()))
    else:
        sys.path.insert(0, str(Path.cwd()))
        target = _imported(module, lambda: importlib.import_module(module))
    for part in name.split("."):
        if not hasattr(target, part):
            raise SpecError(f"{module} has no function {name!r}{_mistaken(module)}")
        target = getattr(target, part)
    return target


def _from_file(file: Path) -> Any:
    """The module in the file, which keeps its name where no other module has it."""
    from adaptive_lr.processes import load_module

    name, folder = file.stem, str(file.parent)
    held = getattr(sys.modules.get(name), "__file__", None)
    known = None if name in sys.modules else importlib.machinery.PathFinder.find_spec(name, sys.path)
    clashing = {Path(origin).resolve() for origin in (held, known and known.origin) if origin} - {file}
    taken = clashing or name in sys.stdlib_module_names or not name.isidentifier()
    if taken:
        name = "script_" + re.sub(r"\W", "_", name)
        sys.path.append(folder)  # last: what is called like a module of Python's own must not be found in its place
    else:
        sys.path.insert(0, folder)
    return load_module(name, file)


def _imported(name: str, load: Callable[[], Any]) -> Any:
    """What ``load`` imports.

    Raises:
        SpecError: there is no such module.
        RunError: it cannot be imported.
    """
    try:
        return load()
    except ModuleNotFoundError as error:
        if error.name is not None and name.split(".")[0] == error.name:
            raise SpecError(f"there is no module {name!r} here or among the installed ones") from None
        raise RunError(f"{name} cannot be imported: {error}") from error
    except SystemExit as error:
        raise RunError(
            f"{name} ended the program while it was imported (exit code {error.code}): what it does when it is run, such as reading "
            'its arguments, belongs under if __name__ == "__main__":'
        ) from error
    except Exception as error:
        raise RunError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _mistaken(module: str) -> str:
    """What to write instead, if a file here is called like a module that is found before it."""
    file = Path(f"{module}.py")
    existing = getattr(sys.modules.get(module), "__file__", None)
    if not file.is_file() or existing is None or Path(existing).resolve() == file.resolve():
        return ""
    return f": that is {existing}; for the file here write {file}:NAME"


@contextmanager
def _arguments(function: str) -> Iterator[None]:
    """Let the module read the command line of a script that is run alone: the options here are not its own."""
    before = sys.argv
    sys.argv = [function.rpartition(":")[0] or function]
    try:
        yield
    finally:
        sys.argv = before


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

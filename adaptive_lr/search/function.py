"""Search the hyperparameters of a function: ``adaptive_lr.search(train, space, trials=…, directory=…)``."""

from __future__ import annotations

import contextlib
import multiprocessing.process
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adaptive_lr.errors import RunError, SpecError

if TYPE_CHECKING:
    from adaptive_lr.search.directory import Directory
    from adaptive_lr.search.executor import Executor
    from adaptive_lr.search.plan import Direction, OnError, Plan, Pruner
    from adaptive_lr.search.result import SearchResult
    from adaptive_lr.search.samplers import SamplerName
    from adaptive_lr.search.space import SpaceLike
    from adaptive_lr.search.study import Coordinator, Progress
    from adaptive_lr.search.task import SearchTrial

    Train = Callable[[SearchTrial], float | Iterator[float] | Sequence[float]]


def search(
    train: Train,
    space: SpaceLike,
    *,
    trials: int,
    directory: str | Path,
    workers: int = 1,
    sampler: SamplerName = "tpe",
    seed: int = 0,
    seeds: int = 1,
    direction: Direction | Sequence[Direction] = "minimize",
    pruner: Pruner | None = None,
    on_error: OnError = "raise",
    storage: str | None = None,
    cluster: str | None = None,
    name: str | None = None,
    in_flight: int = 8,
    advance: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda text: None,
) -> SearchResult:
    """Find the point of a space at which a function is least, in exactly ``trials`` finished trials.

    Stop it whenever you like, with kill -9 if need be: the same call goes on where it was, asks for the points it would have
    asked for, and repeats no finished run. More ``trials`` continue a finished search. The same seed gives the same trials,
    however many workers there are.

    Args:
        train: called with a trial: ``trial["lr"]``, ``trial.seed``, ``trial.number``. Returns the loss; or yields losses, of
            which the last counts, so that a pruner can end it early.
        space: ranges and choices by name, a spec with search ranges, or the path of a YAML or JSON file.
        trials: how many are to be finished in all, those of earlier calls included.
        directory: where the search is kept; one process at a time may use it.
        workers: processes on this machine, each on one thread; 0 calls ``train`` in this one.
        sampler: tpe, gp, cmaes, qmc, grid or random.
        seed: of the sampler, and the first ``trial.seed``.
        seeds: how many runs a point gets, with seeds from ``seed`` on; its value is their mean.
        direction: minimize or maximize; several if ``train`` returns as many numbers.
        pruner: halving ends runs that are behind when they yield, wilcoxon points that are worse over the seeds so far.
        on_error: raise ends the search when a run fails, and repeats that run next time; skip counts it as failed and goes on.
        storage: of the Optuna study, as in ``postgresql://…``; by default a file in ``directory``.
        cluster: the address of a Dask scheduler, as in ``tcp://…``, that does the runs instead of ``workers``.
        name: of the study; by default that of the directory.
        in_flight: how many trials may be without a result; more workers than that have nothing to do.
        advance: called whenever a trial is finished.
        say: called with a line about anything that went wrong and is put right.

    Returns:
        The trials; ``best``, ``best_value``, ``table()``, ``importance()``.

    Raises:
        SpecError: an argument is not allowed, or the directory holds another search. A `RunError` says which run failed, a
            `StoreError` who uses the directory or why it cannot be written to; what is finished is kept.

    >>> import tempfile
    >>> from adaptive_lr import Range
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = search(lambda trial: (trial["x"] - 2) ** 2, {"x": Range(0, 4)}, trials=20, directory=folder, workers=0)
    >>> len(found.trials), found.best_value < 0.1
    (20, True)
    """
    from adaptive_lr.search.named import name_of, source_of
    from adaptive_lr.search.plan import Plan
    from adaptive_lr.search.sent import sent
    from adaptive_lr.search.space import Space

    _refuse_while_loading()
    if not callable(train):
        raise SpecError(f"train must be a function of a trial, got {train!r}")
    plan = Plan(
        space=Space.read(space),
        trials=trials,
        sampler=sampler,
        seed=seed,
        seeds=seeds,
        directions=(direction,) if isinstance(direction, str) else tuple(direction),
        pruner=pruner,
        on_error=on_error,
        in_flight=in_flight,
    )
    return run_plan(
        plan,
        Path(directory),
        lambda: _executor(train, workers, cluster, say),
        function=b"" if workers == 0 and cluster is None else sent(train, include_module=cluster is not None),
        storage=storage,
        name=name,
        advance=advance,
        say=say,
        identity={"function": name_of(train)},
        source=source_of(train),
    )


def _refuse_while_loading() -> None:
    """Refuse to search in a process that only loads the script, to do something for the one that searches.

    Raises:
        RunError: this is such a process.
    """
    if getattr(multiprocessing.process.current_process(), "_inheriting", False):
        raise RunError(
            'search() was called while another process loads this script: put the call under if __name__ == "__main__":'
        )


def run_plan(
    plan: Plan,
    path: Path,
    executor: Callable[[], Executor],
    *,
    function: bytes = b"",
    storage: str | None = None,
    name: str | None = None,
    advance: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda text: None,
    identity: dict[str, Any] | None = None,
    source: str | None = None,
) -> SearchResult:
    """Do a planned search with runs done by ``executor()``, which is made once everything else is in order.

    Raises:
        SpecError: the grid has fewer points than there are trials.
    """
    from adaptive_lr.search.address import safe
    from adaptive_lr.search.directory import Directory
    from adaptive_lr.search.ledger import Ledger
    from adaptive_lr.search.result import SearchResult
    from adaptive_lr.search.samplers import grid_size, proposer
    from adaptive_lr.search.storage import sqlite_address
    from adaptive_lr.search.study import Coordinator

    proposer(plan.sampler, plan.space, plan.seed, plan.directions)  # says what does not fit before anything is written
    if plan.sampler == "grid" and plan.trials > grid_size(plan.space):
        raise SpecError(f"the grid has {grid_size(plan.space)} points, so trials must not be {plan.trials}")
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        say(text)

    with Directory(path, plan.identity() | (identity or {})) as directory, contextlib.ExitStack() as stack:
        ledger = Ledger(
            storage or directory.path / "study.db",
            name=name or directory.path.name,
            directions=plan.directions,
            owner=directory.identity,
            distributions=plan.space.distributions(),
            say=note,
        )
        stack.callback(ledger.close)
        doing = executor()
        stack.callback(doing.close)
        coordinator = Coordinator(plan, directory, ledger, doing, function=function, source=source, advance=advance)
        for line in _read_notes(directory, coordinator, (identity or {}).get("function")):
            note(line)
        records = coordinator.run()
        if unread := coordinator.unread():
            note(f"no run looked at {', '.join(map(repr, unread))} of the search space: their values mean nothing")
        return SearchResult(
            trials=records,
            directions=plan.directions,
            directory=directory.path,
            storage=safe(storage) if storage else sqlite_address(directory.path / "study.db"),
            ran=coordinator.ran,
            space=plan.space,
            notes=tuple(notes),
        )


def _read_notes(directory: Directory, coordinator: Coordinator, name: str | None) -> Iterator[str]:
    """Look at the runs that a directory holds.

    Yields:
        What is to be said of them.
    """
    damaged = directory.journal.content.damaged
    if damaged:
        named = ", ".join(dict.fromkeys(damaged[:5])) + (" and more" if len(damaged) > 5 else "")
        yield (
            f"{directory.journal.path} is damaged: {named}; what is lost is done again, the rest is kept, and so is the file, as "
            f"{directory.journal.path.name}.damaged"
        )
    if count := coordinator.other_sources:
        yield f"{count} of the finished runs are of another version of {name}: its source has changed since"


def _executor(train: Any, workers: int, cluster: str | None, say: Callable[[str], None]) -> Executor:
    from adaptive_lr.search.executor import InProcess, ProcessPool

    if cluster is not None:
        from adaptive_lr.search.distributed import Cluster

        return Cluster(cluster, say)
    return InProcess(train) if workers == 0 else ProcessPool(workers, say)

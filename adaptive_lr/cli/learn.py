"""``adaptive-lr learn``: a policy, the constants of a controller or the shape of a schedule, learned on random tasks."""

from __future__ import annotations

import json
import math
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from adaptive_lr.cli.common import Results, clear_errors, err, out, store_path
from adaptive_lr.cli.experiments import CORES, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adaptive_lr.meta.evaluation import Losses, Work
    from adaptive_lr.meta.learned import Curriculum
    from adaptive_lr.meta.learners import AbstractLearner
    from adaptive_lr.meta.learning import Learning
    from adaptive_lr.meta.objective import Situation
    from adaptive_lr.trials.processes import Processes


def learn(
    what: Annotated[
        str,
        typer.Argument(
            help="policy, the weights of LearnedDamping; constants, those of ProgressAnchor; shape, that of a damped cosine."
        ),
    ] = "policy",
    way: Annotated[
        str, typer.Option(help="evolution, in antithetic pairs; or one of Optuna's samplers, tpe or cmaes.")
    ] = "evolution",
    tasks: Annotated[int, typer.Option(min=1, max=4000, help="Random convex tasks and as many random networks.")] = 60,
    at_once: Annotated[
        int, typer.Option(min=0, help="So many tasks and horizons a generation, each at four wrong rates; 0 for all.")
    ] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 1,
    steps: Annotated[
        float, typer.Option(help="Training steps to spend, evaluations of the loss included; a million take minutes.")
    ] = 1e7,
    workers: Workers = CORES,
    results: Results = Path("results"),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .json file; WHAT.json if it is not said.")
    ] = None,
) -> None:
    """Learn damping on random tasks, so that little is lost at any base rate within two decades of the best one.

    First the cosine is tuned on each task, which the store keeps; then generations of candidates are trained. Stop it whenever you like: run
    again with a file OUTPUT.state beside the output, it goes on where it was, to the same end. More --steps go on, too.

    Example: [bold]adaptive-lr learn policy --tasks 20 --steps 2e6 -o policy.json[/bold]

    Exit codes: 0 learned, 1 a trial failed, 2 something was asked for wrongly, 130 interrupted.
    """
    with clear_errors():
        from adaptive_lr.meta.evaluation import do
        from adaptive_lr.meta.learned import Curriculum, checked, document
        from adaptive_lr.meta.learners import learner
        from adaptive_lr.meta.learning import WAYS, Learning
        from adaptive_lr.meta.objective import Objective
        from adaptive_lr.spec import lookup
        from adaptive_lr.trials.processes import Processes
        from adaptive_lr.trials.runner import provenance

        learned, curriculum = learner(what), Curriculum(tasks)
        lookup(way, WAYS, "way to learn")
        path = Path(f"{what}.json") if output is None else output
        _check(path, steps)
        objective = Objective(_situations(curriculum, results, workers), at_once=at_once)
        state = path.with_name(path.name + ".state")
        learning = Learning(learner=learned, way=way, objective=objective, seed=seed, budget=steps, path=state)
        _say_where(learning)
        with Processes(workers, do) if workers > 1 else nullcontext() as processes:
            _learn(learning, processes)
            with err.status("training where it began and where it ended on other rates"):
                values = checked(learning, processes)
        _write(path, document(learning, curriculum, values, provenance()))
        _tell(learning, values)
        _show_use(learned, path)


def _check(path: Path, steps: float) -> None:
    """Refuse before hours of work, not after.

    Raises:
        InputError: there is nothing to spend.
        OutputError: the output cannot be written.
    """
    from adaptive_lr.errors import InputError, OutputError
    from adaptive_lr.files import make_folder

    if not (math.isfinite(steps) and steps > 0.0):
        raise InputError(f"--steps must be a positive number of training steps, such as 1e7, got {steps:g}")
    if path.suffix.lower() != ".json":
        raise OutputError(f"what is learned is written as .json, got {path.name}")
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder")
    make_folder(path.parent)
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(f"cannot write into the folder {path.parent}: {error.strerror or error}") from error


@contextmanager
def _bar(title: str, total: float) -> Iterator[Callable[[float, str], None]]:
    """A bar, or a line for each tenth where there is no terminal.

    Yields:
        What moves it: so much is done, and how it goes.
    """
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[news]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=err, speed_estimate_period=60.0, disable=not err.is_terminal) as progress:
        row, announced = progress.add_task(title, total=total, news=""), 0

        def advance(done: float, news: str) -> None:
            nonlocal announced
            progress.update(row, completed=min(done, total), news=escape(news))
            tenth = min(10, int(10 * done / total))
            if not err.is_terminal and tenth > announced:
                announced = tenth
                err.print(f"{title}: {tenth}0 %{', ' + news if news else ''}", soft_wrap=True)

        yield advance


def _situations(curriculum: Curriculum, results: Path, workers: int) -> list[Situation]:
    """Tune the cosine on each task, as far as the store does not have it."""
    from adaptive_lr.meta.objective import tuning_trials
    from adaptive_lr.trials.runner import run_trials
    from adaptive_lr.trials.store import Store

    trials = list(curriculum.trials())
    tuning = [candidate for _, trial in trials for candidate in tuning_trials(trial)]
    with Store(store_path(results), write=True) as store:
        finished = len(store.finished(trial.digest() for trial in tuning))
        missing, done = len(tuning) - finished, 0
        out.print(
            f"{len(trials)} tasks and horizons, {len(tuning)} trials of a cosine, {finished} of them finished before"
        )
        if missing:
            with _bar("tuning the cosine", missing) as advance:

                def count(more: int) -> None:
                    nonlocal done
                    done += more
                    advance(done, "")

                run_trials(tuning, store, workers=workers, advance=count)
        return curriculum.situations(trials, store)


def _say_where(learning: Learning) -> None:
    out.print(f"{len(learning.objective.situations)} of them can be learned from", soft_wrap=True)
    if learning.history:
        generations = f"{len(learning.history)} generations, {learning.steps:.3g} of {learning.budget:.3g} steps"
        out.print(f"going on after {generations}, from {escape(str(learning.path))}", soft_wrap=True)


def _learn(learning: Learning, processes: Processes[Work, Losses] | None) -> None:
    with _bar("learning", learning.budget) as advance:

        def news(steps: float) -> None:
            advance(steps, f"generation {len(learning.history)}, J {learning.history[-1][1]:.3g}")

        learning.run(processes, news)


def _write(path: Path, content: Any) -> None:
    from adaptive_lr.files import replace_file

    replace_file(path, (json.dumps(content, indent=1) + "\n").encode())


def _tell(learning: Learning, values: dict[str, float]) -> None:
    """What was learned, and what it is worth."""
    out.print(
        f"{learning.steps:.3g} steps in {len(learning.history)} generations; J, lost tolerances at rates up to 100 times wrong that were not learned from: "
        f"{values['cosine']:.3g} for a cosine, {values['start']:.3g} at the start, [bold]{values['end']:.3g}[/bold] at the end",
        soft_wrap=True,
    )
    begin, vector = learning.learner.start(), learning.vector
    for name, before, after in zip(learning.learner.numbers, begin, vector, strict=True):
        out.print(f"  {name}: {before:.3g} → {after:.3g}", soft_wrap=True)


def _show_use(learned: AbstractLearner, path: Path) -> None:
    """Lines of Python that can be pasted."""
    shown = escape(repr(str(path)))
    out.print(f"wrote {escape(str(path))}; to use it:", soft_wrap=True)
    if learned.name == "policy":
        out.print(f"controller = adaptive_lr.LearnedDamping.load({shown})", soft_wrap=True)
        schedule = "adaptive_lr.DampedCosine()"
    else:
        out.print(f"learned = json.loads(pathlib.Path({shown}).read_text())", soft_wrap=True)
        out.print('controller = adaptive_lr.decode(learned\\["controller"], adaptive_lr.CONTROLLERS)', soft_wrap=True)
        schedule = 'adaptive_lr.from_dict(learned\\["schedule"])'
    out.print(f"scheduler = adaptive_lr.ControlledLR(optimizer, {schedule}, controller, total_steps=T)", soft_wrap=True)

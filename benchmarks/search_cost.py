"""What a search costs besides its runs, and what training many points together saves; on its own, also what halving saves.

Times of a machine that others use are upper bounds; a ratio of two things timed in turn hardly depends on them.
``python benchmarks/search_cost.py`` prints the table of halving, which takes some minutes.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import optuna
import torch
from rich.console import Console
from rich.table import Table
from rows import Aim, Case, LeftOutError, Measured

from adaptive_lr import DampedCosine, Range, SearchTrial, search
from adaptive_lr.search.executor import Executor, ProcessPool
from adaptive_lr.search.sent import sent
from adaptive_lr.search.task import Task
from adaptive_lr.shapes.batched import search_shapes
from adaptive_lr.shapes.judge import judge
from adaptive_lr.shapes.shape_search import ShapeSearch
from adaptive_lr.tasks import Perceptron, StreamingLogistic
from adaptive_lr.training import SGD, Trial, train
from adaptive_lr.trials.store import Store

TITLE = "The cost of a search"
ABOUT = """Wall time besides the runs themselves, a trial or a task; and Optuna's own loop around a loop with `torch.optim` over trials that are
trained together."""

SPACE = {"lr": Range(1e-3, 1.0, log=True), "exponent": Range(0.25, 8.0, log=True), "optimizer": ["sgd", "adamw"]}


def nothing(trial: SearchTrial) -> float:
    """A run that costs nothing."""
    return float((np.log10(trial["lr"]) + 1.0) ** 2 + np.log2(trial["exponent"]) ** 2)


def coordination(trials: int) -> float:
    """Milliseconds a trial, all costs of the coordinator included: TPE, SQLite, the journal, a worker process."""
    with tempfile.TemporaryDirectory() as folder:
        search(nothing, SPACE, trials=1, directory=Path(folder) / "warm-up")
        started = time.perf_counter()
        search(nothing, SPACE, trials=trials, directory=Path(folder) / "measured")
        return (time.perf_counter() - started) / trials * 1e3


def tasks(executor: Executor, count: int) -> float:
    """Milliseconds a task."""
    function = sent(nothing, include_module=True)

    def task(number: int) -> Task:
        return Task(
            function=function, trial=SearchTrial({"lr": 0.1, "exponent": 2.0, "optimizer": "sgd"}, number, number)
        )

    executor.submit(task(0))
    executor.collect()
    submitted, done, started = 0, 0, time.perf_counter()
    while done < count:
        while submitted < count and submitted - done < 8 and executor.room() > 0:
            submitted += 1
            executor.submit(task(submitted))
        done += len(executor.collect())
    elapsed = time.perf_counter() - started
    executor.close()
    return elapsed / count * 1e3


def on_dask(count: int) -> float:
    """Milliseconds a task on a cluster of two workers on this machine, started with Dask's own commands."""
    import socket

    from adaptive_lr.search.distributed import Cluster

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    dask, quiet = [sys.executable, "-m", "dask"], {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    host, port = address.split(":")
    commands = [[*dask, "scheduler", "--host", host, "--port", port, "--no-dashboard"]]
    commands += [[*dask, "worker", f"tcp://{address}", "--nthreads", "1", "--no-dashboard", "--no-nanny"]] * 2
    running = [subprocess.Popen(command, **quiet) for command in commands]  # type: ignore[call-overload]
    try:
        return tasks(Cluster(f"tcp://{address}"), count)
    finally:
        for process in running:
            process.kill()
            process.wait()


TASK = Perceptron(dataset="mnist1d", hidden=(100, 100), batch=10, metric="error")
STEPS = 800


def shapes() -> ShapeSearch:
    """Rate and exponent of a perceptron on MNIST-1D, 64 points at once."""
    return ShapeSearch(
        task=TASK,
        optimizer=SGD(momentum=0.9),
        schedule=DampedCosine(),
        steps=STEPS,
        rates=(0.1,),
        selection_seeds=range(1),
        report_seeds=range(1, 2),
        space={"base_lr": Range(1e-3, 1.0, log=True), "exponent": Range(0.25, 8.0, log=True)},
        together=64,
    )


def together(trials: int, workers: int) -> float:
    """Seconds for so many trials, trained together in rounds."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.sqlite", write=True) as store:
        started = time.perf_counter()
        search_shapes(shapes(), trials=trials, directory=Path(folder) / "search", store=store, workers=workers)
        return time.perf_counter() - started


def one_by_one(trials: int) -> float:
    """Seconds for so many trials of the same study, as Optuna's own loop around a loop with `torch.optim`.

    On one thread, which is faster for a network as small as this than two are: the second core has nothing to do.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("base_lr", 1e-3, 1.0, log=True)
        exponent = trial.suggest_float("exponent", 0.25, 8.0, log=True)
        run = Trial(
            task=TASK,
            schedule=DampedCosine(exponent=exponent),
            optimizer=SGD(momentum=0.9),
            base_lr=rate,
            steps=STEPS,
            seed=0,
        )
        metrics = train(run).metrics
        return float(np.nan_to_num(metrics[TASK.selection_metric], nan=1.0))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        study = optuna.create_study(
            storage=f"sqlite:///{folder}/study.db", sampler=optuna.samplers.TPESampler(seed=0, constant_liar=True)
        )
        started = time.perf_counter()
        study.optimize(objective, n_trials=trials)
        elapsed = time.perf_counter() - started
    torch.set_num_threads(threads)
    return elapsed


def saved(points: int, sample: int, count: int) -> Measured:
    """Times that training ``points`` trials together is faster; ``sample`` of the sequential loop stand for all, which would take minutes."""
    values = []
    for _ in range(count):
        slow = one_by_one(sample) * points / sample
        values.append(slow / together(points, 2))
    return Measured(values)


def cases(*, quick: bool) -> list[Case]:
    """Milliseconds of the coordinator and of a task, and what training together saves."""
    trials, points = (100, 64) if quick else (1000, 256)

    def on_cluster(count: int) -> Measured:
        if importlib.util.find_spec("distributed") is None:
            raise LeftOutError("distributed is not installed: pip install -e '.[cluster]'")
        return Measured([on_dask(trials)])

    return [
        Case(
            what="SQLite and TPE, a trial of 1000",
            aim=Aim(30.0, at_most=True),
            unit="ms",
            measure=lambda count: Measured([coordination(trials)]),
        ),
        Case(
            what="process pool, a task",
            aim=Aim(1.0, at_most=True),
            unit="ms",
            measure=lambda count: Measured([tasks(ProcessPool(2), trials) for _ in range(count)]),
        ),
        Case(what="Dask, two workers, a task", aim=Aim(10.0, at_most=True), unit="ms", measure=on_cluster),
        Case(
            what="MNIST-1D perceptron, 256 trials together on two processes against one by one",
            aim=Aim(6.0),
            measure=lambda count: saved(points, 8, min(count, 3)),
        ),
    ]


HALVED = {
    "logistic regression, streaming, 2000 steps": ShapeSearch(
        task=StreamingLogistic(),
        optimizer=SGD(),
        schedule=DampedCosine(),
        steps=2000,
        rates=tuple(float(f"{rate:.12g}") for rate in np.geomspace(0.1, 10.0, 9)),
        selection_seeds=range(100, 105),
        report_seeds=range(20),
    ),
    "digits, perceptron, 400 steps": ShapeSearch(
        task=Perceptron(dataset="digits", hidden=(48, 48), activation="tanh"),
        optimizer=SGD(momentum=0.9),
        schedule=DampedCosine(),
        steps=400,
        rates=tuple(float(f"{rate:.12g}") for rate in np.geomspace(5e-3, 0.5, 9)),
        selection_seeds=range(100, 105),
        report_seeds=range(20),
    ),
}
"""What halving is tried out on: nine rates, five seeds for selection, ten pairs of seeds for the report, 16 shapes at once."""


@dataclass(frozen=True)
class Halved:
    """A search of shapes with halving against one without, with the same seed of the sampler.

    Attributes:
        time: processor time of the search over that without halving.
        training: the same for the training alone, without TPE, the study and the store.
        loss: of the winner over that of the other winner, on seeds that neither search saw.
        worse: whether it is clearly worse, over ten repetitions.
    """

    time: float
    training: float
    loss: float
    worse: bool


def halved(shapes: ShapeSearch, seed: int, trials: int = 32) -> Halved:
    """Measure both in this process, one after the other."""
    spent, results = [], []
    with tempfile.TemporaryDirectory() as folder:
        for pruner in (None, "halving"):
            searched = replace(shapes, pruner=pruner)
            with Store(Path(folder) / f"{pruner}.sqlite", write=True) as store:
                started = time.process_time()
                result = search_shapes(
                    searched, trials=trials, directory=Path(folder) / str(pruner), store=store, seed=seed
                )
                spent.append(time.process_time() - started)
                results.append(result)
        unpruned, pruned = results
        with Store(Path(folder) / "judged.sqlite", write=True) as store:
            verdict = judge(shapes, pruned, store, baselines={"whole": shapes.shape(unpruned.best)})
    trained = [sum(trial.seconds for trial in result.trials) for result in results]
    return Halved(
        time=spent[1] / spent[0],
        training=trained[1] / trained[0],
        loss=verdict.comparisons[0]["ratio"]["value"],
        worse=verdict.worse,
    )


def halving(seeds: range = range(5)) -> Table:
    """What halving saves, and what it costs."""
    grid = Table("task", "time", "training", "loss", "worse", title="halving: ratios to the same search without")
    for name, searched in HALVED.items():
        outcomes = [halved(searched, seed) for seed in seeds]
        columns = (
            [outcome.time for outcome in outcomes],
            [outcome.training for outcome in outcomes],
            [outcome.loss for outcome in outcomes],
        )
        cells = [f"{statistics.median(column):.2f} ({min(column):.2f} to {max(column):.2f})" for column in columns]
        grid.add_row(name, *cells, f"{sum(outcome.worse for outcome in outcomes)} of {len(outcomes)}")
    return grid


if __name__ == "__main__":
    Console().print(halving())

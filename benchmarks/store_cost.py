"""What storing, reading and reporting cost, beside the training."""

from __future__ import annotations

import tempfile
import time
from functools import cache, partial
from pathlib import Path

from pairs import one_core, seconds
from rows import Aim, Case, Measured
from trainer_cost import Load

from adaptive_lr.experiment import load_experiment
from adaptive_lr.experiment.base import AbstractExperiment, run_experiment
from adaptive_lr.reporting.report import write_report
from adaptive_lr.tasks import StreamingLogistic
from adaptive_lr.training import SGD, RunResult, train_batch
from adaptive_lr.trials.runner import provenance
from adaptive_lr.trials.store import Store

TITLE = "Store and report"
ABOUT = """Wall time of writing and of reading 1000 finished trials, in batches of 50, and processor time of analysing and drawing the
report of the first experiment at its smallest size."""

TRIALS, BATCH = 1000, 50

EXPERIMENT = Path(__file__).parent.parent / "experiments" / "e01_grid_resolution.py"


@cache
def results() -> list[list[RunResult]]:
    """Finished trials by batch."""
    load = Load(what="", task=StreamingLogistic(), count=TRIALS, steps=200, optimizer=SGD())
    with one_core():
        finished = train_batch(load.trials())
    return [finished[begin : begin + BATCH] for begin in range(0, TRIALS, BATCH)]


def writing(count: int) -> Measured:
    """Seconds for ``TRIALS`` trials, each batch in a transaction of its own."""
    batches, source = results(), provenance()

    def add_to(store: Store) -> None:
        for batch in batches:
            store.add(batch, source)

    values = []
    for _ in range(count):
        with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.sqlite", write=True) as store:
            values.append(seconds(partial(add_to, store), time.perf_counter))
    return Measured(values)


def reading(count: int, *, curves: bool) -> Measured:
    """Seconds for all trials, from a store that is opened anew, with their curves or without."""
    digests = [result.trial.digest() for batch in results() for result in batch]
    values = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.sqlite"
        with Store(path, write=True) as store:
            for batch in results():
                store.add(batch, provenance())

        def read() -> None:
            with Store(path) as store:
                assert len(store.finished(digests)) == len(store.read(digests)) == TRIALS
                if curves:
                    for digest in digests:
                        store.curves(digest)

        for _ in range(count):
            values.append(seconds(read, time.perf_counter))
    return Measured(values)


def reporting(count: int) -> Measured:
    """Seconds of processor time to analyse and to draw an experiment whose trials are finished."""
    experiment: AbstractExperiment = load_experiment(str(EXPERIMENT)).smoke()
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.sqlite", write=True) as store:
        run_experiment(experiment, store, workers=1)

        def report(number: int) -> None:
            # Into a folder of its own: in one that has the figures, they would not be drawn.
            write_report([experiment.analyse(store)], store.provenance(), Path(folder) / f"report-{number}")

        report(count)
        return Measured(
            [seconds(partial(report, number)) for number in range(count)], f"{len(experiment.trials())} trials"
        )


def cases(*, quick: bool) -> list[Case]:
    """Write, read, read with curves, report."""
    return [
        Case(what="write 1000 trials", aim=Aim(1.0, at_most=True), unit="s", measure=writing),
        Case(
            what="read 1000 trials, without curves",
            aim=Aim(0.2, at_most=True),
            unit="s",
            measure=lambda count: reading(count, curves=False),
        ),
        Case(
            what="read 1000 trials, with curves",
            aim=Aim(5.0, at_most=True),
            unit="s",
            measure=lambda count: reading(count, curves=True),
        ),
        Case(
            what="analyse and draw a small report",
            aim=Aim(10.0, at_most=True),
            unit="s",
            measure=lambda count: reporting(1 if quick else min(count, 3)),
        ),
    ]

"""Write the table of docs/workloads.md, from the workloads and from what they gave: ``python docs/make_workloads.py``.

``python docs/make_workloads.py --run standard`` trains each at that size, with the seeds 0 and 1, and keeps what came of it in
docs/workloads.json. What stands there is not trained again, and what cannot be fetched is left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
import typer
from blocks import filled

from adaptive_lr.errors import DataError
from adaptive_lr.files import replace_file
from adaptive_lr.training import RunResult, train_batch
from adaptive_lr.training.workloads import SIZES, WORKLOADS, Workload

DOCS = Path(__file__).parent
PAGE, RESULTS = DOCS / "workloads.md", DOCS / "workloads.json"
SEEDS = (0, 1)


def with_table(text: str) -> str:
    """The page with the table as workloads and results have it now."""
    return filled(text, PAGE.name, "make_workloads", workloads=table())


def table() -> str:
    """A row for each workload, with its standard size and what that gave."""
    head = "| workload | parameters | steps | rate | optimizer | metric | before | after | seconds a trial |\n"
    return head + "|---|---|---|---|---|---|---|---|---|\n" + "\n".join(map(_row, WORKLOADS.values()))


def _row(workload: Workload) -> str:
    trial, result = workload.trial("standard"), _stored().get(workload.name, {}).get("standard")
    cells = [
        f"`{workload.name}`",
        "",
        f"{trial.steps:,}".replace(",", " "),
        f"{trial.base_lr:g}",
        f"`{trial.optimizer!r}`",
    ]
    if result is None:
        return "| " + " | ".join([*cells, "", "", "", ""]) + " |"
    cells[1] = f"{result['parameters']:,}".replace(",", " ")
    after = statistics.mean(result["after"])
    spread = (max(result["after"]) - min(result["after"])) / 2.0
    numbers = [f"{statistics.mean(result['before']):.4g}", f"{after:.4g} ± {spread:.1g}", f"{result['seconds']:.1f}"]
    return "| " + " | ".join([*cells, result["metric"].replace("_", " "), *numbers]) + " |"


def run(size: str) -> None:
    """Train every workload that has the size and has no result for it yet."""
    torch.set_num_threads(1)
    for name, workload in WORKLOADS.items():
        stored = _stored()
        if size not in workload.sizes or size in stored.get(name, {}):
            continue
        try:
            trials = [workload.trial(size, seed=seed) for seed in SEEDS]
            results = train_batch(trials)
        except DataError as error:
            typer.echo(f"{name}: left out: {error}")
            continue
        stored.setdefault(name, {})[size] = _content(results)
        replace_file(RESULTS, (json.dumps(stored, indent=1, sort_keys=True) + "\n").encode())
        typer.echo(f"{name}: {stored[name][size]}")


def _content(results: list[RunResult]) -> dict[str, Any]:
    task = results[0].trial.task
    return {
        "metric": task.report_metric,
        "before": [result.initial[task.report_metric] for result in results],
        "after": [result.metrics[task.report_metric] for result in results],
        "seconds": statistics.mean(result.seconds for result in results),
        "parameters": sum(value.numel() for value in task.initial(0).values()),
        "digests": [result.trial.digest() for result in results],
    }


def _stored() -> dict[str, dict[str, Any]]:
    stored: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    return stored


def main() -> None:
    """Train, if asked to, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", choices=SIZES, help="train every workload at this size first")
    if (size := parser.parse_args().run) is not None:
        run(size)
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

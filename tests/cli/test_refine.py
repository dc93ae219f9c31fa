"""``adaptive-lr refine``, from what people have to two lines to use."""

import gzip
import json
import math
import pathlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.tensorboard import SummaryWriter
from typer.testing import CliRunner, Result

import adaptive_lr
from adaptive_lr import Linear, Points, ScheduledLR, from_json
from adaptive_lr.cli import app
from adaptive_lr.meta.norms import norms_of
from adaptive_lr.meta.refinement import refine

pytestmark = pytest.mark.usefixtures("folder")

STEPS = 200
FALLING = [1.0 + 9.0 * math.exp(-step / 10) for step in range(STEPS)]


def call(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, ["refine", *arguments])


def refused(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert not Path("refined.json").exists()
    return result.stderr


def log(name: str, norms: list[float], *, header: str = "step,grad_norm", runs: int = 1) -> None:
    rows = [
        f"{step},{norm}{',' + str(run) if runs > 1 else ''}" for run in range(runs) for step, norm in enumerate(norms)
    ]
    content = "\n".join([header + (",seed" if runs > 1 else ""), *rows]) + "\n"
    if name.endswith(".gz"):
        Path(name).write_bytes(gzip.compress(content.encode()))
    else:
        Path(name).write_text(content)


def written(name: str = "refined.json") -> Points:
    schedule = from_json(Path(name).read_text())
    assert isinstance(schedule, Points)
    return schedule


@pytest.mark.parametrize("name", ["norms.csv", "norms.csv.gz"])
def test_a_table_becomes_a_schedule(name: str) -> None:
    log(name, FALLING)
    result = call(name)
    assert result.exit_code == 0, result.output
    assert written() == refine(norms_of(range(STEPS), FALLING)).schedule
    assert "200 steps, 200 norms: smoothed, they begin at 10, end at 1 and lie between 1 and 10" in result.stdout
    assert re.search(
        r"schedule: \d+ points, rises from 0\.\d+ to its peak at \d+\.\d% of the run, ends at 0; bound", result.stdout
    )
    assert result.stderr == ""


def test_the_lines_that_are_printed_use_the_schedule() -> None:
    log("norms.csv", FALLING)
    for output in ("refined.json", "folder/refined.yaml"):
        *_, first, second = call("norms.csv", "-o", output).stdout.splitlines()
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        names: dict[str, object] = {"adaptive_lr": adaptive_lr, "pathlib": pathlib, "optimizer": optimizer}
        exec(f"{first}\n{second}", names)
        scheduler = names["scheduler"]
        assert isinstance(scheduler, ScheduledLR)
        assert scheduler.get_last_lr() == pytest.approx([refine(norms_of(range(STEPS), FALLING)).schedule.m[0]])
        assert scheduler.horizon.end == STEPS


def test_constant_norms_give_linear_decay() -> None:
    log("norms.csv", [3.0] * STEPS)
    assert "schedule: 2 points, begins at its peak, ends at 0; bound for convex losses 0.0%" in call("norms.csv").stdout
    assert written() == Points(u=(0.0, 1.0), m=(1.0, 0.0))


def test_columns_of_other_names_and_one_run_of_several() -> None:
    log("runs.csv", FALLING, header="update,g", runs=2)
    assert "400 norms of 200 steps: choose one run" in refused("runs.csv", "--norm", "g", "--step", "update")
    assert call("runs.csv", "--norm", "g", "--step", "update", "--where", "seed=1").exit_code == 0
    assert written() == refine(norms_of(range(STEPS), FALLING)).schedule


def test_adam_takes_the_column_that_the_log_has_for_it() -> None:
    rows = [f"{step},7.0,{norm}" for step, norm in enumerate(FALLING)]
    Path("norms.csv").write_text("\n".join(["step,grad_norm,grad_norm_l1", *rows]))
    assert call("norms.csv", "--optimizer", "adam").exit_code == 0
    assert written() == refine(norms_of(range(STEPS), FALLING), optimizer="adam").schedule
    assert call("norms.csv").exit_code == 0
    assert len(written().u) == 2


def test_norms_before_clipping_are_clipped() -> None:
    log("norms.csv", FALLING)
    assert call("norms.csv", "--clip", "0.5").exit_code == 0
    assert written() == Points(u=(0.0, 1.0), m=(1.0, 0.0))


def test_event_files_are_read() -> None:
    for run in ("first", "second"):
        with SummaryWriter(f"runs/{run}") as writer:
            for step, norm in enumerate(FALLING):
                writer.add_scalar("train/norm", norm, step)
    result = call("runs/first", "--norm", "train/norm")
    assert result.exit_code == 0, result.output
    single = np.array(FALLING, np.float32).astype(np.float64)
    assert written() == refine(norms_of(range(STEPS), single)).schedule
    Path("refined.json").unlink()
    assert "2 runs below runs have the scalar 'train/norm', name the folder of one: first, second" in refused(
        "runs", "--norm", "train/norm"
    )
    assert "has the scalar 'grad_norm'; did you mean" in refused("runs/first")
    assert "--where is for tables" in refused("runs/first", "--norm", "train/norm", "--where", "a=1")
    assert "--step is for tables" in refused("runs/first", "--norm", "train/norm", "--step", "epoch")


def test_what_was_left_out_is_noted_beside_the_answer() -> None:
    norms = [*FALLING]
    norms[50] = float("nan")
    log("norms.csv", norms)
    result = call("norms.csv")
    assert "note: Of 200 norms 1 not finite or blank: left out." in result.stderr
    assert result.exit_code == 0


def test_pictures() -> None:
    log("norms.csv", FALLING)
    result = call("norms.csv", "--terminal", "--plot", "picture.png")
    assert "●● refined" in result.stdout
    assert "progress u = t/T" in result.stdout
    assert Path("picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.csv"], "there is no file absent.csv"),
        (["norms.csv", "--norm", "grad_nrm"], "norms.csv has no column 'grad_nrm'; did you mean 'grad_norm'?"),
        (["norms.csv", "--step", "epoch"], "norms.csv has no column 'epoch'"),
        (["norms.csv", "--optimizer", "lion"], "--optimizer is sgd or adam, got 'lion'"),
        (["norms.csv", "-o", "refined.txt"], "a schedule is written as .json, .yaml or .yml, got refined.txt"),
        (["norms.csv", "--plot", "a.pdf"], "a figure is written as .png or .svg, got a.pdf"),
        (["norms.csv", "--steps", "1000"], "800 steps after update 199 of 1000 have no norm"),
        (["norms.csv", "--first-step", "7"], "the run begins at step 7, but there is a norm of step 0"),
        (["norms.csv", "--tolerance", "2"], "the tolerance must lie in (0, 0.1], got 2.0"),
        (["norms.csv", "--clip", "-1"], "gradients are clipped to a norm above 0, got -1.0"),
        (["norms.csv", "--where", "step"], "--where takes column=value, got 'step'"),
        (["norms.csv", "--where", "step=-5"], "norms.csv has no row with step=-5"),
        (["words.csv"], "words.csv, line 2: grad_norm is 'large', not a number"),
        (["empty.csv"], "empty.csv is empty"),
        (["zeros.csv"], "of 200 norms 200 are 0: was the gradient cleared before it was read?"),
        (["."], "there are no TensorBoard event files below ."),
    ],
)
def test_what_cannot_be_used_is_one_line(arguments: list[str], message: str) -> None:
    log("norms.csv", FALLING)
    log("zeros.csv", [0.0] * STEPS)
    Path("words.csv").write_text("step,grad_norm\n0,large\n")
    Path("empty.csv").write_text("")
    assert message in refused(*arguments)


def test_what_the_scheduler_logs_is_read_without_options() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.01)
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=50, log_norms="norms.csv")
    for _ in range(50):
        weight.square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
    for kind in ("sgd", "adam"):
        result = call("norms.csv", "--optimizer", kind)
        assert result.exit_code == 0, result.output
        assert "50 steps, 50 norms" in result.stdout
        assert result.stderr == ""
    assert json.loads(Path("refined.json").read_text())["spec"]["kind"] == "points"

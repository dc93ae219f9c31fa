"""Two processes on this machine: the same decisions on both, whatever each of them sees."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import distributed

ROOT = Path(__file__).parents[2]
HEADER = """
import json, os, sys
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, AdamW
from adaptive_lr import Anchor, CurvatureCap, NanRescue, ShrinkageDamping
from tests.controlled import Alignment, Watch, Losses, controlled, loss_of, minibatches, perceptron

torch.set_num_threads(1)
distributed.init_process_group("gloo")
rank = distributed.get_rank()
calls = [0]
whole = distributed.all_reduce
def counted(*args, **kwargs):
    calls[0] += 1
    return whole(*args, **kwargs)
distributed.all_reduce = counted
batches = minibatches(50, seed=1 + rank, dtype=torch.float32)
"""
FOOTER = """
with open(os.environ["OUT"] + f"/{rank}.json", "w") as file:
    json.dump(found, file)
distributed.barrier()
sys.stdout.flush()
os._exit(0)  # gloo's threads sometimes end the process with an abort otherwise
"""
REPLICATED = """
found = []
for controller in (Anchor(), Alignment(), Watch()):
    model = perceptron(dtype=torch.float32, drop=0.2)
    model.insert(1, nn.BatchNorm1d(8))
    torch.manual_seed(rank)
    ddp = DistributedDataParallel(model)
    optimizer = AdamW(ddp.parameters(), lr=0.01)
    scheduler = controlled(optimizer, controller)
    for x, y in batches:
        optimizer.zero_grad()
        loss = loss_of(ddp, x, y)
        loss.backward()
        optimizer.step()
        calls[0] = 0
        scheduler.step(loss, lambda: loss_of(ddp, x, y))
        signals = controller.signals(scheduler.last_epoch - 1, 120)
        weights = torch.cat([one.detach().flatten() for one in model.parameters()])
        found.append([scheduler.get_last_lr()[0], scheduler.applied_multiplier, weights.double().sum().item(), calls[0],
                      bool(signals), loss.item()])
"""
SHARDED = """
from torch.distributed.fsdp import fully_shard

found = {}
for name in ("plain", "sharded"):
    for kind in (Anchor(), Losses()):
        model = perceptron(dtype=torch.float32)
        if name == "sharded":
            from torch.distributed.device_mesh import init_device_mesh

            fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
        optimizer = SGD(model.parameters(), lr=0.01, momentum=0.9)
        scheduler = controlled(optimizer, kind)
        readings = []
        for x, y in minibatches(45, dtype=torch.float32):
            optimizer.zero_grad()
            loss = loss_of(model, x, y)
            loss.backward()
            optimizer.step()
            scheduler.step(loss, lambda: loss_of(model, x, y))
            readings.append(scheduler.readings())
        found[f"{name} {type(kind).__name__}"] = readings
"""
CURVATURE = """
found = []
for name in ("whole", "two"):
    model = perceptron(dtype=torch.float32)
    trained = model if name == "whole" else DistributedDataParallel(model)
    optimizer = SGD(trained.parameters(), lr=0.01, momentum=0.9)
    scheduler = controlled(optimizer, ShrinkageDamping(every=2))
    for x, y in minibatches(12, dtype=torch.float32):
        mine = slice(None) if name == "whole" else slice(8 * rank, 8 * rank + 8)
        optimizer.zero_grad()
        loss = loss_of(trained, x[mine], y[mine])
        loss.backward()
        optimizer.step()
        scheduler.step(loss, lambda: loss_of(trained, x[mine], y[mine]))
        seen = scheduler.control.seen
        found.append([float(seen[one][0]) for one in ("curvature_square", "curvature_change") if one in seen])
"""
REFUSED = """
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

found = []
for kind in (CurvatureCap(), ShrinkageDamping(), NanRescue(then=CurvatureCap())):
    model = perceptron(dtype=torch.float32)
    fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    try:
        controlled(SGD(model.parameters(), lr=0.01), kind)
    except ValueError as error:
        found.append(str(error))
"""
LOGGED = """
from torch.distributed.fsdp import fully_shard
from torch.distributed.device_mesh import init_device_mesh
from adaptive_lr import Linear, ScheduledLR

mesh = init_device_mesh("cpu", (2,))
found = []
for sharded in (False, True):
    model = perceptron(dtype=torch.float32)
    if sharded:
        fully_shard(list(model)[0], mesh=mesh)  # the others stay whole
    optimizer = SGD(model.parameters(), lr=0.01)
    name = os.environ["OUT"] + f"/{sharded}.csv"
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=10, log_norms=name)
    for x, y in minibatches(10, seed=1, dtype=torch.float32):
        optimizer.zero_grad()
        loss_of(model, x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
    distributed.barrier()
    with open(name) as file:
        found.append([[float(cell) for cell in line.split(",")] for line in file.read().splitlines()[1:]])
"""

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="this torch has no torch.distributed")


def run(code: str, folder: Path) -> list[Any]:
    script = folder / "two.py"
    script.write_text(HEADER + code + FOOTER, encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ,
        "OUT": str(folder),
        "PYTHONPATH": str(ROOT),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
        "WORLD_SIZE": "2",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, str(script)], env=common | {"RANK": str(rank)}, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    errors = [one.communicate(timeout=240)[1] for one in processes]
    assert [one.returncode for one in processes] == [0, 0], "\n".join(errors)
    return [json.loads((folder / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


@pytest.mark.slow
def test_replicas_decide_the_same_to_the_last_bit_though_they_see_other_data(tmp_path: Path) -> None:
    first, second = run(REPLICATED, tmp_path)
    assert len(first) == 150
    assert [one[:5] for one in first] == [one[:5] for one in second]
    assert all(one[5] != other[5] for one, other in zip(first, second, strict=True))
    # One small message an update where something is looked at, none elsewhere.
    assert {(calls, looks) for *_, calls, looks, _ in first} == {(1, True), (0, False)}


@pytest.mark.slow
def test_statistics_of_sharded_parameters_are_those_of_whole_ones(tmp_path: Path) -> None:
    first, second = run(SHARDED, tmp_path)
    assert first == second
    for name in ("Anchor", "Losses"):
        for one, other in zip(first[f"plain {name}"], first[f"sharded {name}"], strict=True):
            assert other == pytest.approx(one, rel=1e-5, abs=1e-6)


@pytest.mark.slow
def test_curvature_seen_by_two_processes_is_that_of_the_whole_minibatch(tmp_path: Path) -> None:
    first, second = run(CURVATURE, tmp_path)
    assert first == second
    whole, two = first[:12], first[12:]
    assert [len(one) for one in two] == [1, 0] + [2, 0] * 5
    for one, other in zip(whole, two, strict=True):
        assert other == pytest.approx(one, rel=1e-2)


@pytest.mark.slow
def test_controllers_that_need_a_second_gradient_refuse_sharded_parameters(tmp_path: Path) -> None:
    first, second = run(REFUSED, tmp_path)
    assert len(first) == len(second) == 3
    assert all("cannot be done with sharded parameters" in one for one in first)


@pytest.mark.slow
def test_norms_of_sharded_gradients_are_logged_whole_and_by_one_process(tmp_path: Path) -> None:
    first, second = run(LOGGED, tmp_path)
    assert first == second
    complete, sharded = first
    assert [row[0] for row in complete] == list(range(10))
    for row, other in zip(complete, sharded, strict=True):
        assert other == pytest.approx(row, rel=1e-5)
        assert min(row[1:]) > 0.0

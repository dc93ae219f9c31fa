"""What ``log_norms`` writes is the norm of the gradient that each step was made of."""

import copy
import csv
import gc
import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import SGD, AdamW, Optimizer

from adaptive_lr import Constant, Linear, ScheduledLR, SpecError
from adaptive_lr.schedulers import norm_log

X = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
STEPS = 12


def rows(path: Path) -> list[tuple[int, float, float]]:
    with path.open(newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["step", "grad_norm", "grad_norm_l1"]
    return [(int(step), float(norm), float(absolute)) for step, norm, absolute in table[1:]]


def norms(parameters: Any) -> tuple[float, float]:
    """By a plain loop over every number of every gradient."""
    numbers = [number for p in parameters if p.grad is not None for number in p.grad.double().flatten().tolist()]
    return sum(number**2 for number in numbers) ** 0.5, sum(abs(number) for number in numbers)


class Run:
    """A small network whose true norms are written down beside the log."""

    def __init__(self, path: Path, make: Callable[[Any], Optimizer] | None = None, **options: Any) -> None:
        torch.manual_seed(1)
        self.model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
        self.optimizer = (make or (lambda parameters: SGD(parameters, lr=0.1)))(self.model.parameters())
        self.scheduler = ScheduledLR(self.optimizer, Linear(), total_steps=STEPS, log_norms=path, **options)
        self.true: list[tuple[int, float, float]] = []

    def loss(self, step: int) -> Tensor:
        return self.model(X[4 * step : 4 * step + 4]).square().mean()  # type: ignore[no-any-return]

    def note(self, step: int) -> None:
        self.true.append((step, *norms(self.model.parameters())))

    def train(self, steps: range) -> None:
        for step in steps:
            self.loss(step).backward()
            self.note(step)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self.scheduler.step()


def assert_logged(path: Path, true: list[tuple[int, float, float]]) -> None:
    logged = rows(path)
    assert [row[0] for row in logged] == [row[0] for row in true]
    for (_, norm, absolute), (_, norm_there, absolute_there) in zip(logged, true, strict=True):
        assert norm == pytest.approx(norm_there, rel=1e-5)
        assert absolute == pytest.approx(absolute_there, rel=1e-5)
        assert norm > 0.0


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_gradients_that_are_cleared_before_the_scheduler_steps_are_seen(tmp_path: Path, kind: Any) -> None:
    run = Run(tmp_path / "norms.csv", lambda parameters: kind(parameters, lr=0.1))
    run.train(range(STEPS))
    assert_logged(tmp_path / "norms.csv", run.true)  # complete as soon as the schedule ends


def test_training_is_the_same_with_and_without_a_log(tmp_path: Path) -> None:
    logged = Run(tmp_path / "norms.csv")
    plain = Run(tmp_path / "other.csv")
    plain.scheduler = ScheduledLR(plain.optimizer, Linear(), total_steps=STEPS)
    for run in (logged, plain):
        run.train(range(STEPS))
    for here, there in zip(logged.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(here, there)
    gc.collect()
    assert not (tmp_path / "other.csv").exists()  # the scheduler that should have logged is gone, with its hooks


def test_accumulated_gradients_make_one_line(tmp_path: Path) -> None:
    run = Run(tmp_path / "norms.csv")
    for step in range(STEPS):
        for _ in range(3):
            (run.loss(step) / 3).backward()
        run.note(step)
        run.optimizer.step()
        run.scheduler.step()
        run.optimizer.zero_grad()
    assert_logged(tmp_path / "norms.csv", run.true)


def test_clipped_gradients_count_as_the_optimizer_gets_them(tmp_path: Path) -> None:
    run = Run(tmp_path / "norms.csv")
    for step in range(STEPS):
        run.loss(step).backward()
        nn.utils.clip_grad_norm_(run.model.parameters(), 1e-3)
        run.note(step)
        run.optimizer.step()
        run.optimizer.zero_grad()
        run.scheduler.step()
    assert_logged(tmp_path / "norms.csv", run.true)
    assert [norm for _, norm, _ in rows(tmp_path / "norms.csv")] == pytest.approx([1e-3] * STEPS, rel=1e-2)


def test_a_closure_makes_the_gradients_that_count(tmp_path: Path) -> None:
    run = Run(tmp_path / "norms.csv")

    def closure(step: int) -> Tensor:
        run.optimizer.zero_grad()
        loss = run.loss(step)
        loss.backward()
        run.note(step)
        return loss

    for step in range(STEPS):
        run.optimizer.step(lambda step=step: closure(step))  # type: ignore[misc, arg-type]
        run.scheduler.step()
    assert_logged(tmp_path / "norms.csv", run.true)


def test_all_groups_and_types_count_and_frozen_parameters_do_not(tmp_path: Path) -> None:
    weights = [nn.Parameter(torch.tensor(values)) for values in ([3.0], [0.0, 4.0], [7.0])]
    half = nn.Parameter(torch.full((70_000,), 1.0, dtype=torch.float16))
    optimizer = SGD([{"params": weights[:1]}, {"params": weights[1:]}, {"params": [half]}], lr=0.0)
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=1, log_norms=tmp_path / "norms.csv")
    for parameter in (*weights[:2], half):
        parameter.grad = parameter.detach().clone()
    optimizer.step()
    scheduler.step()
    # 70 000 ones are more than half precision can hold.
    expected = pytest.approx((0, (25.0 + 70_000.0) ** 0.5, 70_007.0), rel=1e-6)
    assert rows(tmp_path / "norms.csv") == [expected]


@pytest.mark.parametrize("fused", [False, True])
def test_scaled_gradients_are_divided_and_skipped_steps_make_no_line(tmp_path: Path, fused: bool) -> None:
    scaler = GradScaler("cpu", init_scale=1024.0, growth_interval=3)
    run = Run(tmp_path / "norms.csv", lambda parameters: AdamW(parameters, lr=0.1, fused=fused), grad_scaler=scaler)
    made = 0
    for step in range(STEPS):
        scaler.scale(run.loss(step)).backward()
        if step == 4:
            next(run.model.parameters()).grad.fill_(float("inf"))  # type: ignore[union-attr]
        else:
            norm, absolute = norms(run.model.parameters())
            run.true.append((made, norm / scaler.get_scale(), absolute / scaler.get_scale()))
            made += 1
        scaler.step(run.optimizer)
        scaler.update()
        run.optimizer.zero_grad()
        run.scheduler.step()
    run.scheduler.state_dict()
    assert len(run.true) == STEPS - 1
    assert_logged(tmp_path / "norms.csv", run.true)


def test_a_step_that_is_said_to_be_skipped_makes_no_line(tmp_path: Path) -> None:
    run = Run(tmp_path / "norms.csv")
    run.train(range(2))
    run.loss(2).backward()
    run.optimizer.step()
    run.optimizer.zero_grad()
    run.scheduler.step(skipped=True)
    run.train(range(2, STEPS))
    assert_logged(tmp_path / "norms.csv", run.true)


def test_several_updates_of_a_scheduler_step_are_averaged(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.zeros(2))
    optimizer = SGD([weight], lr=0.1)
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=2, log_norms=tmp_path / "norms.csv")
    for gradients in ([[3.0, 4.0], [0.0, 1.0]], [[2.0, 0.0], [2.0, 0.0]]):
        for gradient in gradients:
            weight.grad = torch.tensor(gradient)
            optimizer.step()
        scheduler.step()
    assert rows(tmp_path / "norms.csv") == [pytest.approx((0, 13.0**0.5, 4.0)), pytest.approx((1, 2.0, 2.0))]


def test_norms_whose_squares_are_no_numbers_are_right(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = SGD([weight], lr=0.0)
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=2, log_norms=tmp_path / "norms.csv")
    for gradient in (1e-30, 1e30):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        optimizer.step()
        scheduler.step()
    assert [norm for _, norm, _ in rows(tmp_path / "norms.csv")] == pytest.approx([1e-30, 1e30], rel=1e-6)


@pytest.mark.parametrize("saved", [1, 5, 11])
def test_a_resumed_run_goes_on_without_repeated_or_missing_steps(tmp_path: Path, saved: int) -> None:
    path = tmp_path / "norms.csv"
    first = Run(path)
    first.train(range(saved))
    checkpoint: list[dict[str, Any]] = [
        copy.deepcopy(each.state_dict()) for each in (first.model, first.optimizer, first.scheduler)
    ]
    before = list(first.true)
    assert_logged(path, before)  # a state is saved with all lines up to it
    first.train(range(saved, min(saved + 3, STEPS)))  # and broken off here
    del first
    gc.collect()
    second = Run(path)
    second.model.load_state_dict(checkpoint[0])
    second.optimizer.load_state_dict(checkpoint[1])
    second.scheduler.load_state_dict(checkpoint[2])
    second.train(range(saved, STEPS))
    assert_logged(path, before + second.true)


def test_going_back_in_the_same_process_leaves_no_repeated_steps(tmp_path: Path) -> None:
    run = Run(tmp_path / "norms.csv")
    run.train(range(4))
    state = run.scheduler.state_dict()
    run.train(range(4, 9))
    run.scheduler.load_state_dict(state)
    del run.true[4:]
    run.train(range(4, STEPS))
    assert_logged(tmp_path / "norms.csv", run.true)


def test_a_line_that_a_kill_cut_off_is_left_out_on_resuming(tmp_path: Path) -> None:
    path = tmp_path / "norms.csv"
    path.write_text(f"{norm_log.HEADER}\n0,1.0,1.0\n1,2.0,2.0\n2,3.")
    weight = nn.Parameter(torch.zeros(1))
    optimizer = SGD([{"params": [weight], "initial_lr": 0.1}], lr=0.1)
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=3, last_epoch=1, log_norms=path)
    weight.grad = torch.ones(1)
    optimizer.step()
    scheduler.step()
    assert rows(path) == [(0, 1.0, 1.0), (1, 2.0, 2.0), (2, 1.0, 1.0)]


def test_a_run_that_starts_afresh_begins_the_log_anew(tmp_path: Path) -> None:
    path = tmp_path / "folder/norms.csv"
    Run(path).train(range(STEPS))
    second = Run(path)
    second.train(range(3))
    second.scheduler.state_dict()
    assert_logged(path, second.true)


def test_what_is_left_is_written_when_the_scheduler_goes(tmp_path: Path) -> None:
    run = Run(tmp_path / "norms.csv")
    run.train(range(5))
    true = run.true
    del run
    gc.collect()
    assert_logged(tmp_path / "norms.csv", true)


def test_another_file_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "model.csv"
    path.write_text("lr,loss\n0.1,2.0\n")
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    for wrong, message in ((path, "is no log of norms: give another name"), (tmp_path, "got the folder")):
        with pytest.raises(SpecError, match=message):
            ScheduledLR(optimizer, Linear(), total_steps=3, log_norms=wrong)
    assert path.read_text() == "lr,loss\n0.1,2.0\n"
    assert "initial_lr" not in optimizer.param_groups[0]
    assert not optimizer._optimizer_step_pre_hooks


def test_a_log_that_sees_nothing_says_so(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer, other = SGD([weight], lr=0.1), SGD([weight], lr=0.1)
    other.step()
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=30, log_norms=tmp_path / "norms.csv")
    optimizer._opt_called = True  # type: ignore[attr-defined]  # the order is right, but of another optimizer
    for _ in range(norm_log.PATIENCE - 1):
        scheduler.step()
    with pytest.warns(UserWarning, match="has seen no step of the optimizer with gradients in 10 scheduler steps"):
        scheduler.step()
    for _ in range(20):
        scheduler.step()
    assert not (tmp_path / "norms.csv").exists()


def test_a_disk_that_does_not_take_it_does_not_end_training(tmp_path: Path) -> None:
    run = Run(tmp_path / "folder/norms.csv")
    (tmp_path / "folder").rmdir()
    (tmp_path / "folder").write_text("in the way")
    with pytest.warns(UserWarning, match="log_norms stops here: .*training goes on without it"):
        run.train(range(STEPS))
    assert run.scheduler.last_epoch == STEPS


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda run: pickle.loads(pickle.dumps(run))])
def test_a_copy_goes_on_without_the_log(tmp_path: Path, copied: Callable[[Any], Any]) -> None:
    run = Run(tmp_path / "norms.csv")
    run.train(range(3))
    other = copied((run.model, run.optimizer, run.scheduler))
    for _ in range(3):
        other[0](X).sum().backward()
        other[1].step()
        other[2].step()
    run.train(range(3, STEPS))
    assert_logged(tmp_path / "norms.csv", run.true)
    assert other[2].last_epoch == 6


def test_lines_wait_no_longer_than_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0.0, 0.4)
    monkeypatch.setattr("adaptive_lr.schedulers.norm_log.time.monotonic", lambda: next(clock))
    run = Run(tmp_path / "norms.csv")
    written = []
    for step in range(9):
        run.train(range(step, step + 1))
        written.append(len(rows(tmp_path / "norms.csv")) if (tmp_path / "norms.csv").exists() else 0)
    assert written[0] == 0
    assert max(step + 1 - lines for step, lines in enumerate(written)) <= 3


@pytest.mark.parametrize(("steps", "every"), [(1999, 1), (2000, 2), (10_500, 10)])
def test_long_runs_have_a_line_for_every_so_many_steps(tmp_path: Path, steps: int, every: int) -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = SGD([weight], lr=0.1)
    scheduler = ScheduledLR(optimizer, Linear(), total_steps=steps, log_norms=tmp_path / "norms.csv")
    for step in range(steps):
        weight.grad = torch.tensor([1.0 + step])
        optimizer.step()
        weight.grad = None
        scheduler.step()
    logged = rows(tmp_path / "norms.csv")
    assert [step for step, _, _ in logged] == list(range(0, steps, every))
    assert all(norm == absolute == pytest.approx(1.0 + step) for step, norm, absolute in logged)


def test_a_run_without_an_end_has_a_line_for_every_step(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.ones(1))
    optimizer = SGD([weight], lr=0.1)
    scheduler = ScheduledLR(optimizer, Constant(), total_steps=None, log_norms=tmp_path / "norms.csv")
    for _ in range(5):
        weight.grad = torch.ones(1)
        optimizer.step()
        scheduler.step()
    scheduler.state_dict()
    assert [step for step, _, _ in rows(tmp_path / "norms.csv")] == list(range(5))

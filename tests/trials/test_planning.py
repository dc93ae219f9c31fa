"""How it is decided which backend trains what."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from adaptive_lr import DampedCosine
from adaptive_lr.controllers import Anchor, LossPlateau
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.training import SGD, Backend, Muon, Trial, batches, packages, train_batch
from adaptive_lr.trials import planning
from adaptive_lr.trials.planning import Choice, Choices, Measurement, quiet_share
from adaptive_lr.trials.runner import run_trials
from adaptive_lr.trials.store import Store
from tests.trials.test_runner import numbers

pytestmark = pytest.mark.usefixtures("one_thread")

TASK = StreamingLeastSquares(dimension=5)


def plan(steps: int = 40, seeds: int = 2) -> list[Trial]:
    """Batches of one seed each, as lengths differ."""
    return [
        Trial(task=TASK, schedule=DampedCosine(), optimizer=SGD(), base_lr=rate, steps=steps + seed, seed=seed)
        for seed in range(seeds)
        for rate in (0.1, 0.2, 0.3)
    ]


def choices(trials: list[Trial], store: Path) -> Choices:
    return Choices(batches(trials), store)


def test_little_is_trained_as_always_and_unmeasured(tmp_path: Path) -> None:
    (measurement,) = choices(plan(), tmp_path / "store").missing()
    assert measurement.steps == 3 * 40 + 3 * 41
    assert measurement.choice() == Choice(Backend.STACKED, {})


def test_what_would_be_trained_quickly_is_not_compiled(tmp_path: Path) -> None:
    (measurement,) = choices(plan(steps=1000), tmp_path / "store").missing()
    choice = measurement.choice()
    assert choice.backend is Backend.STACKED
    assert set(choice.seconds) == {"together"}
    assert 0.0 < choice.seconds["together"] < 1.0


def test_for_much_work_all_backends_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "WORTH_COMPILING", 0.0)
    choice = Measurement("key", plan(steps=1000)[:3], 3000.0).choice()
    assert set(choice.seconds) == {"together", "one by one", "compiled"}
    assert choice.seconds["one by one"] > choice.seconds["together"]
    assert choice.backend in {Backend.STACKED, Backend.COMPILED}


def test_why_nothing_could_be_compiled_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(planning, "WORTH_COMPILING", 0.0)
    (tmp_path / "file").touch()
    monkeypatch.setenv(packages.FOLDER_VARIABLE, str(tmp_path / "file"))
    trials = [replace(trial, task=StreamingLeastSquares(dimension=6)) for trial in plan(steps=1000)[:3]]
    choice = Measurement("key", trials, 3000.0).choice()
    assert choice.backend is Backend.STACKED
    assert "cannot be kept in" in choice.reason


def test_choices_are_kept_for_the_plan_that_they_were_made_for(tmp_path: Path) -> None:
    path, made = tmp_path / "store", Choice(Backend.COMPILED, {"compiled": 1e-6, "together": 2e-6}, "")
    first = choices(plan(), path)
    (measurement,) = first.missing()
    first.add({measurement.key: made})
    assert choices(plan(), path).missing() == []
    assert choices(plan(), path).backend(plan()[0]) is Backend.COMPILED
    assert len(choices(plan(seeds=1), path).missing()) == 1
    assert len(choices([replace(trial, optimizer=Muon()) for trial in plan()], path).missing()) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"key": 1}', b'{"key": {"backend": "by hand"}}', b"\xff"])
def test_a_damaged_file_is_as_none(tmp_path: Path, content: bytes) -> None:
    known = choices(plan(), tmp_path / "store")
    known.path.write_bytes(content)
    assert len(choices(plan(), tmp_path / "store").missing()) == 1


def test_a_controller_that_always_looks_is_not_compiled() -> None:
    choice, trial = Choice(Backend.COMPILED, {}), plan()[0]
    looking, quiet = replace(trial, controller=LossPlateau()), replace(trial, controller=Anchor(), steps=400)
    assert choice.of(trial) is Backend.COMPILED
    assert (quiet_share(looking), choice.of(looking)) == (0.0, Backend.STACKED)
    assert quiet_share(quiet) > 0.8
    assert choice.of(quiet) is Backend.COMPILED


class StopError(Exception):
    pass


def test_an_interrupted_run_goes_on_with_what_was_chosen(tmp_path: Path) -> None:
    trials = plan(seeds=3)
    chosen: list[str] = []

    def run(path: Path, stop_after: int | None = None) -> None:
        counts: list[int] = []

        def advance(count: int) -> None:
            counts.append(count)
            if len(counts) == stop_after:
                raise StopError

        with Store(path, write=True) as store:
            run_trials(
                trials, store, workers=1, advance=advance, chosen=lambda choice, trial: chosen.append(trial.task.kind)
            )

    compiled = Choice(Backend.COMPILED, {"compiled": 1e-6})
    for name in ("interrupted", "whole"):
        known = choices(trials, tmp_path / name)
        known.add({measurement.key: compiled for measurement in known.missing()})
    with pytest.raises(StopError):
        run(tmp_path / "interrupted", stop_after=1)
    run(tmp_path / "interrupted")
    run(tmp_path / "whole")
    assert numbers(tmp_path / "interrupted", trials) == numbers(tmp_path / "whole", trials)
    assert chosen == []
    with Store(tmp_path / "whole") as store:
        (stored,) = store.read([trials[0].digest()]).values()
    (expected, *_) = train_batch(trials[:3], Backend.COMPILED)
    assert repr(stored.metrics) == repr(expected.metrics)


def test_the_choice_is_written_before_anything_is_trained(tmp_path: Path) -> None:
    with Store(tmp_path / "store", write=True) as store:
        run_trials(plan(), store, workers=2)
    stored = json.loads((tmp_path / "store.backends.json").read_text())
    assert [entry["backend"] for entry in stored.values()] == ["together"]

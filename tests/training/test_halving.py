"""Successive halving over rates within the steps of one trial."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from adaptive_lr import Anchor, Constant, DampedCosine, SpecError
from adaptive_lr.experiment import AnyRate, Contestant, run_experiment
from adaptive_lr.spec import canonical_json, decode, encode
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.training import (
    KINDS,
    SGD,
    Backend,
    LiteralRun,
    RateHalving,
    Status,
    Trial,
    backends,
    batches,
    train,
    train_batch,
)
from adaptive_lr.trials.runner import run_trials
from adaptive_lr.trials.store import Store
from tests.tiny_rates import EXPERIMENT, STUDY

pytestmark = pytest.mark.usefixtures("one_thread")

TRIAL = Trial(
    task=StreamingLeastSquares(dimension=10),
    schedule=DampedCosine(),
    optimizer=SGD(),
    base_lr=1e-4,
    steps=400,
    seed=3,
    dtype="float64",
    tuning=RateHalving(),
)


@pytest.mark.parametrize("steps", [40, 137, 400, 2000, 12345])
@pytest.mark.parametrize(
    "tuning", [RateHalving(), RateHalving(decades=1.0, per_decade=1), RateHalving(share=0.2, per_decade=3)]
)
def test_steps_of_all_candidates_are_those_of_the_trial(tuning: RateHalving, steps: int) -> None:
    rungs = tuning.rungs(steps)
    counts, untils = [rung.candidates for rung in rungs], [rung.until for rung in rungs]
    assert counts[0] == len(tuning.rates(1.0))
    assert all(after == math.ceil(before / 2) for before, after in pairwise(counts))
    assert math.ceil(counts[-1] / 2) == 1
    made = 0
    for count, until, before in zip(counts, untils, [0, *untils], strict=False):
        assert until > before
        made += count * (until - before)
    assert made + tuning.last(steps) - untils[-1] == steps


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(SpecError, match=r"RateHalving of 11 rates needs more than 22 steps, got 22"):
        replace(TRIAL, steps=22)
    assert train(replace(TRIAL, steps=23)).status is Status.OK
    with pytest.raises(
        SpecError, match=r"RateHalving\.decades must be a whole number of steps at 2 a decade, got 0\.7"
    ):
        RateHalving(decades=0.7)
    with pytest.raises(SpecError, match="use it without a controller"):
        replace(TRIAL, controller=Anchor())


def test_the_survivor_is_the_same_as_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[float] = []
    usual = LiteralRun.advance

    def counted(self: LiteralRun, *arguments: object) -> bool:
        steps.append(self.trial.base_lr)
        return usual(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(LiteralRun, "advance", counted)
    result, tuning = train(TRIAL), RateHalving()
    assert len(steps) == TRIAL.steps
    monkeypatch.undo()
    rates = tuning.rates(TRIAL.base_lr)
    assert rates[-1] == pytest.approx(10.0)
    left = rates
    for rung in tuning.rungs(TRIAL.steps):
        losses = {}
        for rate in left:  # anew from the start, which gives the same
            run = LiteralRun(by_hand(rate))
            losses[rate] = run.metric() if run.advance_to(rung.until) else math.inf
        left = sorted(sorted(left, key=losses.__getitem__)[: math.ceil(len(left) / 2)])
    (rate,) = left
    assert set(result.curves["control/rate"]) == {rate}
    assert 1e-2 < rate < 3.0
    assert result.metrics == train(by_hand(rate)).metrics
    assert steps.count(rate) == tuning.last(TRIAL.steps)


def by_hand(rate: float) -> Trial:
    tuning = RateHalving()
    schedule = tuning.schedule(TRIAL.steps, TRIAL.schedule)
    return Trial(
        task=TRIAL.task,
        schedule=schedule,
        optimizer=TRIAL.optimizer,
        base_lr=rate,
        steps=tuning.last(TRIAL.steps),
        seed=TRIAL.seed,
        dtype="float64",
    )


def test_rates_are_constant_until_one_is_left() -> None:
    tuning = RateHalving()
    schedule, until, last = tuning.schedule(400, DampedCosine()), tuning.rungs(400)[-1].until, tuning.last(400)
    assert [schedule.at(step, last) for step in range(until)] == [1.0] * until
    assert schedule.at(until + 1, last) < 1.0
    assert schedule.at(last, last) == pytest.approx(0.0, abs=1e-15)


def test_diverged_candidates_lose_and_one_is_left_where_all_diverge() -> None:
    assert train(replace(TRIAL, base_lr=1.0)).status is Status.OK
    lost = train(replace(TRIAL, base_lr=1e6))
    assert lost.status is Status.DIVERGED
    assert all(math.isnan(value) for value in lost.metrics.values())


def test_a_tuned_trial_is_trained_alone_and_stored_like_any(tmp_path: Path) -> None:
    plain = by_hand(0.1)
    assert "tuning" not in canonical_json(plain)
    assert backends(TRIAL) == [Backend.LITERAL]
    assert batches([TRIAL, replace(TRIAL, seed=4), plain]) == [[TRIAL], [replace(TRIAL, seed=4)], [plain]]
    assert decode(encode(TRIAL), KINDS) == TRIAL
    with Store(tmp_path / "store.sqlite", write=True) as store:
        assert run_trials([TRIAL, plain], store, workers=1) == 2
        assert run_trials([TRIAL, plain], store, workers=1) == 0
        (record,) = store.read([TRIAL.digest()]).values()
        curves = store.curves(TRIAL.digest())
    (again,) = train_batch([TRIAL])
    assert record.metrics == again.metrics
    np.testing.assert_array_equal(curves["control/rate"], again.curves["control/rate"])


def test_an_experiment_has_a_contestant_that_tunes_itself(tmp_path: Path) -> None:
    halving = Contestant(schedule=DampedCosine(), tuning=RateHalving(per_decade=1))
    contestants = {"schedules": EXPERIMENT.contestants["schedules"], "baselines": {"halving": halving}}
    experiment = AnyRate(
        **{**vars(EXPERIMENT), "contestants": contestants, "judged": "halving", "studies": [STUDY], "notes": {}}
    )
    with Store(tmp_path / "store.sqlite", write=True) as store:
        run_experiment(experiment, store, workers=1)
        numbers = experiment.analyse(store)
    row = numbers["studies"]["squares"]["contestants"]["halving"]
    assert row["best"]["value"] < 5.0
    assert halving.grid(STUDY).tolist() == [STUDY.low]
    assert Contestant(schedule=Constant()).grid(STUDY).size > 1

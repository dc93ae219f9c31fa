from pathlib import Path

import numpy as np
import pytest

from adaptive_lr.errors import InputError
from adaptive_lr.meta.law_curves import Columns, Curve, rates_by_step, read_curves, read_path
from tests.loss_curves import path, write_curve
from tests.recorded_runs import write

ROWS = [(step, 3e-4, 4.0 - 0.01 * index) for index, step in enumerate(range(100, 1100, 50))]


def read(folder: Path, rows: list[tuple[object, ...]], warmup: int | None = 100, header: str = "step,lr,loss") -> Curve:
    file = write(folder / "run.csv", header, *(",".join(map(str, row)) for row in rows))
    (curve,), _ = read_curves([file], Columns(), warmup)
    return curve


def refused(folder: Path, rows: list[tuple[object, ...]], warmup: int | None = 100) -> str:
    with pytest.raises(InputError) as raised:
        read(folder, rows, warmup)
    return str(raised.value)


def changed(index: int, *row: object) -> list[tuple[object, ...]]:
    return [*ROWS[:index], row, *ROWS[index + 1 :]]


@pytest.mark.parametrize("shape", ["cosine", "constant", "0.3"])
def test_every_rate_of_a_recorded_run_is_found_again(tmp_path: Path, shape: str) -> None:
    (curve,), (source,) = read_curves([write_curve(tmp_path / "run.csv", shape)], Columns(), 150)
    np.testing.assert_allclose(curve.rates, path(shape), atol=2e-8)
    assert curve.warmup == 150
    assert source.name == "run.csv"
    assert len(source.sha256) == 64


def test_a_jump_stands_at_its_row_and_a_ramp_between_rows() -> None:
    steps = np.array([0, 10, 20, 30, 40, 50])
    jump, _ = rates_by_step("run", steps, np.array([2.0, 2.0, 2.0, 1.0, 1.0, 1.0]), None)
    assert jump[29] == 2.0
    assert jump[30] == 1.0
    ramp, _ = rates_by_step("run", steps, np.array([2.0, 2.0, 2.0, 1.0, 0.5, 0.5]), None)
    assert ramp[25] == 1.5


def test_a_warm_up_that_the_rows_show_is_found() -> None:
    steps = np.arange(10, 110, 10)
    rates, end = rates_by_step("run", steps, np.minimum(steps / 50.0, 1.0), None)
    np.testing.assert_allclose(rates, np.minimum(np.arange(101) / 50.0, 1.0))
    assert end == 50


def test_a_run_that_begins_with_its_full_rate_has_no_warm_up() -> None:
    rates, end = rates_by_step("run", np.arange(10, 110, 10), np.ones(10), None)
    assert (rates == 1.0).all()
    assert end == 0


def test_rows_of_the_warm_up_and_rows_without_a_loss_are_not_fitted(tmp_path: Path) -> None:
    rows: list[tuple[object, ...]] = [(0, 0.0, 9.0), (50, 1.5e-4, 8.0), *ROWS[:5], (*ROWS[5][:2], ""), *ROWS[6:]]
    curve = read(tmp_path, rows, None)
    assert curve.steps[0] == 100
    assert len(curve.steps) == len(ROWS) - 1


def test_rows_need_not_be_in_order(tmp_path: Path) -> None:
    forth, back = read(tmp_path, list(ROWS)), read(tmp_path, list(ROWS[::-1]))
    np.testing.assert_array_equal(forth.losses, back.losses)


def test_curves_of_a_file_are_told_apart(tmp_path: Path) -> None:
    lines = [f"{run},{step},{rate},{loss}" for run in ("a", "b") for step, rate, loss in ROWS]
    file = write(tmp_path / "runs.csv", "run,step,lr,loss", *lines)
    curves, _ = read_curves([file], Columns(curve="run"), 100)
    assert [curve.name for curve in curves] == ["runs.csv: a", "runs.csv: b"]
    with pytest.raises(InputError, match=r"has the step 100 twice \(line 2 and line 22\): .* with --curve"):
        read_curves([file], Columns(), 100)


def test_a_file_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    file = write_curve(tmp_path / "run.csv", "cosine")
    with pytest.raises(InputError, match=r"the curve run.csv is given twice"):
        read_curves([file, file], Columns(), 150)


def test_a_schedule_alone_needs_no_losses(tmp_path: Path) -> None:
    file = write(tmp_path / "plan.csv", "step,lr", "0,0", "10,1", "100,0.5")
    rates, end = read_path(file, Columns())
    assert end == 10
    assert rates[55] == 0.75


def test_gaps_over_a_steady_rate_are_noted(tmp_path: Path) -> None:
    curve = read(tmp_path, [*ROWS, (5000, 3e-4, 3.0), (5050, 3e-4, 3.0)])
    assert curve.notes == ("run.csv has a gap from step 1050 to 5000; the rate is taken to stay at 0.0003.",)


def test_gaps_over_which_the_rate_changes_are_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, [*ROWS, (5000, 1e-4, 3.0), (5050, 1e-4, 3.0)])
    assert (
        "run.csv has a gap: no rows between the steps 1050 and 5000, where the rate goes from 0.0003 to 0.0001"
        in message
    )


@pytest.mark.parametrize(
    ("index", "row", "message"),
    [
        (3, (250, 3e-4, "nan"), "run.csv, line 5: loss is not a finite number: no law holds for a run that diverged"),
        (3, (250, 3e-4, -1.0), "run.csv, line 5: loss must be above 0, got -1"),
        (3, (250, "nan", 4.0), "run.csv, line 5: lr is not a finite number; leave that row out"),
        (3, ("", 3e-4, 4.0), "run.csv, line 5: step is not a finite number"),
        (
            3,
            (250.5, 3e-4, 4.0),
            "line 5: step must be a whole number from 0 to 5000000, got 250.5; a law counts updates",
        ),
        (3, (200, 3e-4, 4.0), "run.csv has the step 200 twice (line 4 and line 5)"),
        (3, (250, -1e-4, 4.0), "line 5: lr must be at least 0, got -0.0001"),
        (3, (250, "fast", 4.0), "line 5: lr is 'fast', not a number"),
        (19, (1050, 4e-4, 4.0), "run.csv: the rate rises again"),
        (10, (600, 1e-4, 4.0), "run.csv: the rate rises after step"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path: Path, index: int, row: tuple[object, ...], message: str) -> None:
    if "again" in message:
        rows = changed(index, *row)
        rows[10] = (600, 2e-4, 4.0)
        assert message in refused(tmp_path, rows)
    else:
        assert message in refused(tmp_path, changed(index, *row))


def test_a_missing_warm_up_is_asked_for(tmp_path: Path) -> None:
    rows: list[tuple[object, ...]] = [(step + 2000, rate, loss) for step, rate, loss in ROWS]
    message = refused(tmp_path, rows, None)
    assert "the warm-up of run.csv is missing: its first row is step 2100 with a rate of 0.0003" in message
    assert "--warmup (0 if it did not)" in message
    assert "full rate at step 100, but the warm-up is said to last 500 steps" in refused(tmp_path, list(ROWS), 500)
    assert read(tmp_path, rows, 0).warmup == 0
    assert read(tmp_path, rows, 1000).warmup == 1000


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    assert "run.csv has 7 rows: too few, a curve needs at least 8" in refused(tmp_path, list(ROWS[:7]))
    blank: list[tuple[object, ...]] = [(step, rate, "") for step, rate, _ in ROWS[4:]]
    assert "run.csv has 4 rows with a loss after its warm-up" in refused(tmp_path, [*ROWS[:4], *blank])


def test_a_rate_of_zero_throughout_is_refused(tmp_path: Path) -> None:
    assert "run.csv: lr is 0 in every row" in refused(tmp_path, [(step, 0.0, loss) for step, _, loss in ROWS])


def test_a_missing_column_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no column 'lr'; did you mean 'Lr'"):
        read(tmp_path, list(ROWS), header="step,Lr,loss")

"""Whatever was logged becomes one norm a step, or a line that says why it cannot."""

import math

import numpy as np
import pytest

from adaptive_lr.analysis.tables import from_records
from adaptive_lr.errors import InputError
from adaptive_lr.meta.norms import Span, norms_from_table, norms_of

GROWING = [1.0 + step for step in range(100)]
NAN = math.nan


def test_a_complete_log_is_taken_as_it_is() -> None:
    norms = norms_of(range(100), GROWING)
    assert norms.values == pytest.approx(GROWING, rel=1e-12)
    assert norms.logged == 100
    assert norms.notes == ()


def test_the_order_of_the_lines_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(100)
    assert norms_of(order.astype(np.float64), np.array(GROWING)[order]).values == pytest.approx(GROWING, rel=1e-12)


@pytest.mark.parametrize(
    ("steps", "total", "first"),
    [
        (range(0, 1000, 10), 1000, 0),  # a line every 10 steps, before them
        (range(9, 1000, 10), 1000, 9),  # after them, counted from 0
        (range(10, 1001, 10), 1000, 9),  # after them, counted from 1
        (range(1, 101), 100, 0),
        (range(100), 100, 0),
    ],
)
def test_steps_are_counted_as_loggers_count_them(steps: range, total: int, first: int) -> None:
    norms = norms_of(steps, [math.exp(step / 100) for step in steps])
    assert len(norms.values) == total
    # The logarithm is linear in the step, so that every step between two lines is known, too.
    counted_from = steps[0] - first
    expected = np.exp((np.arange(first, total) + counted_from) / 100)
    last = steps[-1] - counted_from
    assert norms.values[first : last + 1] == pytest.approx(expected[: last + 1 - first], rel=1e-9)


def test_steps_that_begin_at_one_are_told_of() -> None:
    assert norms_of(range(1, 101), GROWING).notes == ("Steps are counted from 1, since there is none of 0.",)


def test_a_run_that_begins_elsewhere_is_refused_unless_it_is_said() -> None:
    with pytest.raises(InputError, match="the first norm is of update 5000 of 5100: the beginning is missing"):
        norms_of(range(5000, 5100), GROWING)
    norms = norms_of(range(5000, 5100), GROWING, Span(first=5000))
    assert norms.values == pytest.approx(GROWING, rel=1e-12)
    with pytest.raises(InputError, match="the run begins at step 5050, but there is a norm of step 5000"):
        norms_of(range(5000, 5100), GROWING, Span(first=5050))


def test_a_short_beginning_that_is_missing_is_filled_and_told_of() -> None:
    norms = norms_of(range(5, 100), GROWING[5:])
    assert norms.values[:6].tolist() == pytest.approx([6.0] * 6)
    assert norms.notes == ("95 of 100 steps have a norm: log G is interpolated between them.",)


def test_a_run_that_was_broken_off_is_refused() -> None:
    with pytest.raises(
        InputError, match="100 steps after update 99 of 200 have no norm: of a run that is not complete"
    ):
        norms_of(range(100), GROWING, Span(total=200))
    assert len(norms_of(range(100), GROWING, Span(total=105)).values) == 105
    with pytest.raises(InputError, match="there is a norm of step 99, but the run has only 50 steps from 0 on"):
        norms_of(range(100), GROWING, Span(total=50))


def test_a_gap_is_filled_up_to_the_width_of_the_filter() -> None:
    def without(start: int, end: int) -> list[int]:
        return [step for step in range(100) if not start <= step < end]

    steps = without(40, 50)
    norms = norms_of(steps, [math.exp(0.1 * step) for step in steps])
    assert norms.values == pytest.approx(np.exp(0.1 * np.arange(100)), rel=1e-9)
    steps = without(40, 51)
    with pytest.raises(InputError, match="11 steps after update 39 of 100 have no norm"):
        norms_of(steps, [1.0] * len(steps))


def test_of_repeated_steps_the_last_counts() -> None:
    steps = [*range(60), *range(50, 100)]
    norms = norms_of(steps, [7.0] * 60 + [3.0] * 50)
    assert norms.values.tolist() == pytest.approx([7.0] * 50 + [3.0] * 50)
    assert norms.notes == ("10 repeated steps: the last norm of each counts.",)


def test_several_runs_in_one_are_refused() -> None:
    with pytest.raises(InputError, match="there are 200 norms of 100 steps: choose one run of several"):
        norms_of([*range(100), *range(100)], GROWING * 2)


@pytest.mark.parametrize(
    ("bad", "words"),
    [(NAN, "1 not finite or blank"), (math.inf, "1 not finite or blank"), (0.0, "1 is 0")],
)
def test_norms_that_say_nothing_are_left_out_and_told_of(bad: float, words: str) -> None:
    values = [2.0] * 100
    values[30] = bad
    norms = norms_of(range(100), values)
    assert norms.values.tolist() == pytest.approx([2.0] * 100)
    assert norms.notes[0] == f"Of 100 norms {words}: left out."


def test_cleared_gradients_are_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"of 100 norms 99 are 0 and 1 not finite or blank: was the gradient cleared before it was read\?",
    ):
        norms_of(range(100), [NAN] + [0.0] * 99)


@pytest.mark.parametrize(
    ("steps", "values", "message"),
    [
        (range(9), [1.0] * 9, "at least 10 steps with a norm are needed, got 9"),
        (range(20), [1.0] * 19 + [-2.0], "a norm is not negative, got -2"),
        ([0.5 * step for step in range(20)], [1.0] * 20, "steps are whole numbers, got 0.5"),
        (range(20), [1.0] * 19, "there must be as many steps as norms, got 20 and 19"),
        ([], [], "at least 10 steps with a norm are needed, got 0"),
        (range(0, 10**9, 10**7), [1.0] * 100, "a run may have 10000000 steps, this one has 1000000000"),
    ],
)
def test_what_cannot_be_used_is_refused(steps: list[int], values: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        norms_of(steps, values)


def test_a_span_is_checked() -> None:
    with pytest.raises(InputError, match=r"the number of steps must lie in \[10, 10000000\], got 3"):
        Span(total=3)


def test_rows_without_a_step_are_left_out() -> None:
    assert norms_of([*range(20), NAN], [1.0] * 20 + [5.0]).notes == ("1 row without a step: left out.",)


def test_a_table_is_read_and_clipped_and_its_errors_have_its_name() -> None:
    records = [{"update": str(step), "norm": str(1.0 + step), "bad": "-1"} for step in range(20)]
    table = from_records(records, [f"line {index}" for index in range(2, 22)], "log.csv")
    norms = norms_from_table(table, step="update", norm="norm", clip=5.0)
    assert norms.values.tolist() == pytest.approx([min(1.0 + step, 5.0) for step in range(20)])
    with pytest.raises(InputError, match=r"log.csv, bad: a norm is not negative, got -1"):
        norms_from_table(table, step="update", norm="bad")
    with pytest.raises(InputError, match=r"log.csv has no column 'norms'; did you mean 'norm'\?"):
        norms_from_table(table, step="update", norm="norms")
    with pytest.raises(InputError, match="clipped to a norm above 0, got 0"):
        norms_from_table(table, step="update", norm="norm", clip=0.0)

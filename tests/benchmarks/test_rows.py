from itertools import count

import pytest
from pairs import pairs, ratios
from rows import Aim, Case, LeftOutError, Measured, cells, measured, missed

TWICE = Aim(2.0)


def case(*values: float, aim: Aim = TWICE, unit: str = "times", **more: object) -> Case:
    return Case(what="a row", aim=aim, unit=unit, measure=lambda _: Measured(values, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("aim", "median", "wrong"),
    [
        (TWICE, 1.99, True),
        (TWICE, 2.0, False),
        (Aim(2.0, at_most=True), 2.01, True),
        (Aim(2.0, at_most=True), 2.0, False),
    ],
)
def test_an_aim_is_missed_on_its_wrong_side(aim: Aim, median: float, wrong: bool) -> None:
    assert aim.missed(median) == wrong
    assert missed(measured(case(median, aim=aim), 1)) == wrong


def test_a_row_is_the_median_with_the_range() -> None:
    row = measured(case(3.0, 1.0, 2.5), 3)
    assert (row["median"], row["low"], row["high"], row["repetitions"]) == (2.5, 1.0, 3.0, 3)
    assert cells(row) == ("a row", "2.50 ×", "1.00 × to 3.00 ×", "at least 2.00 ×", "met")


def test_a_row_of_many_pieces_has_their_middle_half() -> None:
    row = measured(case(*map(float, range(1, 9)), middle_half=True), 1)
    assert (row["low"], row["high"], row["spread"]) == (3.0, 6.0, "middle half")
    assert cells(row)[2] == "3.00 × to 6.00 × *"


def test_a_row_below_its_aim_says_so_and_keeps_its_note() -> None:
    row = measured(case(1.5, note="a busy machine"), 1)
    assert cells(row)[-1] == "missed; a busy machine"


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("times", 431.4, "431 ×"),
        ("share", 0.0725, "7.2%"),
        ("ms", 2.514, "2.51 ms"),
        ("s", 12.0, "12 s"),
        ("GB", 0.58, "0.58 GB"),
    ],
)
def test_values_are_written_with_their_unit(unit: str, value: float, text: str) -> None:
    assert cells(measured(case(value, unit=unit), 1))[1] == text


def test_a_row_that_cannot_be_measured_has_the_reason_and_misses_nothing() -> None:
    def refuse(_: int) -> Measured:
        raise LeftOutError("timm is not installed")

    row = measured(Case(what="a row", aim=TWICE, measure=refuse), 1)
    assert not missed(row)
    assert cells(row) == ("a row", "", "", "at least 2.00 ×", "left out: timm is not installed")


def test_pairs_are_timed_in_turn_and_begin_in_turn() -> None:
    order: list[str] = []
    ticks = count()
    timings = pairs(lambda: order.append("a"), lambda: order.append("b"), 3, lambda: float(next(ticks)))
    assert "".join(order) == "abbaab"
    assert timings == [(1.0, 1.0)] * 3


def test_a_ratio_is_of_slow_over_fast_after_a_warm_up_that_does_not_count() -> None:
    now = 0.0

    def spend(seconds: list[float]) -> None:
        nonlocal now
        now += seconds.pop(0)

    slow, fast = [100.0, 6.0, 8.0], [50.0, 2.0, 4.0]
    assert ratios(lambda: spend(slow), lambda: spend(fast), 2, work=10.0, clock=lambda: now) == [30.0, 20.0]

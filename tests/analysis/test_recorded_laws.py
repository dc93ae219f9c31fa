import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_lr.analysis.recorded import Request, select
from adaptive_lr.analysis.recorded_summary import summarise
from adaptive_lr.errors import InputError
from tests.recorded_runs import REQUEST, sweep, sweep_lines, table


def test_loss_below_the_least_possible_one_is_named(tmp_path: Path) -> None:
    runs = table(tmp_path, "lr,loss", "0.1,1", "0.2,0.5")
    with pytest.raises(InputError, match=r"line 3: loss is 0\.5, below the least possible loss 0\.7"):
        summarise(runs, Request(rate="lr", loss="loss", optimum=0.7))


SWEEPS = st.lists(
    st.tuples(st.integers(-60, 60), st.floats(0.0, 100.0, allow_subnormal=False)),
    min_size=2,
    max_size=12,
    unique_by=lambda cell: cell[0],
)


@given(cells=SWEEPS, ratio=st.floats(1.1, 1e4), scale=st.floats(1e-3, 1e3), shift=st.floats(-50.0, 50.0))
def test_units_of_rate_and_level_of_loss_do_not_matter(
    cells: list[tuple[int, float]], ratio: float, scale: float, shift: float
) -> None:
    cells = sorted(cells)
    rates, losses = [10 ** (place / 10) for place, _ in cells], [loss for _, loss in cells]
    one = sweep(rates, losses)
    other = sweep([scale * rate for rate in rates], [loss + shift for loss in losses])
    mine, theirs = one.resolution(ratio), other.resolution(ratio)
    assert (mine is None) == (theirs is None)
    assert one.sensitivity_log()["value"] == pytest.approx(other.sensitivity_log()["value"], abs=1e-9)
    if mine is not None and theirs is not None:
        assert 0.0 <= mine["regret_mean"]["value"] <= mine["regret_worst"]["value"] + 1e-12
        assert -1e-12 <= mine["regret_mean_interpolated"] <= mine["regret_worst_interpolated"] + 1e-12
        assert mine["regret_mean"]["value"] == pytest.approx(theirs["regret_mean"]["value"], abs=1e-9)
        assert mine["regret_mean_interpolated"] == pytest.approx(theirs["regret_mean_interpolated"], abs=1e-6)


@given(order=st.permutations(range(9)))
def test_order_of_the_rows_does_not_matter(order: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    losses = {"a": {0.1: [3.0, 3.1, 3.3], 0.2: [2.0, 2.2, 2.1], 0.7: [2.5, 2.4, 2.9]}}
    header, *lines = sweep_lines(losses)
    folder = tmp_path_factory.mktemp("order")
    straight = summarise(table(folder, header, *lines), REQUEST)
    shuffled = summarise(table(folder, header, *(lines[place] for place in order)), REQUEST)
    assert json.dumps(shuffled["groups"], sort_keys=True) == json.dumps(straight["groups"], sort_keys=True)


def test_rates_written_differently_are_one(tmp_path: Path) -> None:
    runs = table(tmp_path, "lr,loss", "1e-3,1", "0.001,2", "0.0010000000001,3", "0.002,4")
    found = select(runs, Request(rate="lr", loss="loss")).sweeps["all runs"]
    assert found.counts.tolist() == [3, 1]
    assert math.isclose(found.losses[0], 2.0)

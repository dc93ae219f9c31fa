import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_lr import DampedCosine, Range, Static, Warmup
from adaptive_lr.errors import SpecError
from adaptive_lr.search.samplers import grid_size
from adaptive_lr.search.space import Axis, Space

YAML = """
lr: {low: 1e-4, high: 1, log: true}
layers: {low: 1, high: 4, integer: true}
optimizer: [sgd, adamw]
width: {choices: [32, 64]}
"""


def test_a_dictionary_a_yaml_and_a_json_file_mean_the_same(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(YAML)
    data = {
        "lr": {"low": 1e-4, "high": 1, "log": True},
        "layers": {"low": 1, "high": 4, "integer": True},
        "optimizer": ["sgd", "adamw"],
        "width": [32, 64],
    }
    (tmp_path / "space.json").write_text(json.dumps(data))
    typed = {"lr": Range(1e-4, 1.0, log=True), "layers": range(1, 5), "optimizer": ("sgd", "adamw"), "width": [32, 64]}
    expected = Space.read(data)
    for source in (tmp_path / "space.yaml", str(tmp_path / "space.json"), typed):
        assert Space.read(source) == expected
        assert Space.read(source).encoded() == expected.encoded()
    assert expected.axes["layers"] == Axis(low=1.0, high=4.0, integer=True)


def test_a_spec_is_the_space_of_its_declared_ranges() -> None:
    space = Space.read(DampedCosine())
    assert {name: (axis.low, axis.high, axis.log) for name, axis in space.axes.items()} == {
        name: (one.low, one.high, one.log) for name, one in DampedCosine().search_space().items()
    }
    nested = Space.read({"lr": Range(0.01, 1), "schedule": Warmup(steps=5, then=DampedCosine())})
    assert set(nested.axes) == {"lr", "schedule.then.k", "schedule.then.exponent"}


@given(st.floats(0, 1, exclude_max=True), st.booleans(), st.booleans())
def test_every_place_has_a_value_of_the_axis(unit: float, log: bool, integer: bool) -> None:
    axis = Axis(low=1.0, high=7.0, log=log, integer=integer)
    value = axis.at(unit)
    assert isinstance(value, int if integer else float)
    assert 1.0 <= value <= 7.0


def test_places_are_uniform_on_the_axis() -> None:
    units = [(place + 0.5) / 3000 for place in range(3000)]
    whole = [Axis(low=1.0, high=3.0, integer=True).at(unit) for unit in units]
    assert [whole.count(value) for value in (1, 2, 3)] == [1000] * 3
    assert Axis(low=0.01, high=100.0, log=True).at(0.5) == pytest.approx(1.0)
    assert Axis(low=0.0, high=2.0).at(0.25) == 0.5


def test_a_grid_has_the_ends_and_equal_steps() -> None:
    assert Axis(low=0.01, high=1.0, log=True, points=3).grid("x") == [0.01, 0.1, 1.0]
    assert Axis(low=0.0, high=1.0, points=5).grid("x") == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert Axis(low=1.0, high=4.0, integer=True).grid("x") == [1, 2, 3, 4]
    assert Axis(low=1.0, high=64.0, integer=True, log=True, points=4).grid("x") == [1, 4, 16, 64]
    assert Axis(low=2.0, high=3.0, points=1).grid("x") == [2.0]
    assert grid_size(Space.read({"a": [1, 2, 3], "b": range(2)})) == 6


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "the search space is empty"),
        ({"lr": 0.1}, "'lr' must be a Range, a range of whole numbers, a list of choices, .* got 0.1"),
        ({3: [1]}, "names of a search space must be text, got 3"),
        ({"lr": Range(1.0, 0.1)}, "low of 'lr' must be below high, got 1 and 0.1"),
        ({"lr": Range(0.0, 1.0, log=True)}, "'lr' has a logarithmic axis, so low must be above 0, got 0"),
        ({"lr": Range(0.0, math.inf)}, "high of 'lr' must be a finite number, got inf"),
        ({"lr": {"low": "a", "high": 1}}, "low of 'lr' must be a finite number, got 'a'"),
        ({"lr": {"low": 0.1}}, "'lr' needs high"),
        ({"lr": {"low": 0.1, "hihg": 1}}, "unknown key of 'lr' in the search space 'hihg'; did you mean 'high'"),
        ({"lr": {"low": 0, "high": 1, "log": "yes"}}, "log of 'lr' must be true or false, got 'yes'"),
        ({"n": {"low": 1.5, "high": 3, "integer": True}}, "'n' is of whole numbers, so low and high must be"),
        ({"n": {"low": 0, "high": 3, "integer": True, "log": True}}, "low must be above 0"),
        ({"n": {"low": 0, "high": 3, "points": 0}}, "points of 'n' must be a whole number of at least 1"),
        ({"n": {"choices": [1], "low": 0}}, "'n' has choices, so it can have no low"),
        ({"n": range(3, 4)}, "at least two neighbouring whole numbers"),
        ({"o": []}, "choices of 'o' must be a list of at least one value"),
        ({"o": {"choices": "sgd"}}, "choices of 'o' must be a list"),
        ({"o": ["a", "a"]}, "choices of 'o' must differ"),
        ({"o": [1, True]}, "choices of 'o' must differ"),
        ({"o": [[1], [2]]}, "must be words, numbers, true, false or null"),
        ({"o": [math.nan]}, "must be finite"),
        (Static(), "declares no search range"),
        (5, "a search space must be a spec, a mapping or a file, got 5"),
    ],
)
def test_what_is_no_space_is_refused_in_a_line(source: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Space.read(source)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "- lr\n", "must hold a mapping of names to ranges, got list"),
        ("b.yaml", "lr: {low: 1", "this is no YAML"),
        ("c.json", "{", "c.json: "),
        ("d.yaml", "", "must hold a mapping of names to ranges, got NoneType"),
    ],
)
def test_a_file_that_holds_no_space_is_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        Space.read(tmp_path / name)
    assert name in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read the search space .*absent\.yaml: No such file"):
        Space.read(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="it is no text"):
        Space.read(tmp_path / "binary.yaml")

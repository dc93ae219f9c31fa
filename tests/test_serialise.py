import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptive_lr import (
    SCHEDULES,
    AbstractSchedule,
    DampedCosine,
    Linear,
    SpecError,
    from_dict,
    from_json,
    from_yaml,
    to_dict,
    to_json,
    to_yaml,
)
from adaptive_lr.serialise import FORMAT
from adaptive_lr.spec import stack
from tests.conftest import EXAMPLES, legal_schedules


def assert_round_trip(schedule: AbstractSchedule) -> None:
    for found in (
        from_dict(to_dict(schedule)),
        from_json(to_json(schedule)),
        from_json(to_json(schedule, indent=None)),
        from_yaml(to_yaml(schedule)),
    ):
        assert found == schedule
        assert found.digest() == schedule.digest()


@pytest.mark.parametrize("schedule", EXAMPLES.values(), ids=lambda schedule: schedule.kind)
def test_every_example_comes_back(schedule: AbstractSchedule) -> None:
    assert_round_trip(schedule)


@given(st.sampled_from(SCHEDULES).flatmap(legal_schedules))
def test_every_legal_schedule_comes_back(schedule: AbstractSchedule) -> None:
    assert_round_trip(schedule)


def test_a_document_says_which_format_and_version_it_has() -> None:
    document = json.loads(to_json(Linear()))
    assert list(document) == ["format", "adaptive_lr", "spec"]
    assert document["format"] == FORMAT
    assert isinstance(document["adaptive_lr"], str)


def test_yaml_written_by_hand_may_omit_what_has_a_default() -> None:
    text = "format: 1\nspec:\n  kind: damped_cosine\n  exponent: 2\n  floor: 1e-3\n"
    assert from_yaml(text) == DampedCosine(exponent=2, floor=1e-3)


BROKEN: list[tuple[Any, str]] = [
    ([], "must be a mapping with format and spec, got list"),
    (None, "must be a mapping with format and spec, got NoneType"),
    ({}, "format of a document must be a whole number"),
    ({"format": True, "spec": {"kind": "linear"}}, "format of a document must be a whole number"),
    ({"format": "1", "spec": {"kind": "linear"}}, "format of a document must be a whole number"),
    ({"format": 0, "spec": {"kind": "linear"}}, "format of a document must be a whole number"),
    ({"format": 2, "adaptive_lr": "9.0", "later": {}}, "format 2, written by adaptive_lr 9.0;.*install a newer one"),
    ({"format": 1}, "spec of a document must be a mapping with a kind, got NoneType"),
    ({"format": 1, "spec": "linear"}, "spec of a document must be a mapping with a kind, got str"),
    ({"format": 1, "spec": {}}, "unknown kind 'None'"),
    ({"format": 1, "spec": {"kind": "liner"}}, "did you mean 'linear'"),
    ({"format": 1, "spec": {"kind": "linear", "flor": 0.1}}, "did you mean 'floor'"),
    ({"format": 1, "spec": {"kind": "linear", "floor": "low"}}, "Linear.floor must be a number"),
    ({"format": 1, "spec": {"kind": "linear", "floor": {"kind": "linear"}}}, "Linear.floor must be a number"),
    ({"format": 1, "spec": {"kind": "warmup", "steps": 1}}, "Warmup needs the field 'then'"),
    ({"format": 1, "spec": {"kind": "linear"}, "specs": 1}, "did you mean 'spec'"),
]


@pytest.mark.parametrize(("document", "message"), BROKEN)
def test_a_broken_document_gives_one_clear_error(document: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        from_dict(document)
    with pytest.raises(SpecError, match=message):
        from_json(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{", "nan?", to_json(Linear())[:-9], "[" * 100_000])
def test_text_that_is_no_json_is_said(text: str) -> None:
    with pytest.raises(SpecError, match="no JSON"):
        from_json(text)


@pytest.mark.parametrize("text", ["a: [", "a: !!python/object/apply:os.getcwd []", "\x00", "a: 2020-99-99"])
def test_text_that_is_no_yaml_is_said(text: str) -> None:
    with pytest.raises(SpecError, match="no YAML") as caught:
        from_yaml(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a mapping"),
        ("format: 1\nspec: {1: 2}", "names in a document must be text, got 1"),
        ("format: 1\nspec: {kind: linear, floor: .nan}", "Linear.floor must lie in"),
    ],
)
def test_yaml_that_is_no_document_is_said(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        from_yaml(text)


def test_a_document_that_is_nested_too_deeply_is_said() -> None:
    document: Any = {"kind": "linear"}
    for _ in range(20_000):
        document = {"kind": "scaled", "then": document}
    with pytest.raises(SpecError, match="nested too deeply"):
        from_dict({"format": 1, "spec": document})


def test_only_single_schedules_are_written() -> None:
    with pytest.raises(SpecError, match="only schedules can be written"):
        to_dict("linear")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="a stack of schedules"):
        to_json(stack([Linear(), Linear(floor=0.5)]))

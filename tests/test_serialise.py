import json
import time
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
from adaptive_lr.serialise import FORMAT, parse_json, parse_yaml
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


def laughs(level: str) -> str:
    """Each line holds ten times the line before."""
    lines = ["a0: &a0 {x: 1}" if "{" in level else "a0: &a0 [x, x]"]
    for index in range(1, 10):
        lines.append(f"a{index}: &a{index} {level.format(*[f'*a{index - 1}'] * 10)}")
    return "\n".join(lines)


LAUGHS = {
    "lists": laughs("[{}, {}, {}, {}, {}, {}, {}, {}, {}, {}]"),
    "mappings": laughs("{{k0: {}, k1: {}, k2: {}, k3: {}, k4: {}, k5: {}, k6: {}, k7: {}, k8: {}, k9: {}}}"),
    "merged": laughs("{{<<: [{}, {}, {}, {}, {}, {}, {}, {}, {}, {}]}}"),
    "names": laughs("[{}, {}, {}, {}, {}, {}, {}, {}, {}, {}]") + "\n? *a9\n: 1",
    "itself": "&a [*a]",
    "itself by name": "a: &a {x: *a}",
}


@pytest.mark.parametrize("text", LAUGHS.values(), ids=LAUGHS)
def test_aliases_in_aliases_are_refused_at_once(text: str) -> None:
    start = time.monotonic()
    with pytest.raises(SpecError, match=r"the document is too large|stands inside of what it is an alias for"):
        parse_yaml(text)
    assert time.monotonic() - start < 5.0


def test_an_alias_is_read() -> None:
    assert parse_yaml("a: &x [1, 2]\nb: *x\nc: &m {k: 1}\nd: {<<: *m, k: 2}") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"k": 1},
        "d": {"k": 2},
    }


@pytest.mark.parametrize("depth", [65, 300, 5000])
@pytest.mark.parametrize("ends", ["[]", "{}"])
def test_brackets_in_brackets_are_refused(depth: int, ends: str) -> None:
    inner = "1" if ends == "[]" else ""
    text = ("[" * depth + inner + "]" * depth) if ends == "[]" else '{"a":' * depth + "1" + "}" * depth
    for parse in (parse_json, parse_yaml):
        with pytest.raises(SpecError, match="nested too deeply: 64 levels are allowed"):
            parse(text)


def test_a_number_with_five_thousand_digits_is_refused() -> None:
    for parse in (parse_json, parse_yaml):
        with pytest.raises(SpecError, match="a whole number may have 300 digits, one here has 5000"):
            parse("[" + "9" * 5000 + "]")
    with pytest.raises(SpecError, match="a whole number in the document has more than 300 digits"):
        from_dict({"format": 1, "spec": {"kind": "warmup", "steps": 10**400, "then": {"kind": "linear"}}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"format": 1, "spec": {"kind": "linear", "floor": 0.1, "floor": 0.2}}', "the name 'floor' is given twice"),
        ('{"format": 1, "format": 1, "spec": {"kind": "linear"}}', "the name 'format' is given twice"),
    ],
)
def test_a_name_given_twice_is_refused(text: str, message: str) -> None:
    for read in (from_json, from_yaml):
        with pytest.raises(SpecError, match=message):
            read(text)


@pytest.mark.parametrize("text", ["1_000", "1:30", "010", "0x1f", "0b11", "1e", "."])
def test_what_is_no_number_in_yaml_1_2_is_not_taken_for_one(text: str) -> None:
    assert parse_yaml(text) == text
    with pytest.raises(SpecError, match=r"DampedCosine\.k must be a number"):
        from_yaml(f"format: 1\nspec: {{kind: damped_cosine, k: '{text}'}}")


@pytest.mark.parametrize("text", ["1", "-3", "+3", "0.5", ".5", "5.", "1e-3", "1.5E+7", "0", "1e400"])
def test_numbers_in_yaml_are_those_of_python(text: str) -> None:
    assert parse_yaml(text) == float(text)


def test_a_huge_yaml_text_is_refused_and_a_long_table_is_read() -> None:
    with pytest.raises(SpecError, match="may have 1000000 characters, this one has 1000001: write it as JSON"):
        parse_yaml("a" * 1_000_001)
    values = [1.0 - index / 50_000 for index in range(50_001)]
    text = json.dumps({"format": 1, "spec": {"kind": "points", "u": [1.0 - m for m in values], "m": values}})
    assert from_json(text).leaves()["m.50000"] == 0.0

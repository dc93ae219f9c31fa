import copy
import json
from functools import partial
from typing import Any

import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from adaptive_lr import AbstractSchedule, from_dict, from_json, from_yaml, to_dict, to_json, to_yaml
from adaptive_lr.documents import parse_json, parse_yaml
from adaptive_lr.errors import SpecError
from adaptive_lr.search.space import Space
from tests.conftest import EXAMPLES
from tests.fuzz.driving import assert_raises_only, empty_folder
from tests.fuzz.nasty import changed_text, fuzzed, mutated, sized

DOCUMENTS = [json.loads(to_json(schedule)) for schedule in EXAMPLES.values()]
SPACE = {
    "lr": {"low": 1e-4, "high": 1.0, "log": True},
    "width": [16, 32],
    "depth": {"low": 1, "high": 4, "integer": True},
}


def assert_sound(schedule: AbstractSchedule | None) -> None:
    """What was accepted is a schedule like any other."""
    if schedule is not None:
        assert from_json(to_json(schedule)) == schedule
        repr(schedule)


@fuzzed(20, 5000)
def test_a_changed_document_is_a_schedule_or_one_line(examples: int) -> None:
    @sized(examples)
    @given(st.sampled_from(DOCUMENTS).flatmap(mutated))
    def check(document: Any) -> None:
        before = copy.deepcopy(document)
        assert_sound(assert_raises_only(SpecError, lambda: from_dict(document)))
        assert repr(document) == repr(before)

    check()


@fuzzed(20, 5000)
def test_a_changed_text_is_a_schedule_or_one_line(examples: int) -> None:
    valid = [to_json(schedule) for schedule in EXAMPLES.values()] + [
        to_yaml(schedule) for schedule in EXAMPLES.values()
    ]

    @sized(examples)
    @given(st.sampled_from(valid).flatmap(changed_text))
    def check(text: str) -> None:
        for read in (from_json, from_yaml):
            assert_sound(assert_raises_only(SpecError, partial(read, text)))

    check()


@fuzzed(10, 2000)
def test_json_is_read_as_json_is_and_yaml_reads_what_it_wrote(examples: int) -> None:
    plain = st.recursive(
        st.one_of(
            st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(allow_nan=False), st.text(max_size=9)
        ),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=9), inner, max_size=4)),
    )

    @sized(examples)
    @given(plain)
    def check(content: Any) -> None:
        assert parse_json(json.dumps(content)) == content
        assert parse_yaml(yaml.safe_dump(content, allow_unicode=True)) == content

    check()


@fuzzed(5, 1500)
def test_a_changed_search_space_is_a_space_or_one_line(examples: int) -> None:
    @sized(examples)
    @given(mutated(SPACE), changed_text(yaml.safe_dump(SPACE)))
    def check(content: Any, text: str) -> None:
        assert_raises_only(SpecError, lambda: Space.read(content))
        with empty_folder() as folder:
            (folder / "space.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
            (folder / "space.json").write_text(json.dumps(content, default=str))
            for name in ("space.yaml", "space.json"):
                assert_raises_only(SpecError, partial(Space.read, folder / name))

    check()


def test_a_document_of_every_schedule_is_sound() -> None:
    for schedule in EXAMPLES.values():
        assert from_dict(to_dict(schedule)) == schedule

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adaptive_lr import (
    SCHEDULES,
    WSD,
    AbstractSchedule,
    Constant,
    DampedCosine,
    InverseSqrt,
    Linear,
    Polynomial,
    Range,
    SpecError,
    Step,
    Warmup,
    decode,
    encode,
)
from adaptive_lr.errors import AdaptiveLRError
from adaptive_lr.spec import Domain, canonical_json, lookup, stack, structure
from adaptive_lr.tasks import StreamingLeastSquares
from adaptive_lr.training import SGD, Trial
from tests.conftest import EXAMPLES, legal_schedules

NESTED = Warmup(fraction=0.05, then=Warmup(steps=3, then=Step(milestones=(0.2, 0.7))), start=0.5)


def raised(attempt: Callable[[], object]) -> str:
    with pytest.raises(SpecError) as caught:
        attempt()
    assert isinstance(caught.value, AdaptiveLRError)
    assert isinstance(caught.value, ValueError)
    return str(caught.value)


@given(data=st.data())
def test_any_legal_schedule_survives_json(schedule_class: type[AbstractSchedule], data: st.DataObject) -> None:
    schedule = data.draw(legal_schedules(schedule_class))
    restored = decode(json.loads(json.dumps(encode(schedule))), SCHEDULES)
    assert type(restored) is schedule_class
    assert restored == schedule
    assert hash(restored) == hash(schedule)
    assert restored.digest() == schedule.digest()


@given(data=st.data())
def test_repr_of_any_legal_schedule_evaluates_back(schedule_class: type[AbstractSchedule], data: st.DataObject) -> None:
    schedule = data.draw(legal_schedules(schedule_class))
    names = {one.__name__: one for one in SCHEDULES}
    assert eval(repr(schedule), {}, names) == schedule


@given(data=st.data())
def test_any_legal_schedule_is_rebuilt_from_its_leaves(
    schedule_class: type[AbstractSchedule], data: st.DataObject
) -> None:
    schedule, other = data.draw(legal_schedules(schedule_class)), data.draw(legal_schedules(schedule_class))
    assert schedule.with_leaves(schedule.leaves()) == schedule
    assert schedule.search_space().keys() <= schedule.leaves().keys()
    if structure(schedule) == structure(other):
        assert schedule.with_leaves(other.leaves()).leaves() == other.leaves()


@given(data=st.data())
def test_different_schedules_have_different_digests(
    schedule_class: type[AbstractSchedule], data: st.DataObject
) -> None:
    schedule, other = data.draw(legal_schedules(schedule_class)), data.draw(legal_schedules(schedule_class))
    assert (schedule == other) == (schedule.digest() == other.digest())


def test_every_changed_number_changes_the_digest(example: AbstractSchedule) -> None:
    for name, value in example.leaves().items():
        changed = example.with_leaves({name: value + 1 if isinstance(value, int) else value * 0.96875})
        if value:
            assert changed != example, name
            assert changed.digest() != example.digest(), name


def test_examples_of_different_classes_have_different_digests() -> None:
    assert len({example.digest() for example in EXAMPLES.values()}) == len(SCHEDULES)


def test_digest_is_the_hash_of_the_canonical_json() -> None:
    text = '{"kind":"damped_cosine","exponent":1.0,"floor":0.0,"k":2.0}'
    assert canonical_json(DampedCosine(k=2)) == text
    assert DampedCosine(k=2).digest() == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_canonical_json_has_the_kind_first_then_sorted_fields_and_no_spaces() -> None:
    assert canonical_json(Warmup(steps=5, then=Step(milestones=(0.5,)))) == (
        '{"kind":"warmup","fraction":null,"start":0.0,"steps":5,"then":{"kind":"step","factor":0.1,"milestones":[0.5]}}'
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DampedCosine(k=1), DampedCosine(k=1.0)),
        (DampedCosine(k=np.float64(2.0)), DampedCosine(k=2)),
        (Linear(floor=-0.0), Linear(floor=0.0)),
        (Warmup(steps=5.0, then=Linear()), Warmup(steps=5, then=Linear())),  # type: ignore[arg-type]
        (Step(milestones=[0.5, 1]), Step(milestones=(0.5, 1.0))),  # type: ignore[arg-type]
    ],
)
def test_equal_values_are_equal_specs_however_they_are_written(one: AbstractSchedule, other: AbstractSchedule) -> None:
    assert one == other
    assert hash(one) == hash(other)
    assert one.digest() == other.digest()
    # Not the canonical JSON: it is cached by equality, so one process would not see a difference that two do.
    assert json.dumps(encode(one)) == json.dumps(encode(other))
    assert len({one, other}) == 1


def test_numbers_become_plain_floats_and_whole_numbers_plain_integers() -> None:
    schedule = Warmup(steps=5.0, then=DampedCosine(k=np.float64(2.0), exponent=3))  # type: ignore[arg-type]
    types = {name: type(value) for name, value in schedule.leaves().items()}
    floats = ["start", "then.k", "then.exponent", "then.floor"]
    assert types == {"steps": int, **dict.fromkeys(floats, float)}


def test_encode_names_the_kind_and_every_field() -> None:
    assert encode(Warmup(steps=5, then=Linear())) == {
        "kind": "warmup",
        "then": {"kind": "linear", "floor": 0.0},
        "fraction": None,
        "steps": 5,
        "start": 0.0,
    }


def test_decode_fills_in_defaults() -> None:
    assert decode({"kind": "damped_cosine", "exponent": 2}, SCHEDULES) == DampedCosine(exponent=2)


def test_decode_knows_only_the_kinds_it_is_given() -> None:
    message = raised(lambda: decode(encode(Warmup(steps=5, then=Linear())), [Warmup, Constant]))
    assert message == "unknown kind 'linear'; known: constant, warmup"


def test_repr_shows_only_what_differs_from_the_defaults() -> None:
    assert repr(DampedCosine()) == "DampedCosine()"
    assert repr(DampedCosine(exponent=2)) == "DampedCosine(exponent=2)"
    assert repr(Warmup(steps=500, then=WSD(shape="linear"))) == "Warmup(then=WSD(shape='linear'), steps=500)"


def test_leaves_have_dotted_names_and_leave_out_what_is_not_given() -> None:
    assert NESTED.leaves() == {
        "fraction": 0.05,
        "start": 0.5,
        "then.steps": 3,
        "then.start": 0.0,
        "then.then.milestones.0": 0.2,
        "then.then.milestones.1": 0.7,
        "then.then.factor": 0.1,
    }


def test_with_leaves_changes_the_named_numbers_and_no_others() -> None:
    changed = NESTED.with_leaves({"then.then.milestones.1": 0.9, "fraction": 0.1})
    assert changed == Warmup(fraction=0.1, then=Warmup(steps=3, then=Step(milestones=(0.2, 0.9))), start=0.5)
    assert NESTED.leaves()["fraction"] == 0.05


def test_with_leaves_checks_the_new_values() -> None:
    assert raised(lambda: NESTED.with_leaves({"then.steps": 2.5})) == "Warmup.steps must be a whole number, got 2.5"
    assert "must ascend" in raised(lambda: NESTED.with_leaves({"then.then.milestones.0": 0.8}))


@pytest.mark.parametrize("name", ["k", "then", "steps", "then.fraction", "then.then.milestones.2", "kind", ""])
def test_unknown_leaf_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(KeyError) as caught:
        NESTED.with_leaves({name: 0.5})
    message = caught.value.args[0]
    assert message.startswith(f"Warmup has no leaf {name!r}; it has ")
    assert "then.then.milestones.1" in message
    assert "\n" not in message


def test_search_space_joins_the_ranges_of_nested_specs() -> None:
    space = Warmup(fraction=0.05, then=DampedCosine()).search_space()
    assert space == {
        "fraction": Range(0.0, 0.3),
        "then.k": Range(0.25, 4.0, log=True),
        "then.exponent": Range(0.25, 8.0, log=True),
    }


def test_search_space_of_a_trial_joins_those_of_all_its_parts() -> None:
    trial = Trial(task=StreamingLeastSquares(), schedule=DampedCosine(), optimizer=SGD(), base_lr=0.1, steps=10, seed=0)
    assert {"schedule.k", "schedule.exponent", "optimizer.momentum"} <= trial.search_space().keys()


def test_search_space_leaves_out_what_is_not_given() -> None:
    assert InverseSqrt(steps=4).search_space() == {}
    assert InverseSqrt(fraction=0.1).search_space().keys() == {"fraction"}


def test_search_ranges_lie_in_the_domain(schedule_class: type[AbstractSchedule]) -> None:
    for item in fields(schedule_class):  # type: ignore[arg-type]
        search = item.metadata.get("search")
        if search is not None:
            assert search.low < search.high
            assert item.metadata["domain"].contains(search.low)
            assert item.metadata["domain"].contains(search.high)
            assert not search.log or search.low > 0


def test_every_field_declares_what_it_may_hold(schedule_class: type[AbstractSchedule]) -> None:
    for item in fields(schedule_class):  # type: ignore[arg-type]
        assert item.metadata.keys() & {"domain", "options", "component", "components"}, item.name
        assert item.kw_only


def test_spec_cannot_be_changed(example: AbstractSchedule) -> None:
    before = example.digest()
    for item in fields(example):  # type: ignore[arg-type]
        with pytest.raises(FrozenInstanceError):
            setattr(example, item.name, getattr(example, item.name))
        with pytest.raises(FrozenInstanceError):
            delattr(example, item.name)
    with pytest.raises(FrozenInstanceError):
        example.damping = 1.0  # type: ignore[attr-defined]
    assert example.digest() == before


def test_stack_makes_a_column_of_every_number() -> None:
    stacked = stack([DampedCosine(k=1, exponent=3), DampedCosine(k=2, floor=0.5)])
    expected = {"k": [[1.0], [2.0]], "exponent": [[3.0], [1.0]], "floor": [[0.0], [0.5]]}
    for name, column in expected.items():
        value = getattr(stacked, name)
        assert value.dtype == torch.float64
        assert value.tolist() == column


def test_stack_reaches_into_nested_specs_and_tuples() -> None:
    specs = [Warmup(fraction=f, then=Step(milestones=(f, 0.5))) for f in (0.1, 0.2)]
    stacked = stack(specs)
    assert isinstance(stacked.fraction, torch.Tensor)
    assert isinstance(stacked.then, Step)
    first = stacked.then.milestones[0]
    assert isinstance(first, torch.Tensor)
    assert stacked.fraction.tolist() == first.tolist() == [[0.1], [0.2]]


@pytest.mark.parametrize(
    "specs",
    [
        [Linear(), Constant()],
        [WSD(shape="linear"), WSD(shape="sqrt")],
        [Step(milestones=(0.5,)), Step(milestones=(0.5, 0.6))],
        [InverseSqrt(steps=4), InverseSqrt(fraction=0.1)],
        [Warmup(steps=4, then=Linear()), Warmup(steps=4, then=Polynomial())],
    ],
    ids=repr,
)
def test_specs_of_different_structure_cannot_be_stacked(specs: list[AbstractSchedule]) -> None:
    assert raised(lambda: stack(specs)) == "cannot stack specs of different structure"


def test_nothing_cannot_be_stacked() -> None:
    assert raised(lambda: stack([])) == "cannot stack an empty list of specs"


BAD: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (DampedCosine, {"exponent": -1}, "DampedCosine.exponent must lie in (0, 64], got -1"),
    (DampedCosine, {"exponent": 0}, "DampedCosine.exponent must lie in (0, 64], got 0"),
    (DampedCosine, {"k": math.nan}, "DampedCosine.k must lie in (0, 64], got nan"),
    (DampedCosine, {"k": math.inf}, "DampedCosine.k must lie in (0, 64], got inf"),
    (DampedCosine, {"k": 64.5}, "DampedCosine.k must lie in (0, 64], got 64.5"),
    (DampedCosine, {"k": "2"}, "DampedCosine.k must be a number, got '2'"),
    (DampedCosine, {"k": True}, "DampedCosine.k must be a number, got True"),
    (DampedCosine, {"k": None}, "DampedCosine.k must be a number, got None"),
    (DampedCosine, {"k": 1j}, "DampedCosine.k must be a number, got 1j"),
    (Linear, {"floor": 1.5}, "Linear.floor must lie in [0, 1], got 1.5"),
    (Linear, {"floor": torch.tensor([[0.5], [-0.5]])}, "Linear.floor must lie in [0, 1], got -0.5"),
    (Step, {"milestones": 0.5}, "Step.milestones must be a sequence of numbers, got 0.5"),
    (Step, {"milestones": "0.5"}, "Step.milestones must be a sequence of numbers, got '0.5'"),
    (Step, {"milestones": (0.5, math.nan)}, "Step.milestones must lie in (0, 1], got nan"),
    (Step, {"milestones": (0.0,)}, "Step.milestones must lie in (0, 1], got 0.0"),
    (Step, {"milestones": (0.5, "0.7")}, "Step.milestones must be a number, got '0.7'"),
    (Step, {"milestones": (0.75, 0.5)}, "Step.milestones must ascend, got (0.75, 0.5)"),
    (Step, {"milestones": (0.5, 0.5)}, "Step.milestones must ascend, got (0.5, 0.5)"),
    (WSD, {"shape": "cubic"}, "WSD.shape must be one of linear, sqrt, cosine, exponential, got 'cubic'"),
    (WSD, {"shape": 1}, "WSD.shape must be one of linear, sqrt, cosine, exponential, got 1"),
    (WSD, {"cooldown": 0}, "WSD.cooldown must lie in (0, 1], got 0"),
    (Warmup, {"then": Linear()}, "Warmup needs exactly one of fraction and steps"),
    (Warmup, {"then": Linear(), "fraction": 0.1, "steps": 5}, "Warmup needs exactly one of fraction and steps"),
    (Warmup, {"then": Linear(), "fraction": 1.0}, "Warmup.fraction must lie in [0, 1), got 1.0"),
    (Warmup, {"then": Linear(), "steps": 2.5}, "Warmup.steps must be a whole number, got 2.5"),
    (Warmup, {"then": Linear(), "steps": math.inf}, "Warmup.steps must be a whole number, got inf"),
    (Warmup, {"then": Linear(), "steps": -1}, "Warmup.steps must lie in [0, 1e+15], got -1"),
    (Warmup, {"then": "linear", "steps": 5}, "Warmup.then must be an instance of AbstractSchedule, got 'linear'"),
    (Warmup, {"then": Linear, "steps": 5}, f"Warmup.then must be an instance of AbstractSchedule, got {Linear!r}"),
    (InverseSqrt, {}, "InverseSqrt needs exactly one of fraction and steps"),
    (InverseSqrt, {"steps": 0}, "InverseSqrt.steps must lie in [1, 1e+15], got 0"),
]


@pytest.mark.parametrize(("make", "arguments", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_value_is_refused_with_field_rule_and_value(
    make: Callable[..., Any], arguments: dict[str, Any], message: str
) -> None:
    assert raised(lambda: make(**arguments)) == message


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, -1.0, "1", True, [1.0]], ids=repr)
def test_every_numeric_field_refuses_what_is_not_a_legal_number(
    schedule_class: type[AbstractSchedule], bad: object
) -> None:
    make: Callable[..., AbstractSchedule] = schedule_class
    example = EXAMPLES[schedule_class]
    legal = {item.name: getattr(example, item.name) for item in fields(example)}  # type: ignore[arg-type]
    for item in fields(schedule_class):  # type: ignore[arg-type]
        if "domain" in item.metadata and not (isinstance(bad, float) and item.metadata["domain"].contains(bad)):
            value = (bad,) if item.metadata.get("many") else bad
            message = raised(lambda name=item.name, value=value: make(**legal | {name: value}))  # type: ignore[misc]
            assert message.startswith(f"{schedule_class.__name__}.{item.name} must ")
            assert message.endswith(f", got {bad!r}")
            assert "\n" not in message


@pytest.mark.parametrize("total_steps", [1, 9, 10])
def test_warmup_must_be_shorter_than_the_run(total_steps: int) -> None:
    message = f"Warmup.steps must be below total_steps={total_steps}, got 10"
    assert raised(lambda: Warmup(steps=10, then=Linear()).at(0, total_steps)) == message


def test_warmup_inside_a_warmup_must_be_shorter_than_what_remains() -> None:
    schedule = Warmup(steps=4, then=Warmup(steps=6, then=Linear()))
    assert raised(lambda: schedule.at(0, 10)) == "Warmup.steps must be below total_steps=6, got 6"
    assert schedule.at(10, 11) == 1.0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "damped_cosin"}, "unknown kind 'damped_cosin'; did you mean 'damped_cosine'?"),
        ({"kind": "linear", "flor": 0.1}, "unknown field of Linear 'flor'; did you mean 'floor'?"),
        ({"kind": "linear", "xyz": 0.1}, "unknown field of Linear 'xyz'; known: floor"),
        ({"kind": "linear", "floor": -1}, "Linear.floor must lie in [0, 1], got -1"),
        ({"kind": "warmup", "steps": 1, "then": {"kind": "wds"}}, "unknown kind 'wds'; did you mean 'wsd'?"),
    ],
)
def test_decode_refuses_what_it_does_not_know_with_a_suggestion(data: dict[str, Any], message: str) -> None:
    assert raised(lambda: decode(data, SCHEDULES)) == message


def test_unknown_name_without_a_near_one_lists_all_in_order() -> None:
    assert raised(lambda: lookup("zzz", ["b", "a"], "letter")) == "unknown letter 'zzz'; known: a, b"
    assert lookup("a", ["b", "a"], "letter") == "a"


@pytest.mark.parametrize("text", ["(0, 1]", "[0, 1)", "(0, 1)", "[0, 1]", "[-2.5, inf)", "(-inf, 3]"])
def test_domain_is_written_as_it_is_read(text: str) -> None:
    domain = Domain.parse(text)
    assert str(domain) == text
    assert domain.contains(domain.low) == (text[0] == "[")
    assert domain.contains(domain.high) == (text[-1] == "]")
    assert domain.contains(0.5)
    assert not domain.contains(math.nan)

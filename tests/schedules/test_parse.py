import pytest

from adaptive_lr import (
    SCHEDULES,
    WSD,
    AbstractSchedule,
    Constant,
    DampedCosine,
    Eigencurve,
    Exponential,
    InverseSqrt,
    Linear,
    Points,
    SpecError,
    Step,
    Trapezoid,
    Warmup,
)
from adaptive_lr.schedules.parse import parse_schedules, parse_spec, split_words
from adaptive_lr.tasks import TASKS, Perceptron
from adaptive_lr.training import OPTIMIZERS, AdamW
from tests.conftest import COMPOSED


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("damped_cosine", DampedCosine()),
        ("cosine", DampedCosine()),
        ("cosine exponent=2 k=1.5", DampedCosine(exponent=2, k=1.5)),
        ("exponential rate=1e-1", Exponential(rate=0.1)),
        ("wsd shape=linear cooldown=0.1", WSD(shape="linear", cooldown=0.1)),
        ("step milestones=0.3,0.6 factor=0.5", Step(milestones=(0.3, 0.6), factor=0.5)),
        ("step milestones=0.5", Step(milestones=(0.5,))),
        ("eigencurve eigenvalues=1,2,4 densities=3,2,1", Eigencurve(eigenvalues=(1, 2, 4), densities=(3, 2, 1))),
        ("eigencurve eigenvalues=5", Eigencurve(eigenvalues=(5,))),
        ("points u=0,0.5 m=1,0.1 interpolation=previous", Points(u=(0, 0.5), m=(1, 0.1), interpolation="previous")),
        ("trapezoid up=0.1 down_steps=20", Trapezoid(up=0.1, down_steps=20)),
        ("inverse_sqrt steps=500", InverseSqrt(steps=500)),
        ("inverse_sqrt fraction=0.1", InverseSqrt(fraction=0.1)),
        ("linear warmup=0.05", Warmup(fraction=0.05, then=Linear())),
        ("linear warmup=0", Warmup(fraction=0, then=Linear())),
        ("linear warmup=1", Warmup(steps=1, then=Linear())),
        ("linear warmup=500 floor=0.1", Warmup(steps=500, then=Linear(floor=0.1))),
    ],
)
def test_words_make_the_schedule(words: str, expected: AbstractSchedule) -> None:
    assert parse_schedules(words.split()) == {words: expected}


def test_settings_belong_to_the_name_before_them() -> None:
    parsed = parse_schedules(["constant", "cosine", "k=2", "warmup=0.1", "linear", "floor=0.5"])
    assert list(parsed.items()) == [
        ("constant", Constant()),
        ("cosine k=2 warmup=0.1", Warmup(fraction=0.1, then=DampedCosine(k=2))),
        ("linear floor=0.5", Linear(floor=0.5)),
    ]


@pytest.mark.parametrize("text", ["0.3,0.6", "(0.3, 0.6)", "[0.3,0.6]", "(0.3, 0.6,)"])
def test_several_numbers_are_read_as_python_prints_them_too(text: str) -> None:
    (found,) = parse_schedules(["step", f"milestones={text}"]).values()
    assert found == Step(milestones=(0.3, 0.6))


def test_no_words_make_no_schedules() -> None:
    assert parse_schedules([]) == {}


def test_every_schedule_that_holds_no_other_has_a_name() -> None:
    needed = {
        "inverse_sqrt": ["steps=5"],
        "staircase": ["fraction=0.1"],
        "cyclic": ["up_steps=5"],
        "trapezoid": ["up=0.1", "down=0.2"],
        "eigencurve": ["eigenvalues=1,2,4"],
        "points": ["u=0,1", "m=1,0"],
    }
    for schedule_class in SCHEDULES:
        if schedule_class not in COMPOSED and schedule_class is not Warmup:
            words = [schedule_class.kind, *needed.get(schedule_class.kind, [])]
            assert type(parse_schedules(words)[" ".join(words)]) is schedule_class


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("floor=0.5 linear", "'floor=0.5' stands before any schedule: begin with a name such as damped_cosine"),
        ("cosin", "unknown schedule 'cosin'; did you mean 'cosine'?"),
        ("linear flor=0.1", "unknown field of Linear 'flor'; did you mean 'floor'?"),
        ("linear floor=", "Linear.floor must be a number, got ''"),
        ("linear floor=abc", "Linear.floor must be a number, got 'abc'"),
        ("linear floor=nan", "Linear.floor must lie in [0, 1], got nan"),
        ("linear floor=2", "Linear.floor must lie in [0, 1], got 2.0"),
        ("linear floor=0.1,0.2", "Linear.floor must be a number, got (0.1, 0.2)"),
        ("step milestones=0.7,0.3", "Step.milestones must ascend, got (0.7, 0.3)"),
        ("step milestones=0.5,", "Step.milestones must be a number, got ''"),
        ("step milestones=half", "Step.milestones must be a sequence of numbers, got 'half'"),
        ("wsd shape=cubic", "WSD.shape must be one of linear, sqrt, cosine, exponential, got 'cubic'"),
        ("inverse_sqrt", "InverseSqrt needs exactly one of fraction and steps"),
        ("inverse_sqrt steps=2.5", "InverseSqrt.steps must be a whole number, got 2.5"),
        ("linear warmup=-1", "Warmup.fraction must lie in [0, 1), got -1.0"),
        ("linear warmup=nan", "Warmup.fraction must lie in [0, 1), got nan"),
        ("linear warmup=1.5", "Warmup.steps must be a whole number, got 1.5"),
        ("linear warmup=inf", "Warmup.steps must be a whole number, got inf"),
        ("linear warmup=long", "Warmup.fraction must be a number, got 'long'"),
        ("warmup", "write warmup=0.05 (a fraction) or warmup=500 (steps) after another schedule"),
        ("warmup fraction=0.1", "write warmup=0.05 (a fraction) or warmup=500 (steps) after another schedule"),
    ],
)
def test_bad_words_are_refused_in_one_line(words: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_schedules(words.split())
    assert str(caught.value) == message


def test_unknown_schedule_lists_the_known_ones() -> None:
    with pytest.raises(
        SpecError, match=r"unknown schedule 'xyz'; known: additive_k_decay, chebyshev, constant, cosine, .*, wsd$"
    ):
        parse_schedules(["xyz"])


def test_kind_is_not_a_setting() -> None:
    with pytest.raises(SpecError, match="'kind'"):
        parse_schedules(["cosine", "kind=linear"])


def test_any_spec_that_holds_no_others_is_made_of_words() -> None:
    words = ["perceptron", "dataset=digits", "hidden=32", "batch=10"]
    assert parse_spec(words, TASKS, "task") == Perceptron(dataset="digits", hidden=(32,), batch=10)
    assert parse_spec(["adamw", "beta1=0.8"], OPTIMIZERS, "optimizer") == AdamW(beta1=0.8)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the task has no name"),
        (["perceptrn"], "unknown task 'perceptrn'; did you mean 'perceptron'"),
        (["perceptron", "width=3"], "unknown field of Perceptron 'width'"),
        (["perceptron", "batch=1", "batch=2"], "perceptron has batch twice"),
        (["perceptron", "kind=sgd"], "unknown field of perceptron 'kind'"),
        (["perceptron", "batch=0.5"], "Perceptron.batch must be a whole number, got 0.5"),
    ],
)
def test_words_that_make_no_spec_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_spec(words, TASKS, "task")


@pytest.mark.parametrize("depth", [1, 2, 20_000])
@pytest.mark.parametrize("ends", ["()", "[]"])
def test_brackets_in_brackets_are_refused_in_one_line(depth: int, ends: str) -> None:
    text = ends[0] * (depth + 1) + "0.5" + ends[1] * (depth + 1)
    with pytest.raises(SpecError, match=r"Step\.milestones must be a number") as caught:
        parse_schedules(["step", f"milestones={text}"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["(0.5]", "[0.5)", "(", "(0.5", "0.5)", "1_0"])
def test_what_is_no_number_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(SpecError, match=r"Step\.milestones must be"):
        parse_schedules(["step", f"milestones={text}"])


@pytest.mark.parametrize("text", ["wsd 'cooldown=0.1", 'wsd "', "wsd \\"])
def test_a_quote_that_is_not_closed_is_said(text: str) -> None:
    with pytest.raises(SpecError, match=r"into words: no (closing quotation|escaped character)"):
        split_words(text)

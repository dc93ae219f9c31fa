"""Inputs that somebody might give by mistake or on purpose: valid ones, changed in a few places."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

Test = TypeVar("Test", bound=Callable[..., Any])

NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2, 3.5, -0.0, 1e-320, 5e-324, 1e-30, 1e30, 1e308, -1e308, math.inf, -math.inf, math.nan, 2**31, 2**63, 2**64, -(2**63),
    10**30, 10**400, 1e12, True, False, None,
)  # fmt: skip

TEXTS = (
    "", " ", "\t", "\n", "0", "-", "--", "nan", "inf", "1e400", "-1e308", "5e-324", "1_000", "0x1f", "1e12", "9" * 5000, "((((", "[" * 2000, "{" * 2000,
    "'", '"', "`", "\\", "$x_{$", "$$", "\ud800", "\x00", "\x1b[2J", "\u202e", "\u2028", "\ufeff", "é", "日本", "<script>", "{{ 1 }}", "%s%n", "a,b", "a=b",
    "=", "x" * 10_000, "../..", "/", "/dev/null", "/proc/self/mem", "None", "true", "kind", "lr", "[bold]", "1:30", "010",
)  # fmt: skip

numbers = st.one_of(st.sampled_from(NUMBERS), st.floats(), st.integers())
texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=20))
leaves = st.one_of(numbers, texts)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


@st.composite
def mutated(draw: st.DrawFn, valid: Any, most: int = 3) -> Any:
    """A tree of mappings and lists with a few of its places replaced, dropped, doubled, renamed or wrapped."""
    for _ in range(draw(st.integers(1, most))):
        valid = _mutated(draw, valid)
    return valid


def _mutated(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, Mapping) and value and draw(st.integers(0, 4)):
        names = list(value)
        name = draw(st.sampled_from(names))
        how = draw(st.sampled_from(("inside", "inside", "inside", "drop", "rename", "add", "swap")))
        if how == "inside":
            return {**value, name: _mutated(draw, value[name])}
        if how == "drop":
            return {key: inner for key, inner in value.items() if key != name}
        if how == "rename":
            return {(draw(leaves) if key == name else key): inner for key, inner in value.items()}
        if how == "swap":
            return {**value, name: value[draw(st.sampled_from(names))]}
        return {**value, draw(texts): draw(values)}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and value and draw(st.integers(0, 4)):
        index = draw(st.integers(0, len(value) - 1))
        items = list(value)
        how = draw(st.sampled_from(("inside", "inside", "drop", "double", "empty")))
        if how == "inside":
            items[index] = _mutated(draw, items[index])
        elif how == "drop":
            del items[index]
        elif how == "double":
            items.insert(index, items[index])
        else:
            items = []
        return tuple(items) if isinstance(value, tuple) else items
    how = draw(st.sampled_from(("replace", "replace", "number", "wrap", "text")))
    return draw({"replace": values, "number": numbers, "text": texts, "wrap": st.just([value])}[how])


@st.composite
def changed_text(draw: st.DrawFn, valid: str, most: int = 4) -> str:
    """A text with a few of its parts replaced, dropped, doubled or cut off."""
    for _ in range(draw(st.integers(1, most))):
        start = draw(st.integers(0, len(valid)))
        end = min(len(valid), start + draw(st.integers(0, 12)))
        how = draw(st.sampled_from(("insert", "replace", "drop", "double", "cut")))
        middle = {"insert": valid[start:end], "replace": "", "drop": "", "double": valid[start:end] * 2, "cut": ""}[how]
        if how in ("insert", "replace"):
            middle = draw(texts) + middle
        valid = valid[:start] + middle + ("" if how == "cut" else valid[end:])
    return valid


@st.composite
def changed_bytes(draw: st.DrawFn, valid: bytes, most: int = 6) -> bytes:
    """Bytes with a few flipped, overwritten, dropped, moved or cut off."""
    content = bytearray(valid)
    for _ in range(draw(st.integers(1, most))):
        start = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.sampled_from((1, 1, 1, 4, 16, 512, 4096)))
        how = draw(st.sampled_from(("flip", "flip", "flip", "noise", "zero", "drop", "copy", "cut")))
        if how == "flip" and content:
            content[start] ^= 1 << draw(st.integers(0, 7))
        elif how == "noise":
            content[start : start + length] = draw(st.randoms(use_true_random=False)).randbytes(length)
        elif how == "zero":
            content[start : start + length] = bytes(min(length, len(content) - start))
        elif how == "drop":
            del content[start : start + length]
        elif how == "copy":
            content[start:start] = content[:length]
        elif how == "cut":
            del content[start:]
    return bytes(content)


def fuzzed(few: int, many: int) -> Callable[[Test], Test]:
    """``few`` examples in the fast suite, ``many`` in the slow one, where each test is run as ``…[many]``."""

    def mark(test: Test) -> Test:
        sized = pytest.mark.parametrize(
            "examples", [pytest.param(few, id="few"), pytest.param(many, id="many", marks=pytest.mark.slow)]
        )
        marked: Test = sized(test)
        return marked

    return mark


def sized(examples: int) -> settings:
    """The settings of a fuzz test."""
    phases = [Phase.generate, Phase.shrink] if examples > 100 else [Phase.generate]
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=phases,
    )

import sys
from pathlib import Path

import pytest
import torch

from adaptive_lr.errors import DataError, SpecError
from adaptive_lr.tasks import TokenTransformer, texts, tokens

VOCABULARY = 400


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of data sets, empty; nothing is remembered."""
    monkeypatch.setenv("ADAPTIVE_LR_DATA", str(tmp_path))
    tokens._merges.cache_clear()
    tokens.tokens.cache_clear()
    return tmp_path / "pretrained"


def test_a_missing_package_is_named_with_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    line = r"^TokenTransformer needs the package tokenizers, which is not installed: pip install 'adaptive-lr\[bpe\]'$"
    with pytest.raises(DataError, match=line):
        TokenTransformer().symbols("train")


class TestWithThePackage:
    @pytest.fixture(autouse=True)
    def package(self) -> None:
        pytest.importorskip("tokenizers", reason="tokenizers is not installed: pip install 'adaptive-lr[bpe]'")

    @pytest.mark.parametrize("split", ["train", "validation", "test"])
    def test_tokens_are_the_text(self, split: str) -> None:
        numbers = tokens.tokens("python_help", split, VOCABULARY)
        assert tokens.decoded("python_help", numbers, VOCABULARY) == texts.part("python_help", split)
        assert 0 <= int(numbers.min()) <= int(numbers.max()) < VOCABULARY

    def test_a_larger_vocabulary_has_longer_tokens(self) -> None:
        small, large = (TokenTransformer(vocabulary=size).tokens_a_byte("test") for size in (VOCABULARY, 1000))
        assert 1.0 > small > large > 0.25

    def test_the_vocabulary_is_kept_and_comes_from_the_training_part_alone(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = tokens.tokens("python_help", "test", VOCABULARY)
        (path,) = folder.glob("bpe-*.npz")
        stamp, read = path.stat().st_mtime_ns, texts.part
        asked: list[str] = []

        def part(text: str, split: str) -> str:
            asked.append(split)
            return read(text, split)

        monkeypatch.setattr(texts, "part", part)
        tokens._merges.cache_clear()
        tokens._merges("python_help", VOCABULARY)
        assert set(asked) == {"train"}
        tokens.tokens.cache_clear()
        assert torch.equal(first, tokens.tokens("python_help", "test", VOCABULARY))
        assert path.stat().st_mtime_ns == stamp
        path.unlink()
        tokens._merges.cache_clear()
        tokens.tokens.cache_clear()
        assert torch.equal(
            first, tokens.tokens("python_help", "test", VOCABULARY)
        )  # it is the same when it is made again

    def test_more_tokens_than_the_text_can_give_are_refused(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(texts, "part", lambda text, split: "so it is\n" * 20)
        with pytest.raises(
            SpecError, match=r"TokenTransformer\.vocabulary must be at most 2\d\d for python_help, got 2048"
        ):
            tokens.tokens("python_help", "train", 2048)

    def test_heads_share_the_width(self) -> None:
        with pytest.raises(SpecError, match=r"TokenTransformer\.width must be a multiple of heads, 3, got 64"):
            TokenTransformer(heads=3)

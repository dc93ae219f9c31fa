"""The encoder and its word pieces, on tiny ones; the task on MiniLM and the Bible where they can be fetched."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from adaptive_lr.errors import DataError, SpecError
from adaptive_lr.schedules import Linear
from adaptive_lr.tasks import SectionClassifier
from adaptive_lr.tasks.encoder import Encoder, from_bert
from adaptive_lr.tasks.sections import EVALUATED
from adaptive_lr.tasks.wordpiece import WordPieces
from adaptive_lr.training import AdamW, Status, Trial, train_batch

pytestmark = pytest.mark.usefixtures("one_thread")

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "light", "##ning", "be", "let", "there", ":", "cafe", "##s", "東")


def small() -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder(13, 8, layers=2, width=12, heads=3).double().eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return encoder


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Let there be light: lightning", [7, 8, 6, 4, 9, 4, 5]),
        ("Cafés", [10, 11]),
        ("let東be", [7, 12, 6]),
        ("unheard let\u0000 \ufffd", [1, 7]),
        ("lights" * 20, [1]),
        (" \t\n", []),
    ],
)
def test_a_word_is_cut_into_the_longest_pieces(text: str, pieces: list[int]) -> None:
    assert WordPieces(VOCABULARY).numbers(text, 32) == [2, *pieces, 3]


def test_a_long_text_is_cut_and_still_has_an_end() -> None:
    assert WordPieces(VOCABULARY).numbers("let there be light " * 50, 5) == [2, 7, 8, 6, 3]


def test_padding_changes_no_embedding() -> None:
    encoder, numbers = small(), torch.tensor([[2, 7, 8, 3], [2, 4, 5, 3]])
    padded = torch.cat([numbers, torch.zeros(2, 3, dtype=torch.int64)], 1)
    with torch.no_grad():
        torch.testing.assert_close(encoder(padded), encoder(numbers), rtol=0, atol=1e-13)
        assert not torch.allclose(encoder(numbers), encoder(numbers.flip(1)), atol=1e-3)


def test_a_layer_is_that_of_torch() -> None:
    encoder, numbers = small(), torch.tensor([[2, 7, 8, 3, 0], [2, 4, 5, 6, 3]])
    stream = encoder.norm(encoder.pieces(numbers) + encoder.positions[:5] + encoder.kind)
    for layer in encoder.layers:
        theirs = nn.TransformerEncoderLayer(
            12, 3, 48, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True, dtype=torch.float64
        )
        state, own = theirs.state_dict(), layer.state_dict()
        for part in ("weight", "bias"):
            attention = torch.cat([own[f"{name}.{part}"] for name in ("query", "key", "value")])
            state[f"self_attn.in_proj_{part}"] = attention
            for name, named in (
                ("self_attn.out_proj", "project"), ("norm1", "after_attention"), ("linear1", "up"), ("linear2", "down"), ("norm2", "after_perceptron"),
            ):  # fmt: skip
                state[f"{name}.{part}"] = own[f"{named}.{part}"]
        theirs.load_state_dict(state)
        stream = theirs(stream, src_key_padding_mask=numbers == 0)
    expected = torch.stack([stream[0, :4].mean(0), stream[1].mean(0)])
    torch.testing.assert_close(encoder(numbers), expected, rtol=0, atol=1e-12)


def published(layers: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of BERT's names and shapes: width 12, 13 pieces, 8 positions."""
    shapes: dict[str, tuple[int, ...]] = {
        "word_embeddings.weight": (13, 12),
        "position_embeddings.weight": (8, 12),
        "token_type_embeddings.weight": (2, 12),
    }
    shapes |= {"LayerNorm.weight": (12,), "LayerNorm.bias": (12,)}
    yield from ((f"embeddings.{name}", torch.randn(shape)) for name, shape in shapes.items())
    matrices = {f"attention.self.{name}": (12, 12) for name in ("query", "key", "value")}
    matrices |= {"attention.output.dense": (12, 12), "intermediate.dense": (48, 12), "output.dense": (12, 48)}
    for layer in range(layers):
        for name, shape in matrices.items():
            yield f"encoder.layer.{layer}.{name}.weight", torch.randn(shape)
            yield f"encoder.layer.{layer}.{name}.bias", torch.randn(shape[0])
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            yield f"encoder.layer.{layer}.{name}.weight", torch.randn(12)
            yield f"encoder.layer.{layer}.{name}.bias", torch.randn(12)


def test_published_names_fill_every_parameter() -> None:
    encoder = Encoder(13, 8, layers=2, width=12, heads=3)
    weights = dict(published(3))
    encoder.load_state_dict(from_bert(weights, 2))
    assert torch.equal(encoder.get_parameter("layers.1.down.weight"), weights["encoder.layer.1.output.dense.weight"])
    assert torch.equal(encoder.kind, weights["embeddings.token_type_embeddings.weight"][0])


@pytest.fixture(scope="module")
def task() -> SectionClassifier:
    """With one layer; skips where model or text cannot be had."""
    made = SectionClassifier(layers=1, length=12, batch=8, verses=40)
    try:
        made.module()
        made.examples("train", torch.float32)
    except DataError as error:
        pytest.skip(str(error))
    return made


@pytest.mark.slow
def test_examples_are_verses_of_all_sections(task: SectionClassifier) -> None:
    train, test = task.examples("train", torch.float32), task.evaluated("test", torch.float32)
    assert isinstance(train.inputs, torch.Tensor)
    assert train.inputs.shape == (40, 12)
    assert (train.inputs[:, 0] == 101).all()
    assert len(test.targets) == EVALUATED
    assert set(test.targets.tolist()) == set(range(10))
    assert torch.bincount(task.examples("test", torch.float32).targets).max().item() / 3111 == pytest.approx(
        0.23, abs=0.01
    )


@pytest.mark.slow
def test_training_begins_at_the_published_weights_with_a_new_head_and_learns(task: SectionClassifier) -> None:
    first, second = task.initial(0), task.initial(1)
    assert list(first) == [name for name, _ in task.built().named_parameters()]
    assert torch.equal(first["encoder.pieces.weight"], second["encoder.pieces.weight"])
    assert not torch.equal(first["head.weight"], second["head.weight"])
    trial = Trial(task=task, schedule=Linear(), optimizer=AdamW(), base_lr=3e-4, steps=30, seed=0)
    (result,) = train_batch([trial])
    assert result.status is Status.OK
    assert result.initial["validation_loss"] == pytest.approx(math.log(10.0), abs=0.2)
    assert result.metrics["train_loss"] < 0.7 * result.initial["train_loss"]


@pytest.mark.slow
def test_more_verses_than_there_are_is_refused(task: SectionClassifier) -> None:
    with pytest.raises(SpecError, match=r"SectionClassifier\.verses must be at most 24881, got 30000"):
        SectionClassifier(verses=30000, length=task.length).examples("train", torch.float32)

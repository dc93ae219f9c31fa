import itertools
from collections import Counter

import pytest
import torch
from torch import Tensor

from adaptive_lr.errors import SpecError
from adaptive_lr.tasks import ByteGRU, ByteTransformer, WordLSTM, texts
from adaptive_lr.tasks.language import BYTES, AbstractLanguageModel, word_numbers
from adaptive_lr.tasks.recurrent import RecurrentNetwork

MODELS: list[AbstractLanguageModel] = [
    ByteTransformer(context=9, layers=2, width=8, heads=2, batch=3),
    ByteGRU(context=9, width=6, batch=3),
    WordLSTM(context=9, words=40, width=6, batch=3, dropout=0.0),
]
every_model = pytest.mark.parametrize("task", MODELS, ids=lambda task: task.kind)


def minibatches_of(task: AbstractLanguageModel, seed: int, steps: int) -> list[tuple[Tensor, Tensor]]:
    """Symbols and those that follow them, of a model that takes no noise."""
    drawn = []
    for inputs, targets in task.minibatches(seed, steps, torch.float64):
        assert isinstance(inputs, Tensor)
        drawn.append((inputs, targets))
    return drawn


def symbols_of(task: AbstractLanguageModel, seed: int = 0) -> Tensor:
    return minibatches_of(task, seed, 1)[0][0]


@every_model
def test_no_position_sees_what_follows_it(task: AbstractLanguageModel) -> None:
    module, symbols = task.built().double().eval(), symbols_of(task)
    changed = symbols.clone()
    changed[:, 5] = (changed[:, 5] + 1) % 30
    with torch.no_grad():
        outputs, others = module(symbols), module(changed)
    assert torch.equal(outputs[:, :5], others[:, :5])
    assert (outputs[:, 5:] != others[:, 5:]).any(-1).all()


@pytest.mark.parametrize("task", MODELS[:2], ids=lambda task: task.kind)
def test_the_targets_are_the_symbols_that_follow(task: AbstractLanguageModel) -> None:
    text = task.symbols("train").tolist()
    for inputs, targets in minibatches_of(task, 1, 4):
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
        for row in torch.cat([inputs, targets[:, -1:]], 1).tolist():
            assert any(text[index : index + 10] == row for index in range(len(text) - 9))


@every_model
def test_a_model_that_knows_nothing_pays_the_logarithm_of_the_symbols(task: AbstractLanguageModel) -> None:
    state = {name: torch.zeros(1, *value.shape, dtype=torch.float64) for name, value in task.initial(0).items()}
    buffers = {name: value[None] for name, value in task.initial_buffers().items()}
    symbols = task.words if isinstance(task, WordLSTM) else BYTES
    for loss in task.evaluate(state | buffers, final=True).values():
        assert loss.item() == pytest.approx(torch.tensor(float(symbols)).log().item(), rel=1e-6)


def test_bytes_are_those_of_the_text_in_three_parts() -> None:
    parts = [bytes(texts.encoded("python_help", split).tolist()).decode() for split in ("train", "validation", "test")]
    assert all(len(part) > 10_000 for part in parts)
    assert len(set(parts)) == 3


def test_words_are_numbered_by_the_training_text_alone_and_the_rare_ones_share_a_number() -> None:
    train = word_numbers("python_help", "train", 40)
    counts = torch.bincount(train, minlength=40)
    assert len(counts) == 40
    assert (counts[:38] >= counts[1:39]).all()  # by frequency
    words = texts.words("python_help", "train")
    frequent = [word for word, _ in Counter(words).most_common(38)]  # the 39th may be one of several alike
    assert all(number != 39 for word, number in zip(words, train.tolist(), strict=True) if word in frequent)
    assert len({word for word, number in zip(words, train.tolist(), strict=True) if number < 39}) == 39
    assert int(word_numbers("python_help", "test", 40).max()) <= 39


def test_the_windows_of_a_strip_follow_one_another() -> None:
    task = WordLSTM(context=7, batch=4, dropout=0.0)
    minibatches = minibatches_of(task, 3, 6)
    for (_, targets), (inputs, _) in itertools.pairwise(minibatches):
        assert torch.equal(targets[:, -1], inputs[:, 0])


def test_a_text_that_is_read_to_its_end_begins_anew() -> None:
    task = WordLSTM(context=1000, batch=20, dropout=0.0)
    minibatches = minibatches_of(task, 3, 40)
    again = [step for step in range(1, 40) if torch.equal(minibatches[step][0], minibatches[0][0])]
    assert again
    assert again == list(range(again[0], 40, again[0]))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_carried_state_makes_of_windows_one_long_text(cell: str) -> None:
    torch.manual_seed(0)
    network = RecurrentNetwork(cell, 11, 5, layers=2, dropout=0.0).double()
    symbols = torch.randint(11, (3, 12))
    whole = network(symbols)
    network.carry(3)
    network.double().train()
    parts = [network(symbols[:, begin : begin + 4]) for begin in (0, 4, 8)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-12)
    parts[1].sum().backward()  # what a window began in is no part of its graph, and is not written over
    network.eval()
    carried = network.get_buffer("carried").clone()
    torch.testing.assert_close(network(symbols), whole, rtol=0, atol=1e-12)
    assert torch.equal(network.get_buffer("carried"), carried)


def test_a_carried_state_cannot_be_halved() -> None:
    network = RecurrentNetwork("lstm", 11, 5, layers=1, dropout=0.0)
    network.carry(4)
    with pytest.raises(SpecError, match="a minibatch of 2 windows cannot go on from the state of 4"):
        network(torch.zeros(2, 3, dtype=torch.int64))


def test_dropout_comes_from_the_seed_and_is_not_there_in_evaluation() -> None:
    task = WordLSTM(context=5, batch=4, words=30, width=6)
    inputs, _ = next(iter(task.minibatches(0, 1, torch.float64)))
    module = task.built().double()
    symbols, uniform = inputs
    first, again = module(symbols, uniform), module.eval()(symbols)
    assert not torch.allclose(first, again)
    assert uniform.shape == (4, 3, 5, 6)


@pytest.mark.parametrize("task", [ByteGRU(context=10**5), WordLSTM(context=10**5)], ids=lambda task: task.kind)
def test_a_window_longer_than_the_text_is_refused(task: AbstractLanguageModel) -> None:
    with pytest.raises(
        SpecError, match=r"\.context must be below \d+, the length of the (train|validation) part, got 100000"
    ):
        task.examples("validation", torch.float32)


def test_strips_shorter_than_a_window_are_refused() -> None:
    with pytest.raises(SpecError, match=r"WordLSTM\.batch must be at most \d+ with windows of 35, got 1000000"):
        WordLSTM(batch=1_000_000).minibatches(0, 1, torch.float32)


def test_heads_share_the_width() -> None:
    with pytest.raises(SpecError, match=r"ByteTransformer\.width must be a multiple of heads, 3, got 64"):
        ByteTransformer(heads=3)

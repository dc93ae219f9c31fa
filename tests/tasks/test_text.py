import math
from collections import Counter
from dataclasses import fields

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from adaptive_lr import DampedCosine, SpecError
from adaptive_lr.tasks import CharacterModel
from adaptive_lr.tasks.text import EVALUATED, SYMBOLS, Corpus, corpus, encoded
from adaptive_lr.training import SGD, Status, Trial, train_batch

pytestmark = pytest.mark.usefixtures("one_thread")

SPLITS = [item.name for item in fields(Corpus)]

every_split = pytest.mark.parametrize("split", SPLITS)

TASK = CharacterModel()


def part(split: str) -> Tensor:
    found: Tensor = getattr(corpus(), split)
    return found


def whole_text() -> str:
    """The paragraphs of all topics, each where it stands first."""
    from pydoc_data.topics import topics

    seen: set[str] = set()
    kept = []
    for paragraph in "\n\n".join(topics[name] for name in sorted(topics)).split("\n\n"):
        if paragraph not in seen:
            kept.append(paragraph)
            seen.add(paragraph)
    return "\n\n".join(kept)


def symbol_of() -> dict[str, int]:
    """The numbers of the characters, counted one by one in the training text."""
    counts: dict[str, int] = {}
    for character in whole_text()[: len(part("train"))]:
        counts[character] = counts.get(character, 0) + 1
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return {character: number for number, (character, _) in enumerate(ordered[: SYMBOLS - 1])}


def decoded(inputs: Tensor) -> Tensor:
    """The symbols ``[n, context]`` of one-hot inputs."""
    return inputs.view(len(inputs), -1, SYMBOLS).argmax(-1)


def test_the_splits_are_the_text_from_its_beginning_to_its_end() -> None:
    text, number = whole_text(), symbol_of()
    whole = torch.cat([part(split) for split in SPLITS])
    assert SPLITS == ["train", "validation", "test"]
    assert whole.tolist() == [number.get(character, SYMBOLS - 1) for character in text]
    shares = [len(part(split)) / len(text) for split in SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], rel=0, abs=1e-4)


def test_no_paragraph_stands_twice_and_few_characters_have_no_symbol() -> None:
    paragraphs = Counter(whole_text().split("\n\n"))
    assert max(paragraphs.values()) == 1
    for split in SPLITS:
        assert (part(split) == SYMBOLS - 1).double().mean() < 0.02
        assert part(split).min() == 0
        assert part(split).max() == SYMBOLS - 1


def test_which_characters_have_symbols_is_settled_by_the_training_text() -> None:
    rare = "".join(chr(0x100 + number) for number in range(SYMBOLS - 2))
    text = rare * 2 + "ab" * 30 + "b" * 20
    found = encoded(text + "a" * (len(text) // 4))
    assert found.train[: len(rare)].tolist() == [*range(2, SYMBOLS - 1), SYMBOLS - 1]
    assert found.train[-1].item() == 0  # b is more frequent there, and a in the whole
    assert set(found.test.tolist()) == {1}


@pytest.mark.parametrize("context", [1, 5])
def test_minibatches_are_places_of_the_training_text(context: int) -> None:
    task, train = CharacterModel(context=context, batch=30), part("train")
    windows = {tuple(row) for row in train.unfold(0, context + 1, 1).tolist()}
    for inputs, targets in task.minibatches(2, 20, torch.float32):
        assert inputs.shape == (30, context * SYMBOLS)
        assert (inputs.view(30, context, SYMBOLS).sum(-1) == 1.0).all()
        assert set(inputs.unique().tolist()) == {0.0, 1.0}
        rows = torch.cat([decoded(inputs), targets[:, None]], 1)
        assert all(tuple(row) in windows for row in rows.tolist())


def test_minibatches_reach_the_whole_training_text_evenly() -> None:
    targets = torch.cat([one for _, one in TASK.minibatches(0, 1000, torch.float32)])
    expected = torch.bincount(part("train"), minlength=SYMBOLS) / len(part("train"))
    found = torch.bincount(targets, minlength=SYMBOLS) / len(targets)
    error = (expected * (1.0 - expected) / len(targets)).sqrt()
    assert ((found - expected).abs() < 5.0 * error).all()


def test_the_seed_fixes_the_order() -> None:
    first, again, other = (
        torch.stack([targets for _, targets in TASK.minibatches(seed, 5, torch.float32)]) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len({tuple(row) for row in first.tolist()}) == 5


@every_split
@pytest.mark.parametrize("context", [1, 5, 1000])
def test_a_metric_is_over_evenly_spaced_characters_with_a_whole_context(split: str, context: int) -> None:
    task, length = CharacterModel(context=context), len(part(split))
    places = task.evaluated(length)
    gaps = places.diff()
    assert len(places) == EVALUATED
    assert places[0] == context
    assert length - 2 * length // EVALUATED < places[-1] < length
    assert gaps.max() - gaps.min() == 1


def test_a_short_text_is_evaluated_at_every_character_but_the_first() -> None:
    assert CharacterModel(context=3).evaluated(10).tolist() == [3, 4, 5, 6, 7, 8, 9]


@every_split
def test_losses_equal_a_literal_loop(split: str) -> None:
    source, symbols = torch.Generator().manual_seed(0), part(split).tolist()
    parameters = {
        name: value + 0.3 * torch.randn(2, *value.shape, generator=source, dtype=torch.float64)
        for name, value in TASK.initial(0).items()
    }
    found, places = TASK.evaluate(parameters, final=True)[f"{split}_loss"], TASK.evaluated(len(symbols)).tolist()
    inputs = torch.zeros(len(places), 5, SYMBOLS, dtype=torch.float64)
    for row, place in enumerate(places):
        for back in range(5):
            inputs[row, 4 - back, symbols[place - 1 - back]] = 1.0
    module = TASK.module().double()
    for trial in range(2):
        module.load_state_dict({name: value[trial] for name, value in parameters.items()})
        with torch.no_grad():
            outputs = module(inputs.flatten(1)).tolist()
        losses = []
        for place, scores in zip(places, outputs, strict=True):
            losses.append(math.log(math.fsum(map(math.exp, scores))) - scores[symbols[place]])
        assert found[trial].item() == pytest.approx(math.fsum(losses) / len(losses), rel=1e-12)


@every_split
def test_a_model_that_ignores_its_inputs_scores_the_cross_entropy_of_its_frequencies(split: str) -> None:
    counts = torch.bincount(part("train"), minlength=SYMBOLS).double() + 1.0
    frequencies = counts / counts.sum()
    parameters = {name: torch.zeros(1, *value.shape, dtype=torch.float64) for name, value in TASK.initial(0).items()}
    parameters["4.bias"] += frequencies.log()
    total, symbols = 0.0, part(split).tolist()
    for place in TASK.evaluated(len(symbols)).tolist():
        total -= math.log(frequencies[symbols[place]].item())
    assert TASK.evaluate(parameters, final=True)[f"{split}_loss"].item() == pytest.approx(total / EVALUATED, rel=1e-12)
    assert 2.8 < total / EVALUATED < 3.6  # of English text with its line breaks and indents


def test_the_loss_before_training_is_that_of_guessing() -> None:
    for seed in range(3):
        parameters = {name: value[None] for name, value in TASK.initial(seed).items()}
        for value in TASK.evaluate(parameters, final=True).values():
            assert value.item() == pytest.approx(math.log(SYMBOLS), rel=0, abs=0.05)


def test_it_starts_as_pytorch_initialises_linear_layers() -> None:
    initial = TASK.initial(2)
    assert not torch.equal(initial["0.weight"], TASK.initial(3)["0.weight"])
    for layer, fan_in in ((0, 5 * SYMBOLS), (2, 64), (4, 64)):
        scaled = torch.cat([initial[f"{layer}.{name}"].flatten() for name in ("weight", "bias")]) * fan_in**0.5
        assert scaled.abs().max() <= 1.0
        assert scaled.std().item() == pytest.approx(3**-0.5, rel=0.05)


def test_it_learns_more_than_the_frequencies_of_pairs() -> None:
    basic = {"task": TASK, "schedule": DampedCosine(), "optimizer": SGD(momentum=0.9), "steps": 600, "seed": 0}
    good, slow = train_batch([Trial(base_lr=rate, **basic) for rate in (0.2, 0.002)])  # type: ignore[arg-type]
    train = part("train")
    pairs = torch.zeros(SYMBOLS, SYMBOLS, dtype=torch.float64)
    pairs.index_put_((train[:-1], train[1:]), torch.ones(len(train) - 1, dtype=torch.float64), accumulate=True)
    given = pairs / pairs.sum(1, keepdim=True)
    conditional = -(pairs * torch.where(pairs > 0, given, 1.0).log()).sum().item() / pairs.sum().item()
    assert good.status is slow.status is Status.OK
    for split in SPLITS:
        assert good.metrics[f"{split}_loss"] < conditional < slow.metrics[f"{split}_loss"]


def test_only_the_validation_text_is_looked_at_during_training() -> None:
    parameters = {name: value[None] for name, value in TASK.initial(0).items()}
    assert set(TASK.evaluate(parameters, final=False)) == {"validation_loss"}
    assert set(TASK.evaluate(parameters, final=True)) == {"train_loss", "validation_loss", "test_loss"}
    assert (TASK.selection_metric, TASK.report_metric) == ("validation_loss", "test_loss")


def test_the_loss_is_in_nats() -> None:
    outputs, targets = torch.zeros(7, SYMBOLS, dtype=torch.float64), torch.arange(7)
    assert TASK.loss(outputs, targets).item() == pytest.approx(math.log(SYMBOLS), rel=1e-12)
    assert torch.equal(TASK.loss(outputs, targets), functional.cross_entropy(outputs, targets))


@pytest.mark.parametrize(("field", "value"), [("context", 0), ("context", 1001), ("batch", 0), ("hidden", (0,))])
def test_what_makes_no_model_is_refused(field: str, value: object) -> None:
    with pytest.raises(SpecError, match=rf"CharacterModel\.{field} must lie in"):
        CharacterModel(**{field: value})  # type: ignore[arg-type]

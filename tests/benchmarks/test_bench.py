import argparse
import importlib
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bench
import pytest
from page import PAGE, written
from results import RESULTS, TABLES, conditions, merged, stored
from rich.console import Console
from rows import Aim, Case, IncomparableError, Measured

from tests.docs.test_rendered import prose


def content(median: float = 3.0) -> dict[str, Any]:
    row = {"what": "a row", "unit": "times", "aim": 2.0, "sense": "at least"}
    spread = {"median": median, "low": 2.5, "high": 3.5, "repetitions": 5, "spread": "range"}
    return {"title": "A table", "about": "About it.", "measured": conditions(1.25), "rows": [row | spread]}


def test_the_page_is_what_was_measured() -> None:
    assert written(stored()) == PAGE.read_text(encoding="utf-8"), "python benchmarks/bench.py --write-docs"


@pytest.mark.parametrize("name", TABLES)
def test_rows_that_are_stored_are_those_that_are_measured(name: str) -> None:
    cases = importlib.import_module(TABLES[name]).cases(quick=False)
    rows = stored()[name]["rows"]
    known = [(case.what, case.unit, case.aim.value, case.aim.at_most) for case in cases]
    assert [(row["what"], row["unit"], row["aim"], row["sense"] == "at most") for row in rows] == known, (
        f"python benchmarks/bench.py --only {name}"
    )
    for row in rows:
        if "left_out" not in row:
            assert row["low"] <= row["median"] <= row["high"]


def test_stored_tables_say_when_and_on_what_they_were_measured() -> None:
    tables = stored()
    assert list(tables) == list(TABLES)
    assert "jax" in tables["jax"]["measured"]
    for table in tables.values():
        assert {"date", "torch", "python", "processor", "load"} <= set(table["measured"])


def test_the_page_says_where_an_aim_was_missed_and_what_was_left_out() -> None:
    table = content(1.5)
    left = {
        "what": "another *row*",
        "unit": "times",
        "aim": 1.0,
        "sense": "at least",
        "left_out": "timm is not installed",
    }
    table["rows"].append(left)
    page = written({"trainer": table})
    assert "| a row | 1.50 × | 2.50 × to 3.50 × | at least 2.00 × | **missed** |" in page
    assert "Left out, since timm is not installed: another \\*row\\*." in page
    assert "load average 1.2 before" in page
    assert "<" not in prose(page)


def test_measured_tables_replace_their_own_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    merged({"store": content(1.0), "jax": content(2.0)}, path)
    merged({"jax": content(4.0), "trainer": content(5.0)}, path)
    assert {name: table["rows"][0]["median"] for name, table in stored(path).items()} == {
        "trainer": 5.0,
        "jax": 4.0,
        "store": 1.0,
    }
    assert list(json.loads(path.read_text(encoding="utf-8"))) == ["trainer", "jax", "store"]


def test_a_table_that_does_not_exist_is_refused_by_name() -> None:
    assert bench.chosen("jax, trainer") == ["jax", "trainer"]
    with pytest.raises(argparse.ArgumentTypeError, match=r"^there is no table 'jacks': choose from trainer, jax"):
        bench.chosen("jax,jacks")
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1, got '0'"):
        bench.positive("0")


def small(measure: Any) -> SimpleNamespace:
    cases = [Case(what="a row", aim=Aim(2.0), measure=measure)]
    return SimpleNamespace(TITLE="A table", ABOUT="About it.", cases=lambda *, quick: cases)


def test_a_table_is_measured_with_so_many_pairs_and_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "small_cost", small(lambda count: Measured([1.0] * count)))
    monkeypatch.setitem(TABLES, "small", "small_cost")
    output = io.StringIO()
    console = Console(file=output, width=200)
    table = bench.table("small", 3, quick=False, console=console)
    assert table["rows"][0]["repetitions"] == 3
    console.print(bench.drawn(table))
    assert "small: a row" in output.getvalue()
    assert "at least 2.00 ×" in output.getvalue()
    assert "missed" in output.getvalue()


def test_two_different_computations_end_it_with_a_line_and_nothing_stored(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(count: int) -> Measured:
        raise IncomparableError("a row: not the same computation")

    before = RESULTS.read_bytes(), PAGE.read_bytes()
    monkeypatch.setitem(sys.modules, "small_cost", small(refuse))
    monkeypatch.setitem(TABLES, "small", "small_cost")
    monkeypatch.setattr(sys, "argv", ["bench.py", "--only", "small"])
    assert bench.main() == 1
    assert "error: a row: not the same computation" in capsys.readouterr().err
    assert (RESULTS.read_bytes(), PAGE.read_bytes()) == before

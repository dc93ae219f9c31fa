import gzip
import json
from pathlib import Path

import pytest

from adaptive_lr.analysis import table_files
from adaptive_lr.analysis.run_steps import Steps, one_row_a_run
from adaptive_lr.analysis.table_files import read_table
from adaptive_lr.analysis.tables import Table, visible
from adaptive_lr.errors import InputError
from tests.recorded_runs import write

ROWS = [{"lr": 0.1, "loss": 2.0}, {"lr": 0.2, "loss": 1.0}]
LAYOUTS = {
    "array": json.dumps(ROWS),
    "indented": json.dumps(ROWS, indent=1),
    "lines": "\n".join(map(json.dumps, ROWS)),
    "columns": json.dumps({"lr": [0.1, 0.2], "loss": [2.0, 1.0]}),
    "columns with an index": json.dumps({"lr": {"0": 0.1, "1": 0.2}, "loss": {"0": 2.0, "1": 1.0}}),
    "inside": json.dumps({"project": "x", "runs": ROWS}),
    "with a mark": "\ufeff" + json.dumps(ROWS),
}


def read(folder: Path, name: str, text: str | bytes) -> Table:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("ending", [".json", ".JSON", ".json.gz"])
def test_json_in_every_layout(tmp_path: Path, layout: str, ending: str) -> None:
    text = LAYOUTS[layout].encode()
    table = read(tmp_path, f"a{ending}", gzip.compress(text) if ending.endswith("gz") else text)
    assert table.numbers("lr").tolist() == [0.1, 0.2]
    assert table.numbers("loss").tolist() == [2.0, 1.0]


def test_blank_and_not_finite_are_told_apart_in_json(tmp_path: Path) -> None:
    table = read(tmp_path, "a.json", '[{"lr": 0.1, "loss": null}, {"lr": 0.2, "loss": NaN}, {"lr": 0.3}]')
    assert table.blank("loss").tolist() == [True, False, True]


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\u0085", "\x0c", "\x1c"])
def test_line_of_json_ends_at_a_newline_alone(tmp_path: Path, character: str) -> None:
    rows = [json.dumps({"lr": rate, "note": f"a{character}b"}, ensure_ascii=False) for rate in (0.1, 0.2)]
    if character < " ":
        rows = [json.dumps({"lr": rate, "note": f"a{character}b"}) for rate in (0.1, 0.2)]
    assert read(tmp_path, "a.jsonl", "\r\n".join(rows)).numbers("lr").tolist() == [0.1, 0.2]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '[{"lr": 1, "lr": 2}]', r"a\.json: 'lr' is given twice"),
        ("a.jsonl", '{"lr": 1}\n{"lr": 2, "lr": 3}', r"a\.jsonl, line 2: 'lr' is given twice"),
        ("a.jsonl", '{"a.b": 1, "a": {"b": 2}}', "'a.b' is given twice"),
        ("a.json", '[{"lr": 1},\n {"lr": }]', r"a\.json, line 2: not JSON"),
        ("a.json", "[1, 2]", "is JSON, but not rows: it takes an array of objects, an object of columns, or one object a line"),
        ("a.json", '{"lr": [1, 2], "loss": [1]}', "is JSON, but not rows"),
        ("a.json", "[" * 20_000, "nested too deeply"),
        ("a.jsonl", '{"a":' * 20_000 + "1" + "}" * 20_000, "line 1: brackets are nested too deeply"),
        ("a.json", '[{"lr": ' + "9" * 5000 + "}]", "a number has too many digits"),
        ("a.csv", "lr;loss\n0,1;2\n", "line 2: lr is '0,1', not a number; write a decimal point for the comma"),
        ("a.csv", "lr;loss\n0.1;2;3\n", r"line 2: 3 cells, but 2 columns \(separated by semicolons\)"),
        ("a.csv", "lr,loss\n0.1,1_000\n", "line 2: loss is '1_000', not a number"),
        ("a.csv", "lr,loss\n0.1,\uff10\n", "not a number"),
        ("a.csv.gz", gzip.compress(b"lr,loss\n0.1,2\n", mtime=0)[:-6], "not a text file in UTF-8"),
    ],
    ids=lambda value: None if isinstance(value, str) and len(value) < 40 and value.isprintable() else "content",
)  # fmt: skip
def test_file_that_is_wrong_is_named(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        numbers_of(tmp_path, name, text)


def numbers_of(folder: Path, name: str, text: str | bytes) -> None:
    table = read(folder, name, text)
    for column in table.columns:
        table.numbers(column)


def test_separator_is_read_from_names_outside_of_quotes(tmp_path: Path) -> None:
    assert list(read(tmp_path, "a.csv", '"a,b,c,d";lr;loss\nx;0.1;2\n').columns) == ["a,b,c,d", "lr", "loss"]
    assert list(read(tmp_path, "a.tsv", "a,b\tlr\nx\t0.1\n").columns) == ["a,b", "lr"]


def test_compressed_file_that_never_ends_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "LARGEST_FILE", 2**20)
    with pytest.raises(InputError, match="holds more than 1 MiB of text"):
        read(tmp_path, "a.csv.gz", gzip.compress(b"0" * 2**24))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_control_characters_are_spelt_out(tmp_path: Path, name: str) -> None:
    nasty = "\x1b[2J\x07\u202e"
    text = f"lr,{nasty}\n0.1,{nasty}\n" if name == "a.csv" else json.dumps({"lr": 0.1, nasty: nasty + "\ud800"})
    table = read(tmp_path, name, text)
    for word in (*table.columns, *table.columns[list(table.columns)[1]]):
        assert visible(word) == word
        assert "\x1b" not in word
    assert list(table.columns)[1] == "\\x1b[2J\\x07\\u202e"


STEPS = (
    "run,lr,step,loss",
    "a,0.1,,9.0",
    "a,0.1,1,0.5",
    "a,0.1,2,0.3",
    "b,0.01,1,0.6",
    "b,0.01,2,0.4",
    "b,0.01,3,0.2",
    "c,0.02,1,",
)


def test_row_without_a_step_is_not_the_last(tmp_path: Path) -> None:
    runs, notes = one_row_a_run(
        read_table(write(tmp_path / "a.csv", *STEPS)), rate="lr", loss="loss", steps=Steps(run="run", step="step")
    )
    losses = dict(zip(runs.columns["run"], runs.columns["loss"], strict=True))
    assert losses == {"a": "0.3", "b": "0.2", "c": ""}
    assert "1 row has no step: taken as before the others." in notes


def test_runs_of_different_length_are_said_and_can_be_left_out(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", *STEPS[:-1]))
    _, notes = one_row_a_run(table, rate="lr", loss="loss", steps=Steps(run="run", step="step"))
    assert any(
        "the last step with a loss lies between 2 (a) and 3 (b), and 1 of 2 runs ended before the longest. --least-step 3"
        in note
        for note in notes
    )
    runs, notes = one_row_a_run(table, rate="lr", loss="loss", steps=Steps(run="run", step="step", least_step=3))
    assert runs.columns["run"] == ["b"]
    assert "Ended before step 3, and left out: a." in notes
    with pytest.raises(InputError, match="no run gets to step 4; the longest ends at 3"):
        one_row_a_run(table, rate="lr", loss="loss", steps=Steps(run="run", step="step", least_step=4))


def test_best_step_of_a_metric_is_its_greatest(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "a.csv", *STEPS))
    runs, _ = one_row_a_run(table, rate="lr", loss="loss", steps=Steps(run="run", reduce="max"))
    assert runs.columns["loss"] == ["9.0", "0.6", ""]
    with pytest.raises(
        InputError, match="--reduce max takes the worst step of each run; write --reduce min, or --direction maximize"
    ):
        Steps(reduce="max").check(maximise=False)
    with pytest.raises(InputError, match="write --reduce max, or --direction minimize"):
        Steps(reduce="min").check(maximise=True)

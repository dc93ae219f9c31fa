import gzip
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from adaptive_lr.analysis.recorded import Request
from adaptive_lr.analysis.recorded_summary import summarise
from adaptive_lr.analysis.run_steps import Steps, one_row_a_run
from adaptive_lr.analysis.table_files import read_table
from adaptive_lr.errors import InputError
from adaptive_lr.experiment import run_experiment
from adaptive_lr.reporting.events import read_events
from adaptive_lr.reporting.tensorboard import write_events
from adaptive_lr.trials.store import Store
from tests.recorded_runs import write
from tests.tiny import EXPERIMENT, STUDY


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_with_any_usual_separator(tmp_path: Path, separator: str) -> None:
    path = write(tmp_path / "a.csv", separator.join(("lr", "loss")), "", separator.join(("1e-3", "2")))
    found = read_table(path)
    assert list(found.columns) == ["lr", "loss"]
    assert found.numbers("loss").tolist() == [2.0]
    assert found.places == ["line 3"]


def test_csv_from_a_spreadsheet_with_its_mark_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbflr,name,loss\r\n0.1,"a, b",2\r\n')
    found = read_table(path)
    assert found.columns["name"] == ["a, b"]
    assert found.numbers("lr").tolist() == [0.1]


def test_compressed_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"lr,loss\n0.1,2\n"))
    assert read_table(tmp_path / "a.csv.gz").numbers("loss").tolist() == [2.0]


def test_json_lines_with_nested_names(tmp_path: Path) -> None:
    lines = ['{"config": {"lr": 0.1}, "loss": 2}', '{"config": {"lr": 0.2}, "loss": NaN, "note": null}']
    found = read_table(write(tmp_path / "a.jsonl", *lines))
    assert found.numbers("config.lr").tolist() == [0.1, 0.2]
    assert np.isnan(found.numbers("loss")[1])
    assert found.columns["note"] == ["", ""]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "a.csv is empty"),
        ("a.csv", "\n\n", "a.csv is empty"),
        ("a.csv", "lr,loss\n", "a.csv has a header and no rows"),
        ("a.csv", "lr,loss\n0.1,2\n0.2\n", "a.csv, line 3: 1 cells, but 2 columns"),
        ("a.csv", "lr,lr\n0.1,2\n", "has the column 'lr' twice"),
        ("a.jsonl", '{"lr": 1}\n{"lr":\n', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", "[1, 2]\n", "a.jsonl, line 1: not an object"),
    ],
)
def test_file_that_is_not_what_it_should_be(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / name)


def test_what_is_no_text_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(InputError, match="is not a file"):
        read_table(tmp_path)
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not a text file in UTF-8"):
        read_table(tmp_path / "a.csv")
    (tmp_path / "a.csv.gz").write_bytes(b"not compressed")
    with pytest.raises(InputError, match="not a text file in UTF-8"):
        read_table(tmp_path / "a.csv.gz")


STEPS = (
    "id,schedule,step,lr,loss,tokens",
    "x,cosine,2,0.05,3.0,20",
    "x,cosine,1,0.10,5.0,10",
    "x,cosine,3,0.00,,30",
    "y,cosine,1,0.20,4.0,10",
    "y,cosine,2,0.10,nan,20",
    "z,cosine,1,0.40,2.0,10",
    "z,cosine,2,0.20,6.0,20",
)


@pytest.mark.parametrize(("reduce", "losses"), [("last", [3.0, math.nan, 6.0]), ("min", [3.0, 4.0, 2.0])])
def test_steps_become_runs(tmp_path: Path, reduce: str, losses: list[float]) -> None:
    table = read_table(write(tmp_path / "a.csv", *STEPS))
    runs, words = one_row_a_run(table, loss="loss", rate="lr", steps=Steps(run="id", step="step", reduce=reduce))
    by_run = dict(zip(runs.columns["id"], zip(runs.numbers("lr"), runs.numbers("loss"), strict=True), strict=True))
    for name, rate, loss in zip("xyz", (0.1, 0.2, 0.4), losses, strict=True):
        assert by_run[name] == pytest.approx((rate, loss), nan_ok=True)
    assert set(runs.columns["schedule"]) == {"cosine"}
    assert "tokens" not in runs.columns
    assert "left out, because they change within a run: step, tokens" in words[0]


def test_a_run_is_reduced_to_its_last_or_least_only() -> None:
    with pytest.raises(InputError, match="last or min, or max where more is better, got 'mean'"):
        Steps(run="id", reduce="mean")


def log(folder: Path, losses: list[float], hyperparameters: Mapping[str, float | str] | None = None) -> None:
    with SummaryWriter(str(folder)) as writer:
        for step, loss in enumerate(losses):
            writer.add_scalar("test/loss", loss, step)
        if hyperparameters is not None:
            writer.add_hparams(dict(hyperparameters), {"hparam/loss": losses[-1]}, run_name="parameters")


def test_events_with_names_in_the_path(tmp_path: Path) -> None:
    log(tmp_path / "cosine/lr=0.1,seed=0", [3.0, 1.0, 2.0])
    log(tmp_path / "cosine/lr=0.2_seed=1", [3.0, math.nan])
    found, _ = read_events(tmp_path, tag="test/loss", steps=Steps())
    assert found.columns["folder1"] == ["cosine", "cosine"]
    assert found.numbers("lr").tolist() == [0.1, 0.2]
    assert found.numbers("seed").tolist() == [0.0, 1.0]
    assert found.numbers("test/loss").tolist() == pytest.approx([2.0, math.nan], nan_ok=True)
    assert read_events(tmp_path, tag="test/loss", steps=Steps(reduce="min"))[0].numbers("test/loss").tolist() == [
        1.0,
        3.0,
    ]


def test_events_with_hyperparameters_of_the_plugin(tmp_path: Path) -> None:
    for place, rate in enumerate((0.1, 0.2, 0.4)):
        log(tmp_path / f"run{place}", [3.0, 2.0 - rate], {"lr": rate, "schedule": "cosine"})
    table, _ = read_events(tmp_path, tag="test/loss", steps=Steps())
    assert len(table) == 3
    groups = summarise(table, Request(rate="lr", loss="test/loss", by=("schedule",)))["groups"]
    assert groups["cosine"]["rates"] == [0.1, 0.2, 0.4]
    assert groups["cosine"]["best_rate"] == 0.4


def test_events_that_this_package_wrote(tmp_path: Path) -> None:
    with Store(tmp_path / "store.sqlite", write=True) as store:
        run_experiment(EXPERIMENT, store, workers=1)
        runs = EXPERIMENT.runs_to_show(EXPERIMENT.analyse(store), everything=False)
        write_events(runs, store, tmp_path / "runs")
        records = store.read(one.trial.digest() for one in runs)
    metric = STUDY.task.report_metric
    table, _ = read_events(tmp_path / "runs", tag=f"final/{metric}", steps=Steps())
    request = Request(rate="base_lr", loss=f"final/{metric}", by=("schedule",), where=(("study", "squares"),))
    groups = summarise(table, request)["groups"]
    assert set(groups) == set(EXPERIMENT.by_label)
    for label, row in groups.items():
        mine = [one.trial for one in runs if one.words["study"] == "squares" and one.words["schedule"] == label]
        expected = {trial.base_lr: records[trial.digest()].metrics[metric] for trial in mine}
        assert row["rates"] == pytest.approx(sorted(expected), rel=1e-6)
        assert row["curve"]["mean"] == pytest.approx([expected[rate] for rate in sorted(expected)], rel=1e-5)


def test_folders_without_what_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        read_events(tmp_path / "absent", tag="x", steps=Steps())
    with pytest.raises(InputError, match="no TensorBoard event files below"):
        read_events(tmp_path, tag="x", steps=Steps())
    log(tmp_path / "lr=0.1", [1.0])
    with pytest.raises(InputError, match="scalar 'loss'; did you mean 'test/loss'"):
        read_events(tmp_path, tag="loss", steps=Steps())

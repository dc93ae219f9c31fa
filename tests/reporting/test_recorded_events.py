import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from torch.utils.tensorboard import SummaryWriter
from typer.testing import CliRunner

from adaptive_lr.analysis.run_steps import Steps
from adaptive_lr.cli import app
from adaptive_lr.errors import InputError
from adaptive_lr.reporting.events import read_events


def log(folder: Path, losses: Sequence[float], tag: str = "loss") -> Path:
    with SummaryWriter(str(folder)) as writer:
        for step, loss in enumerate(losses):
            writer.add_scalar(tag, loss, step)
    return next(folder.glob("*tfevents*"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sound runs."""
    for rate in (0.1, 0.2):
        log(tmp_path / f"lr={rate}", [3.0, 2.0, rate])
    return tmp_path


@pytest.mark.parametrize(("kept", "last"), [(-1, 1.5), (-30, 1.5), (-60, 2.0)])
def test_file_that_is_cut_off_is_named_with_what_was_read(folder: Path, kept: int, last: float) -> None:
    path = log(folder / "lr=0.4", [3.0, 2.0, 1.5, 1.0])
    content = path.read_bytes()
    path.write_bytes(content[:kept])
    table, notes = read_events(folder, tag="loss", steps=Steps())
    assert table.numbers("loss").tolist()[-1] == last
    damage = next(note for note in notes if "is damaged" in note)
    assert str(path.relative_to(folder)) in damage
    assert "it ends inside a record" in damage
    assert f"of {len(content) + kept} bytes were read" in damage


@pytest.mark.parametrize("place", range(60, 200, 7))
def test_flipped_byte_is_never_a_wrong_number(folder: Path, place: int) -> None:
    path = log(folder / "lr=0.4", [3.0, 2.0, 1.5, 1.0, 0.5])
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(bytes(content))
    table, notes = read_events(folder, tag="loss", steps=Steps())
    assert sum("is damaged" in note for note in notes) == 1
    values = dict(zip(table.columns["run"], table.numbers("loss").tolist(), strict=True))
    assert values.get("lr=0.4", 3.0) in (3.0, 2.0, 1.5, 1.0)


def test_damage_is_said_on_the_command_line(folder: Path) -> None:
    path = log(folder / "lr=0.4", [3.0, 2.0])
    path.write_bytes(path.read_bytes()[:-2])
    result = CliRunner(env={"COLUMNS": "500"}).invoke(app, ["robustness", str(folder), "--lr", "lr", "--loss", "loss"])
    assert result.exit_code == 0, result.output
    assert "is damaged (it ends inside a record)" in result.stdout


def test_pipe_and_folder_of_that_name_are_passed_over(folder: Path) -> None:
    os.mkfifo(folder / "lr=0.1" / "events.out.tfevents.2")
    (folder / "lr=0.4" / "tfevents").mkdir(parents=True)
    table, _ = read_events(folder, tag="loss", steps=Steps())
    assert table.numbers("lr").tolist() == [0.1, 0.2]


def test_file_of_something_else_is_named(folder: Path) -> None:
    (folder / "lr=0.4").mkdir()
    (folder / "lr=0.4" / "a.tfevents").write_text("not an event file at all")
    _, notes = read_events(folder, tag="loss", steps=Steps())
    assert any("0 of 24 bytes were read, 0 events" in note for note in notes)
    assert any("have no scalar loss: 1 folder (lr=0.4)" in note for note in notes)


def test_runs_of_different_length_are_said_and_can_be_left_out(folder: Path) -> None:
    log(folder / "lr=0.4", [3.0, 2.0])
    _, notes = read_events(folder, tag="loss", steps=Steps())
    assert any("the last step with a loss lies between 1 (lr=0.4) and 2 (lr=0.1)" in note for note in notes)
    table, notes = read_events(folder, tag="loss", steps=Steps(least_step=2))
    assert table.numbers("lr").tolist() == [0.1, 0.2]
    assert "Ended before step 2, and left out: lr=0.4." in notes


def test_metric_of_events_is_the_right_way_up(tmp_path: Path) -> None:
    for rate, values in {0.1: [0.2, 0.6, 0.5], 0.2: [0.3, 0.9, 0.8], 0.4: [0.1, 0.2, 0.1]}.items():
        log(tmp_path / f"lr={rate}", values, "test/IoU")
    table, _ = read_events(tmp_path, tag="test/IoU", steps=Steps(reduce="max"))
    assert table.numbers("test/IoU").tolist() == pytest.approx([0.6, 0.9, 0.2])
    options = ["robustness", str(tmp_path), "--lr", "lr", "--loss", "test/IoU"]
    doubted = CliRunner(env={"COLUMNS": "500"}).invoke(app, options)
    assert "test/IoU reads like a metric of which more is better" in doubted.stdout
    result = CliRunner(env={"COLUMNS": "500"}).invoke(app, [*options, "--direction", "maximize", "--reduce", "max"])
    assert "All runs: highest value 0.9 at 0.2" in result.stdout


def test_steps_that_were_done_again_count_once(tmp_path: Path) -> None:
    log(tmp_path / "lr=0.1", [3.0, 2.0, 0.01])
    with SummaryWriter(str(tmp_path / "lr=0.1"), purge_step=2, filename_suffix=".2") as writer:
        writer.add_scalar("loss", 1.5, 2)
    table, _ = read_events(tmp_path, tag="loss", steps=Steps(reduce="min"))
    assert table.numbers("loss").tolist() == [1.5]


def test_missing_scalar_comes_with_what_could_not_be_read(tmp_path: Path) -> None:
    path = log(tmp_path / "lr=0.1", [1.0])
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InputError, match=r"has the scalar 'loss'; there are no scalars at all .*is damaged"):
        read_events(tmp_path, tag="loss", steps=Steps())

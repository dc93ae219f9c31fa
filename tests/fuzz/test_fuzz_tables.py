import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.driving import assert_ends_well, empty_folder
from tests.fuzz.nasty import changed_bytes, changed_text, fuzzed, leaves, mutated, sized
from tests.fuzz.test_fuzz_commands import TABLE

ROWS = [dict(zip(TABLE.splitlines()[0].split(","), line.split(","), strict=True)) for line in TABLE.splitlines()[1:]]
ROWS = [{**row, "lr": float(row["lr"]), "loss": float(row["loss"])} for row in ROWS]  # type: ignore[dict-item]
ASKED = ["--lr", "lr", "--loss", "loss", "--by", "kind", "--seed", "seed"]


def assert_read(name: str, content: bytes) -> None:
    with empty_folder() as folder:
        (folder / name).write_bytes(content)
        assert_ends_well(["robustness", name, *ASKED])
        assert_ends_well(
            [
                "advise",
                "--grid-ratio",
                "10",
                "--runs",
                name,
                "--lr",
                "lr",
                "--loss",
                "loss",
                "--by",
                "kind",
                "--seed",
                "seed",
            ]
        )


@fuzzed(1, 400)
def test_a_changed_csv_ends_in_a_result_or_one_line(examples: int) -> None:
    @sized(examples)
    @given(
        st.one_of(
            changed_text(TABLE).map(lambda text: text.encode("utf-8", "surrogatepass")), changed_bytes(TABLE.encode())
        )
    )
    def check(content: bytes) -> None:
        assert_read("runs.csv", content)

    check()


@fuzzed(1, 400)
def test_changed_rows_of_json_end_in_a_result_or_one_line(examples: int) -> None:
    @sized(examples)
    @given(mutated(ROWS, most=6), st.sampled_from(("runs.json", "runs.jsonl")))
    def check(rows: object, name: str) -> None:
        lines = rows if isinstance(rows, list) else [rows]
        text = (
            json.dumps(rows, default=str)
            if name == "runs.json"
            else "\n".join(json.dumps(row, default=str) for row in lines)
        )
        assert_read(name, text.encode())

    check()


@fuzzed(1, 300)
def test_nasty_cells_end_in_a_result_or_one_line(examples: int) -> None:
    @sized(examples)
    @given(st.lists(st.tuples(leaves, leaves, leaves), min_size=1, max_size=9))
    def check(rows: list[tuple[object, object, object]]) -> None:
        lines = [json.dumps({"lr": rate, "loss": loss, "kind": kind, "seed": 0}) for rate, loss, kind in rows]
        assert_read("runs.jsonl", "\n".join(lines).encode())

    check()


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torch.utils.tensorboard import SummaryWriter

    folder = tmp_path_factory.mktemp("events")
    for rate in (0.01, 0.1, 1.0):
        with SummaryWriter(str(folder / f"lr={rate}")) as writer:
            for step in range(5):
                writer.add_scalar("loss", 1.0 / (step + 1), step)
                writer.add_scalar("lr", rate, step)
    return folder


@fuzzed(1, 150)
def test_changed_event_files_end_in_a_result_or_one_line(events: Path, examples: int) -> None:
    files = {path.relative_to(events): path.read_bytes() for path in events.rglob("events*")}

    @sized(examples)
    @given(st.sampled_from(sorted(files)), st.data())
    def check(chosen: Path, data: st.DataObject) -> None:
        with empty_folder() as folder:
            for path, content in files.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(data.draw(changed_bytes(content)) if path == chosen else content)
            assert_ends_well(["robustness", ".", "--lr", "lr", "--loss", "loss"])

    check()

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.driving import assert_ends_well, empty_folder, limited
from tests.fuzz.nasty import changed_bytes, fuzzed, sized
from tests.trials.test_store_damage import assert_right_or_said, filled


@fuzzed(8, 2000)
def test_a_changed_store_gives_the_numbers_that_were_stored_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, examples: int
) -> None:
    path = tmp_path_factory.mktemp("store") / "store.sqlite"
    results = filled(path)
    content = path.read_bytes()

    @sized(examples)
    @given(changed_bytes(content), st.booleans())
    def check(changed: bytes, write: bool) -> None:
        for beside in path.parent.glob("store.sqlite-*"):
            beside.unlink()
        path.write_bytes(changed)
        with limited():
            assert_right_or_said(path, results, write=write)

    check()


@fuzzed(1, 100)
def test_a_report_from_a_changed_store_ends_in_a_result_or_one_line(examples: int, tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    filled(path)
    content = path.read_bytes()

    @sized(examples)
    @given(changed_bytes(content))
    def check(changed: bytes) -> None:
        with empty_folder() as folder:
            (folder / "results").mkdir()
            (folder / "results/store.sqlite").write_bytes(changed)
            (folder / "report").mkdir()
            (folder / "report/report.json").write_text('{"format": 4, "experiments": {}}')
            assert_ends_well(["report"])
            assert_ends_well(["report", str(Path(__file__).parents[1] / "tiny.py")])

    check()

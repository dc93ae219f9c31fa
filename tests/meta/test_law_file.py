import json
from pathlib import Path
from typing import Any

import pytest

from adaptive_lr.errors import InputError
from adaptive_lr.meta.law_curves import Source
from adaptive_lr.meta.law_file import load_law, save_law
from adaptive_lr.meta.law_fit import fit_law
from adaptive_lr.meta.laws import AnnealingLaw
from tests.loss_curves import ANNEALING, curves


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("laws") / "law.json"
    fit = fit_law(curves(ANNEALING, noise=3e-4), AnnealingLaw, starts=2, replicates=20)
    save_law(fit, [Source("cosine.csv", "ab" * 32)], path)
    return path


def test_a_fit_comes_back_with_its_sources(file: Path, tmp_path: Path) -> None:
    stored = load_law(file)
    assert stored.sources == (Source("cosine.csv", "ab" * 32),)
    assert stored.fit.law == fit_law(curves(ANNEALING, noise=3e-4), AnnealingLaw, starts=2, replicates=20).law
    save_law(stored.fit, stored.sources, tmp_path / "again.json")
    assert load_law(tmp_path / "again.json") == stored
    assert json.loads((tmp_path / "again.json").read_text())["draws"] == json.loads(file.read_text())["draws"]
    assert file.stat().st_size < 10_000


def changed(file: Path, folder: Path, **values: Any) -> Path:
    document = json.loads(file.read_text()) | values
    path = folder / "law.json"
    path.write_text(json.dumps({key: value for key, value in document.items() if value is not ...}))
    return path


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 2}, r"has format 2, written by adaptive_lr .*; this version reads 1: fit the law again"),
        ({"law": "cubic"}, "has the law 'cubic'; known are multi_power, annealing"),
        ({"parameters": {"L0": 1.0}}, "has the parameters L0; the annealing law has L0, A, alpha, C, forgetting"),
        (
            {"parameters": {"L0": float("nan"), "A": 1, "alpha": 1, "C": 1, "forgetting": 0.1}},
            "L0 in the file must be a finite",
        ),
        ({"draws": [[1.0]]}, "a resampled fit in the file has 1 numbers; the annealing law has 5"),
        ({"draws": []}, "has no resampled fits"),
        ({"peak": "high"}, "peak in the file must be a finite number, got 'high'"),
        ({"peak": ...}, "is not a fitted law as fit-law writes it: 'peak' is missing"),
        ({"law": ...}, "is not a fitted law: fit one with fit-law"),
        ({"in_sample": {"r3": 1}}, "is not a fitted law as fit-law writes it"),
    ],
)
def test_files_that_hold_something_else_are_refused(
    file: Path, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_law(changed(file, tmp_path, **values))


def test_no_file_and_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no file .*: make one with fit-law"):
        load_law(tmp_path / "law.json")
    (tmp_path / "law.json").write_text("step,lr")
    with pytest.raises(InputError, match="is not a fitted law as fit-law writes it: this is no JSON"):
        load_law(tmp_path / "law.json")

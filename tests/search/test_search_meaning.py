"""What a value, a name and a directory mean: infinities, what a generator returns, names nobody reads, another function."""

import functools
import importlib.util
import math
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from adaptive_lr import DampedCosine, Range, SearchTrial, Warmup, search
from adaptive_lr.errors import RunError, SpecError
from adaptive_lr.search import SearchResult, Space, TrialRecord
from adaptive_lr.search.named import name_of, source_of
from tests.searched import changed, edited, parabola, raising

SPACE = {"x": Range(0, 1)}


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("value", "direction", "message"),
    [
        (math.nan, "minimize", r"returned nan: return math\.inf for a run that diverged"),
        (math.nan, "maximize", r"returned nan: return -math\.inf for a run that diverged"),
        (math.inf, "maximize", r"returned inf, the best there can be when it is maximised: return -math\.inf"),
        (-math.inf, "minimize", r"returned -inf, the best there can be when it is minimised: return math\.inf"),
        ((0.0, math.inf), ("minimize", "maximize"), r"returned inf, .* maximised"),
        ((math.nan, 0.0), ("minimize", "maximize"), r"returned nan: return math\.inf"),
        (10**400, "minimize", "which is no number"),
    ],
)
def test_no_run_that_diverged_is_the_best(value: Any, direction: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=message):
        search(lambda trial: value, SPACE, trials=1, directory=tmp_path, workers=0, direction=direction)


def test_a_run_that_diverged_is_the_worst_when_maximised(tmp_path: Path) -> None:
    def accuracy(trial: SearchTrial) -> float:
        return -math.inf if trial["x"] > 0.5 else float(trial["x"])

    found = search(accuracy, SPACE, trials=20, directory=tmp_path, workers=0, direction="maximize", sampler="qmc")
    assert 0.3 < found.best_value <= 0.5
    assert found.history()[-1] == found.best_value
    assert any(trial.values == (-math.inf,) for trial in found.trials)


def test_a_value_that_is_infinitely_good_is_no_result(tmp_path: Path) -> None:
    values = [(math.inf, 0.0), (0.5, 1.0), (0.4, -math.inf), (math.nan, 0.0)]
    trials = [
        TrialRecord(number=number, point={"x": 0.1}, values=value, state="complete")
        for number, value in enumerate(values)
    ]
    found = SearchResult(
        trials=tuple(trials),
        directions=("maximize", "minimize"),
        directory=tmp_path,
        storage="",
        ran=0,
        space=Space.read(SPACE),
    )
    assert [trial.number for trial in found.pareto()] == [1]
    assert found.history() == [0.5]


def test_infinitely_good_runs_of_an_earlier_version_are_done_again(tmp_path: Path) -> None:
    search(parabola, {**SPACE, "kind": ["a"]}, trials=3, directory=tmp_path, workers=0)
    with edited(tmp_path / "runs.sqlite") as journal:  # as version 0 wrote it
        journal.execute("UPDATE runs SET outcome = replace(outcome, '\"values\": [', '\"values\": [-Infinity, ')")
        rows = journal.execute("SELECT key, number, outcome FROM runs").fetchall()
        journal.executescript("DROP TABLE runs; PRAGMA user_version = 0")
        journal.execute("CREATE TABLE runs (key TEXT PRIMARY KEY, number INTEGER NOT NULL, outcome TEXT NOT NULL)")
        journal.executemany("INSERT INTO runs VALUES (?, ?, ?)", rows)
    again = search(parabola, {**SPACE, "kind": ["a"]}, trials=3, directory=tmp_path, workers=0)
    assert again.ran == 3
    assert math.isfinite(again.best_value)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_generator_returns_is_its_value(workers: int, tmp_path: Path) -> None:
    def train(trial: SearchTrial) -> Generator[float, None, float]:
        yield 0.9
        return 0.1

    found = search(train, SPACE, trials=2, directory=tmp_path, workers=workers)
    assert [(trial.values, trial.curve) for trial in found.trials] == [((0.1,), (0.9,))] * 2


def test_what_a_generator_returns_must_be_a_number(tmp_path: Path) -> None:
    def train(trial: SearchTrial) -> Any:
        yield 0.9
        return math.nan

    with pytest.raises(RunError, match=r"returned nan: return math\.inf"):
        search(train, SPACE, trials=1, directory=tmp_path, workers=0)


@pytest.mark.parametrize("prefix", ["", "schedule"])
def test_a_name_that_a_spec_has_further_in_is_not_dropped(prefix: str, tmp_path: Path) -> None:
    start = f"{prefix}." if prefix else ""

    def train(trial: SearchTrial) -> float:
        schedule = trial.apply(Warmup(fraction=0.05, then=DampedCosine()), prefix)
        return float(trial["lr"]) + float(schedule.then.leaves()["exponent"])

    space: dict[str, Any] = {"lr": Range(0.1, 1), f"{start}exponent": Range(0.5, 4)}
    meant = f"left '{start}exponent' of the search space unread: .* did you mean '{start}then.exponent'"
    with pytest.raises(RunError, match=meant):
        search(train, space, trials=3, directory=tmp_path / "a", workers=0)
    space = {"lr": Range(0.1, 1), f"{start}then.exponent": Range(0.5, 4)}
    found = search(train, space, trials=3, directory=tmp_path / "b", workers=0)
    assert all(trial.values[0] == pytest.approx(sum(map(float, trial.point.values()))) for trial in found.trials)  # type: ignore[arg-type]
    assert found.notes == ()


READERS = {
    "each": lambda trial: trial["x"] + trial["y"],
    "get": lambda trial: trial.get("x") + trial.get("y"),
    "items": lambda trial: sum(value for _, value in trial.items()),
    "dict": lambda trial: dict(trial)["x"],
    "stars": lambda trial: dict(**trial)["x"],
    "point": lambda trial: trial.point["x"] + trial.point["y"],
    "copy": lambda trial: {**trial.point}["x"],
    "values": lambda trial: sum(trial.point.values()),
    "sometimes": lambda trial: trial["y"] if trial["x"] > 0.5 else 0.0,
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("reader", READERS)
def test_a_name_that_is_read_somehow_is_not_named(reader: str, tmp_path: Path) -> None:
    space = {"x": Range(0, 1), "y": Range(0, 1)}
    found = search(READERS[reader], space, trials=8, directory=tmp_path, workers=0)
    assert found.notes == ()


def test_a_name_that_no_run_reads_is_named(tmp_path: Path) -> None:
    said: list[str] = []
    space = {"x": Range(0, 1), "beta": Range(0, 1)}
    found = search(lambda trial: trial["x"], space, trials=3, directory=tmp_path, workers=1, say=said.append)
    assert said == ["no run looked at 'beta' of the search space: their values mean nothing"]
    assert found.notes == tuple(said)


def test_another_function_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    space = {**SPACE, "kind": ["a", "b"]}
    search(parabola, space, trials=2, directory=tmp_path, workers=0)
    with pytest.raises(SpecError, match=r'holds a search with function "searched:parabola", not "searched:raising"'):
        search(raising, space, trials=2, directory=tmp_path, workers=0)


def version(folder: Path, text: str, name: str = "mine") -> Any:
    """The module with that text, as another process would find it."""
    import linecache

    (folder / f"{name}.py").write_text(text)
    linecache.checkcache()
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ("def train(trial):\n    return trial['x']\n", "def train(trial):\n    return 1000 + trial['x']\n", "train"),
        ("train = lambda trial: trial['x']\n", "train = lambda trial: 1000 + trial['x']\n", "<lambda>"),
        (
            "def scale():\n    return 1\ndef train(trial):\n    return scale() * trial['x']\n",
            "def scale():\n    return 1000\ndef train(trial):\n    return scale() * trial['x']\n",
            "train",
        ),
    ],
    ids=["function", "lambda", "helper"],
)
def test_runs_of_an_earlier_version_are_counted(before: str, after: str, name: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"directory": tmp_path / "s", "workers": 0}
    assert search(version(tmp_path, before).train, SPACE, trials=5, **options).notes == ()
    later = version(tmp_path, f"import math\n{before}\ndef unused():\n    pass\n").train
    assert search(later, SPACE, trials=6, **options).notes == ()
    said: list[str] = []
    found = search(version(tmp_path, after).train, SPACE, trials=8, say=said.append, **options)
    assert found.ran == 2
    note = f"6 of the finished runs are of another version of mine:{name}: its source has changed since"
    assert said == [note]
    assert found.notes == (note,)


def test_a_function_has_one_name_however_it_is_wrapped() -> None:
    class Trainer:
        def __call__(self, trial: Any) -> float:
            return 0.0

        def fit(self, trial: Any) -> float:
            return 0.0

    assert name_of(functools.partial(parabola)) == name_of(parabola) == "searched:parabola"
    assert name_of(Trainer()).endswith("<locals>.Trainer")
    assert name_of(Trainer().fit).endswith("Trainer.fit")
    assert source_of(Trainer()) is not None
    assert source_of(len) is None


def test_a_search_that_was_stopped_by_failures_goes_on_once_they_are_mended(tmp_path: Path) -> None:
    space = {**SPACE, "kind": ["a", "b"]}
    options: dict[str, Any] = {"directory": tmp_path, "workers": 0, "on_error": "skip"}
    with pytest.raises(RunError, match="20 trials failed and 0 finished"):
        search(raising, space, trials=10, **options)
    found = search(changed(raising, parabola), space, trials=10, **options)
    assert len(found.trials) - found.skipped == 10
    assert found.skipped >= 20


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "x: [1]\nx: [2]\n", "'x' is given twice"),
        ("b.json", '{"x": [1], "x": [2]}', "'x' is given twice"),
        ("c.yaml", "x: {low: 0, low: 1, high: 2}\n", "'low' is given twice"),
        ("d.json", '{"\\ud800": [1]}', "must be text"),
        ("e.json", '{"x": ["\\ud800"]}', "must be text that a file can hold"),
    ],
)
def test_a_space_that_says_two_things_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SpecError, match=message):
        Space.read(tmp_path / name)

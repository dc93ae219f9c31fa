"""Somebody who can write to the study, to the journal, or to the folder: nothing of theirs is run, shown or believed."""

import os
import pickle
import random
import re
import shutil
import sqlite3
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy.exc

from adaptive_lr import Range, search
from adaptive_lr.errors import SpecError, StoreError
from adaptive_lr.search import ledger
from adaptive_lr.search.address import safe, without_secrets
from adaptive_lr.search.storage import refused
from tests.chaos import postgres
from tests.searched import changed, edited, history, parabola, raising, states

SPACE = {"x": Range(0.001, 1.0, log=True), "kind": ["a", "b"]}
SECRET = "tiger7secret"


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["BOMB"],)


@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.slow), "between"])
def test_a_pickle_in_the_study_is_never_loaded(when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOMB", str(tmp_path / "went off"))
    options: dict[str, Any] = {"directory": tmp_path / "s", "workers": 0, "sampler": "cmaes"}
    whole = search(parabola, SPACE, trials=14, directory=tmp_path / "whole", workers=0, sampler="cmaes")
    search(parabola, SPACE, trials=9, **options)
    with edited(tmp_path / "s/study.db") as study:
        assert not study.execute("SELECT * FROM trial_system_attributes").fetchall()
        hexadecimal = pickle.dumps(Bomb()).hex()
        study.executemany(
            "INSERT INTO trial_system_attributes (trial_id, key, value_json) VALUES (?, ?, ?)",
            [(number, "cma:optimizer:0", f'"{hexadecimal}"') for number in range(1, 10)],
        )
    if when == "between":  # as an earlier version left it: the points in the study alone
        with edited(tmp_path / "s/runs.sqlite") as journal:
            journal.execute("DELETE FROM points")
    longer = search(parabola, SPACE, trials=14, **options)
    assert history(longer) == history(whole)
    assert not (tmp_path / "went off").exists()


EDITS = {
    "a value": "UPDATE trial_values SET value = -5.0 WHERE trial_id = 4",
    "a parameter": "UPDATE trial_params SET param_value = 0.5 WHERE trial_id = 4 AND param_name = 'x'",
    "a parameter that is gone": "DELETE FROM trial_params WHERE trial_id = 4 AND param_name = 'x'",
    "a state": "UPDATE trials SET state = 'FAIL' WHERE trial_id = 4",
    "an unknown state": "UPDATE trials SET state = 'GOOD' WHERE trial_id = 4",
    "an unknown distribution": "UPDATE trial_params SET distribution_json = '{}' WHERE trial_id = 4",
    "no JSON": "UPDATE trial_params SET distribution_json = '{' WHERE trial_id = 4",
    "a trial that is gone": "DELETE FROM trials WHERE trial_id = 4",
}


FAST = {"a value", "a parameter that is gone", "an unknown distribution", "a trial that is gone"}


@pytest.mark.parametrize("edit", [pytest.param(edit, marks=[] if edit in FAST else pytest.mark.slow) for edit in EDITS])
def test_a_study_that_somebody_edits_is_made_again(edit: str, tmp_path: Path) -> None:
    first = search(parabola, SPACE, trials=12, directory=tmp_path, workers=0)
    with edited(tmp_path / "study.db") as study:
        study.execute(EDITS[edit])
    said: list[str] = []
    again = search(changed(parabola, raising), SPACE, trials=12, directory=tmp_path, workers=0, say=said.append)
    assert (again.ran, history(again)) == (0, history(first))
    (line,) = [text for text in said if "study.db" in text]
    assert re.fullmatch(
        r"sqlite:///.*study\.db was written to by something else: .*; it is made again from the journal, and is kept as "
        r"study\.db\.changed",
        line,
    )
    assert states(tmp_path) == ["COMPLETE"] * 12
    longer = search(parabola, SPACE, trials=14, directory=tmp_path, workers=0)
    assert longer.ran == 2
    with edited(tmp_path / "study.db") as study:
        (best,) = study.execute("SELECT min(value) FROM trial_values").fetchone()
    assert best == longer.best_value


@contextmanager
def opened(url: str) -> Iterator[optuna.Study]:
    """A study, as somebody else opens it."""
    storage = optuna.storages.RDBStorage(url)
    yield optuna.load_study(study_name="s", storage=storage)
    storage.remove_session()
    storage.engine.dispose()


def enqueue(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.5, "kind": "a"})


def add(study: optuna.Study) -> None:
    distributions: dict[str, Any] = {"lr": optuna.distributions.FloatDistribution(0.0, 1.0)}
    study.add_trial(optuna.trial.create_trial(params={"lr": 0.1}, distributions=distributions, value=-1.0))


def optimize(study: optuna.Study) -> None:
    study.optimize(lambda trial: -7.0, n_trials=1)


OTHERS = ((False, enqueue), (True, add), (False, optimize))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("own", "extend"),
    [
        *((True, enqueue), (False, add), (True, optimize)),
        *(pytest.param(own, extend, marks=pytest.mark.slow) for own, extend in OTHERS),
    ],
)
def test_trials_that_somebody_adds_are_not_part_of_the_search(extend: Any, own: bool, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's/study.db' if own else tmp_path / 'other.db'}"
    options: dict[str, Any] = {"directory": tmp_path / "s", "workers": 0, "storage": None if own else url}
    whole = search(parabola, SPACE, trials=14, directory=tmp_path / "whole", workers=0)
    search(parabola, SPACE, trials=12, **options)
    extend(optuna.load_study(study_name="s", storage=url))
    longer = search(parabola, SPACE, trials=14, **options)
    assert history(longer) == history(whole)
    assert "it has 13 trials, of which this search asked for 12" in longer.notes[0]
    rows = optuna.load_study(study_name="s", storage=url).trials
    assert [row.value for row in rows] == [trial.values[0] for trial in longer.trials]


@pytest.mark.parametrize("attempts", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_flipped_bytes_change_no_result(attempts: int, tmp_path: Path) -> None:
    """Every byte is damaged somewhere else: what is said is the same, or the folder says that it is damaged."""
    whole = search(parabola, SPACE, trials=12, directory=tmp_path / "s", workers=0)
    generator = random.Random(0)
    outcomes = []
    for attempt in range(attempts):
        folder = tmp_path / str(attempt)
        shutil.copytree(tmp_path / "s", folder)
        file = folder / ("runs.sqlite" if attempt % 3 else "study.db")
        content = bytearray(file.read_bytes())
        for _ in range(3):
            content[generator.randrange(100, len(content))] ^= 1 << generator.randrange(8)
        file.write_bytes(content)
        try:
            again = search(parabola, SPACE, trials=12, directory=folder, workers=0)
        except StoreError as error:
            outcomes.append(str(error))
        else:
            assert history(again) == history(whole)
            outcomes.append("")
    assert outcomes.count("") >= attempts * 2 // 3, outcomes


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", ["a?b", "a%41b", "a#b", "a b", "{a}", "a%b", "ä&b=c", "a'b", "a:b@c"])
def test_a_folder_may_be_called_anything(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    found = search(parabola, SPACE, trials=3, directory=folder, workers=0)
    assert (folder / "study.db").exists()
    assert states(folder) == ["COMPLETE"] * 3
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    study = optuna.load_study(study_name=name, storage=found.storage.replace("{", "{{").replace("}", "}}"))
    assert len(study.trials) == 3
    assert search(parabola, SPACE, trials=3, directory=folder, workers=0).ran == 0


WRONG = [
    f"postgres//me:{SECRET}@127.0.0.1/runs",
    f"postgres:/me:{SECRET}@127.0.0.1/runs",
    f"oracle9://me:{SECRET}@127.0.0.1/runs",
    f"postgresql+nothing://me:{SECRET}@127.0.0.1/runs",
    f"postgresql://me:{SECRET}@127.0.0.1:port/runs",
    f"postgresql://me:{SECRET}@[::1/runs",
    f"postgresql://me:{SECRET}",
    f"postgresql://me:x@{SECRET}@127.0.0.1:1/runs",
    f"postgresql://me:x/{SECRET}@127.0.0.1:1/runs",
    f"mysql+nothing://127.0.0.1/runs?password={SECRET}",
    f"sqlite:////nowhere/at/all.db?password={SECRET}",
    f"me:{SECRET}@127.0.0.1/runs",
    f"redis://me:{SECRET}@127.0.0.1/runs",
    f"postgresql://127.0.0.1:1/runs?password={SECRET}",
]


@pytest.mark.parametrize("url", WRONG)
def test_a_password_is_shown_nowhere(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "PATIENCE", 0.0)
    said: list[str] = []
    with pytest.raises(StoreError) as caught:
        search(parabola, SPACE, trials=1, directory=tmp_path, workers=0, storage=url, say=said.append)
    told = "".join([*traceback.format_exception(caught.value), *said])
    link: BaseException | None = caught.value
    while link is not None:
        told += repr(link) + str(getattr(link, "__notes__", ""))
        link = link.__cause__ or link.__context__
    assert SECRET not in told
    assert not any(SECRET in file.read_text(errors="replace") for file in tmp_path.iterdir())


@pytest.mark.parametrize("url", WRONG)
def test_what_is_shown_of_an_address_holds_no_password(url: str) -> None:
    assert SECRET not in safe(url)
    assert SECRET not in without_secrets(f"cannot reach {SECRET}, {SECRET}@127.0.0.1 of {url!r}", url)


def test_a_study_of_others_is_named_without_a_password(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}?password={SECRET}"
    options: dict[str, Any] = {"trials": 1, "workers": 0, "storage": url, "name": "n"}
    first = search(parabola, SPACE, directory=tmp_path / "a", **options)
    assert first.storage == f"sqlite:///{tmp_path / 'shared.db'}"
    with pytest.raises(SpecError, match=r"the study 'n' in sqlite:///.*shared\.db belongs to another search") as caught:
        search(parabola, SPACE, directory=tmp_path / "b", **options)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_the_journal_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "precious").write_text("precious")
    for name in ("search.json.part", "holder.json.part", "runs.sqlite.new", "study.db.new"):
        (tmp_path / "s" / name).symlink_to(tmp_path / "precious")
    search(parabola, SPACE, trials=2, directory=tmp_path / "s", workers=0)
    with edited(tmp_path / "s/runs.sqlite") as journal:
        journal.execute("UPDATE runs SET outcome = '' WHERE number = 0")
    assert search(parabola, SPACE, trials=2, directory=tmp_path / "s", workers=0).ran == 1
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_journal_that_is_deleted_meanwhile_is_named(tmp_path: Path) -> None:
    def delete(progress: Any) -> None:
        for file in tmp_path.glob("runs.sqlite*"):
            file.unlink()

    with pytest.raises(StoreError, match=r"runs\.sqlite was deleted while the search was running"):
        search(parabola, SPACE, trials=3, directory=tmp_path, workers=0, advance=delete)


def test_a_folder_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    whole = search(parabola, SPACE, trials=16, directory=tmp_path / "whole", workers=0)
    search(parabola, SPACE, trials=12, directory=tmp_path / "s", workers=0)
    with edited(tmp_path / "s/runs.sqlite") as journal:
        rows = journal.execute("SELECT key, number, outcome FROM runs").fetchall()
        journal.executescript("DROP TABLE points; DROP TABLE runs; PRAGMA user_version = 0")
        journal.execute("CREATE TABLE runs (key TEXT PRIMARY KEY, number INTEGER NOT NULL, outcome TEXT NOT NULL)")
        journal.executemany("INSERT INTO runs VALUES (?, ?, ?)", rows)
    description = tmp_path / "s/search.json"
    held = description.read_text()
    description.write_text(re.sub(r',\s*"(rounds|function)": [^,}\n]*', "", held))
    assert "rounds" not in description.read_text()
    longer = search(parabola, SPACE, trials=16, directory=tmp_path / "s", workers=0)
    assert longer.ran == 4
    assert history(longer) == history(whole)
    assert '"function": "searched:parabola"' in description.read_text()


def test_a_study_of_another_optuna_is_named(tmp_path: Path) -> None:
    first = search(parabola, SPACE, trials=3, directory=tmp_path, workers=0)
    with edited(tmp_path / "study.db") as study:
        study.execute("UPDATE alembic_version SET version_num = 'v9.9.9'")
    with pytest.raises(StoreError, match=r"study\.db was written by another version of Optuna than .*: move it away"):
        search(parabola, SPACE, trials=3, directory=tmp_path, workers=0)
    (tmp_path / "study.db").unlink()
    assert history(search(parabola, SPACE, trials=3, directory=tmp_path, workers=0)) == history(first)


def test_the_journal_of_a_later_version_is_refused(tmp_path: Path) -> None:
    search(parabola, SPACE, trials=1, directory=tmp_path, workers=0)
    connection = sqlite3.connect(tmp_path / "runs.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match=r"runs\.sqlite was written by a later version of adaptive_lr"):
        search(parabola, SPACE, trials=1, directory=tmp_path, workers=0)


@pytest.mark.slow
def test_a_server_that_refuses_is_not_asked_again(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with postgres() as server:
        for url, word in (
            (server.url.replace("/postgres", "/absent"), "does not exist"),
            (server.url.replace("postgres@", "nobody@"), "does not exist"),
        ):
            started = time.monotonic()
            with pytest.raises(StoreError, match=rf"postgresql://127\.0\.0\.1/\w+ refuses: .*{word}"):
                search(parabola, SPACE, trials=1, directory=tmp_path, workers=0, storage=url)
            assert time.monotonic() - started < 30.0


@pytest.mark.slow
def test_a_study_on_a_server_that_somebody_changes_is_made_again(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    with postgres() as server:
        options: dict[str, Any] = {"directory": tmp_path / "s", "workers": 0, "storage": server.url}
        first = search(parabola, SPACE, trials=10, **options)
        url = server.url.replace("postgresql://", "postgresql+psycopg://")
        with opened(url) as study:
            enqueue(study)
        again = search(changed(parabola, raising), SPACE, trials=10, **options)
        assert history(again) == history(first)
        assert again.notes[0].startswith(
            "postgresql://127.0.0.1/postgres was written to by something else: it has 11 trials"
        )
        with opened(url) as study:
            assert len(study.trials) == 10


@pytest.mark.parametrize("said", ["password authentication failed", "no password supplied", 'role "x" does not exist'])
def test_what_a_server_refuses_for_good_is_known(said: str) -> None:
    assert refused(sqlalchemy.exc.OperationalError("", {}, Exception(said)))
    assert not refused(sqlalchemy.exc.OperationalError("", {}, Exception("the database system is starting up")))
    assert not refused(sqlalchemy.exc.OperationalError("", {}, Exception("connection refused")))

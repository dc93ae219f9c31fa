import copy
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptive_lr import DampedCosine, Warmup
from adaptive_lr.analysis.horizons import reversals, tally
from adaptive_lr.errors import DataError, ExperimentError, StoreError
from adaptive_lr.experiment import Horizons, load_experiment, run_experiment
from adaptive_lr.experiment.horizons import warmed
from adaptive_lr.reporting.horizon_prose import headline, study_answer
from adaptive_lr.reporting.report import write_report
from adaptive_lr.reporting.tensorboard import write_events
from adaptive_lr.spec import canonical_json
from adaptive_lr.tasks.data.resolver import VARIABLE
from adaptive_lr.trials.store import Store
from tests.cli.test_cli import call
from tests.tiny_horizons import EXPERIMENT, STUDY

ROOT = Path(__file__).parents[2]
DECLARED = [path.stem for path in sorted((ROOT / "experiments").glob("e[01][0-9]_*.py"))]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results") / "store.sqlite"
    with Store(path, write=True) as store:
        assert run_experiment(EXPERIMENT, store, workers=1) == len(EXPERIMENT.trials())
    return path


@pytest.fixture(scope="module")
def numbers(finished: Path) -> dict[str, Any]:
    """What the experiment gives."""
    with Store(finished) as store:
        return EXPERIMENT.analyse(store)


def test_every_cell_is_a_trial_of_its_own() -> None:
    trials = EXPERIMENT.trials()
    assert len(trials) == 3 * (2 * 3 + 2) * 5 * 20
    assert len({trial.digest() for trial in trials}) == len(trials)
    assert {trial.steps for trial in trials} == {25, 100, 400}


def test_warmup_of_no_length_is_the_schedule_itself() -> None:
    assert warmed(DampedCosine(), 0.0) == DampedCosine()
    assert warmed(DampedCosine(), 0.05) == Warmup(fraction=0.05, then=DampedCosine())


def test_reported_numbers_are_those_of_the_stored_trials(finished: Path, numbers: dict[str, Any]) -> None:
    study, cell = numbers["studies"]["squares"], numbers["studies"]["squares"]["cells"][3]
    assert (cell["steps"], cell["warmup"]) == (100, 0.05)
    part, schedule = STUDY.at(1.0), Warmup(fraction=0.05, then=DampedCosine())
    chosen = []
    with Store(finished) as store:
        for selection, report in zip(STUDY.selection_seeds, STUDY.report_seeds, strict=True):
            trials = {
                (seed, rate): part.trial(schedule, float(rate), seed).digest()
                for seed in (selection, report)
                for rate in part.rates
            }
            records = store.read(trials.values())
            excess = {key: records[digest].metrics["excess"] for key, digest in trials.items()}
            best = min(part.rates, key=lambda rate: excess[selection, rate])
            chosen.append(excess[report, best])
    assert cell["schedules"]["cosine"]["tuned"]["value"] == pytest.approx(np.mean(chosen), rel=1e-12)
    assert study["per_decade"] == 2


def test_family_is_every_verdict_of_the_experiment(numbers: dict[str, Any]) -> None:
    rows = [row for study in numbers["studies"].values() for row in study["comparisons"]]
    # two measures at three horizons: two schedules with two warm-ups and the warm-up itself; and one schedule with one warm-up
    assert numbers["family"] == len(rows) == 2 * 3 * (2 * 2 + 1 + 1)
    assert all(row["adjusted"] >= row["p"] for row in rows)
    counted = sum(
        sum(count.values())
        for subjects in numbers["tally"].values()
        for labels in subjects.values()
        for horizons in labels.values()
        for count in horizons
    )
    assert counted == len(rows)


def test_constant_ends_above_the_cosine_on_squares(numbers: dict[str, Any]) -> None:
    rows = [
        row["value"]
        for row in numbers["studies"]["squares"]["comparisons"]
        if (row["schedule"], row["measure"]) == ("constant", "coarse")
    ]
    assert len(rows) == 6
    assert min(rows) > 0.0


def test_page_says_and_shows_it(finished: Path, numbers: dict[str, Any], tmp_path: Path) -> None:
    with Store(finished) as store:
        page = write_report([numbers], store.provenance(), tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 1 + len(EXPERIMENT.studies)
    assert not re.search(r"""(?:src|href)=["'](?!#)""", text)
    for sentence in headline(numbers):
        assert sentence.replace("«", "&laquo;") in text or sentence in text
    written = json.loads(page.with_name("report.json").read_text())
    assert written["experiments"][EXPERIMENT.name] == json.loads(json.dumps(numbers))


def test_answer_names_the_verdicts_and_the_lowest(numbers: dict[str, Any]) -> None:
    changed = copy.deepcopy(numbers)
    for study in changed["studies"].values():
        for row in study["comparisons"]:
            row["verdict"] = "no clear difference"
            if row["schedule"] == "constant" and row["measure"] == "tuned" and row["of"] == "schedule":
                row["verdict"] = "lower" if row["steps"] == 25 else "higher"
        study["reversals"] = reversals(study)
    changed["tally"] = tally(changed["studies"])
    lowest, tuned, coarse, turns, *_ = headline(changed)
    assert "counted over 3 settings" in lowest
    assert "constant is clearly lower in 3 of 9 (3 at T/4) and clearly higher in 6 of 9 (3 at T and 3 at 4T)" in tuned
    assert "Of WSD no difference is clear." in tuned
    assert coarse.endswith("of the same horizon and warm-up, no difference is clear.")
    assert "no warm-up: lower at 25, higher at 100 and 400 steps" in turns
    sentences = study_answer(numbers, numbers["studies"]["squares"])
    assert sentences[0].startswith("With no warm-up the lowest")
    assert "One rate a decade instead of 2 costs" in sentences[-1]


def test_tensorboard_gets_the_best_of_every_cell(finished: Path, numbers: dict[str, Any], tmp_path: Path) -> None:
    runs = EXPERIMENT.runs_to_show(numbers, everything=False)
    assert len({run.folder for run in runs}) == len(runs) == 3 * (2 * 3 + 2)
    with Store(finished) as store:
        assert write_events(runs, store, tmp_path) == len(runs)
    everything = EXPERIMENT.runs_to_show(numbers, everything=True)
    assert {run.trial.digest() for run in everything} == {trial.digest() for trial in EXPERIMENT.trials()}
    assert len({run.folder for run in everything}) == len(everything)


def with_absent_data() -> Horizons:
    absent = replace(EXPERIMENT.studies[1], name="absent", data=("shakespeare",))
    return replace(EXPERIMENT, studies=[STUDY, absent])


def test_study_whose_data_are_not_here_is_left_out(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    experiment = with_absent_data()
    experiment = replace(experiment, studies=[STUDY, replace(experiment.studies[1], steps=96)])
    assert experiment.left_out() == {"absent": "shakespeare is not here: adaptive-lr data fetch shakespeare"}
    assert {trial.task for trial in experiment.trials()} == {STUDY.task}
    with Store(finished) as store:
        result = experiment.analyse(store)
        page = write_report([result], store.provenance(), tmp_path / "report")
    assert list(result["studies"]) == ["squares"]
    assert result["trials"] == len(experiment.trials())
    assert "Left out: absent. shakespeare is not here" in page.read_text(encoding="utf-8")


def test_study_whose_data_are_gone_keeps_its_stored_trials(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    with Store(finished) as store:
        assert list(with_absent_data().analyse(store)["studies"]) == ["squares", "absent"]


def test_trials_that_should_be_there_are_missed(finished: Path) -> None:
    longer = replace(EXPERIMENT, studies=[replace(STUDY, steps=120)])
    with Store(finished) as store, pytest.raises(StoreError, match="100 trials of study squares are not in"):
        longer.analyse(store)


def test_experiment_without_any_data_still_gets_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "absent.py").write_text(
        "from dataclasses import replace\n"
        "from tests.tiny_horizons import EXPERIMENT as TINY\n"
        "EXPERIMENT = replace(TINY, studies=[replace(TINY.studies[0], data=('shakespeare',))])\n"
    )
    result = call("run", "absent.py", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert "left out: squares: shakespeare is not here: adaptive-lr data fetch shakespeare\n" in result.stderr
    assert "None of the workloads could be run here." in (folder / "report/index.html").read_text(encoding="utf-8")


def test_command_runs_the_smoke_size_and_writes_the_page(folder: Path) -> None:
    (folder / "tiny.py").write_text("from tests.tiny_horizons import EXPERIMENT\n")
    result = call("run", "tiny.py", "--smoke", "--workers", "1")
    assert result.exit_code == 0, result.output
    content: Mapping[str, Any] = json.loads((folder / "report/smoke/report.json").read_bytes())["experiments"]
    assert content[EXPERIMENT.name]["title"].endswith("(smoke size)")
    assert (folder / f"report/smoke/figures/{EXPERIMENT.name}-overview.png").is_file()
    assert list((folder / f"runs/smoke/{EXPERIMENT.name}").rglob("events.out.*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"report_seeds": range(3)},
            "study squares: every report seed needs a selection seed of its own, got 10 and 3",
        ),
        ({"high": 1e-2 * 10**0.5}, "study squares: one rate a decade needs a window of at least a decade"),
        ({"report_seeds": range(100, 110)}, "must be disjoint"),
    ],
)
def test_study_that_cannot_be_judged_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        replace(STUDY, **changes)


def test_data_set_that_does_not_exist_is_refused() -> None:
    with pytest.raises(DataError, match="shakspear"):
        replace(STUDY, data=("shakspear",))


def test_horizons_of_the_same_length_are_refused() -> None:
    with pytest.raises(ExperimentError, match="two horizons of study squares are called '1 steps'"):
        replace(EXPERIMENT, studies=[replace(STUDY, steps=1)])


def test_warmup_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ExperimentError, match=r"study squares: 0\.1 is none of the warm-ups of e96_tiny_horizons"):
        replace(EXPERIMENT, studies=[replace(STUDY, warmups=(0.1,))])


def test_schedules_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ExperimentError, match="study squares: 'linear' is none of its schedules"):
        replace(EXPERIMENT, studies=[replace(STUDY, schedules=("cosine", "linear"))])
    with pytest.raises(ExperimentError, match="study squares: 'cosine' is none of its schedules"):
        replace(EXPERIMENT, studies=[replace(STUDY, schedules=("constant",))])


def declared(kind: type[Horizons] = Horizons) -> dict[str, Horizons]:
    loaded = {name: load_experiment(str(ROOT / f"experiments/{name}.py")) for name in DECLARED}
    return {name: experiment for name, experiment in loaded.items() if isinstance(experiment, kind)}


def test_what_needs_no_fetching_is_run_by_default_and_what_does_is_fetched_for_all() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "EXPERIMENTS := $(filter-out %_longer,$(ALL_EXPERIMENTS))" in makefile
    fetched = re.search(r"^FETCHED := (.*)$", makefile, flags=re.MULTILINE)
    assert fetched is not None
    needed = {name for experiment in declared().values() for study in experiment.studies for name in study.data}
    assert set(fetched[1].split()) == needed
    for name, experiment in declared().items():
        if not name.endswith("_longer"):
            assert not any(study.data for study in experiment.studies), name


def test_study_says_which_data_its_task_takes() -> None:
    installed = {"digits", "mnist1d", "breast_cancer", "diabetes", "python_help", "python_source"}
    for experiment in declared().values():
        for study in experiment.studies:
            fields = json.loads(canonical_json(study.task))
            sources = {
                fields.get("dataset") or fields.get("text") or "python_help",
                fields.get("source", "python_help"),
            }
            if fields["kind"] == "section_classifier":
                sources = {"king_james_bible", "minilm"}
            assert set(study.data) == {source.replace("_", "-") for source in sources - installed}, study.name


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(name for name in declared() if not name.endswith("_longer")))
def test_smoke_of_every_experiment_that_is_run_by_default_runs(name: str, folder: Path) -> None:
    result = call("run", str(ROOT / f"experiments/{name}.py"), "--smoke", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert name in json.loads((folder / "report/smoke/report.json").read_bytes())["experiments"]

"""Marked places of the pages are what the evidence says, whatever a report gives."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from adaptive_lr.analysis.controller_advice import which_controller
from adaptive_lr.analysis.evidence import as_shipped, evidence_from_numbers
from adaptive_lr.experiment import run_experiment
from adaptive_lr.reporting import controller_prose, evidence_prose, practice_prose
from adaptive_lr.reporting.report import write_report
from adaptive_lr.trials.store import Store
from tests import tiny, tiny_rates
from tests.docs.test_rendered import imported
from tests.recorded_runs import write

make = imported("make_evidence")
PAGES = make.pages()
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two small experiments gave, by name; other studies, schedules and counts than those of the pages."""
    with Store(tmp_path_factory.mktemp("results") / "store.sqlite", write=True) as store:
        for experiment in (tiny.EXPERIMENT, tiny_rates.EXPERIMENT):
            run_experiment(experiment, store, workers=1)
        return {each.name: each.analyse(store) for each in (tiny.EXPERIMENT, tiny_rates.EXPERIMENT)}


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    names: dict[str, Any] = make.expressions(make.evidence())
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_marked_places_are_what_the_evidence_says(page: Path, names: dict[str, Any]) -> None:
    text = page.read_text(encoding="utf-8")
    assert make.filled(text, names, page.name) == text, "run make gallery"


def test_the_pages_that_tell_of_experiments_are_marked() -> None:
    assert {"README.md", "choose.md", "controllers.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_any_other_number_in_a_marked_place_is_noticed(page: Path, names: dict[str, Any]) -> None:
    text = page.read_text(encoding="utf-8")
    for place in make.MARKED.finditer(text):
        if number := NUMBER.search(text, place.start("filled"), place.end("filled")):
            other = text[: number.start()] + f"{float(number[0]) + 1:g}" + text[number.end() :]
            assert make.filled(other, names) == text


DEFINITIONS = {
    "docs/choose.md": (
        "1.2 times the tuned",
        "2.5 % of the gain",
        "5 % of the gain",
        "1.1 times the best",
        "95 % intervals",
    ),
    "README.md": ("95 % intervals", "T/4, T and 4T updates"),
}
"""The numbers beside marked places that no experiment gave."""


@pytest.mark.parametrize(
    ("page", "begin", "end"),
    [
        ("docs/choose.md", "# Choose a schedule", "## What theory adds"),
        ("README.md", "## Where the evidence is", "What follows from that"),
    ],
)
def test_no_number_of_an_experiment_is_typed_beside_a_marked_place(page: str, begin: str, end: str) -> None:
    text = make.MARKED.sub("", (make.DOCS.parent / page).read_text(encoding="utf-8"))
    text = text[text.index(begin) : text.index(end)]
    for definition in DEFINITIONS[page]:
        assert definition in text
        text = text.replace(definition, "")
    assert NUMBER.findall(re.sub(r"`[^`]*`", "", text)) == []


def test_evidence_that_ships_is_that_of_the_pages() -> None:
    assert as_shipped(list(make.evidence().values())) == make.SHIPPED.read_text(encoding="utf-8")


def test_every_row_of_practice_has_a_source(names: dict[str, Any]) -> None:
    known = {*make.evidence(), practice_prose.JUDGEMENT, practice_prose.CONSTRUCTION}
    for text in (names["practice_schedules"](), names["practice_controllers"]()):
        rows = [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]
        assert len(rows) >= 3
        for row in rows:
            assert len(row) == 4
            assert {source.strip("`") for source in row[3].split(", ")} <= known
        assert any(row[3] == practice_prose.JUDGEMENT for row in rows)
        assert any(row[3].startswith("`") for row in rows)


def test_a_report_is_taken_and_its_numbers_fill_the_pages(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = write_report(list(small.values()), [], tmp_path / "report").parent / "report.json"
    for name, target in {"EVIDENCE": "evidence.json", "SHIPPED": "shipped.json", "FIGURES": "figures"}.items():
        monkeypatch.setattr(make, name, tmp_path / target)
    make.take(report)
    content = make.evidence()
    assert list(content) == sorted(small)
    shipped = json.loads((tmp_path / "shipped.json").read_text(encoding="utf-8"))
    assert shipped == evidence_from_numbers(list(content.values()))
    assert set(shipped["tasks"]) == {"squares", "absolute"}
    text = 'a <!-- evidence: facts("e99_tiny") --><!-- end -->\n\n<!-- evidence: answers("e98_tiny_rates") -->\n<!-- end -->\n'
    page = make.filled(text, make.expressions(content))
    assert f"2 tasks, {evidence_prose.counted(small['e99_tiny']['trials'], 'trial')}, n = 2 repetitions" in page
    assert "anchor ends with at most 1.2 times" in page
    assert make.filled(page, make.expressions(content)) == page
    make.take(report)
    assert make.evidence() == content


def test_means_over_tasks_without_a_value_are_kept(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = json.loads(json.dumps(small))
    changed["e98_tiny_rates"]["overall"]["anchor"]["too_low"] = None
    report = write(tmp_path / "report.json", json.dumps({"experiments": changed}))
    for name, target in {"EVIDENCE": "evidence.json", "SHIPPED": "shipped.json"}.items():
        monkeypatch.setattr(make, name, tmp_path / target)
    make.take(report)
    assert make.evidence()["e98_tiny_rates"]["overall"]["anchor"]["too_low"] is None
    assert " – |" in make.expressions(make.evidence())["start_contestants"]("e98_tiny_rates")


def test_numbers_on_pages_follow_the_numbers_of_the_experiment(small: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(small))
    before = make.expressions(small)["start_contestants"]("e98_tiny_rates")
    changed["e98_tiny_rates"]["overall"]["anchor"]["geometric_mean"] = 1.234
    after = make.expressions(changed)["start_contestants"]("e98_tiny_rates")
    assert "1.23" in after
    assert before != after
    for comparison in changed["e99_tiny"]["studies"]["squares"]["answer"]["comparisons"]:
        comparison["ends"] = "better"
    sentences = evidence_prose.answers(changed["e99_tiny"])
    assert all("clearly higher on 1 of 2" in line or "clearly higher on 2 of 2" in line for line in sentences[:2])


def test_controller_that_loses_nearly_as_much_as_the_schedule_alone_is_not_recommended(small: dict[str, Any]) -> None:
    evidence = evidence_from_numbers(list(small.values()))
    rows = evidence["controllers"]["e98_tiny_rates"]["rows"]
    row, alone = rows["anchor"], rows["cosine"]
    row["mean"] = 1.0 + 0.49 * (alone["mean"] - 1.0)
    advice = which_controller(evidence)
    assert advice is not None
    assert advice["take"] == "anchor"
    assert "Anchor() on DampedCosine()" in controller_prose.in_short(advice)
    row["mean"] = 1.0 + 0.51 * (alone["mean"] - 1.0)
    advice = which_controller(evidence)
    assert advice is not None
    assert advice["take"] is None
    assert controller_prose.in_short(advice).startswith("Controller: none.")
    assert "no controller" in practice_prose.controllers(evidence)


def test_controller_that_wins_from_its_best_start_is_said_to(small: dict[str, Any]) -> None:
    evidence = evidence_from_numbers(list(small.values()))
    row = evidence["controllers"]["e98_tiny_rates"]["rows"]["anchor"]
    row["close"] = 2
    for best, words in (
        ((0.8, 0.81), "It gains a little even where"),
        ((0.8, 1.3), "No controller if the rate is tuned"),
    ):
        for cell, value in zip(row["by_task"].values(), best, strict=True):
            cell["best"] = value
        assert words in controller_prose.in_short(which_controller(evidence))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- evidence: nothing -->1<!-- end -->", "«nothing» cannot be filled"),
        ('<!-- evidence: facts( -->1<!-- end -->', "«facts(» cannot be filled"),
        ('<!-- evidence: experiments["e00"]["trials"] -->1<!-- end -->', "cannot be filled"),
        ('<!-- evidence: facts("e00") -->1', "needs its own <!-- end -->"),
    ],
)  # fmt: skip
def test_place_that_cannot_be_filled_is_named(text: str, message: str) -> None:
    with pytest.raises(SystemExit, match=re.escape(message)):
        make.filled(text, make.expressions({}), "page.md")


def test_numbers_of_one_experiment_may_stand_in_a_sentence(small: dict[str, Any]) -> None:
    text = 'of <!-- evidence: experiments["e99_tiny"]["studies"] | length -->9<!-- end --> tasks'
    assert "-->2<!-- end --> tasks" in make.filled(text, make.expressions(small))


def test_experiment_that_has_not_run_is_said_not_to_have() -> None:
    names = make.expressions({})
    assert "`e05_exponent_robustness` has no numbers" in names["answers"]("e05_exponent_robustness")
    assert names["which_controller"]().startswith("- Controller: no experiment")


@pytest.mark.parametrize("content", ["", "[]", '{"experiments": {"a": {"kind": "any_rate"}}}'])
def test_file_that_is_no_report_is_not_taken(tmp_path: Path, content: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(SystemExit, match=r"is not the report\.json of a report"):
        make.take(path)


def test_report_of_smoke_size_is_not_taken(small: dict[str, Any], tmp_path: Path) -> None:
    tiny_title = {**small["e99_tiny"], "title": "A tiny experiment (smoke size)"}
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"experiments": {"e99_tiny": tiny_title}}))
    with pytest.raises(SystemExit, match="smoke size"):
        make.take(path)


def test_figures_that_pages_show_are_drawn_from_the_report(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"experiments": small}))
    for name, target in {"EVIDENCE": "evidence.json", "SHIPPED": "shipped.json", "FIGURES": "."}.items():
        monkeypatch.setattr(make, name, tmp_path / target)
    shutil.copy(make.DOCS / "figures/grid_resolution.png", tmp_path / "tiny.png")
    before = (tmp_path / "tiny.png").read_bytes()
    make.take(report)
    assert (tmp_path / "tiny.png").read_bytes() != before
    assert not (tmp_path / "tiny_rates.png").exists()

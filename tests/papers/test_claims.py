"""The papers of the project: their fast claims are measured anew, and the index says what came out."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from adaptive_lr.documents import parse_yaml
from adaptive_lr.papers import (
    VERDICTS,
    Claim,
    Criterion,
    Judgement,
    Paper,
    State,
    bibliography,
    judge,
    judge_paper,
    load_paper,
    paper_names,
)
from adaptive_lr.papers.index import index_row, shown

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "papers"
RECORDED = ROOT.parent / "shared/data"
"""Runs that others recorded; they are no part of the repository."""

NAMES = paper_names(FOLDER)


def all_claims() -> list[tuple[Paper, Claim]]:
    papers = [load_paper(name, FOLDER) for name in NAMES]
    return [(paper, claim) for paper in papers for claim in paper.claims]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module", params=NAMES)
def judged(request: pytest.FixtureRequest, results: Path) -> tuple[Paper, list[Judgement]]:
    paper = load_paper(request.param, FOLDER)
    recorded = RECORDED if RECORDED.is_dir() else None
    return paper, list(judge_paper(paper, fast=True, recorded=recorded, results=results))


def test_every_fast_claim_is_green(judged: tuple[Paper, list[Judgement]]) -> None:
    _, rows = judged
    assert rows
    assert [row.message for row in rows if row.state not in {State.GREEN, State.SKIPPED}] == []


def test_index_has_what_is_measured(judged: tuple[Paper, list[Judgement]]) -> None:
    page = (FOLDER / "INDEX.md").read_text(encoding="utf-8").splitlines()
    for row in judged[1]:
        if row.state == State.GREEN:
            assert index_row(judged[0], row) in [re.sub(r"\| [\d.]+ (?=\| `adaptive-lr)", "| ", line) for line in page]


def test_expected_value_that_moves_by_a_twentieth_is_red(judged: tuple[Paper, list[Judgement]]) -> None:
    for row in judged[1]:
        claim, measured = row.claim, row.measured
        if (
            claim is None
            or measured is None
            or claim.criterion.relation != "close"
            or claim.criterion.tolerance >= 0.05
        ):
            continue
        for factor in (0.95, 1.05):
            (expected,) = claim.criterion.expected
            moved = replace(claim.criterion, expected=(expected * factor if expected else 0.05,))
            assert (judge(replace(claim, criterion=moved), measured) == claim.verdict) == (
                claim.verdict != "reproduced"
            )


def test_claim_that_is_declared_otherwise_is_red(judged: tuple[Paper, list[Judgement]]) -> None:
    for row in judged[1]:
        if row.claim is None or row.measured is None:
            continue
        for verdict in VERDICTS:
            assert (row.outcome == verdict) == (verdict == row.claim.verdict)


def test_failure_that_now_passes_or_fails_otherwise_is_red(judged: tuple[Paper, list[Judgement]]) -> None:
    for row in judged[1]:
        if row.claim is not None and row.claim.measured is not None and row.measured is not None:
            assert judge(row.claim, row.claim.measured * 1.05) == "changed" or row.claim.criterion.holds(
                row.claim.measured * 1.05, row.claim.measured * 1.05
            )
            assert judge(row.claim, row.claim.criterion.expected[0]) == "reproduced"


def test_index_has_a_row_for_every_claim_and_its_reason() -> None:
    page = (FOLDER / "INDEX.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| [")]
    claims = all_claims()
    assert len(rows) == len(claims)
    for line, (paper, claim) in zip(rows, claims, strict=True):
        assert f"]({paper.name}/README.md) | {claim.statement} ({claim.source}) | {claim.criterion} |" in line
        assert f"| {claim.verdict} |" in line
        if claim.measured is not None:
            number = re.search(r"\| (-?[\d.e-]+)[^|]*\| not reproduced", line)
            assert number is not None
            assert float(number[1]) == pytest.approx(claim.measured, rel=0.01)
        assert not claim.why or claim.why in page


def test_bibliography_is_that_of_the_papers() -> None:
    written = (FOLDER / "papers.bib").read_text(encoding="utf-8")
    assert written == bibliography([load_paper(name, FOLDER) for name in NAMES])


@pytest.mark.parametrize("name", NAMES)
def test_readme_says_what_was_left_out_and_what_deviates(name: str) -> None:
    text = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {load_paper(name, FOLDER).short}: ")
    for heading in ("## Equations", "## Deviations", "## Left out"):
        assert heading in text


def test_there_are_claims_of_each_verdict_and_from_training_and_recorded_runs() -> None:
    claims = [claim for _, claim in all_claims()]
    assert len(claims) >= 60
    assert sum(claim.trains or bool(claim.data) for claim in claims) >= 20
    assert {claim.verdict for claim in claims} == set(VERDICTS)


def test_citation_names_the_version_of_the_package() -> None:
    citation = parse_yaml((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert citation["version"] == version[1]


def test_numbers_are_shown_with_four_digits() -> None:
    assert shown(1234.5678) == "1235"
    assert str(Criterion("between", (1.0, 2.0))) == "between 1 and 2"

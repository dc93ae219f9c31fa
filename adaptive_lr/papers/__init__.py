"""Papers: what each of them claims, measured here, and judged against the expected value and the declared verdict."""

from adaptive_lr.papers.declaration import FOLDER, VERDICTS, Claim, Criterion, Paper, load_paper, paper_names
from adaptive_lr.papers.index import bibliography, index_page
from adaptive_lr.papers.judging import Judgement, Measured, State, judge, judge_paper

__all__ = [
    "FOLDER",
    "VERDICTS",
    "Claim",
    "Criterion",
    "Judgement",
    "Measured",
    "Paper",
    "State",
    "bibliography",
    "index_page",
    "judge",
    "judge_paper",
    "load_paper",
    "paper_names",
]

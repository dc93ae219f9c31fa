"""The frame, on papers that are made for it: declarations that are refused, measures that go wrong, verdicts that change."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from adaptive_lr.cli import app
from adaptive_lr.errors import InputError
from adaptive_lr.papers import Measured, State, judge, judge_paper, load_paper
from adaptive_lr.papers.training import final_losses, ratio, tuned
from adaptive_lr.schedules import Constant, Linear
from adaptive_lr.tasks import StreamingLogistic
from adaptive_lr.training import SGD
from adaptive_lr.trials.store import Store

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"
HEAD = 'title = "A title"\nauthors = ["Ada Lovelace"]\nyear = 1843\narxiv = "0000.00000"\n'
CLAIM = '[[claim]]\nid = "the-peak"\nsource = "Eq. (1)"\nstatement = "The peak is 2."\nrelation = "close"\nexpected = 2.0\ntolerance = 0.01\ntier = "fast"\nverdict = "reproduced"\n'
FAILED = CLAIM.replace('verdict = "reproduced"', 'verdict = "not reproduced"\nmeasured = 3.0\nwhy = "It is 3 here."')
PART = CLAIM.replace(
    'verdict = "reproduced"',
    'verdict = "in part"\nwhy = "It is 3 here."\npart = { relation = "at most", expected = 3.5 }',
)
TWO = "def the_peak():\n    return 2.0\n"


def write(folder: Path, claims: str = CLAIM, measures: str = TWO, name: str = "lovelace-1843-notes") -> Path:
    made = folder / name
    made.mkdir(parents=True)
    (made / "paper.toml").write_text(HEAD + claims, encoding="utf-8")
    (made / "reproduce.py").write_text(measures, encoding="utf-8")
    return folder


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "120", "ADAPTIVE_LR_RECORDED": ""}).invoke(
        app, ["papers", "--folder", str(folder), "--results", str(folder / "results"), *arguments]
    )


def returning(text: str) -> str:
    return f"from adaptive_lr.papers import Measured\n\ndef the_peak():\n    return {text}\n"


@pytest.mark.parametrize(
    ("claims", "value", "code"),
    [
        (CLAIM, "2.0", 0),
        (CLAIM, "2.019", 0),
        (CLAIM, "2.1", 1),
        (CLAIM.replace("2.0", "2.1"), "2.0", 1),  # the expected value altered by a twentieth
        (CLAIM.replace("2.0", "1.9"), "2.0", 1),
        (FAILED, "3.0", 0),
        (FAILED, "3.02", 0),
        (FAILED, "2.0", 1),  # a declared failure that now passes
        (FAILED, "3.15", 1),  # one that fails otherwise
        (PART, "3.0", 0),
        (PART, "2.0", 1),
        (PART, "4.0", 1),
        (CLAIM, "Measured(2.0, 1.99, 2.01, 20)", 0),
        (CLAIM, "Measured(2.0, 1.9, 2.1, 20)", 1),  # the interval reaches beyond
        (CLAIM.replace('tier = "fast"', 'tier = "fast"\nn = 20'), "Measured(2.0, 1.99, 2.01, 20)", 0),
    ],
)
def test_exit_code_is_1_where_the_verdict_is_not_the_declared_one(
    tmp_path: Path, claims: str, value: str, code: int
) -> None:
    result = run(write(tmp_path, claims, returning(value)))
    assert result.exit_code == code, result.output
    if code:
        (line,) = [line for line in result.stderr.splitlines() if line]
        assert "lovelace-1843-notes: the-peak: measured" in line


@pytest.mark.parametrize(
    ("relation", "inside", "outside"),
    [('"at most"', 1.9, 2.1), ('"at least"', 2.1, 1.9), ('"between"', 2.1, 2.6)],
)
def test_inequalities(tmp_path: Path, relation: str, inside: float, outside: float) -> None:
    expected = "[2.0, 2.5]" if relation == '"between"' else "2.0"
    text = CLAIM.replace("tolerance = 0.01\n", "").replace('"close"', relation).replace("= 2.0", f"= {expected}")
    (claim,) = load_paper("lovelace-1843-notes", write(tmp_path, text)).claims
    assert judge(claim, inside) == "reproduced"
    assert judge(claim, outside) == "not reproduced"
    assert judge(claim, Measured(inside, min(inside, outside), max(inside, outside), 9)) == "not reproduced"


BAD_DECLARATIONS = {
    "colour": (CLAIM + 'colour = "red"\n', "the-peak: unknown key 'colour'"),
    "head": ('journal = "x"\n' + CLAIM, "lovelace-1843-notes: unknown key 'journal'"),
    "part": (PART.replace("expected = 3.5", "expected = 3.5, size = 1"), "the-peak: part: unknown key 'size'"),
    "kind": (CLAIM.replace("0.01", '"small"'), "the-peak: tolerance has a value of another kind"),
    "bool": (CLAIM.replace("0.01", "true"), "the-peak: tolerance has a value of another kind"),
    "missing": (CLAIM.replace('source = "Eq. (1)"\n', ""), "the-peak: source is missing"),
    "relation": (CLAIM.replace('"close"', '"like"'), "the-peak: relation is one of close"),
    "verdict": (CLAIM.replace('"reproduced"', '"true"'), "the-peak: verdict is one of reproduced"),
    "reason": (FAILED.replace('why = "It is 3 here."\n', ""), "the-peak: a verdict other than reproduced needs why"),
    "number": (FAILED.replace("measured = 3.0\n", ""), "the-peak: the verdict not reproduced needs measured"),
    "loose": (CLAIM.replace("tolerance = 0.01\n", ""), "the-peak: close needs a tolerance"),
    "nan": (CLAIM.replace("= 2.0", "= nan"), "the-peak: close needs one finite number"),
    "order": (
        CLAIM.replace("tolerance = 0.01\n", "").replace('"close"', '"between"').replace("2.0", "[2, 1]"),
        "the-peak: the two numbers of between must ascend",
    ),
    "twice": (CLAIM + CLAIM, "the claim the-peak is declared twice"),
    "toml": ("[[claim", "lovelace-1843-notes: paper.toml cannot be read"),
    "none": ("claim = []\n", "lovelace-1843-notes: claim must not be empty"),
}


@pytest.mark.parametrize(("claims", "message"), BAD_DECLARATIONS.values(), ids=BAD_DECLARATIONS)
def test_declaration_that_is_wrong_is_one_line_and_others_are_judged(tmp_path: Path, claims: str, message: str) -> None:
    write(write(tmp_path, claims), name="menabrea-1842-sketch")
    result = run(tmp_path)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert message in line
    assert "menabrea-1842-sketch the-peak: reproduced" in result.stdout


BAD_MEASURES = {
    "absent": ("", "reproduce.py has no function the_peak"),
    "nan": (returning("float('nan')"), "its measure returned nan, which is not finite"),
    "end": (returning("Measured(2.0, 1.0, float('inf'), 20)"), "which is not finite"),
    "text": (returning("'2'"), "must return a number or a Measured, got str"),
    "turned": (returning("Measured(2.0, 2.1, 1.9, 20)"), "its interval must hold its value"),
    "raises": ("def the_peak():\n    raise ValueError('no\\nroot')\n", "its measure raised ValueError: no root"),
    "broken": ("import nothing_of_this_name\n", "cannot be imported: ModuleNotFoundError"),
    "interrupted": (
        "from pathlib import Path\nfrom adaptive_lr.trials.store import Store\n\ndef the_peak():\n    Store(Path('not there/store.sqlite'))\n",
        "not there",
    ),
}


@pytest.mark.parametrize(("measures", "message"), BAD_MEASURES.values(), ids=BAD_MEASURES)
def test_measure_that_goes_wrong_is_one_line_and_others_are_judged(tmp_path: Path, measures: str, message: str) -> None:
    write(write(tmp_path, measures=measures), name="menabrea-1842-sketch")
    result = run(tmp_path)
    assert result.exit_code == 2
    (line,) = [line for line in result.stderr.splitlines() if "lovelace" in line]
    assert line.startswith("error: lovelace-1843-notes: the-peak: ")
    assert message in line
    assert "menabrea-1842-sketch the-peak: reproduced" in result.stdout


def test_red_counts_before_broken(tmp_path: Path) -> None:
    write(write(tmp_path, measures=""), measures=returning("5.0"), name="menabrea-1842-sketch")
    assert run(tmp_path).exit_code == 1


def test_fewer_measurements_than_decided_on_are_refused(tmp_path: Path) -> None:
    claims = CLAIM.replace('tier = "fast"', 'tier = "fast"\nn = 20')
    result = run(write(tmp_path, claims, returning("Measured(2.0, 1.99, 2.01, 19)")))
    assert result.exit_code == 2
    assert "the-peak: n = 20 measurements were decided on, its measure says 19" in result.stderr


def test_claim_on_data_that_are_not_here_is_skipped_with_a_reason(tmp_path: Path) -> None:
    claims = CLAIM.replace('tier = "fast"', 'tier = "fast"\ndata = "curves"')
    write(tmp_path, claims, "def the_peak(folder):\n    return float((folder / 'peak').read_text())\n")
    for arguments in ((), ("--recorded", str(tmp_path))):
        result = run(tmp_path, *arguments)
        assert result.exit_code == 0
        assert "skipped: lovelace-1843-notes: the-peak: it reads curves, and" in result.stderr
        assert "ADAPTIVE_LR_RECORDED" in result.stderr
    assert run(tmp_path, "--index").exit_code == 2
    assert not (tmp_path / "INDEX.md").exists()
    (tmp_path / "curves").mkdir()
    (tmp_path / "curves/peak").write_text("2.0")
    assert "the-peak: reproduced" in run(tmp_path, "--recorded", str(tmp_path)).stdout


def test_interrupt_names_paper_and_claim(tmp_path: Path) -> None:
    result = run(write(tmp_path, measures="def the_peak():\n    raise KeyboardInterrupt\n"))
    assert result.exit_code == 130
    assert "lovelace-1843-notes: the-peak: interrupted" in result.stderr


def test_slow_claims_wait(tmp_path: Path) -> None:
    write(tmp_path, CLAIM + CLAIM.replace("the-peak", "the-end").replace('"fast"', '"slow"'))
    assert run(tmp_path, "--fast").exit_code == 0
    assert "reproduce.py has no function the_end" in run(tmp_path).stderr


def test_index_is_written_where_all_is_green(tmp_path: Path) -> None:
    write(write(tmp_path, FAILED, returning("3.0")), name="menabrea-1842-sketch")
    assert run(tmp_path, "--index").exit_code == 0
    page = (tmp_path / "INDEX.md").read_text(encoding="utf-8")
    assert "2 papers, 2 claims: 1 reproduced, 1 not reproduced." in page
    assert "- Lovelace 1843, not reproduced: «The peak is 2.» It is 3 here." in page
    bib = (tmp_path / "papers.bib").read_text(encoding="utf-8")
    assert bib.count("@misc{") == 2
    assert "eprint = {0000.00000}" in bib
    assert run(tmp_path, "--index", "--fast").exit_code == 2


@pytest.mark.parametrize(
    ("name", "message"), [("ada", "a paper is named as in"), ("ada-1843-x", "there is no paper ada-1843-x")]
)
def test_paper_that_is_not_there(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_paper(name, write(tmp_path))
    assert run(tmp_path, name, "lovelace-1843-notes").exit_code == 2


def test_folder_without_papers_is_named(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "declares no papers" in result.stderr


def test_trials_are_kept_and_not_trained_again(tmp_path: Path) -> None:
    def losses() -> list[float]:
        values = final_losses(
            [Linear(), Constant()],
            [0.1, 1.0],
            range(4),
            task=StreamingLogistic(dimension=5),
            optimizer=SGD(),
            steps=20,
            results=tmp_path,
        )
        assert values.shape == (2, 2, 4)
        chosen = tuned(values, 2)
        assert chosen.shape == (2, 2)
        assert ratio(chosen[0], chosen[0]).value == pytest.approx(1.0)
        return [float(value) for value in values.ravel()]

    first = losses()
    with Store(tmp_path / "store.sqlite") as store:
        assert len(store) == 16
        batches = len(store.provenance())
    assert losses() == first
    with Store(tmp_path / "store.sqlite") as store:
        assert len(store.provenance()) == batches


def test_example_of_the_guide_runs_as_written(tmp_path: Path) -> None:
    text = CONTRIBUTING.read_text(encoding="utf-8").split("## Add a paper")[1].split("\n## ")[0]
    (declared,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    (measures,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    made = tmp_path / "li-2020-budgeted"
    made.mkdir()
    (made / "paper.toml").write_text(declared, encoding="utf-8")
    (made / "reproduce.py").write_text(measures, encoding="utf-8")
    paper = load_paper("li-2020-budgeted", tmp_path)
    rows = list(judge_paper(paper, results=tmp_path))
    assert [(row.state, row.message) for row in rows] == [(State.GREEN, "")] * 2

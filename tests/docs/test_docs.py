import json
import re
from pathlib import Path
from typing import cast

import pytest
import torch

import adaptive_lr as al
from adaptive_lr.analysis.calibration import COVERAGE, FAMILY, KINDS, STUDIES
from adaptive_lr.tasks.data import CATALOGUE
from adaptive_lr.training.workloads import WORKLOADS
from tests.docs.test_rendered import imported

DOCS = Path(__file__).parents[2] / "docs"


def test_snippets_of_the_tutorial_are_right() -> None:
    text = (DOCS / "tutorials/damped-cosine.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(snippets) >= 6
    for code in snippets:
        optimizer = torch.optim.AdamW([{"params": [torch.zeros(1, requires_grad=True)]} for _ in range(2)], lr=1e-3)
        scheduler = al.ScheduledLR(optimizer, al.DampedCosine(), total_steps=10_000)
        exec(
            compile(code, "damped-cosine.md", "exec"),
            {"torch": torch, "al": al, "optimizer": optimizer, "scheduler": scheduler},
        )


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", re.sub(r"`[^`\n]*`", "", page.read_text(encoding="utf-8"))):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_schedule_is_in_the_gallery() -> None:
    page = (DOCS / "schedules.md").read_text(encoding="utf-8")
    for schedule in al.SCHEDULES:
        assert f"## {schedule.__name__}\n" in page, f"run make gallery: {schedule.__name__} is missing"
        assert (DOCS / "figures/schedules" / f"{schedule.kind}.png").is_file()


def test_every_controller_is_described() -> None:
    page = (DOCS / "controllers.md").read_text(encoding="utf-8")
    for controller in al.CONTROLLERS:
        assert f"## {controller.__name__}\n" in page, f"run make gallery: {controller.__name__} is missing"


def test_the_controller_that_contributing_adds_works() -> None:
    text = (DOCS.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "contributing"}
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if "class Halving" in code]
    exec(compile(code, "CONTRIBUTING.md", "exec"), names)
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    controller = cast(type[al.AbstractController], names["Halving"])()
    scheduler = al.ControlledLR(optimizer, al.Constant(), controller, total_steps=4)
    rates = []
    for loss in (1.0, 11.0, float("nan"), 12.0):
        weight.grad = torch.ones(1)
        optimizer.step()
        scheduler.step(loss)
        rates.append(scheduler.get_last_lr()[0])
    assert rates == [0.1, 0.05, 0.05, 0.025]


def test_the_tables_of_data_sets_are_what_is_declared() -> None:
    page = (DOCS / "data.md").read_text(encoding="utf-8")
    assert imported("make_data").with_tables(page) == page, "run make gallery"
    for name, info in CATALOGUE.items():
        row, details = re.findall(rf"^\| `{name}` \|(.*)\|$", page, flags=re.MULTILINE)
        assert info.title in row
        assert info.licence in row
        assert info.reference in details
        assert info.splits in details


def test_the_page_of_the_protocol_is_as_the_protocol_has_it() -> None:
    page = (DOCS / "protocol.md").read_text(encoding="utf-8")
    assert imported("make_protocol").with_tables(page) == page, "run make gallery"


def test_the_page_of_theory_is_what_the_bounds_and_its_evidence_say() -> None:
    page = (DOCS / "theory.md").read_text(encoding="utf-8")
    assert imported("make_theory").with_tables(page) == page, "run python docs/make_theory.py"
    rows = json.loads((DOCS / "theory.json").read_text(encoding="utf-8"))["training"]
    lower = {row["study"] for row in rows} - {row["study"] for row in rows if row["verdict"] != "lower"}
    assert lower == {"absolute", "absolute-ball", "squares-ball"}, "the first paragraph says where it is lower"


def test_snippets_about_data_sets_run_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "data.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(code, "data.md", "exec"), {})
    assert capsys.readouterr().out.startswith("torch.Size([1078, 64]) torch.Size([359, 64]) torch.Size([360, 64]) 10\n")


def test_the_table_of_workloads_is_what_they_are() -> None:
    page = (DOCS / "workloads.md").read_text(encoding="utf-8")
    assert imported("make_workloads").with_table(page) == page, "run make gallery"
    results = json.loads((DOCS / "workloads.json").read_text(encoding="utf-8"))
    for name, workload in WORKLOADS.items():
        assert f"| `{name}` |" in page
        for size, stored in results.get(name, {}).items():
            assert stored["digests"] == [workload.trial(size, seed=seed).digest() for seed in range(2)], (
                f"run {name} again"
            )


def test_snippets_about_workloads_run_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    first, drawn, own = re.findall(
        r"```python\n(.*?)```", (DOCS / "workloads.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    exec(compile(first, "workloads.md", "exec"), {})
    exec(compile(drawn, "workloads.md", "exec"), {})
    assert "excess" in capsys.readouterr().out
    exec(compile(own, "workloads.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    losses = [[float(number) for number in line.split()] for line in lines]
    assert [rate for rate, _, _ in losses] == [0.001, 0.01, 0.1]
    assert losses[-1][2] < 0.1 * losses[-1][1]


def test_the_page_of_horizons_is_what_its_evidence_says() -> None:
    page = (DOCS / "horizons.md").read_text(encoding="utf-8")
    make_horizons = imported("make_horizons")
    assert make_horizons.with_answers(page) == page, "run python docs/make_horizons.py"
    evidence = json.loads((DOCS / "horizons.json").read_text(encoding="utf-8"))
    assert {"e07_language_models", "e08_variational_inference", "e09_images", "e10_finetuning"} <= set(evidence)
    for name in evidence:
        assert (DOCS / f"figures/horizons/{name}.png").is_file()


def test_the_experiment_that_the_page_of_horizons_adds_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    page = (DOCS / "horizons.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    exec(compile(code, "horizons.md", "exec"), {})
    assert capsys.readouterr().out == f"{3 * 2 * 2 * 5 * 20}\n"


def test_the_page_of_calibration_is_what_its_evidence_says_and_meets_the_aims() -> None:
    page = (DOCS / "calibration.md").read_text(encoding="utf-8")
    make_calibration = imported("make_calibration")
    assert make_calibration.with_tables(page) == page, "run python docs/make_calibration.py"
    evidence = json.loads((DOCS / "calibration.json").read_text(encoding="utf-8"))
    assert set(evidence["kinds"]) == set(KINDS)
    for worlds in evidence["kinds"].values():
        for measured in worlds.values():
            for row in measured["covers"].values():
                error = 4.0 * (0.05 * 0.95 / measured["repeats"][0]) ** 0.5
                assert all(share >= COVERAGE - error for share in row.values())
            for label, row in measured["differ"].items():
                repeats = measured["repeats"][1] // (STUDIES if label == FAMILY else 1)
                assert all(share <= 0.05 + 4.0 * (0.05 * 0.95 / repeats) ** 0.5 for share in row.values())


def test_a_page_without_the_place_that_is_filled_is_told_of() -> None:
    filled = imported("blocks").filled
    place = "<!-- sets: made by docs/make_x.py -->\nold\n<!-- end of sets -->"
    assert filled(place, "x.md", "make_x", sets="new").split() == place.replace("old", "new").split()
    with pytest.raises(SystemExit, match=r"^x.md needs the lines <!-- sets: made by docs/make_x.py --> and "):
        filled("no place", "x.md", "make_x", sets="new")

import re
from pathlib import Path

import pytest
import torch

import adaptive_lr as al

DOCS = Path(__file__).parents[1] / "docs"


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

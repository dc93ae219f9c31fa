"""The examples of the tutorial on controllers, run as they stand there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adaptive_lr import ControlledLR

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorials" / "controllers.md"
NEEDS = {"Lightning": "lightning", "transformers": "transformers", "Accelerate": "accelerate"}


def sections() -> dict[str, str]:
    """The Python code under each heading; what the others start with has the title of the page."""
    text = TUTORIAL.read_text(encoding="utf-8")
    found = {}
    for part in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
        for code in re.findall(r"```python\n(.*?)```", part, flags=re.DOTALL):
            heading = part.partition("\n")[0]
            assert heading not in found, f"two blocks under {heading}"
            found[heading] = code
    return found


FIRST, *HEADINGS = sections()


@pytest.fixture
def accelerate_afresh(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.callspec.params["heading"] != "Accelerate":
        yield
        return
    state = request.getfixturevalue("accelerate").state
    state.AcceleratorState._reset_state(reset_partial_state=True)
    yield
    state.AcceleratorState._reset_state(reset_partial_state=True)
    state.GradientState._reset_state()


@pytest.mark.filterwarnings("ignore")  # the trainers' own
@pytest.mark.usefixtures("accelerate_afresh")
@pytest.mark.parametrize("heading", HEADINGS)
def test_example_runs_as_written(
    heading: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if heading in NEEDS:
        request.getfixturevalue(NEEDS[heading])
    made: list[ControlledLR] = []
    original = ControlledLR.__init__

    def recorded(self: ControlledLR, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(ControlledLR, "__init__", recorded)
    names: dict[str, Any] = {"__name__": "tutorial"}
    for one in (FIRST, heading):
        exec(compile(sections()[one], f"{TUTORIAL.name}: {one}", "exec"), names)
    assert made
    for scheduler in made:
        if scheduler is made[-1] or heading == "Plain PyTorch":
            assert scheduler.last_epoch == scheduler.horizon.end
        assert scheduler.applied_multiplier > 0.0
    if heading == "Plain PyTorch":
        low, high = names["finals"].values()
        assert 0.7 < low / high < 1.4

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from matplotlib.figure import Figure

from adaptive_lr import Range, SearchTrial, drawing, search
from adaptive_lr.errors import OutputError
from adaptive_lr.reporting import found_figures, found_prose, search_report
from adaptive_lr.reporting.search_report import write_search_report
from adaptive_lr.search import SearchResult, Space, TrialRecord
from adaptive_lr.search.plan import Direction
from tests.searched import parabola

NAMES = {"x": Range(0.001, 1.0, log=True), "layers": range(1, 5), "kind": ["a", "b"]}


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure is drawn once, as SVG: the PNG is made by the same code."""

    def save_both(figure: Figure, folder: Path, name: str) -> str:
        drawing.save(figure, folder / f"{name}.svg")
        (folder / f"{name}.png").touch()
        markup = (folder / f"{name}.svg").read_text(encoding="utf-8")
        return markup[markup.index("<svg") :]

    monkeypatch.setattr("adaptive_lr.reporting.search_report.drawing", SimpleNamespace(save_both=save_both))


@pytest.fixture
def quick(once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is not laid out: neither are names too long nor panels too many here."""
    plots = search_report._plots

    def unarranged(*arguments: Any) -> Any:
        drawn, reasons = plots(*arguments)
        for figure in drawn.values():
            figure.set_layout_engine("none")
        return drawn, reasons

    monkeypatch.setattr(search_report, "_plots", unarranged)


class Page(HTMLParser):
    """What a page refers to, how many figures it has, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.figures, self.references, self.open, self.text = 0, list[str](), list[str](), ""
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.figures += tag == "svg"
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def made(
    values: list[tuple[float, ...] | None],
    folder: Path,
    *,
    space: Any = None,
    directions: tuple[Direction, ...] = ("minimize",),
    points: Any = None,
) -> SearchResult:
    """A result with these values; None for a trial that failed."""
    read = Space.read(space or NAMES)
    units = [(number * 0.618) % 1.0 for number in range(len(values))]
    return SearchResult(
        trials=tuple(
            TrialRecord(
                number=number,
                point=points[number] if points else {name: axis.at(units[number]) for name, axis in read.axes.items()},
                values=value or (),
                state="failed" if value is None else "complete",
                seconds=1.0,
                error="ValueError: <script>no luck</script>" if value is None else None,
            )
            for number, value in enumerate(values)
        ),
        directions=directions,
        directory=folder / "search",
        storage=f"sqlite:///{folder}/search/study.db",
        ran=len(values),
        space=read,
    )


def written(found: SearchResult, folder: Path, **options: Any) -> tuple[Page, dict[str, Any]]:
    path = write_search_report(found, folder / "report", title="A search & more", **options)
    assert path == folder / "report" / "index.html"
    page = Page(path)
    assert all(one.startswith(("#", "data:")) for one in page.references), page.references
    assert not re.search(r"url\(['\"]?http|@import|<script|<link", path.read_text(encoding="utf-8"))
    drawn = sorted(one.stem for one in (folder / "report" / "figures").glob("*.svg"))
    assert drawn == sorted(one.stem for one in (folder / "report" / "figures").glob("*.png"))
    assert page.figures == len(drawn)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    numbers = json.loads((folder / "report" / "search.json").read_text(), parse_constant=refuse)
    return page, numbers | {"figures": drawn}


def test_a_page_has_the_answer_first_and_every_figure(tmp_path: Path) -> None:
    def train(trial: SearchTrial) -> float:
        if trial.number == 3:
            raise ValueError("no luck")
        return parabola(trial) + 0.01 * float(trial["layers"])

    found = search(train, NAMES, trials=24, directory=tmp_path / "s", workers=0, on_error="skip", seed=3)
    page, numbers = written(found, tmp_path)
    assert numbers["figures"] == ["contour-1", "history-1", "importance-1", "slices-1"]
    assert (
        f"The least value is {found_prose.shown(found.best_value)}, at {found_prose.point(found.best_trial)}"
        in page.text
    )
    assert "Of 25 trials, 24 ran to the end, 0 stopped early, 1 failed" in page.text
    assert "ValueError: no luck" in page.text
    assert numbers["best"] == [found.best_trial.number]
    assert numbers["history"] == found.history()
    assert len(numbers["trials"]) == 25
    assert f"--trials 44 --directory {tmp_path}/s --seed 3" in page.text
    assert f"optuna-dashboard {found.storage}" in page.text


@pytest.mark.usefixtures("quick")
def test_a_verdict_takes_the_place_of_the_warning(tmp_path: Path) -> None:
    found = made([(1.0,), (2.0,)], tmp_path)
    assert "flatter themselves" in written(found, tmp_path)[0].text
    page, numbers = written(found, tmp_path, verdict="It is not better than cosine.")
    assert "It is not better than cosine." in page.text
    assert "flatter themselves" not in page.text
    assert numbers["verdict"] == "It is not better than cosine."


@pytest.mark.usefixtures("quick")
def test_several_objectives_have_a_front(tmp_path: Path) -> None:
    values = [(0.0, 3.0), (1.0, 4.0), (0.0, 3.0), *[(float(place), 3.5 - place) for place in range(1, 15)]]
    found = made([*values, (math.nan, 0.0), (math.inf, -9.0)], tmp_path, directions=("minimize", "maximize"))
    page, numbers = written(found, tmp_path)
    each = [f"{name}-{place}" for place in (1, 2) for name in ("contour", "history", "importance", "slices")]
    assert numbers["figures"] == sorted([*each, "front"])
    assert sorted(found.trials[number].values for number in numbers["best"]) == [(0.0, 3.0), (0.0, 3.0), (1.0, 4.0)]
    assert "the least objective 1 and the greatest objective 2" in page.text


@pytest.mark.usefixtures("quick")
def test_three_objectives_have_a_panel_for_each_pair(tmp_path: Path) -> None:
    found = made([(float(place), -float(place), 1.0) for place in range(6)], tmp_path, directions=("minimize",) * 3)
    drawn = found_figures.front(found, found.pareto())
    assert drawn is not None
    assert sum(axes.get_visible() for axes in drawn.axes) == 3
    assert written(found, tmp_path)[1]["best"] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "values",
    [
        [],
        [None, None],
        [(math.nan,)],
        [(math.inf,), (-math.inf,), (math.nan,)],
        [(1.0,)] * 15,
        [(0.0,)] * 14,
        [(1e308,)] * 7 + [(-1e308,)] * 8,
        [(1e-320,)] * 7 + [(1e99,)] * 8,
        [(math.nan,), None, *[(float(place),) for place in range(-7, 7)], (math.inf,), (-math.inf,)],
    ],
    ids=lambda values: str(values)[:30],
)
@pytest.mark.usefixtures("quick")
def test_no_value_breaks_the_page(values: Any, tmp_path: Path) -> None:
    found = made(values, tmp_path, directions=("maximize" if len(values) % 2 else "minimize",))
    page, numbers = written(found, tmp_path)
    assert numbers["counts"]["failed"] == values.count(None)
    assert "history-1" in numbers["figures"]
    if not any(value is not None and not math.isnan(value[0]) for value in values):
        assert "there is no best one" in page.text


@pytest.mark.usefixtures("quick")
def test_numbers_that_json_has_no_word_for_are_texts_that_float_reads(tmp_path: Path) -> None:
    numbers = written(made([(math.inf,), (math.nan,), (1.0,)], tmp_path), tmp_path)[1]
    read = [float(one["values"][0]) for one in numbers["trials"]]
    assert read[0] == math.inf
    assert math.isnan(read[1])
    assert numbers["best"] == [2]


@pytest.mark.usefixtures("quick")
def test_few_trials_have_reasons_in_place_of_figures(tmp_path: Path) -> None:
    page, numbers = written(made([(float(place),) for place in range(5)], tmp_path), tmp_path)
    assert numbers["figures"] == ["history-1", "slices-1"]
    assert "Importance needs ten complete trials with finite values, there are 5." in page.text
    assert "A surface needs 12 complete trials with finite values, there are 5." in page.text


@pytest.mark.parametrize(
    "space",
    [
        {"only": ["a", "b", None, True, 2.5]},
        {"one choice": ["a"], "x": Range(0, 1)},
        {"$x$ \\frac": Range(0, 1), "<b>&": Range(-1, 1), "_under": ["$a$", "$", "{}", "a" * 80]},
        {f"name {place}": Range(0, 1) for place in range(7)},
        {"n": range(1, 3), "m": range(0, 2)},
        {"number": Range(0, 1), "values": Range(1e-200, 1e200, log=True), "items": range(2)},
    ],
    ids=["choices", "one", "odd", "many", "few", "columns"],
)
@pytest.mark.usefixtures("once")
def test_no_name_breaks_the_page(space: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found_figures, "PANELS", 4)
    found = made([((place * 0.37) % 1.0,) for place in range(16)], tmp_path, space=space)
    page, _ = written(found, tmp_path)
    for name in space:
        assert name in page.text


@pytest.mark.usefixtures("quick")
def test_what_failed_is_shown_as_text(tmp_path: Path) -> None:
    found = made([None, (1.0,)], tmp_path)
    assert "<script>no luck</script>" in written(found, tmp_path)[0].text


@pytest.mark.usefixtures("quick")
def test_the_best_point_at_an_edge_is_said(tmp_path: Path) -> None:
    space = {"x": Range(0.001, 1.0, log=True), "n": range(1, 5)}
    points = [{"x": 0.00101, "n": 4}, {"x": 0.05, "n": 2}]
    near, inside = (made([values, (1.0,)], tmp_path, space=space, points=points) for values in ((0.0,), (2.0,)))
    assert "x = 0.00101 (lowest 0.001), n = 4 (highest 4). A better value" in written(near, tmp_path)[0].text
    assert "At the edge" not in written(inside, tmp_path)[0].text


def test_many_trials_are_drawn_as_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made([((place * 0.37) % 1.0 + 1.0,) for place in range(600)], tmp_path, space={"x": Range(0, 1)})
    figure = found_figures.history(found, 0)
    assert not any(line.get_rasterized() for line in figure.axes[0].lines)
    monkeypatch.setattr(found_figures, "RASTERISED", 500)
    assert any(line.get_rasterized() for line in found_figures.history(found, 0).axes[0].lines)


def test_the_same_search_gives_the_same_files(tmp_path: Path) -> None:
    found = made([((place * 0.37) % 1.0,) for place in range(10)], tmp_path, space={"x": Range(0, 1)})
    first, second = (write_search_report(found, tmp_path / name, title="t") for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_the_files_of_the_search_are_not_written_over(tmp_path: Path) -> None:
    found = made([(1.0,)], tmp_path)
    with pytest.raises(OutputError, match="give the report a folder of its own"):
        write_search_report(found, tmp_path / "other" / ".." / "search", title="t")

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adaptive_lr import DampedCosine, Linear, Warmup, table


def test_a_schedule_draws_its_table() -> None:
    axes = DampedCosine(k=2).plot(total_steps=50)
    assert isinstance(axes, Axes)
    (line,) = axes.get_lines()
    assert list(line.get_ydata()) == table([DampedCosine(k=2)], 50)[0].tolist()  # type: ignore[arg-type]
    assert line.get_label() == "DampedCosine(k=2)"


def test_several_schedules_are_drawn_into_the_same_axes() -> None:
    axes = Figure().subplots()
    assert DampedCosine().plot(axes=axes) is axes
    Linear().plot(axes=axes)
    assert len(axes.get_lines()) == 2


def test_a_notebook_shows_the_curve() -> None:
    picture, page = DampedCosine()._repr_png_(), DampedCosine()._repr_html_()
    assert picture is not None
    assert picture.startswith(b"\x89PNG")
    assert page is not None
    assert page.startswith("<code>DampedCosine()</code>")
    assert page.count("<svg") == 1


@pytest.mark.parametrize("steps", [5_000])
def test_a_schedule_that_is_too_long_to_draw_by_itself_is_shown_as_text(steps: int) -> None:
    schedule = Warmup(steps=steps, then=Linear())
    assert schedule._repr_png_() is None
    assert schedule._repr_html_() is None
    assert schedule.plot(total_steps=10_000).get_lines()

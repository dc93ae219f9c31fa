import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from adaptive_lr.drawing import as_svg, both, draw_multipliers, plain, save
from adaptive_lr.errors import OutputError
from adaptive_lr.files import replace_file
from adaptive_lr.reporting.pages import replace_page

HOSTILE = [
    "$",
    "$$",
    "$x$",
    "$\\frac{$",
    "$x_{$",
    "a\\$b",
    "\\$",
    "_hidden",
    "\ud800",
    "a\x00b",
    "\x1b[2J",
    "two\nlines",
    "x" * 5000,
]


def test_a_link_at_the_name_of_the_part_or_of_the_file_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("precious")
    for name in ("page", "page.part"):
        (tmp_path / name).symlink_to(other)
    replace_file(tmp_path / "page", b"new")
    assert other.read_text() == "precious"
    assert (tmp_path / "page").read_bytes() == b"new"
    assert not (tmp_path / "page").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "page"]


def test_a_named_pipe_at_the_name_of_the_part_does_not_make_it_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "page.part")
    replace_page(tmp_path / "page", "new")
    assert (tmp_path / "page").read_text() == "new"


def test_a_file_that_cannot_be_written_is_named_and_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    replace_file(path, b"old")

    class Full:
        def __init__(self, descriptor: int, mode: str) -> None:
            os.close(descriptor)

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, content: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")  # as a full disk says it: without the file's name

    with monkeypatch.context() as context:
        context.setattr("adaptive_lr.files.os.fdopen", Full)
        with pytest.raises(OutputError, match=f"^cannot write {re.escape(str(path))}: No space left on device$"):
            replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["report.json"]
    with pytest.raises(OutputError, match=r"cannot write .*/missing/page: No such file"):
        replace_file(tmp_path / "missing/page", b"")


def test_the_content_is_on_disk_before_the_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sync, synced = tmp_path / "search.json", os.fsync, []

    def watched(descriptor: int) -> None:
        sync(descriptor)
        synced.append((path.read_bytes(), Path(f"{path}.part").read_bytes(), os.fstat(descriptor).st_ino))

    replace_file(path, b"old")
    monkeypatch.setattr(os, "fsync", watched)
    replace_file(path, b"new")
    assert synced == [(b"old", b"new", path.stat().st_ino)]
    assert path.read_bytes() == b"new"


def test_a_lone_surrogate_in_a_page_is_no_error(tmp_path: Path) -> None:
    replace_page(tmp_path / "page", "a\ud800b é")
    assert (tmp_path / "page").read_text(encoding="utf-8") == "a?b é"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_drawn_as_it_is_and_never_read_as_a_formula(tmp_path: Path, name: str) -> None:
    figure = Figure()
    axes = draw_multipliers({name: np.linspace(1, 0, 5)}, np.linspace(0, 1, 5), figure.subplots())
    axes.set(title=plain(name), ylabel=plain(name))
    axes.set_xticks([0.0, 1.0], [plain(name), "1"])
    for ending in ("png", "svg"):
        save(figure, tmp_path / f"curve.{ending}")
    element = as_svg(figure, "x")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", element)
    if set(name) <= set("$x\\"):
        assert texts.count(name[:80] if len(name) <= 80 else name[:79] + "…") == 4
    element.encode()


def test_a_figure_is_laid_out_once_for_both_of_its_files(tmp_path: Path) -> None:
    def drawn() -> Figure:
        figure = Figure(figsize=(5.0, 3.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.set(xlabel="x", ylabel="y\nof two lines", yscale="log")
        left.plot([0.0, 1.0], [1e-5, 10.0], label="a")
        figure.colorbar(right.scatter([0.0, 1.0], [0.0, 1.0], c=[0.0, 1.0]), ax=right)
        figure.legend(loc="outside right center")
        return figure

    save(drawn(), tmp_path / "name.png")
    files = both(drawn(), "name")
    assert files["png"] == (tmp_path / "name.png").read_bytes()
    boxes = re.findall(rb'<rect x="([0-9.]+)" y="[0-9.]+" width="([0-9.]+)"', files["svg"])
    figure = drawn()
    figure.set_dpi(130)
    figure.draw_without_rendering()
    for box, axes in zip(boxes, figure.axes[:2], strict=True):  # of the bar no rectangle is cut out
        assert [float(number) for number in box] == pytest.approx(
            [72 * 5.0 * axes.get_position().x0, 72 * 5.0 * axes.get_position().width]
        )


def test_a_killed_writer_leaves_the_old_figure_or_the_new_one(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
import numpy as np
from matplotlib.figure import Figure
from adaptive_lr import drawing
path = Path(sys.argv[1])
figure = Figure()
rows = np.random.default_rng(0).random((10, 3000)).cumsum(0)
drawing.draw_multipliers({str(k): row for k, row in enumerate(rows)}, np.linspace(0, 1, 3000), figure.subplots())
drawing.save(figure, path)
drawn = path.read_bytes()
drawing._drawn = lambda *arguments, **options: drawn  # so that the time goes into writing
while True:
    drawing.save(figure, path)
    print("written", flush=True)
"""
    path = tmp_path / "curve.svg"
    for delay in (0.0, 0.05, 0.2):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"written\n"
            time.sleep(delay)
            process.kill()
        assert path.read_text().rstrip().endswith("</svg>")


def test_a_name_reaches_no_terminal_with_control_characters() -> None:
    from adaptive_lr.reporting.terminal import draw_schedules
    from adaptive_lr.schedules import DampedCosine

    rows: dict[str, Any] = {name: DampedCosine() for name in HOSTILE}
    text = draw_schedules(rows, 50, 100)
    assert "\x1b" not in text
    assert "\x00" not in text


def test_ctrl_c_while_a_file_is_written_leaves_the_old_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    replace_file(path, b"old")

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    assert path.read_bytes() == b"old"

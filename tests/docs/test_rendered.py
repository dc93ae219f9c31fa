"""What is written in pages and docstrings is what their HTML shows."""

import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

import adaptive_lr as al

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]


def imported(name: str) -> ModuleType:
    """A module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))  # as when it is run: its folder is the first on the path
        spec.loader.exec_module(module)
    return module


READABLE = imported("readable")


def prose(text: str) -> str:
    """The text without code and comments."""
    without: str = READABLE.CODE.sub(" ", text)
    return re.sub(r"<!--.*?-->", " ", without, flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_nothing_in_a_page_is_taken_for_a_tag(page: Path) -> None:
    text = prose(page.read_text(encoding="utf-8"))
    assert re.findall(r"<[A-Za-z/!?][^\n]{0,30}", text) == []


def documented() -> Iterator[tuple[str, object]]:
    """Every class and function of the package that its reference could show.

    Yields:
        Its name and it.
    """
    for name in al.__all__:
        thing = getattr(al, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            yield name, thing
        if inspect.isclass(thing):
            yield from ((f"{name}.{key}", value) for key, value in vars(thing).items() if inspect.isfunction(value))


DOCSTRINGS = {name: inspect.getdoc(thing) or "" for name, thing in documented()}


def test_docstrings_keep_their_inner_products_and_doctests() -> None:
    assert sum("<g" in text for text in DOCSTRINGS.values()) >= 5
    assert sum(">>>" in text for text in DOCSTRINGS.values()) >= 20
    for name, text in DOCSTRINGS.items():
        shown = prose(READABLE.readable(text))
        assert not re.search(r"<[A-Za-z/!?]", shown), name
        assert ">>>" not in shown, name
        assert not re.search(r"\w\*[^*\n]*\w\*", READABLE.EMPHASIS.sub("", shown.replace("\\*", ""))), name


@pytest.mark.parametrize(
    ("written", "markdown"),
    [
        ("at most <g, D>/2", "at most &lt;g, D>/2"),
        ("`<g, D>` is <g, D>", "`<g, D>` is &lt;g, D>"),
        ("a < b <= c <- d", "a < b <= c <- d"),
        ("f - f* for the least f*, *not* 2 * 3", "f - f\\* for the least f\\*, *not* 2 * 3"),
        ("A sum:\n\n>>> 1 + 1\n2\n", "A sum:\n\n```pycon\n>>> 1 + 1\n2\n```\n"),
        ("Args:\n    x: a.\n\n    >>> f(\n    ...     1)\n    2\n\nMore.", None),
    ],
)
def test_markdown_of_a_docstring(written: str, markdown: str | None) -> None:
    if markdown is None:
        markdown = "Args:\n    x: a.\n\n    ```pycon\n    >>> f(\n    ...     1)\n    2\n    ```\n\nMore."
    assert READABLE.readable(written) == markdown


def test_every_public_name_is_in_the_reference_under_that_name() -> None:
    page = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    members = {kind.__name__ for kind in (*al.SCHEDULES, *al.CONTROLLERS)}
    for name in al.meta.__all__:
        assert f"::: adaptive_lr.meta.{name}\n" in page, name
    for name in set(al.__all__) - members - {"SCHEDULES", "CONTROLLERS", "meta"}:
        thing = getattr(al, name)
        place = f"adaptive_lr.{name}.{name}" if inspect.ismodule(thing) else f"adaptive_lr.{name}"
        assert f"::: {place}\n" in page or f"heading: {place}\n" in page, name
    for path in re.findall(r"^::: (\S+)", page, flags=re.MULTILINE):
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name) or importlib.util.find_spec(path), path


class Text(HTMLParser):
    """The text of a page, that of its blocks of code apart, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.code: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.quotations = 0
        self.inside = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.names |= {attributes.get("id") or "", attributes.get("name") or ""}
        self.inside += tag == "pre"
        self.quotations += tag == "blockquote"
        if tag == "a" and (target := attributes.get("href")):
            self.links.append(target)
        if tag == "pre":
            self.code.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside -= tag == "pre"

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.inside:
            self.code[-1] += data

    @property
    def text(self) -> str:
        """All of it, with single spaces."""
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Text]:
    """The pages of the site by their address; skipped where mkdocs is not installed, as ``make docs`` does."""
    for module in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(module, reason="make docs installs what builds the site")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    pages = {}
    for page in sorted(folder.rglob("*.html")):
        pages[page.relative_to(folder).as_posix()] = parsed = Text()
        parsed.feed(page.read_text(encoding="utf-8"))
    return pages


def shown(text: str) -> str:
    """A docstring without the signs of its markup, as a page shows it."""
    return " ".join(READABLE.EMPHASIS.sub(lambda match: match[0].strip("*"), text.replace("`", "")).split())


def test_pages_show_what_docstrings_say(site: dict[str, Text]) -> None:
    pages = {al.CONTROLLERS: "controllers/index.html", al.SCHEDULES: "schedules/index.html"}
    for kinds, page in pages.items():
        for kind in kinds:
            text = (inspect.getdoc(kind) or "").split(">>>")[0]
            for paragraph in text.strip().split("\n\n"):
                if not paragraph.lstrip().startswith(("-", "1.")):
                    assert shown(paragraph) in site[page].text, kind.__name__


def test_reference_shows_public_names_and_doctests_as_code(site: dict[str, Text]) -> None:
    page = site["reference/index.html"]
    assert {"adaptive_lr.ScheduledLR", "adaptive_lr.ControlledLR", "adaptive_lr.from_torch"} <= page.names
    assert "adaptive_lr.schedulers.scheduled_lr" not in page.text
    assert page.quotations == 0
    example = next(code for code in page.code if "scheduler = al.ScheduledLR" in code)
    assert ">>> import torch, adaptive_lr as al" in example
    assert "[0.025]" in example


def test_links_of_the_site_lead_somewhere(site: dict[str, Text]) -> None:
    for address, page in site.items():
        if address == "404.html":
            continue
        for link in page.links:
            target, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            path = os.path.normpath(Path(address).parent / target) if target else address
            path = "index.html" if path == "." else path if path.endswith(".html") else f"{path}/index.html"
            if Path(path).suffix == ".html" and path in site:
                assert not anchor or anchor in site[path].names, (address, link)
            else:
                assert not target.endswith("/"), (address, link)

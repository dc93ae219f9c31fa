"""Write the tables of docs/data.md from the declarations of the data sets: ``python docs/make_data.py``."""

from __future__ import annotations

from pathlib import Path

from blocks import filled

from adaptive_lr.tasks.data import CATALOGUE
from adaptive_lr.tasks.data.declaration import AnyDataset, InstalledDataset

PAGE = Path(__file__).parent / "data.md"


def with_tables(text: str) -> str:
    """The page with both tables as the declarations have them now."""
    return filled(text, PAGE.name, "make_data", sets=sets(), details=details())


def sets() -> str:
    """What there is, and from where."""
    head = "| name | what | classes | download | from | licence |\n|---|---|---|---|---|---|\n"
    return head + "\n".join(map(_row, CATALOGUE.values()))


def details() -> str:
    """How each is split, whom to cite, and its checksum."""
    head = "| name | training, validation and test | reference | SHA-256 |\n|---|---|---|---|\n"
    return head + "\n".join(
        f"| `{info.name}` | {info.splits} | {info.reference} | {f'`{info.sha256[:12]}`' if info.sha256 else ''} |"
        for info in CATALOGUE.values()
    )


def _row(info: AnyDataset) -> str:
    if isinstance(info, InstalledDataset):
        size, origin = "", f"comes with {info.package}"
    else:
        size = f"{info.download_bytes / 1e6:.1f} MB"
        origin = ", else ".join(place.label for place in info.origins)
    classes = str(len(info.classes)) if info.classes else ""
    return f"| `{info.name}` | {info.title}: {info.summary} | {classes} | {size} | {origin} | {info.licence} |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

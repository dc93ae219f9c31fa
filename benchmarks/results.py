"""What was measured last, in benchmarks/results.json, and under which conditions."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from adaptive_lr.files import replace_file

RESULTS = Path(__file__).parent / "results.json"

TABLES = {
    "trainer": "trainer_cost",
    "jax": "jax_cost",
    "workers": "worker_cost",
    "hardware": "hardware_cost",
    "scheduler": "schedule_cost",
    "statistics": "statistics_cost",
    "search": "search_cost",
    "store": "store_cost",
    "hypergradients": "hypergradient_cost",
}
"""Modules with ``TITLE``, ``ABOUT`` and ``cases``, by the name of the table."""

PACKAGES = ("torch", "jax", "transformers", "timm")


def stored(path: Path = RESULTS) -> dict[str, Any]:
    """Tables by name; none where nothing was measured yet."""
    tables: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return tables


def merged(tables: dict[str, Any], path: Path = RESULTS) -> None:
    """Put measured tables in the place of those that are stored under their names; others stay."""
    known = stored(path) | tables
    text = json.dumps({name: known[name] for name in TABLES if name in known}, indent=1, ensure_ascii=False)
    replace_file(path, (text + "\n").encode())


def conditions(load: float | None) -> dict[str, Any]:
    """Date, versions and processor; ``load`` is the load average before the table was measured."""
    versions = {name: number for name in PACKAGES if (number := _version(name)) is not None}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        **versions,
        "processor": _processor(),
        "load": None if load is None else round(load, 1),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The model as the system calls it, with its features that decide the speed of products."""
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in information.read_text().splitlines())
    fields = {name.strip(): value.strip() for name, _, value in lines}
    flags = [flag for flag in ("avx2", "avx512f", "amx_tile") if flag in fields.get("flags", "").split()]
    model = f"{fields.get('model name', platform.machine())}, model {fields.get('model', 'unknown')}"
    return ", ".join([model, *flags])

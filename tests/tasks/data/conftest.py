"""A folder of all sets for a test, and none of the settings of whoever runs it."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets are where they would be if nobody had named a folder."""
    monkeypatch.delenv("ADAPTIVE_LR_DATA", raising=False)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all sets; nothing is there yet."""
    folder = tmp_path / "sets"
    monkeypatch.setenv("ADAPTIVE_LR_DATA", str(folder))
    return folder


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers on this machine are asked directly."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")

"""What every input must end in: a result, or one clear line; in time and memory."""

import os
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from typer.testing import CliRunner

from adaptive_lr.cli import app

SECONDS = 60
"""30 s where nobody else is at work."""

MEGABYTES = 2048


class TooLong(BaseException):
    """Not an error that anything under test may catch."""


@contextmanager
def limited() -> Iterator[None]:
    """Fail after ``SECONDS``; no more than ``MEGABYTES`` on top of what the process has."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, ring)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEGABYTES * 2**20, limits[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


@contextmanager
def empty_folder() -> Iterator[Path]:
    """As the working directory."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)


def assert_ends_well(arguments: Sequence[str]) -> str:
    """Call the command line; what it said on standard error."""
    with limited():
        called = CliRunner(env={"COLUMNS": "120"}).invoke(app, list(arguments), catch_exceptions=True)
    if called.exception is not None and not isinstance(called.exception, SystemExit):
        raise AssertionError(f"adaptive-lr {list(arguments)!r}"[:2000]) from called.exception
    assert called.exit_code in (0, 1, 2), called.output
    assert "Traceback" not in called.output
    assert "not enough memory" not in called.output
    said = called.stderr
    if called.exit_code:
        errors = [line for line in said.splitlines() if line.startswith("error:")]
        assert len(errors) == 1 or "Usage:" in called.output, called.output
        assert not errors or len(errors[0]) < 2100
    return said


def assert_raises_only(refusal: type[Exception] | tuple[type[Exception], ...], act: Callable[[], Any]) -> Any:
    """What ``act`` returns, or None if it refused in one line."""
    with limited():
        try:
            return act()
        except refusal as error:
            text = str(error)
            assert text.strip()
            assert "\n" not in text
            return None

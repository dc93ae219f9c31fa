"""``python -m adaptive_lr`` is ``adaptive-lr``."""

import _thread
import gc
import signal
import sys
import threading
from types import FrameType

if (
    __name__ == "__main__"
):  # Ctrl-C while the command line is imported: end at once, with nothing to tear and nothing to say
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> None:
    """The command line as a process: Ctrl-C ends what is going on in order, and once more at once."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from adaptive_lr.cli import app

    signal.signal(signal.SIGINT, _interrupt)
    for stream in (
        sys.stdout,
        sys.stderr,
    ):  # a lone surrogate, or a letter that the terminal has not, is no reason to fail
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.unraisablehook = _unraisable
    try:
        app(prog_name="adaptive-lr")
    except KeyboardInterrupt:  # between the commands' own ways of ending
        sys.exit(130)
    finally:
        exec(
            ""
        )  # Python, interrupted while it compiles a text, would end by the signal instead of the exit code; another text undoes that


def _unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Ctrl-C that comes while Python runs the callback of a weak reference, which cannot raise, comes again a moment later."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
    elif threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)
        again = threading.Timer(0.02, _once_more)
        again.daemon = True
        again.start()


def _once_more() -> None:
    """Ctrl-C for the main thread, which ends what it waits for."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if getattr(getattr(sys.modules.get("torch"), "__spec__", None), "_initializing", False):
        signal.raise_signal(signal.SIGINT)  # half imported, PyTorch may abort on an exception; nothing has begun yet
    gc.freeze()  # else Python, as it ends, searches all of PyTorch for cycles several times over, which takes most of a second
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()

"""Errors that a user can do something about: one line that names the thing and the rule."""


def in_a_line(error: BaseException) -> str:
    r"""The kind of an error and its message.

    >>> in_a_line(ValueError("too\n  small"))
    'ValueError: too small'
    """
    return " ".join(f"{type(error).__name__}: {error}".split())


class AdaptiveLRError(Exception):
    """The base of all of them; the command line prints the message and nothing else."""


class SpecError(AdaptiveLRError, ValueError):
    """A spec was given a value that its declaration does not allow, or a name that does not exist."""


class ExperimentError(AdaptiveLRError, ValueError):
    """An experiment is declared wrongly or does not exist."""


class StoreError(AdaptiveLRError):
    """The store cannot be read or written; the message says why and what is safe."""


class RunError(AdaptiveLRError):
    """The trials could not be run to the end; what is finished is stored."""


class OutputError(AdaptiveLRError, ValueError):
    """Something cannot be written as asked."""


class InputError(AdaptiveLRError, ValueError):
    """A file or a value that somebody gave cannot be used; the message says which part of it and what to do."""


class FitError(AdaptiveLRError, ValueError):
    """A law cannot be fitted: the search did not end, or the data leave a parameter open; the message has the intervals."""


class CompileError(AdaptiveLRError):
    """A training loop cannot be compiled here; trials are trained without."""


class DataError(AdaptiveLRError):
    """A data set cannot be had, or is not what it should be; the message says what was expected, from where, and what to do."""

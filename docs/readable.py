"""Docstrings as Markdown that shows what they say: inner products are no tags, doctests are blocks of code."""

import re
from collections.abc import Callable

CODE = re.compile(r"```.*?```|~~~.*?~~~|``.*?``|`[^`]*`|<!--.*?-->", flags=re.DOTALL)
EMPHASIS = re.compile(r"(?<![\w*])\*\*?(?=\S)[^*\n]+(?<=\S)\*\*?(?![\w*])")
TAG = re.compile(r"<(?=[A-Za-z/!?])")
DOCTEST = re.compile(r"(?m)^(?P<indent>[ \t]*)>>> (?:.*\n?)(?:(?P=indent)[^\n]*\S[^\n]*\n?)*")


def escaped(text: str) -> str:
    """The text with every ``<`` that HTML would take for a tag, and every star of an optimum, as a character; code stays as it is."""
    return _outside(CODE, text, lambda prose: TAG.sub("&lt;", _outside(EMPHASIS, prose, _starred)))


def fenced(text: str) -> str:
    """The text with every doctest in a fence; without one, Markdown takes ``>>>`` for three quotations."""
    return DOCTEST.sub(lambda doctest: _fence(doctest[0], doctest["indent"]), text)


def readable(text: str) -> str:
    """A docstring as Markdown."""
    return escaped(fenced(text))


def _outside(pattern: re.Pattern[str], text: str, change: Callable[[str], str]) -> str:
    parts, end = [], 0
    for match in pattern.finditer(text):
        parts += [change(text[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*parts, change(text[end:])])


def _starred(text: str) -> str:
    return re.sub(r"(?<=\w)\*(?!\*)", r"\\*", text)


def _fence(doctest: str, indent: str) -> str:
    end = "\n" if doctest.endswith("\n") else ""
    return f"{indent}```pycon\n{doctest.rstrip()}\n{indent}```{end}"

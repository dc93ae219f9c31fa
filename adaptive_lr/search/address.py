"""What may be shown of the address of a storage: its scheme, its host and its database, never a name, a password or an option."""

from __future__ import annotations

import re
from urllib.parse import unquote

_WORD = re.compile(r"[\w.+-]*")
_FILE = re.compile(r"(?P<scheme>sqlite(?:\+pysqlite)?):///(?P<path>[^?]*)(?:\?.*)?", re.DOTALL)
_SERVER = re.compile(
    r"(?P<scheme>[A-Za-z][\w.+-]*)://"
    r"(?P<user>[^/?#@]*@)?"
    r"(?P<host>[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::\d*)?"
    r"(?P<database>/[\w.%-]*)?"
    r"(?:\?[^@]*)?"
)


def safe(url: str) -> str:
    """The scheme, the host and the database of an address; less of one that is not written as an address is.

    >>> safe("postgresql://me:secret@host:5432/runs?password=secret")
    'postgresql://host/runs'
    >>> safe("postgresql://me:sec/ret@host/runs"), safe("me:secret@host")
    ('postgresql://…', '…')
    """
    if file := _FILE.fullmatch(url):
        return f"{file['scheme']}:///{file['path']}"
    if server := _SERVER.fullmatch(url):
        return f"{server['scheme']}://{server['host']}{server['database'] or ''}"
    scheme, separator, _ = url.partition("://")
    if separator and _WORD.fullmatch(scheme):
        return f"{scheme}://…"
    return url if _WORD.fullmatch(url) else "…"


def without_secrets(text: str, url: str) -> str:
    """The first line of what a driver says, with every part of the address but those that `safe` shows blotted out.

    >>> without_secrets("no such host: cret@db", "postgresql://me:se@cret@db/runs")
    'no such host: ***@***'
    """
    line = next(iter(text.strip().splitlines()), "")
    shown = set(re.split(r"[:/@\[\]]+", safe(url)))
    parts = re.split(r"[:/@?&=#\[\]\s]+", url)
    hidden = {part for piece in parts for part in (piece, unquote(piece))} - shown - {""}
    for part in sorted(hidden, key=len, reverse=True):
        inside = len(part) < 6 or any(part in word for word in shown)  # else "me" would spoil every "time"
        pattern = rf"(?<!\w){re.escape(part)}(?!\w)" if inside else re.escape(part)
        line = re.sub(pattern, "***", line)
    return line

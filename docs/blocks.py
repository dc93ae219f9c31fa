"""The places in a page that a command fills: between ``<!-- NAME: made by docs/MAKER.py -->`` and ``<!-- end of NAME -->``."""

from __future__ import annotations

import re


def filled(text: str, page: str, maker: str, **blocks: str) -> str:
    """The text of a page with other lines in its places.

    Args:
        text: the page.
        page: its name, for the message.
        maker: the command's module.
        blocks: the lines of each place, by its name.

    Raises:
        SystemExit: a place is not there, or more than once.
    """
    for name, lines in blocks.items():
        begin, end = f"<!-- {name}: made by docs/{maker}.py -->\n", f"\n<!-- end of {name} -->"
        block = "{}\n{}\n{}".format(begin, lines.strip("\n"), end)
        text, count = re.subn(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _, new=block: new, text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"{page} needs the lines {begin.strip()} and {end.strip()} once")
    return text

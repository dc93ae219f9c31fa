"""What `mkdocs.yml` gives to mkdocstrings: docstrings pass through `readable` before they are taken apart."""

import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).parent))
from readable import readable  # the folder of this file is no package


class ReadableDocstrings(griffe.Extension):
    """Rewrites every docstring when it is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one."""
        if obj.docstring is not None:
            obj.docstring.value = readable(obj.docstring.value)

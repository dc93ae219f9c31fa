"""A build back end that builds nothing: it reads an sdist's own description of itself.

pip cannot download an sdist without asking it for its name and version, which runs its ``setup.py``. Put in front of setuptools, as
``setuptools/build_meta.py``, this answers instead, so that nothing of a package that is only read is executed.
"""

import sys
from email.parser import Parser
from pathlib import Path
from typing import Any


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Nothing is needed to read a file."""
    return []


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Any = None) -> str:
    """Write the name and the version from ``PKG-INFO``, in the folder that the sdist was unpacked to."""
    about = Parser().parsestr(Path("PKG-INFO").read_text(encoding="utf-8", errors="replace"), headersonly=True)
    folder = Path(metadata_directory) / f"{about['Name']}-{about['Version']}.dist-info"
    folder.mkdir(parents=True)
    lines = ("Metadata-Version: 2.1", f"Name: {about['Name']}", f"Version: {about['Version']}", "")
    (folder / "METADATA").write_text("\n".join(lines), encoding="utf-8")
    return folder.name


__legacy__ = sys.modules[__name__]
"""Where pip looks for these functions if the sdist has a ``setup.py`` and no ``pyproject.toml``."""

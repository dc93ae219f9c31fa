"""Every data set that there is, by its name."""

from __future__ import annotations

from adaptive_lr.errors import DataError, SpecError
from adaptive_lr.spec import lookup
from adaptive_lr.tasks.data.declaration import AnyDataset
from adaptive_lr.tasks.data.sets.images import IMAGES
from adaptive_lr.tasks.data.sets.tables import TABLES
from adaptive_lr.tasks.data.sets.texts import TEXTS

CATALOGUE: dict[str, AnyDataset] = {info.name: info for info in (*IMAGES, *TABLES, *TEXTS)}
"""All declarations. One that is added gets its tests and its line in the documentation with that."""


def find(name: str) -> AnyDataset:
    """The declaration of a set; ``breast_cancer`` is ``breast-cancer`` too, as tasks have it.

    Raises:
        DataError: there is no such set; the message has the nearest name.
    """
    try:
        return CATALOGUE[lookup(name.replace("_", "-"), CATALOGUE, "data set")]
    except SpecError as error:
        raise DataError(str(error)) from None

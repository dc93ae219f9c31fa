"""Runs from a folder of TensorBoard event files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adaptive_lr.analysis.tables import Table, from_records, nearest
from adaptive_lr.errors import InputError

_WORDS = re.compile(r"([A-Za-z][\w.-]*?)=(.*?)(?=[,_ ]+[A-Za-z][\w.-]*=|$)")


def read_events(folder: Path, *, tag: str, reduce: str = "last") -> Table:
    """One row a run: a scalar's last or least value, and the hyperparameters.

    A run is a folder with event files in which the tag occurs. Its hyperparameters are those of the HParams plugin (in the same
    folder, or in one just below, where ``add_hparams`` puts them), and, where these say nothing, the ``name=value`` parts of its
    path; other parts of the path are ``folder1``, ``folder2`` and so on, and the whole path is ``run``. A loss that is not finite
    at the end is kept as such.

    Raises:
        InputError: not a folder, no event files, or no run has the tag; the message has the nearest tag.
    """
    if reduce not in ("last", "min"):
        raise InputError(f"the loss of a run is its last or min, got {reduce!r}")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder" if folder.exists() else f"there is no folder {folder}")
    loaded = {path: _load(path) for path in sorted({one.parent for one in folder.rglob("*tfevents*")})}
    if not loaded:
        raise InputError(f"there are no TensorBoard event files below {folder}")
    tags = sorted({name for scalars, _ in loaded.values() for name in scalars})
    if tag not in tags:
        near = nearest(tag, tags)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(tags) or 'no scalars at all'}"
        raise InputError(f"no run below {folder} has the scalar {tag!r}; {hint}")
    records, places = [], []
    for path, (scalars, words) in loaded.items():
        if tag not in scalars:
            continue
        for other, (there, theirs) in loaded.items():
            if other.parent == path and tag not in there:
                words = theirs | words
        name = str(path.relative_to(folder))
        value = scalars[tag][-1]
        finite = [one for one in scalars[tag] if math.isfinite(one)]
        if reduce == "min":
            value = min(finite, default=math.nan)
        records.append(dict(_from_path(name)) | words | {"run": name, tag: repr(value)})
        places.append(f"run {name}")
    return from_records(records, places, folder.name)


def _load(folder: Path) -> tuple[dict[str, list[float]], dict[str, str]]:
    """All scalars by tag, and the hyperparameters."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    scalars = {name: [float(one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}
    for name in events.Tags()["tensors"]:  # what TensorFlow 2 and the newer writers make of a scalar
        arrays = [make_ndarray(one.tensor_proto) for one in events.Tensors(name)]
        if arrays and all(one.size == 1 and one.dtype.kind in "fiu" for one in arrays):
            scalars[name] = [float(one.reshape(())) for one in arrays]
    return scalars, _hyperparameters(events)


def _hyperparameters(events: Any) -> dict[str, str]:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    try:
        contents = events.PluginTagToContent("hparams")
    except KeyError:
        return {}
    found = {}
    for content in contents.values():
        data = HParamsPluginData.FromString(content)
        for name, value in data.session_start_info.hparams.items():
            kind = value.WhichOneof("kind")
            found[name] = "" if kind in (None, "null_value") else str(getattr(value, kind))
    return found


def _from_path(name: str) -> Iterator[tuple[str, str]]:
    for depth, part in enumerate(Path(name).parts, start=1):
        pairs = _WORDS.findall(part)
        yield from pairs or [(f"folder{depth}", part)]

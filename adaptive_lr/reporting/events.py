"""Runs from a folder of TensorBoard event files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from adaptive_lr.analysis.run_steps import Steps, long_enough, reduced
from adaptive_lr.analysis.tables import Table, from_records, nearest, shortened, visible
from adaptive_lr.errors import InputError
from adaptive_lr.reporting.event_files import Events, event_files, read_folder

_WORDS = re.compile(r"([A-Za-z][\w.-]*?)=(.*?)(?=[,_ ]+[A-Za-z][\w.-]*=|$)")


def read_events(folder: Path, *, tag: str, steps: Steps) -> tuple[Table, list[str]]:
    """One row a run: a scalar's last or best value, and the hyperparameters; and sentences about runs to be careful with.

    A run is a folder with event files in which the tag occurs. Its hyperparameters are those of the HParams plugin (in the same
    folder, or in one just below, where ``add_hparams`` puts them), and, where these say nothing, the ``name=value`` parts of its
    path; other parts of the path are ``folder1``, ``folder2`` and so on, and the whole path is ``run``. A loss that is not finite
    at the end is kept as such.

    An `InputError` says: not a folder, no event files, no run has the tag (the message has the nearest one), or none is long enough.
    """
    loaded = _loaded(folder, tag)
    damages = [damage for events in loaded.values() for damage in events.damages]
    runs = {path: events for path, events in loaded.items() if events.scalars.get(tag)}
    names = {path: str(path.relative_to(folder)) for path in loaded}
    keep, notes = long_enough({names[path]: events.scalars[tag][-1][0] for path, events in runs.items()}, steps, "step")
    lacking = [names[path] for path in loaded if path not in runs and path.parent not in runs]
    if lacking:
        count = "1 folder" if len(lacking) == 1 else f"{len(lacking)} folders"
        notes.append(f"No result, since they have no scalar {tag}: {count} ({shortened(lacking, 6)}); left out.")
    records = [
        _record(
            names[path],
            _words(path, loaded, tag),
            reduced([value for _, value in events.scalars[tag]], steps.reduce),
            tag,
        )
        for path, events in runs.items()
        if names[path] in keep
    ]
    table = from_records(records, [f"run {record['run']}" for record in records], folder.name or str(folder))
    return table, [visible(note) for note in (*damages, *notes)]


def read_steps(folder: Path, *, tag: str) -> tuple[Table, list[str]]:
    """One row a step of the one run below a folder that has a scalar: ``step`` and the scalar, in the order of writing; and what is damaged.

    Raises:
        InputError: there is no such run, or more than one; the message names them.
    """
    runs = {path: events for path, events in _loaded(folder, tag).items() if events.scalars.get(tag)}
    if len(runs) != 1:
        names = shortened([str(path.relative_to(folder)) for path in runs], 6)
        raise InputError(
            visible(f"{len(runs)} runs below {folder} have the scalar {tag!r}, name the folder of one: {names}")
        )
    ((path, events),) = runs.items()
    records = [{"step": str(step), tag: repr(value)} for step, value in events.scalars[tag]]
    table = from_records(records, [f"event {index}" for index in range(1, len(records) + 1)], path.name or str(path))
    return table, [visible(damage) for damage in events.damages]


def _loaded(folder: Path, tag: str) -> dict[Path, Events]:
    """What the event files below a folder hold, by folder; at least one has the tag.

    Raises:
        InputError: not a folder, no event files, or no run has the tag.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder" if folder.exists() else f"there is no folder {folder}")
    loaded = {path: read_folder(files, folder) for path, files in event_files(folder).items()}
    if not loaded:
        raise InputError(f"there are no TensorBoard event files below {folder}")
    tags = sorted({name for events in loaded.values() for name in events.scalars})
    if tag not in tags:
        damages = [damage for events in loaded.values() for damage in events.damages]
        near = nearest(tag, tags)
        hint = f"did you mean {near!r}?" if near else f"there are {shortened(tags, 20) or 'no scalars at all'}"
        raise InputError(visible(" ".join([f"no run below {folder} has the scalar {tag!r}; {hint}", *damages])))
    return loaded


def _words(path: Path, loaded: Mapping[Path, Events], tag: str) -> dict[str, str]:
    """The hyperparameters of a run, its own before those of a folder just below."""
    words = loaded[path].hyperparameters
    for folder, events in loaded.items():
        if folder.parent == path and tag not in events.scalars:
            words = events.hyperparameters | words
    return words


def _record(name: str, words: Mapping[str, str], value: float, tag: str) -> dict[str, str]:
    return dict(_from_path(name)) | dict(words) | {"run": name, tag: repr(value)}


def _from_path(name: str) -> Iterator[tuple[str, str]]:
    for depth, part in enumerate(Path(name).parts, start=1):
        pairs = _WORDS.findall(part)
        yield from pairs or [(f"folder{depth}", part)]

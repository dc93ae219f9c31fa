"""The saved state of a scheduler: what it holds, whether it is sound, and where it is not what was constructed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adaptive_lr.errors import SpecError
from adaptive_lr.schedulers.horizon import Horizon
from adaptive_lr.schedulers.state import anything, finite, integer, many, mapping, plain, record, text, truth
from adaptive_lr.schedulers.tracks import Member, Track, distinct
from adaptive_lr.schedules.base import AbstractSchedule
from adaptive_lr.schedules.reactive import is_reactive, with_memory, without_memory
from adaptive_lr.spec import encode

STATE_VERSION = 1
"""Version of the layout of a state."""


def _schedule(name: str, value: Any) -> None:
    mapping(name, value)
    plain(name, value)


_TRACK = record({"key": text, "groups": many(integer(0)), "bases": many(finite(0.0)), "schedule": _schedule})
_STATE = record(
    {
        "last_epoch": integer(-1),
        "step_count": integer(0),
        "total_steps": integer(1),
        "changes": many(many(anything, 3)),
        "base_lrs": many(finite(0.0)),
        "tracks": many(_TRACK),
    },
    {"rebased": truth, "added": many(integer(0))},
)


@dataclass(frozen=True)
class Saved:
    """A state that was found sound.

    Attributes:
        last_epoch: as in torch.
        step_count: as in torch.
        horizon: the number of steps, with its changes.
        bases: for each group the base values by hyperparameter.
        schedules: for each group the schedules by hyperparameter, as JSON.
        rebased: whether the base rates were changed on the way.
        added: the groups that were not there when the run was constructed.
    """

    last_epoch: int
    step_count: int
    horizon: Horizon
    bases: list[dict[str, float]]
    schedules: list[dict[str, Any]]
    rebased: bool
    added: tuple[int, ...]


def written_state(members: Sequence[Member]) -> dict[str, Any]:
    """The part of a state that the groups make up."""
    tracks = []
    for track in distinct(members):
        indices = [index for index, member in enumerate(members) if member.tracks.get(track.key) is track]
        bases = [members[index].bases[track.key] for index in indices]
        tracks.append({"key": track.key, "groups": indices, "bases": bases, "schedule": encode(track.schedule)})
    added = [index for index, member in enumerate(members) if not member.planned]
    return {"base_lrs": [member.bases["lr"] for member in members], "tracks": tracks, "added": added}


def read_state(state: Any, name: str) -> Saved:
    """A state of a scheduler of the class ``name``.

    Raises:
        SpecError: it is one of another class or of a newer version, or it does not hold what it must.
    """
    mapping("the state", state)
    if state.get("class") != name:
        saved = state.get("class", "different class")
        raise SpecError(
            f"this is the state of a {saved}, not of a {name}: load it into a {saved}, or leave it out to start afresh"
        )
    integer(1)("the state.version", state.get("version"))
    if state["version"] > STATE_VERSION:
        raise SpecError(
            f"the state has version {state['version']}, this version of adaptive_lr reads up to {STATE_VERSION}: update adaptive_lr"
        )
    _STATE("the state", state)
    horizon = Horizon(state["total_steps"], tuple((step, end, how) for step, end, how in state["changes"]))
    bases = [{"lr": float(rate)} for rate in state["base_lrs"]]
    schedules: list[dict[str, Any]] = [{} for _ in bases]
    for number, track in enumerate(state["tracks"]):
        if len(track["groups"]) != len(track["bases"]) or any(index >= len(bases) for index in track["groups"]):
            raise SpecError(
                f"the state.tracks[{number}] must have a base value for each of its groups, and these below {len(bases)}"
            )
        for index, base in zip(track["groups"], track["bases"], strict=True):
            schedules[index][track["key"]] = track["schedule"]
            bases[index].setdefault(track["key"], float(base))
    return Saved(
        last_epoch=int(state["last_epoch"]),
        step_count=int(state["step_count"]),
        horizon=horizon,
        bases=bases,
        schedules=schedules,
        rebased=state.get("rebased", False),
        added=tuple(state.get("added", ())),
    )


def resumed(track: Track, members: Sequence[Member], saved: Saved, conflicts: list[str]) -> AbstractSchedule:
    """The constructed schedule of a track, with the memory of the saved one if the two are the same.

    Args:
        track: the schedule.
        members: the groups; a saved schedule is one of the same hyperparameter in the same group.
        saved: the state.
        conflicts: what is to be told is added to these.
    """
    schedule = track.schedule
    mine = [without_memory(encode(schedule)), without_memory(encode(track.resolved))]
    memory: Any = None
    for member, schedules in zip(members, saved.schedules, strict=False):
        if member.tracks.get(track.key) is not track:
            continue
        theirs = schedules.get(track.key)
        if theirs is None:
            message = f"the state has no schedule of {track.key}: it begins with {schedule!r}"
        elif without_memory(theirs) not in mine:
            message = conflict(f"schedule of {track.key}", theirs, encode(schedule))
        else:
            memory = theirs if memory is None else memory
            continue
        if message not in conflicts:
            conflicts.append(message)
    return with_memory(schedule, memory) if memory is not None and is_reactive(schedule) else schedule


def differences(members: Sequence[Member], saved: Saved) -> list[str]:
    """Saved base values that are not the constructed ones, and saved schedules that nothing follows any more."""
    messages = []
    pairs = list(zip(members, saved.bases, saved.schedules, strict=False))
    keys = dict.fromkeys(key for member, _, _ in pairs for key in member.bases)
    for key in keys:
        if key == "lr" and saved.rebased:
            continue  # a person chose these
        comparable = [
            (bases[key], member.constructed[key])
            for index, (member, bases, _) in enumerate(pairs)
            if index not in saved.added and key in bases and key in member.constructed
        ]
        theirs, mine = [theirs for theirs, _ in comparable], [mine for _, mine in comparable]
        if any(not math.isclose(a, b, rel_tol=1e-6) for a, b in zip(theirs, mine, strict=True)):
            how = " (rebase does that)" if key == "lr" else ""
            messages.append(
                f"the saved base values of {key} {theirs} are not the constructed ones {mine}: continuing with the saved ones; "
                f"to continue with others, set them after loading{how}"
            )
    unused = sorted({key for member, _, schedules in pairs for key in schedules if key not in member.tracks})
    if unused:
        messages.append(
            f"the saved schedule of {', '.join(unused)} is not among the constructed ones: it is not followed"
        )
    return messages


def conflict(name: str, theirs: Any, mine: Any) -> str:
    """That something was saved otherwise than it was constructed."""
    return f"the saved {name} {theirs} is not the constructed one: continuing with {mine}"

"""The study that dashboards look at: a copy of what the journal holds, in an Optuna storage, made again if somebody changes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from adaptive_lr.errors import SpecError, StoreError
from adaptive_lr.search.address import safe
from adaptive_lr.search.journal import same
from adaptive_lr.search.plan import Direction
from adaptive_lr.search.samplers import Result, quiet, running
from adaptive_lr.search.space import Point
from adaptive_lr.search.storage import TROUBLE, open_storage, reason, refused, sqlite_address

T = TypeVar("T")

PATIENCE = 120.0
"""For so many seconds a server may be away before the search gives up on it."""

_OWNER = "adaptive_lr:directory"


@dataclass(frozen=True)
class Row:
    """A trial: what was asked, its result once it has one, and why it failed."""

    point: Point
    result: Result | None = None
    note: str | None = None


class Ledger:
    """The trials of one study, in the order of their numbers.

    Nothing in the study is believed. Each trial is compared with what this search knows of it, and where they differ, or the study
    cannot be read, or has trials that this search did not ask for, it is made again: a file of one's own is kept under ``.changed``.
    A trial is inserted with all its values in one transaction: a process that is killed leaves no half of it.

    Args:
        where: the file of the study, or the address of any storage that Optuna knows.
        name: of the study, which is made if it does not exist.
        directions: ``minimize`` or ``maximize`` for each objective.
        owner: the identity of the directory of the search; another one's study is left alone.
        distributions: of the space.
        say: is told when a server is waited for, and when the study is made again.

    Raises:
        StoreError: the storage cannot be used.
        SpecError: the study belongs to another search.
    """

    def __init__(
        self,
        where: Path | str,
        *,
        name: str,
        directions: Sequence[Direction],
        owner: str,
        distributions: dict[str, Any],
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._file = where if isinstance(where, Path) else None
        self._url = sqlite_address(where) if isinstance(where, Path) else where
        self.name, self._owner, self._say = name, owner, say
        self._directions = [StudyDirection[direction.upper()] for direction in directions]
        self._distributions = distributions
        self._server = not self._url.startswith("sqlite")
        self._rows: list[Row] = []
        self._ids: list[int] = []
        self._stored: list[FrozenTrial] = []
        self._open()

    def _open(self) -> None:
        with quiet():
            self._storage = self._patiently(lambda again: self._connected())
            try:
                self._study = self._patiently(lambda again: self._signed())
                self._stored = self._patiently(lambda again: self._read())
            except _UnreadableError as error:
                self._make_again(f"it cannot be read ({error})")

    def expect(self, count: int) -> None:
        """Make the study again if it has more than that many trials: somebody else has put them in."""
        if len(self._stored) > count:
            self._make_again(f"it has {len(self._stored)} trials, of which this search asked for {count}")

    def points(self) -> list[Point]:
        """What the study says was asked for, as far as it lies in the space: for a directory whose journal does not say."""
        points = []
        for trial in self._stored:
            if trial.params.keys() != self._distributions.keys() or trial.distributions != self._distributions:
                break
            points.append({name: trial.params[name] for name in self._distributions})
        return points

    def add(self, point: Point) -> None:
        """Store the next point; its trial is running."""
        number = len(self._rows)
        self._rows.append(Row(point))
        if number < len(self._stored):
            if same(self._stored[number].params, point):
                self._ids.append(self._stored[number]._trial_id)
            else:
                self._make_again(f"trial {number} has another point")
            return
        self._insert(number)

    def finish(self, number: int, result: Result, note: str | None = None) -> None:
        """Store the result of a trial, and a note that says why if it failed."""
        self._rows[number] = replace(self._rows[number], result=result, note=note)
        stored = self._stored[number] if number < len(self._stored) else None
        if stored is not None and stored.state.is_finished():
            if _result(stored) != result:
                self._make_again(f"trial {number} has another result")
            return
        self._write_result(number)

    def pause(self, numbers: Sequence[int]) -> None:
        """Mark trials without a result as waiting, as far as that can be done: nobody runs them now."""
        for number in numbers:
            try:
                self._storage.set_trial_state_values(self._ids[number], TrialState.WAITING)
            except (*TROUBLE, LookupError, optuna.exceptions.UpdateFinishedTrialError):
                return

    def close(self) -> None:
        """Leave the storage."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _insert(self, number: int) -> None:
        template = running(self._rows[number].point, self._distributions)

        def attempt(again: bool) -> int:
            if again:  # the server may have died after it did what was asked
                trials = self._storage.get_all_trials(self._study, deepcopy=False)
                if len(trials) > number:
                    return trials[number]._trial_id
            return self._storage.create_new_trial(self._study, template_trial=template)

        self._ids.append(self._patiently(attempt))

    def _write_result(self, number: int) -> None:
        identity, row = self._ids[number], self._rows[number]
        result = row.result
        assert result is not None

        def attempt(again: bool) -> None:
            try:
                if row.note is not None:
                    self._storage.set_trial_user_attr(identity, "error", row.note)
                if result.step is not None and result.values is not None:
                    self._storage.set_trial_intermediate_value(identity, result.step, result.values[0])
                self._storage.set_trial_state_values(identity, result.state, result.values)
            except optuna.exceptions.UpdateFinishedTrialError:
                if not again:
                    raise

        try:
            self._patiently(attempt)
        except (
            LookupError,
            optuna.exceptions.UpdateFinishedTrialError,
        ):  # deleted, or finished by somebody else meanwhile
            self._make_again(f"trial {number} was changed while the search was running")

    def _make_again(self, why: str) -> None:
        """Put the study aside, or delete it on a server, and write all that is known to a new one."""
        aside = ""
        self._stored, self._ids = [], []
        if self._file is not None:
            self.close()
            for ending in ("-wal", "-shm", ""):
                part = self._file.with_name(self._file.name + ending)
                changed = self._file.with_name(f"{self._file.name}.changed{ending}")
                changed.unlink(missing_ok=True)
                if part.exists():
                    part.replace(changed)
            aside = f", and is kept as {self._file.name}.changed"
        else:
            self._delete(why)
            self.close()
        self._say(
            f"{safe(self._url)} was written to by something else: {why}; it is made again from the journal{aside}"
        )
        self._storage = self._patiently(lambda again: self._connected())
        self._study = self._patiently(lambda again: self._signed())
        for number, row in enumerate(self._rows):
            self._insert(number)
            if row.result is not None:
                self._write_result(number)

    def _delete(self, why: str) -> None:
        failure = None
        try:
            self._patiently(lambda again: self._storage.delete_study(self._study))
        except StoreError:
            raise
        except Exception as error:
            failure = type(error).__name__
        if failure is not None:
            raise StoreError(
                f"the study {self.name!r} in {safe(self._url)} was written to by something else: {why}; it cannot be deleted "
                f"({failure}): give another name with the same directory"
            )

    def _connected(self) -> RDBStorage:
        return open_storage(self._url if self._file is None else self._file)

    def _signed(self) -> int:
        try:
            study = self._storage.get_study_id_from_name(self.name)
        except KeyError:
            study = self._storage.create_new_study(self._directions, self.name)
        owner = self._attempted(lambda: self._storage.get_study_user_attrs(study)).get(_OWNER)
        if owner is None and not self._storage.get_n_trials(study):  # made, and killed before it was signed
            self._storage.set_study_user_attr(study, _OWNER, self._owner)
        elif owner != self._owner:
            raise SpecError(
                f"the study {self.name!r} in {safe(self._url)} belongs to another search: give a name of your own"
            )
        return study

    def _read(self) -> list[FrozenTrial]:
        return self._attempted(lambda: self._storage.get_all_trials(self._study, deepcopy=False))

    def _attempted(self, read: Callable[[], T]) -> T:
        """What is read; a row that Optuna itself would not have written can raise anything.

        Raises:
            _UnreadableError: it raised that.
        """
        try:
            return read()
        except Exception as error:
            if isinstance(error, TROUBLE):
                raise
            raise _UnreadableError(" ".join(f"{type(error).__name__}: {error}".split())[:200]) from error

    def _patiently(self, attempt: Callable[[bool], T]) -> T:
        """Do it, and do it again for a while if a server does not answer.

        Raises:
            StoreError: it does not answer for too long, refuses for good, or a file cannot be written to.
        """
        deadline, again = time.monotonic() + PATIENCE, False
        while True:
            try:
                return attempt(again)
            except TROUBLE as error:
                message, final = reason(error, self._url), refused(error)
            # Here, where no exception is being handled: its chain holds the address, with the password.
            if not self._server:
                raise StoreError(
                    f"cannot use {safe(self._url)}: {message}; finished runs are kept: mend that, or move the file away, and run again"
                )
            if final:
                raise StoreError(f"{safe(self._url)} refuses: {message}; finished runs are kept")
            if time.monotonic() > deadline:
                raise StoreError(f"{safe(self._url)} does not answer ({message}); finished runs are kept")
            if not again:
                self._say(f"waiting for {safe(self._url)}: {message}")
            again = True
            time.sleep(0.5)


class _UnreadableError(Exception):
    """A study holds what Optuna does not understand."""


def _result(trial: FrozenTrial) -> Result:
    """The result of a stored trial."""
    if trial.state == TrialState.FAIL or trial.values is None:
        return Result(None)
    step = max(trial.intermediate_values, default=0) if trial.state == TrialState.PRUNED else None
    return Result(tuple(trial.values), step)

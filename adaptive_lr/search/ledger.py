"""The rows of a study in an Optuna storage: written by one process, readable by anything that reads Optuna's studies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy.exc
from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.engine import make_url

from adaptive_lr.errors import SpecError, StoreError
from adaptive_lr.search.plan import Direction
from adaptive_lr.search.samplers import Proposal, Result, quiet, running

T = TypeVar("T")

PATIENCE = 120.0
"""For so many seconds a server may be away before the search gives up on it."""

_OWNER = "adaptive_lr:directory"
_TROUBLE = (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError, OSError)


@dataclass(frozen=True)
class Row:
    """A stored trial: what was asked, and its result once it has one."""

    proposal: Proposal
    result: Result | None


class Ledger:
    """The trials of one study, in the order of their numbers.

    A trial is inserted with all its values in one transaction: a process that is killed leaves no half of it.

    Args:
        url: of any storage that Optuna knows.
        name: of the study, which is made if it does not exist.
        directions: ``minimize`` or ``maximize`` for each objective.
        owner: the identity of the directory of the search; another one's study is left alone.
        distributions: of the space.
        say: is told when a server is waited for.

    Raises:
        StoreError: the storage cannot be used.
        SpecError: the study belongs to another search.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        directions: Sequence[Direction],
        owner: str,
        distributions: dict[str, Any],
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.url, self.name, self._say = url, name, say
        self._distributions = distributions
        self._server = not url.startswith("sqlite")
        with quiet():
            self._storage: BaseStorage = self._patiently(lambda again: open_storage(url))
            self._study = self._patiently(lambda again: self._opened(directions, owner))
            trials = self._patiently(lambda again: self._storage.get_all_trials(self._study, deepcopy=False))
        self._ids = [trial._trial_id for trial in trials]
        self._trials = trials

    def rows(self) -> list[Row]:
        """What was stored when this was opened."""
        return [_row(trial, self._distributions) for trial in self._trials]

    def add(self, proposal: Proposal) -> None:
        """Store the next point; its trial is running."""
        template = running(proposal, self._distributions)

        def attempt(again: bool) -> int:
            if again:  # the server may have died after it did what was asked
                found = self._storage.get_all_trials(self._study, deepcopy=False)
                if len(found) > len(self._ids):
                    return found[len(self._ids)]._trial_id
            return self._storage.create_new_trial(self._study, template_trial=template)

        self._ids.append(self._patiently(attempt))

    def finish(self, number: int, result: Result, note: str | None = None) -> None:
        """Store the result of a trial, and a note that says why if it failed."""
        identity = self._ids[number]

        def attempt(again: bool) -> None:
            try:
                if note is not None:
                    self._storage.set_trial_user_attr(identity, "error", note)
                if result.step is not None and result.values is not None:
                    self._storage.set_trial_intermediate_value(identity, result.step, result.values[0])
                self._storage.set_trial_state_values(identity, result.state, result.values)
            except optuna.exceptions.UpdateFinishedTrialError:
                if not again:
                    raise

        self._patiently(attempt)

    def pause(self, numbers: Sequence[int]) -> None:
        """Mark trials without a result as waiting, as far as that can be done: nobody runs them now."""
        for number in numbers:
            try:
                self._storage.set_trial_state_values(self._ids[number], TrialState.WAITING)
            except (*_TROUBLE, optuna.exceptions.UpdateFinishedTrialError):
                return

    def close(self) -> None:
        """Leave the storage."""
        engine = getattr(self._storage, "engine", None)
        if engine is not None:
            self._storage.remove_session()
            engine.dispose()

    def _opened(self, directions: Sequence[Direction], owner: str) -> int:
        wanted = [StudyDirection[one.upper()] for one in directions]
        try:
            study = self._storage.get_study_id_from_name(self.name)
        except KeyError:
            study = self._storage.create_new_study(wanted, self.name)
        found = self._storage.get_study_user_attrs(study).get(_OWNER)
        if found is None and not self._storage.get_n_trials(study):  # made, and killed before it was signed
            self._storage.set_study_user_attr(study, _OWNER, owner)
        elif found != owner:
            raise SpecError(
                f"the study {self.name!r} in {safe(self.url)} belongs to another search: give a name of your own"
            )
        return study

    def _patiently(self, attempt: Callable[[bool], T]) -> T:
        """Do it, and do it again for a while if a server does not answer.

        Raises:
            StoreError: it does not answer for too long, or a file cannot be written to.
        """
        deadline, again = time.monotonic() + PATIENCE, False
        while True:
            try:
                return attempt(again)
            except _TROUBLE as error:
                cause = error.__cause__ or error
                reason = str(getattr(cause, "orig", cause)).strip().splitlines()[0]
                if not self._server:
                    raise StoreError(
                        f"cannot use {self.url}: {reason}; finished runs are kept: mend that, or move the file away, and "
                        "run again"
                    ) from error
                if time.monotonic() > deadline:
                    raise StoreError(f"{safe(self.url)} does not answer ({reason}); finished runs are kept") from error
                if not again:
                    self._say(f"waiting for {safe(self.url)}: {reason}")
                again = True
                time.sleep(0.5)


def open_storage(url: str) -> BaseStorage:
    """The storage of that address.

    Raises:
        StoreError: there is no such kind of storage, or its driver is not installed.
    """
    try:
        if url.startswith("sqlite:///"):
            return _sqlite(url)
        if url.startswith("redis"):
            return get_storage(url)
        if url.startswith("postgresql://"):
            url = url.replace("postgresql://", "postgresql+psycopg://", 1)
        return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    except (ImportError, ModuleNotFoundError) as error:
        extra = ": pip install 'adaptive-lr[postgresql]'" if "psycopg" in str(error) else ""
        raise StoreError(f"{safe(url)} needs a driver that is not installed ({error}){extra}") from error
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError, ValueError) as error:
        raise StoreError(f"{url!r} is no address of a storage: sqlite:///…, postgresql://…, mysql://…") from error


def safe(url: str) -> str:
    """The address without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return url


def _sqlite(url: str) -> RDBStorage:
    """With a write-ahead log, so that a dashboard may read; first made under another name, so that no half of it is ever found."""
    path = Path(url.removeprefix("sqlite:///"))
    if not path.exists():
        new = path.with_name(path.name + ".new")
        for one in path.parent.glob(f"{new.name}*"):
            one.unlink()
        made = _sqlite_storage(new)
        made.remove_session()
        made.engine.dispose()
        new.replace(path)
    return _sqlite_storage(path)


def _sqlite_storage(path: Path) -> RDBStorage:
    escaped = str(path).replace("{", "{{").replace("}", "}}")  # Optuna fills in a template
    storage = RDBStorage(f"sqlite:///{escaped}", engine_kwargs={"connect_args": {"timeout": 60}})

    @event.listens_for(storage.engine, "connect")
    def pragmas(connection: Any, record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    storage.remove_session()
    storage.engine.dispose()
    return storage


def _row(trial: optuna.trial.FrozenTrial, distributions: dict[str, Any]) -> Row:
    attributes = {name: one for name, one in trial.system_attrs.items() if name.startswith("cma")}
    proposal = Proposal({name: trial.params[name] for name in distributions}, attributes)
    if not trial.state.is_finished():
        return Row(proposal, None)
    if trial.state == TrialState.FAIL or trial.values is None:
        return Row(proposal, Result(None))
    step = max(trial.intermediate_values, default=0) if trial.state == TrialState.PRUNED else None
    return Row(proposal, Result(tuple(trial.values), step))

"""What somebody wants to know of a table of runs."""

from __future__ import annotations

from dataclasses import dataclass

from adaptive_lr.errors import InputError

MOST_GROUPS = 1000

TOLERANCE = 0.01
"""The basin of a group: as far as the loss is at most this share worse than its best one, where the optimum is not known."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to read from a table of runs.

    Attributes:
        rate: the column of the learning rate: one number a run, the peak of its schedule.
        loss: the column of the loss, or of a metric of which more is better.
        by: columns whose values make the groups.
        seed: the column of the seed.
        where: columns and the value that they must have.
        ignore: columns that may vary inside a group, because somebody says that they do not matter.
        diverged: columns and values that mean that a run diverged.
        direction: ``minimize``, ``maximize``, or None if nobody has said, which is read as ``minimize``.
        initial: the loss before training; what diverged, or ended worse, counts as that.
        optimum: the best possible loss.
        window: lowest and highest rate to look at.
        most_groups: more groups than this are refused.
        deviation: the column of the standard deviation over runs, with n - 1 below the root, if a row is a mean of several.
        repeats: how many runs a row is the mean of.
    """

    rate: str
    loss: str
    by: tuple[str, ...] = ()
    seed: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    ignore: tuple[str, ...] = ()
    diverged: tuple[tuple[str, str], ...] = ()
    direction: str | None = None
    initial: float | None = None
    optimum: float | None = None
    window: tuple[float, float] | None = None
    most_groups: int = MOST_GROUPS
    deviation: str | None = None
    repeats: int = 1

    @property
    def maximise(self) -> bool:
        """Whether more is better."""
        return self.direction == "maximize"

    @property
    def told(self) -> tuple[str, ...]:
        """Columns that somebody has spoken about, other than to say that their value means a divergence."""
        names = (
            self.rate,
            self.loss,
            self.seed,
            self.deviation,
            *self.by,
            *(name for name, _ in self.where),
            *self.ignore,
        )
        return tuple(name for name in names if name is not None)

    @property
    def beside(self) -> tuple[str, ...]:
        """Columns that go with the loss, see `adaptive_lr.analysis.run_steps.one_row_a_run`."""
        return () if self.deviation is None else (self.deviation,)

    def signed(self, value: float | None) -> float | None:
        """A value in units of which less is better."""
        return value if value is None or not self.maximise else -value

    def check(self) -> None:
        """Refuse one column in two roles, and a standard deviation of nobody knows how many runs.

        Raises:
            InputError: there is such a column, or one of ``deviation`` and ``repeats`` is given without the other, or with a seed.
        """
        if (self.deviation is None) != (self.repeats == 1) or self.repeats < 1:
            raise InputError(
                "--deviation, the column of the standard deviation over runs, and --repeats, how many runs (2 or more) a row is the mean "
                "of, go together"
            )
        if self.deviation is not None and self.seed is not None:
            raise InputError(
                "--deviation is of rows that are means over seeds, and such rows have no --seed; leave one out"
            )
        roles: dict[str, str] = {}
        seed = [] if self.seed is None else [("--seed", self.seed)]
        spread = [] if self.deviation is None else [("--deviation", self.deviation)]
        by = [("--by", name) for name in self.by]
        for role, name in (("--lr", self.rate), ("--loss", self.loss), *seed, *spread, *by):
            if name in roles:
                twice = f"{role} twice" if roles[name] == role else f"both {roles[name]} and {role}"
                raise InputError(f"the column {name!r} is {twice}; one column is one thing")
            roles[name] = role

"""Search the fields of a schedule on a built-in task, each shape at its own best rate, many shapes trained together.

The base rate is factored out: a shape is trained at every rate of a grid, and what the search is told is its loss at the best of
them, or its worst or mean loss when the rate is wrong by up to some factor. So a shape cannot win by fitting one rate.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from adaptive_lr.errors import SpecError
from adaptive_lr.search.function import run_plan
from adaptive_lr.search.plan import Direction, Plan
from adaptive_lr.search.result import SearchResult
from adaptive_lr.search.samplers import SamplerName
from adaptive_lr.search.study import Progress
from adaptive_lr.shapes.rounds import HalvedRounds, WholeRounds
from adaptive_lr.shapes.shape_search import ShapeSearch
from adaptive_lr.trials.store import Store


def search_shapes(
    shapes: ShapeSearch,
    *,
    trials: int,
    directory: Path,
    store: Store,
    workers: int = 1,
    sampler: SamplerName = "tpe",
    seed: int = 0,
    storage: str | None = None,
    advance: Callable[[Progress], None] = lambda progress: None,
) -> SearchResult:
    """Try so many shapes; what is trained is stored, and never trained again.

    With a pruner a shape is compared with those of its round, in runs that are shorter and whole.

    Args:
        shapes: what is searched.
        trials: how many shapes, those of earlier calls included; with a pruner a multiple of ``shapes.together``.
        directory: of the search.
        store: open for writing.
        workers: processes.
        sampler: as for `adaptive_lr.search`.
        seed: of the sampler.
        storage: as for `adaptive_lr.search`.
        advance: called whenever a shape is done.

    Raises:
        SpecError: with a pruner, ``trials`` is no multiple of ``shapes.together``.
    """
    directions: tuple[Direction, ...] = ("minimize",)
    plan = Plan(
        space=shapes.searched,
        trials=trials,
        sampler=sampler,
        seed=seed,
        directions=directions * (2 if shapes.objective == "best and worst" else 1),
        pruner=shapes.pruner,
        in_flight=shapes.together,
        rounds=True,
    )
    if shapes.pruner is not None and trials % shapes.together:
        raise SpecError(f"with a pruner trials must be a multiple of together, {shapes.together}, got {trials}")
    rounds = (HalvedRounds if shapes.pruner else WholeRounds)(shapes, store, workers)

    return run_plan(plan, directory, lambda: rounds, storage=storage, advance=advance, identity=shapes.identity())

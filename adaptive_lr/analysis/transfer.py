"""Does a shape that was found on one task help on the others?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptive_lr.analysis.baselines import TUNED, compare
from adaptive_lr.analysis.robustness import Sweep


def transferred(
    sweeps: Mapping[str, Mapping[str, Sweep]],
    baselines: Mapping[str, Mapping[str, Sweep]],
    seen: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> dict[str, dict[str, dict[str, Any]]]:
    """By target and source, what was found on the source against the best baseline, both trained on the target.

    Each at its own best rate there, as `adaptive_lr.analysis.baselines.compare` has it, before the correction that `paired.judge` makes.
    A shape does not face the task that it was found on: that row belongs to the search itself.

    Args:
        sweeps: by target, then by source, the sweep on the target of what was found on the source.
        baselines: by target, then by label.
        seen: by target, see `compare`.
    """
    return {
        target: {
            source: compare(
                {**baselines[target], "found": sweep}, "found", list(baselines[target]), seen[target], [TUNED]
            )[0]
            for source, sweep in row.items()
            if source != target
        }
        for target, row in sweeps.items()
    }

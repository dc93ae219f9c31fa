"""Cells that are counted together."""

from typing import Any

import numpy as np
import pytest

from adaptive_lr.analysis.any_rate import Starts, judge, summarise
from adaptive_lr.analysis.areas import areas


def study(area: str, factor: float, worst: float, optimum: float | None) -> dict[str, Any]:
    """The oracle ends at 1, training begins at 11; a contestant's starts end at 1 and at ``worst``."""
    settings: dict[str, Any] = {"initial": 11.0, "optimum": optimum, "seconds": 1.0, "extra_steps": 0.0}
    rates = np.array([0.1, 1.0])
    oracle = Starts.clipped(rates=rates, losses=np.array([[1.0], [5.0]]), **settings)
    other = Starts.clipped(rates=rates, losses=np.array([[1.0], [worst]]), evaluated=0.25, **settings)
    numbers = summarise({"a": oracle, "b": other}, {"a": "g", "b": "h"}, "a", {"a": False, "b": False})
    return {"area": area, "factor": factor, **numbers}


def test_areas_count_cells_by_horizon_and_all_together() -> None:
    studies = {
        "one": study("nets", 1.0, 1.4, None),  # loses .04
        "two": study("nets", 4.0, 1.8, None),  # loses .08
        "three": study("nets", 4.0, 3.0, None),  # loses .2
        "four": study("convex", 1.0, 1.25, 0.0),  # 1.25 > 1.2, but < 1.44
    }
    judge(studies)
    found = {(row["area"], row["factor"]): row["contestants"]["b"] for row in areas(studies)}
    assert list(found) == [("nets", 1.0), ("nets", 4.0), ("nets", None), ("convex", 1.0)]
    assert [(row["close"], row["near"], row["cells"]) for row in found.values()] == [
        (1, 1, 1),
        (0, 1, 2),
        (1, 2, 3),
        (0, 1, 1),
    ]
    both = found["nets", None]
    assert both["lost_worst"] == pytest.approx((0.04 + 0.08 + 0.2) / 3)
    assert both["lost_mean"] == pytest.approx((0.02 + 0.04 + 0.1) / 3)
    assert both["ratio_worst"] is None
    convex = found["convex", 1.0]
    assert (convex["lost_worst"], convex["ratio_worst"]) == (None, pytest.approx(1.25))
    assert convex["evaluated"] == 0.25

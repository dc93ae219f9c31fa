"""How intervals and choices were made before: what a calibration has to find fault with."""

import warnings
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from adaptive_lr.analysis.robustness import Sweep
from adaptive_lr.analysis.stats import Array, Places


def bca(samples: Array) -> tuple[Array, Array, Array, Array]:
    """In the place of `t_intervals`: the BCa bootstrap of a mean, 95 %; p is below 0.05 where it leaves zero out."""
    mean = np.asarray(samples.mean(-1))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        ends = bootstrap(
            (samples,), np.mean, axis=-1, vectorized=True, n_resamples=500, method="BCa", rng=np.random.default_rng(0)
        ).confidence_interval
    low, high = (np.where(np.isfinite(end), end, mean) for end in (ends.low, ends.high))
    return mean, low, high, np.where((low > 0.0) | (high < 0.0), 0.01, 1.0)


def chosen_once(self: Sweep, members: Any = slice(None)) -> Places:
    """In the place of `Sweep.choices`: the rate that is best on two selection seeds together, for every report seed."""
    indices = np.arange(len(self.rates))[members]
    best = indices[np.argmin(self.selection[:2, indices].mean(0))]
    return np.full(len(self.report), best, dtype=np.int_)

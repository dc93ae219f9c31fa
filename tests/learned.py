"""Policies for tests of `LearnedDamping`, which must not depend on the weights that are shipped."""

from adaptive_lr import LearnedDamping

WEIGHTS = (-0.4, -0.3, -0.5, 0.7, 0.2, 0.6, -0.3, 0.2, 0.4, -0.1, -0.6, -0.8, 0.1, 0.3, -0.2, 0.5, 0.1, 0.3, -0.2, 0.2)
"""Each reading counts, at early looks and later."""

BLIND = tuple(0.0 if place % 10 == 7 else weight for place, weight in enumerate(WEIGHTS))
"""The same without the reading that a shift of the loss changes."""

FULL = LearnedDamping(weights=WEIGHTS, until=0.8)
"""Looks until late, so that tests of short runs have many."""

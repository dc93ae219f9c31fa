"""A conformance kit for learning-rate schedulers: one case describes a scheduler, every check holds it to one claim.

It takes anything that is a `torch.optim.lr_scheduler.LRScheduler`, not only the ones of this package:

>>> from torch.optim.lr_scheduler import CosineAnnealingLR
>>> case = Case(
...     name="CosineAnnealingLR",
...     factory=lambda optimizer: CosineAnnealingLR(optimizer, T_max=12),
...     total_steps=12,
...     first=1.0,
...     last=0.0,
... )
>>> for name, reason in failures(case).items():
...     print(f"{name}: {reason}")
holds_past_the_horizon: past step 12 the rate goes from 0 to 0.5
get_lr_is_pure: driven like ignite: step 0 has the rate 0.5086662, not 0.5
manual_change_is_not_kept: after a change at step 6: step 7 has the rate 0.1389714, not 0.1852952
last_lr_after_loading: loaded at step 1: get_last_lr() says 0.4914815, the optimizer has 0.5
changed_base_rates: half the rates, both loaded, no warning: step 7 has the rate 0.1852952, not 0.09264762
damaged_state: T_max='text': accepted, then TypeError
initial_rate_of_added_group: step 7: the first group has the rate 0.1852952, the added one 0.3705905, not 0.25 of it
wrapped_step: AttributeError: 'function' object has no attribute '__func__'
base_rates_set_by_hand: set at step 6, no warning: step 7 has the rate 0.1852952, not 0.06948571
told_past_the_end: 24 updates at a rate of 0, and no warning
numpy_rates: rates that are float32: the state does not load with weights_only

With pytest, subclass `adaptive_lr.testing.suite.SchedulerConformance` and give it a fixture ``case``.
"""

from collections.abc import Sequence

from adaptive_lr.testing.case import Case, Check, NotApplicable, SchedulerFactory
from adaptive_lr.testing.costs import COSTS
from adaptive_lr.testing.driving import DRIVING
from adaptive_lr.testing.groups import GROUPS
from adaptive_lr.testing.resuming import RESUMING
from adaptive_lr.testing.state import STATE
from adaptive_lr.testing.telling import TELLING
from adaptive_lr.testing.tensors import TENSORS
from adaptive_lr.testing.values import VALUES

CHECKS: tuple[Check, ...] = (*VALUES, *STATE, *RESUMING, *TENSORS, *GROUPS, *DRIVING, *TELLING, *COSTS)
"""Every check; each has a ``name``, a one-line ``claim``, and is called with a case."""


def failures(case: Case, checks: Sequence[Check] = CHECKS) -> dict[str, str]:
    """The reason by name of every check that the case fails; `errors` says where it was."""
    return {name: str(error) for name, error in errors(case, checks).items()}


def errors(case: Case, checks: Sequence[Check] = CHECKS) -> dict[str, AssertionError]:
    """What every check that the case fails raises, by name: with its traceback, and as its cause what the scheduler raised."""
    raised = {}
    for check in checks:
        try:
            check(case)
        except NotApplicable:
            continue
        except AssertionError as error:
            raised[check.name] = error
    return raised


__all__ = ["CHECKS", "Case", "Check", "NotApplicable", "SchedulerFactory", "errors", "failures"]

"""The checks as pytest tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from adaptive_lr.testing import CHECKS, Case, Check, NotApplicable


class SchedulerConformance:
    """Every check on the scheduler that the fixture ``case`` describes.

    Subclass it in a test module, under a name that pytest collects, and give it that fixture, which may have parameters::

        class TestMyScheduler(SchedulerConformance):
            known_failures = {"pickle": "the schedule is a lambda"}

            @pytest.fixture
            def case(self):
                return Case(name="mine", factory=lambda optimizer: MyLR(optimizer, steps=12), total_steps=12)

    A check that the case says nothing about is skipped. One in ``known_failures``, by name with a reason, has to fail: when
    it passes some day, the entry has to go.
    """

    known_failures: ClassVar[Mapping[str, str]] = {}

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
    def test_conforms(self, check: Check, case: Case, request: pytest.FixtureRequest) -> None:
        """The claim of one check."""
        if check.name in self.known_failures:
            request.applymarker(pytest.mark.xfail(strict=True, reason=self.known_failures[check.name]))
        try:
            check(case)
        except NotApplicable as reason:
            pytest.skip(str(reason))

    def test_known_failures_are_checks(self) -> None:
        """A name in ``known_failures`` that is no check would hide nothing and say something."""
        assert set(self.known_failures) <= {check.name for check in CHECKS}

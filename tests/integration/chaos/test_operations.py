"""A schedule of chaos as text: what is printed of a failed run is the run itself."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.integration.chaos.operations import Schedule, read_schedule, schedules, write_schedule


@given(schedules(1, 5))
def test_a_schedule_comes_back_from_its_text(schedule: Schedule) -> None:
    """What is printed of a failed run repeats it."""
    assert read_schedule(write_schedule(schedule)) == schedule


@pytest.mark.parametrize(
    "text", ["7", '[{"deeds": 1}]', '[{"deeds": [{"kind": 1, "x": 2}], "pause_ms": 0}]', "x"]
)
def test_nonsense_is_no_schedule(text: str) -> None:
    """A text that is no schedule is refused."""
    with pytest.raises(ValueError, match=r"not a schedule|Expecting"):
        read_schedule(text)

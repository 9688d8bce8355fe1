"""Times on the wire: both forms, their limits, and the way back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.memory.instants import EARLIEST_MS, LATEST_MS, instant_ms, iso_utc


@given(st.integers(EARLIEST_MS, LATEST_MS))
def test_iso_text_and_number_name_the_same_instant(milliseconds: int) -> None:
    """What is written as ISO-8601 reads back as the same millisecond."""
    assert instant_ms(iso_utc(milliseconds)) == milliseconds
    assert instant_ms(milliseconds) == milliseconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T00:00:01", 1000),
        ("1970-01-01T01:00:00+01:00", 0),
        (" 1970-01-02 ", 86_400_000),
        ("1969-12-31T23:59:59.9996Z", -1),
        (1.9, 1),
        (-1, -1),
    ],
)
def test_both_forms_are_read(value: str | float, expected: int) -> None:
    """Text without a zone is UTC; fractions of a millisecond are dropped."""
    assert instant_ms(value) == expected


@pytest.mark.parametrize(
    "value",
    ["", "yesterday", "12:00", True, None, [], float("inf"), float("nan"), 10**300, LATEST_MS + 1, 1e300],
)
def test_anything_else_is_refused_with_a_reason(value: Any) -> None:
    """The reason says what is allowed."""
    with pytest.raises(ValueError, match=r"must|ISO-8601"):
        instant_ms(value)

"""Durations and sizes as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.configuration.units import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10),
        ("5m", 300),
        ("1h30m", 5400),
        ("0.5s", 0.5),
        ("1d", 86400),
        (3, 3),
        (0.25, 0.25),
    ],
)
def test_durations_are_read(text: object, seconds: float) -> None:
    """Every documented unit, sums of them, and plain seconds."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", ["", "10", "5 m", "-1s", "1h-3m", "10S", -1, True, None, [], float("nan"), "999d"]
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    """A bare number as text has no unit; signs, spaces and absurd lengths are refused."""
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("text", "size"), [("10MB", 10**7), ("2GiB", 2**31), ("1 kb", 1000), ("2G", 2 * 10**9), ("7B", 7), (5, 5)]
)
def test_sizes_are_read(text: object, size: int) -> None:
    """Decimal and binary units, in any case, and plain bytes."""
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["", "10", "2XB", "MB", "-1MB", 1.5, True, -1, "9999999TB"])
def test_what_is_no_size_is_refused(value: object) -> None:
    """Unknown units, signs and sizes beyond an exbibyte are refused."""
    with pytest.raises(ValueError, match="must be a size"):
        parse_size(value)


@given(st.integers(min_value=0, max_value=366 * 86400 * 1000))
def test_a_written_duration_reads_back(milliseconds: int) -> None:
    """`format_duration` loses nothing down to the millisecond."""
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


def test_sizes_are_written_for_people() -> None:
    """Decimal units, one digit at most."""
    assert [format_size(size) for size in (0, 999, 10**7, 2_560_000_000)] == [
        "0 B",
        "999 B",
        "10 MB",
        "2.6 GB",
    ]

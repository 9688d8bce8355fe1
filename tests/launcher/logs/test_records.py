"""The reading side of the log format, against the side that writes it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.logs.line_format import format_line
from launcher.logs.records import LogFilter, LogLine, matches_child, parse_line, parse_when, smart_case

NOW = datetime(2026, 11, 23, 14, 0, 0, tzinfo=UTC)
STAMPS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
    lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
)
ONE_LINE = (
    st.text().filter(lambda text: "\n" not in text).map(lambda text: text.encode("utf-8", "backslashreplace"))
)


@given(STAMPS, st.sampled_from(["stdout", "stderr", "lucid"]), ONE_LINE, st.booleans())
def test_what_is_written_is_read(at: str, stream: str, text: bytes, is_continued: bool) -> None:
    """Every line that the supervisor writes comes back with its time, stream and text."""
    written = format_line(at, stream, text, is_continued)
    line = parse_line("memory", written.removesuffix(b"\n"), "")
    assert (line.at, line.stream, line.text.encode(), line.is_continued) == (at, stream, text, is_continued)


def test_a_line_of_another_shape_keeps_its_text_and_the_time_before() -> None:
    """A traceback in the supervisor's own log is not lost."""
    line = parse_line("supervisor", b"Traceback \xff (most recent call last):", "2026-11-23T14:02:20.655123Z")
    assert line.at == "2026-11-23T14:02:20.655123Z"
    assert line.text == "Traceback \\xff (most recent call last):"


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("10m", "2026-11-23T13:50:00.000000Z"),
        ("1h30m", "2026-11-23T12:30:00.000000Z"),
        ("2d", "2026-11-21T14:00:00.000000Z"),
        ("1.5s", "2026-11-23T13:59:58.500000Z"),
        ("2026-11-23T14:02:20Z", "2026-11-23T14:02:20.000000Z"),
        ("2026-11-23T16:02:20+02:00", "2026-11-23T14:02:20.000000Z"),
    ],
)
def test_times_as_people_write_them(text: str, stamp: str) -> None:
    """Ages and ISO 8601 times."""
    assert parse_when(text, NOW) == stamp


@pytest.mark.parametrize("text", ["", "yesterday", "10", "10x", "m"])
def test_other_times_are_refused(text: str) -> None:
    """Anything else says what is understood."""
    with pytest.raises(ValueError, match="10m"):
        parse_when(text, NOW)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("error", "ERROR", True),
        ("Error", "ERROR", False),
        (r"\S+d", "ABCD", True),
        (r"\bDisk", "disk", False),
    ],
)
def test_smart_case(pattern: str, text: str, found: bool) -> None:
    """Only a written upper-case letter minds case, not one of an escape such as `\\S`."""
    assert (smart_case(pattern).search(text) is not None) == found


@pytest.mark.parametrize(
    ("child", "names", "matches"),
    [
        ("memory", (), True),
        ("memory", ("memory",), True),
        ("inference.0", ("inference",), True),
        ("inference.0", ("inference.1",), False),
        ("inference", ("inf",), False),
    ],
)
def test_names(child: str, names: tuple[str, ...], matches: bool) -> None:
    """A service name covers its replicas."""
    assert matches_child(child, names) == matches


def test_limits_are_inclusive() -> None:
    """A line at the very time given is inside."""
    line = LogLine("m", "2026-11-23T14:00:00.000000Z", "stdout", "x")
    assert LogFilter(since=line.at, until=line.at).wants(line)
    assert not LogFilter(since="2026-11-23T14:00:00.000001Z").wants(line)


def test_a_level_lets_markers_through() -> None:
    """A filter by level keeps what is urgent enough, and the markers between the processes."""
    errors = LogFilter(least_level=40)
    assert errors.wants(LogLine("m", "", "stdout", "x", level=40))
    assert not errors.wants(LogLine("m", "", "stdout", "x", level=30))
    assert errors.wants(LogLine("m", "", "lucid", "generation 2 started"))


def test_an_inverted_pattern_leaves_the_rest() -> None:
    """`--invert` turns the pattern around and leaves the times alone."""
    rest = LogFilter(smart_case("timeout"), since="2026", is_inverted=True)
    assert [rest.wants(LogLine("m", "2026-11", "stdout", text)) for text in ("a Timeout", "calm")] == [
        False,
        True,
    ]
    assert not rest.wants(LogLine("m", "2025-11", "stdout", "calm"))

"""One log line on the screen: its time, its name, its words, harmless whatever they are."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from launcher.dashboard.log_lines import MOST_ROWS, LineStyle
from launcher.logs.records import LogLine, local_time, smart_case

AT = "2026-11-23T14:02:20.655123Z"
LINE = LogLine("memory", AT, "stdout", "INFO hello")


@pytest.mark.parametrize(
    ("form", "start"),
    [
        ("clock", f"{local_time(AT, '%H:%M:%S')}.655 memory "),
        ("date", f"{local_time(AT, '%Y-%m-%d %H:%M:%S')}.655 memory "),
        ("age", " 1m10s memory "),
        ("none", "memory "),
    ],
)
def test_forms_of_the_time(form: str, start: str) -> None:
    """Clock, date, age and none; `t` goes through them and comes back."""
    now = datetime(2026, 11, 23, 14, 3, 31, tzinfo=UTC)
    style = LineStyle(time_form=form, name_width=6, now=now)
    assert style.text(LINE, 0, 100).plain == f"{start}INFO hello"
    assert [style.next_time_form() for _ in range(4)][-1] == form


def test_a_narrow_screen_spends_no_room_on_the_clock() -> None:
    """Below 60 columns the time is left out until it is asked for."""
    style = LineStyle(name_width=6)
    assert style.text(LINE, 0, 59).plain == "memory INFO hello"
    style.time_form = "date"
    assert style.text(LINE, 0, 59).plain.startswith("2026-")


@given(st.text(min_size=1), st.integers(30, 200))
def test_wrapped_rows_fit_and_lose_nothing(text: str, width: int) -> None:
    """Every row fits into the width, and together they are the whole line."""
    line = LogLine("memory", AT, "stdout", text.replace("\n", " "))
    wrapped = LineStyle(is_wrapped=True, name_width=6)
    rows = wrapped.rows(line, width)
    if len(rows) < MOST_ROWS:
        assert "".join(rows) == "".join(LineStyle(name_width=6).rows(line, width))
    drawn = [wrapped.text(line, part, width) for part in range(len(rows))]
    assert all(cell_len(row.plain) <= max(width, 24 + 10) for row in drawn)


@given(st.text())
def test_nothing_a_child_writes_reaches_the_terminal(text: str) -> None:
    """No control character survives, in no look."""
    line = LogLine("memory", AT, "stderr", f'\x1b[2J{text}\x07{{"a": "\x1b]0;t\x07"}}')
    for style in (
        LineStyle(),
        LineStyle(is_wrapped=True),
        LineStyle(is_pretty=True),
        LineStyle(ascii_only=True),
    ):
        for part in range(style.height(line, 80)):
            plain = style.text(line, part, 80).plain
            assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in plain)
            assert not style.ascii_only or plain.isascii()


def test_json_on_several_rows() -> None:
    """A JSON object is indented, with what stood before it above; other lines stay as they are."""
    style = LineStyle(is_pretty=True, time_form="none", name_width=6)
    line = LogLine("memory", AT, "stdout", 'INFO {"a": [1], "b": "x"}')
    rows = [style.text(line, part, 80).plain.strip() for part in range(style.height(line, 80))]
    assert rows == ["memory INFO", "{", '"a": [', "1", "],", '"b": "x"', "}"]
    assert style.height(LogLine("memory", AT, "stdout", "{not json}"), 80) == 1


def test_matches_stand_out() -> None:
    """What the filter matched is styled in the words, not in the time or the name."""
    text = LineStyle(name_width=6).text(LINE, 0, 100, smart_case("hello|memory"))
    assert [text.plain[span.start : span.end] for span in text.spans if span.style == "black on yellow"] == [
        "hello"
    ]


def test_a_marker_is_a_rule() -> None:
    """The supervisor's word between two processes looks like no child's word."""
    marker = LogLine("memory", AT, "lucid", "generation 2 started")
    style = LineStyle(time_form="none", name_width=6)
    assert style.text(marker, 0, 100).plain == "── memory: generation 2 started ──"
    style.ascii_only = True
    assert style.text(marker, 0, 100).plain == "-- memory: generation 2 started --"

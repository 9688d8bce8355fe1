"""The steps of `up` on a terminal: lines redrawn in place, cut to the width."""

import io

from launcher.terminal.step_list import StepList, address_lines, step_line
from tests.launcher.control_double import all_ready, child, crash_looping, two_services


def steps(width: int = 80, *, ascii_only: bool = False) -> tuple[StepList, io.StringIO]:
    """A step list on a string."""
    stream = io.StringIO()
    return StepList(stream, lambda: width, color=False, ascii_only=ascii_only), stream


def test_a_starting_child_has_phase_bar_and_percentage() -> None:
    """Everything about a start stands in one line."""
    line = step_line(two_services()["services"]["memory"]["children"][0])
    assert "memory" in line
    assert "open-store" in line
    assert "62%" in line
    assert "█" in line


def test_lines_are_redrawn_in_place() -> None:
    """The second picture moves the cursor up by the lines of the first."""
    shown, stream = steps()
    shown.snapshot(two_services())
    shown.snapshot(all_ready())
    first, _, second = stream.getvalue().partition("\x1b[2A")
    assert "62%" in first
    assert "memory       ready after 6s" in second


def test_the_time_to_get_ready_stands_still() -> None:
    """A ready service keeps the time that it took."""
    shown, stream = steps()
    shown.snapshot(all_ready())
    later = all_ready()
    later["services"]["memory"]["children"][0]["uptime_s"] = 60.0
    shown.snapshot(later)
    assert "ready after 1m00s" not in stream.getvalue()


def test_no_line_is_wider_than_the_terminal() -> None:
    """A long reason is cut, since a wrapped line would break the redrawing."""
    shown, stream = steps(30)
    document = crash_looping()
    document["services"]["memory"]["children"][0]["reason"] = "x" * 200
    shown.snapshot(document)
    rows = stream.getvalue().replace("\x1b[2K", "").replace("\x1b[J", "").replace("\r", "").splitlines()
    assert all(len(row) < 30 for row in rows)


def test_ascii_terminals_get_ascii() -> None:
    """Without UTF-8 no glyph is written."""
    shown, stream = steps(ascii_only=True)
    shown.snapshot(two_services())
    assert stream.getvalue().isascii()


def test_addresses_and_the_next_step() -> None:
    """The end names every address, the console, and a command to try."""
    text = "\n".join(address_lines(all_ready()))
    for part in (
        "ws://localhost:5005",
        "ws://localhost:5000",
        "http://localhost:5000/",
        "lucid-launch selftest",
    ):
        assert part in text


def test_a_service_without_address_is_left_out() -> None:
    """A stack of plain commands has no addresses to tell."""
    assert address_lines({"services": {"job": {"url": None, "children": [child("job")]}}}) == []

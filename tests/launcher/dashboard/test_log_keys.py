"""The keys of the log as a person uses them: filters that reach back, looks, copying, saving."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launcher.control_double import ControlDouble
from tests.launcher.dashboard.conftest import Open

WriteLog = Callable[..., None]
pytestmark = pytest.mark.usefixtures("control")


async def test_a_filter_finds_what_is_older_than_the_ring(open_dashboard: Open, write_log: WriteLog) -> None:
    """A match that lies before the lines that were read on opening is found, and new ones follow it."""
    write_log("memory", "needle one")
    write_log("memory", *(f"straw {number}" for number in range(2500)), second=1)
    async with open_dashboard() as screen:
        await screen.shows("straw 2499", without="needle")
        await screen.pilot.press("slash", *"needle", "enter")
        await screen.shows("needle one", "1 found")
        write_log("memory", "needle two", second=2)
        await screen.shows("needle one", "needle two", "2 found")


async def test_filters_survive_every_other_key(open_dashboard: Open, write_log: WriteLog) -> None:
    """Time, wrap, level, pretty and follow change the look and leave the filter."""
    write_log("memory", "INFO keep this", "INFO drop this", "WARNING keep that")
    async with open_dashboard() as screen:
        await screen.shows("drop this")
        await screen.pilot.press("slash", *"keep", "enter")
        await screen.shows("2 found", without="drop this")
        await screen.pilot.press("t", "w", "p", "f")
        await screen.shows("/keep/", "wrap", "pretty", "keep this", "2026-11-23", without="drop this")
        await screen.pilot.press("l", "l")
        await screen.shows("from warning", "keep that", "/keep/", without="keep this")
        await screen.pilot.press("escape")
        await screen.shows("drop this", "keep this", without="/keep/")


async def test_long_lines_wrap_and_json_opens(open_dashboard: Open, write_log: WriteLog) -> None:
    """`w` shows the end of a long line, `p` the inside of an object; again, and all is as before."""
    write_log("memory", "x" * 200 + " the end", 'INFO {"inside": {"deep": 1}}')
    async with open_dashboard(92, 24) as screen:
        await screen.shows("xxxx", without="the end")
        await screen.pilot.press("w")
        await screen.shows("the end")
        await screen.pilot.press("w", "p")
        await screen.shows('"deep": 1', without="the end")
        await screen.pilot.press("p")
        await screen.shows('{"inside": {"deep": 1}}')


async def test_a_mark_is_drawn(open_dashboard: Open, write_log: WriteLog) -> None:
    """`m` leaves a rule with the time at the end of the log."""
    write_log("memory", "before")
    async with open_dashboard() as screen:
        await screen.shows("before")
        await screen.pilot.press("m")
        await screen.shows("── mark: ")


async def test_copying_goes_to_the_terminal(
    open_dashboard: Open, write_log: WriteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`y` sends the visible lines by OSC 52, harmless ones, and says how many."""
    write_log("memory", "first", "second \x1b]52;c;evil\x07")
    async with open_dashboard() as screen:
        await screen.shows("second")
        written: list[str] = []
        driver = screen.app._driver
        assert driver is not None
        monkeypatch.setattr(driver, "write", written.append)
        await screen.pilot.press("y")
        await screen.shows("copied 2 lines")
        payload = written[0].removeprefix("\x1b]52;c;").removesuffix("\x07")
        rows = base64.b64decode(payload).decode().splitlines()
        assert [row.split("memory ")[1] for row in rows] == ["first", "second"]


async def test_saving_writes_what_the_filters_let_through(
    open_dashboard: Open, write_log: WriteLog, stack: Path
) -> None:
    """`S` writes the filtered lines, whole and with their times, and says where."""
    write_log("memory", "keep one", "drop", "keep two")
    async with open_dashboard() as screen:
        await screen.shows("drop")
        await screen.pilot.press("slash", *"keep", "enter")
        await screen.shows("2 found")
        await screen.pilot.press("S")
        await screen.shows("2 lines in")
    (saved,) = (stack / "logs" / "saved").iterdir()
    assert saved.read_text().splitlines() == [
        "2026-11-23T14:02:00.655123Z memory stdout | keep one",
        "2026-11-23T14:02:00.655123Z memory stdout | keep two",
    ]


async def test_a_folder_that_cannot_be_written_is_said(
    open_dashboard: Open, write_log: WriteLog, stack: Path
) -> None:
    """When saving fails the reason is shown and the dashboard goes on."""
    (stack / "logs" / "saved").write_text("in the way")
    write_log("memory", "a line")
    async with open_dashboard() as screen:
        await screen.shows("a line")
        await screen.pilot.press("S")
        await screen.shows("could not write")


async def test_a_flood_is_cut_and_said(open_dashboard: Open, write_log: WriteLog) -> None:
    """More than a person can read is skipped with a line that says so, and the newest line is on the
    screen.
    """
    write_log("memory", "before the flood")
    async with open_dashboard() as screen:
        await screen.shows("before the flood")
        write_log("memory", *(f"flood {number} {json.dumps('y' * 100)}" for number in range(20_000)))
        await screen.shows("flood 19999", "following")
        assert any("too fast to show, skipped" in line.text for line in screen.app.log_view.ring.shown)


async def test_paused_lines_stand_still_in_a_full_ring(
    control: ControlDouble, open_dashboard: Open, write_log: WriteLog
) -> None:
    """While scrolled up, lines stay where they are even when the ring drops old ones."""
    write_log("memory", *(f"line {number}" for number in range(300)))
    async with open_dashboard(92, 24) as screen:
        await screen.shows("line 299")
        screen.app.log_view.ring._capacity, screen.app.log_view.ring._spare = 300, 0
        await screen.pilot.press("pageup")
        before = [
            line[:40]
            for line in (await screen.shows("paused", without="line 299")).split("\n")
            if "memory line" in line
        ]
        write_log("memory", *(f"more {number}" for number in range(50)))
        after = await screen.shows("▼ 50 new")
        assert [line[:40] for line in after.split("\n") if "memory line" in line] == before

"""The dashboard's other screens: one service alone, its settings, the timeline, the palette."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launcher.control_double import ControlDouble, all_ready, crash_looping
from tests.launcher.dashboard.conftest import Open

WriteLog = Callable[..., None]
EVENT = {
    "revision": 7,
    "at": "2026-11-23T14:02:16.000000Z",
    "service": "memory",
    "child": "memory",
    "from": "starting",
    "to": "backoff",
    "reason": "exited 1",
    "detail": "exited 1; next try in 8 s (failure 2 of 5)",
    "generation": 2,
    "pid": None,
}


async def test_one_service_alone(control: ControlDouble, open_dashboard: Open, write_log: WriteLog) -> None:
    """`enter` shows a service with its figures, its last exits and its log; arrows go on, escape goes
    back.
    """
    write_log(
        "memory", "generation 1 started, pid 7", "generation 1 ended: exited 1 after 4.1 s", stream="lucid"
    )
    write_log("memory", "from memory", second=1)
    write_log("inference", "from inference")
    async with open_dashboard() as screen:
        await screen.shows("from memory", "> inference")
        await screen.pilot.press("enter")
        await screen.shows(
            "p99 ms", "logs: inference", "1 lucid-launch call inference", without="from memory"
        )
        await screen.pilot.press("down")
        await screen.shows("logs: memory", "from memory", "last exits", "exited 1 after 4.1 s")
        await screen.pilot.press("1")
        await screen.shows("copied  lucid-launch call memory retrieve")
        await screen.pilot.press("slash", *"nothing", "enter")
        await screen.shows("0 found", "logs: memory")
        await screen.pilot.press("escape")
        await screen.shows("logs: memory", "from memory", without="/nothing/")
        await screen.pilot.press("escape")
        await screen.shows("logs: all", "> memory", "from inference")


async def test_the_solo_view_fits_every_size(
    control: ControlDouble, open_dashboard: Open, write_log: WriteLog
) -> None:
    """The service and its log are there at every size; a tiny screen goes back to the table."""
    write_log("inference", "from inference")
    async with open_dashboard() as screen:
        await screen.shows("from inference")
        await screen.pilot.press("enter")
        for width, height in ((130, 40), (92, 24), (60, 16), (40, 12)):
            await screen.pilot.resize_terminal(width, height)
            text = await screen.shows("inference  ● ready", "from inference")
            assert all(len(line) <= width for line in text.split("\n"))
        await screen.pilot.resize_terminal(30, 8)
        await screen.shows("SERVICE", "no room for the log")


async def test_the_settings_show_where_they_come_from(
    control: ControlDouble, open_dashboard: Open, stack: Path
) -> None:
    """`c` shows the resolved settings of the service with their origins; a broken file says what is wrong."""
    (stack / "config.yaml").write_text("services:\n  inference: {server: inference, port: 5007}\n")
    async with open_dashboard() as screen:
        await screen.shows("> inference")
        await screen.pilot.press("c")
        await screen.shows("port: 5007", "config.yaml:2:", "default")
        await screen.pilot.press("y")
        await screen.shows("copied")
        await screen.pilot.press("escape")
        (stack / "config.yaml").write_text("services: [\n")
        await screen.pilot.press("c")
        await screen.shows("config.yaml:", "nothing was started or changed")


async def test_the_timeline_shows_what_happened_and_what_happens(
    control: ControlDouble, open_dashboard: Open
) -> None:
    """`v` shows the remembered events; new ones appear while it is open; `e` keeps the trouble."""
    control.events.append(EVENT)
    async with open_dashboard() as screen:
        await screen.shows("> inference")
        await screen.until(lambda: bool(screen.app.events), lambda: "no event came")
        await screen.pilot.press("v")
        await screen.shows("events: all", "starting → backoff", "failure 2 of 5")
        again = {**EVENT, "revision": 8, "from": "backoff", "to": "ready", "detail": "pid 99"}
        await asyncio.to_thread(control.emit, again)
        await screen.shows("backoff → ready", "pid 99")
        await screen.pilot.press("e")
        await screen.shows("errors only", "starting → backoff", without="pid 99")
        await screen.pilot.press("escape")
        await screen.shows("> inference")


@pytest.mark.parametrize(
    ("typed", "kind", "services"),
    [("restart mem", "restart", ["memory"]), ("stop inf", "stop", ["inference"])],
)
async def test_the_palette_does_what_is_typed(
    control: ControlDouble, open_dashboard: Open, typed: str, kind: str, services: list[str]
) -> None:
    """Ctrl-P, a few letters, enter: the command is sent."""
    async with open_dashboard() as screen:
        await screen.shows("> inference")
        await screen.pilot.press("ctrl+p")
        await screen.shows("a command, such as")
        await screen.pilot.press(*typed, "enter")
        assert await asyncio.to_thread(control.wait_for_command, kind) == {"services": services}


async def test_the_palette_finds_keys_of_the_log_as_well(
    control: ControlDouble, open_dashboard: Open, write_log: WriteLog
) -> None:
    """A command of the log is found by its words and done."""
    write_log("memory", "INFO fine", "ERROR broken")
    async with open_dashboard() as screen:
        await screen.shows("INFO fine")
        await screen.pilot.press("ctrl+p", *"tell of errors", "enter")
        await screen.shows("errors only", "ERROR broken", without="INFO fine")


async def test_sorting_is_marked_in_the_header(control: ControlDouble, open_dashboard: Open) -> None:
    """`>` and `<` go through the columns; the one that sorts carries a mark; the mouse selects a row."""
    async with open_dashboard() as screen:
        await screen.shows("> inference")
        await screen.pilot.press("greater_than_sign", "greater_than_sign")
        rows = (await screen.shows("STATE▾")).partition("SERVICE")[2]
        assert rows.index("memory") < rows.index("inference")
        await screen.pilot.press("less_than_sign", "less_than_sign")
        await screen.shows("> inference", without="▾")
        await screen.pilot.click("Table", offset=(4, 2))
        await screen.shows("> memory")


async def test_gpu_lines_come_and_go(control: ControlDouble, open_dashboard: Open) -> None:
    """`g` hides the lines about GPUs and shows them again; a machine without one has none, and says so."""
    async with open_dashboard() as screen:
        await screen.shows("GPU 0 H200")
        await screen.pilot.press("g")
        await screen.shows("GPU0", without="GPU 0 H200")
        await screen.pilot.press("g")
        await screen.shows("GPU 0 H200")
        await asyncio.to_thread(control.publish, {**all_ready(), "gpus": []})
        await screen.shows("2/2 ready", without="GPU 0")
        await screen.pilot.press("g")
        await screen.shows("has no GPU")


async def test_the_console_address_is_copied(control: ControlDouble, open_dashboard: Open) -> None:
    """`o` hands over the address of the page."""
    async with open_dashboard() as screen:
        await screen.shows("> inference")
        await screen.pilot.press("o")
        await screen.shows("copied  http://localhost:5000/")


async def test_ascii_alone(control: ControlDouble, stack: Path, write_log: WriteLog) -> None:
    """With ASCII asked for, not one other character is on the screen, in no view."""
    from launcher.dashboard.app import Dashboard
    from tests.launcher.dashboard.conftest import Screen

    control.document = crash_looping()
    write_log("memory", "a naïve line …", "generation 1 ended: exited 1 after 4.1 s" * 6)
    app = Dashboard(stack / "config.yaml", retry_s=0.01, ascii_only=True)
    async with app.run_test(size=(92, 24), notifications=True) as pilot:
        screen = Screen(app, pilot)
        for key, wanted in (
            ("f", "[retry]"),
            ("enter", "p99 ms"),
            ("v", "events: all"),
            ("escape", "p99 ms"),
            ("question_mark", "Stack"),
        ):
            await pilot.press(key)
            text = await screen.shows(wanted)
            assert text.isascii(), sorted({char for char in text if not char.isascii()})

"""The dashboard's log: merged, harmless, filtered, paused, as a person sees it."""

from collections.abc import Callable

from tests.launcher.control_double import ControlDouble
from tests.launcher.dashboard.conftest import Open

WriteLog = Callable[..., None]


def lines_of(screen: str, text: str) -> list[str]:
    """The rows that hold `text`, without the scroll bar."""
    return [line[:60].rstrip() for line in screen.split("\n") if text in line]


async def test_child_output_is_text_only(
    control: ControlDouble, open_dashboard: Open, write_log: WriteLog
) -> None:
    """Markup and escape sequences in a log line are shown as text or removed, never obeyed."""
    write_log("memory", "[bold red]not bold[/] \x1b[2J\x1b]0;title\x07after", "bell \x07 shown")
    async with open_dashboard() as screen:
        text = await screen.shows("[bold red]not bold[/] after", "bell \\x07 shown")
        assert "\x1b" not in text
        assert "title" not in text


async def test_logs_of_all_services_are_merged_and_followed(
    control: ControlDouble, open_dashboard: Open, write_log: WriteLog
) -> None:
    """Lines stand in time order across services, markers stand out, and new ones appear at the end."""
    write_log("memory", "second", second=2)
    write_log("inference", "first", second=1)
    write_log("inference", "third", second=3)
    async with open_dashboard() as screen:
        text = await screen.shows("first", "second", "third", "following")
        assert text.index("first") < text.index("second") < text.index("third")
        write_log("memory", "exited 1, restarting", second=4, stream="lucid")
        write_log("memory", "fourth", second=5)
        await screen.shows("── memory: exited 1, restarting ──", "fourth")


async def test_the_filter_looks_at_history_and_minds_case_like_the_user(
    control: ControlDouble, open_dashboard: Open, write_log: WriteLog
) -> None:
    """`/` filters what is there and what comes; lower case matches both; Escape shows everything again."""
    write_log("memory", "Timeout one", "calm", "timeout two")
    async with open_dashboard() as screen:
        await screen.shows("calm")
        await screen.pilot.press("slash", *"timeout", "enter")
        text = await screen.shows("/timeout/", "2 found", without="calm")
        assert "Timeout one" in text
        write_log("memory", "another timeout", "another calm")
        await screen.shows("another timeout", without="another calm")
        await screen.pilot.press("slash", "escape")
        await screen.shows("another calm", "calm")


async def test_a_broken_filter_says_so(
    control: ControlDouble, open_dashboard: Open, write_log: WriteLog
) -> None:
    """Half a regular expression is reported and does not crash."""
    write_log("memory", "calm")
    async with open_dashboard() as screen:
        await screen.shows("calm")
        await screen.pilot.press("slash", "left_parenthesis")
        await screen.shows("not a regular expression", "calm")


async def test_errors_only(control: ControlDouble, open_dashboard: Open, write_log: WriteLog) -> None:
    """`e` leaves the lines that tell of errors, and toggles back."""
    write_log("memory", "INFO fine", "ERROR broken")
    async with open_dashboard() as screen:
        await screen.shows("INFO fine")
        await screen.pilot.press("e")
        await screen.shows("ERROR broken", "errors only", without="INFO fine")
        await screen.pilot.press("e")
        await screen.shows("INFO fine", without="errors only")


async def test_solo_shows_the_selected_service(
    control: ControlDouble, open_dashboard: Open, write_log: WriteLog
) -> None:
    """`enter` shows only the marked service's log; the mark moves with the arrow keys."""
    write_log("memory", "from memory")
    write_log("inference", "from inference")
    async with open_dashboard() as screen:
        await screen.shows("from memory", "> inference")
        await screen.pilot.press("down")
        await screen.shows("> memory")
        await screen.pilot.press("enter")
        await screen.shows("logs: memory", "from memory", without="from inference")


async def test_scrolling_up_pauses_and_counts(
    control: ControlDouble, open_dashboard: Open, write_log: WriteLog
) -> None:
    """While scrolled up the lines stand still and new ones are counted; `f` follows again."""
    write_log("memory", *(f"line {number}" for number in range(200)))
    async with open_dashboard(92, 24) as screen:
        await screen.shows("line 199")
        await screen.pilot.press("pageup")
        before = lines_of(await screen.shows("paused", without="line 199"), "memory line")
        write_log("memory", "new a", "new b")
        assert lines_of(await screen.shows("▼ 2 new"), "memory line") == before
        await screen.pilot.press("f")
        await screen.shows("new b", "following")

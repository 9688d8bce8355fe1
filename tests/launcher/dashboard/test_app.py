"""The dashboard as a person sees it: screen text at four sizes, keys, trouble."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.dashboard.app import DETACH, STOP_ALL, Dashboard
from tests.launcher.control_double import ControlDouble, all_ready, child, crash_looping, service, status
from tests.launcher.dashboard.conftest import Open

WriteLog = Callable[..., None]


def lines_of(screen: str, text: str) -> list[str]:
    """The rows that hold `text`, without the scroll bar."""
    return [line[:60].rstrip() for line in screen.split("\n") if text in line]


async def test_130_columns_show_everything(control: ControlDouble, open_dashboard: Open) -> None:
    """The widest layout has every column, the phase with its percentage, and dashes for the unknown."""
    async with open_dashboard(130, 40) as screen:
        await screen.shows("◐ starting open-store 62%", "lucid", "1/2 ready", "console localhost:5000")
        header = next(line for line in screen.lines() if "SERVICE" in line)
        assert header.split()[:6] == ["SERVICE", "STATE", "UPTIME", "RST", "PORT", "GPU"]
        assert all(
            name in header for name in ("VRAM", "REQ/S", "P50", "P99", "QUEUE", "PID", "HEALTH", "60 s")
        )
        ready = next(line for line in screen.lines() if "● ready" in line)
        for figure in ("3h11m", "5005", "83", "1.3G", "2.1G", "533", "1.8", "6.2", "3/512", "29303", "0.4s"):
            assert figure in ready.split()
        starting = next(line for line in screen.lines() if "◐ starting" in line)
        assert "-" in starting.split()
        assert "0.0" not in starting


@pytest.mark.parametrize(
    ("width", "height", "present", "absent"),
    [
        (92, 24, ("SERVICE", "STATE", "UPTIME", "PORT", "REQ/S", "P99"), ("PID", "HEALTH", "60 s")),
        (60, 16, ("SERVICE", "STATE", "PORT", "REQ/S"), ("RSS", "CPU%", "QUEUE", "RST")),
        (40, 12, ("SERVICE", "STATE"), ("PORT", "REQ/S", "UPTIME")),
    ],
)
async def test_narrower_layouts(
    control: ControlDouble,
    open_dashboard: Open,
    width: int,
    height: int,
    present: tuple[str, ...],
    absent: tuple[str, ...],
) -> None:
    """Each narrower layout keeps names and states readable and leaves out what has no room."""
    control.document = all_ready()
    async with open_dashboard(width, height) as screen:
        await screen.shows("● ready", "2/2")
        header = next(line for line in screen.lines() if "SERVICE" in line).split()
        assert set(present) <= set(header)
        assert not set(absent) & set(header)
        assert any("inference" in line and "● ready" in line for line in screen.lines())
        assert any("memory" in line and "● ready" in line for line in screen.lines())
        assert all(len(line) <= width for line in screen.lines())


async def test_a_tiny_terminal_has_a_note_instead_of_the_log(
    control: ControlDouble, open_dashboard: Open, write_log: WriteLog
) -> None:
    """At 30x8 there is a line per service and a word about the missing log."""
    write_log("memory", "a line that has no room")
    async with open_dashboard(30, 8) as screen:
        text = await screen.shows("inference", "memory", "no room for the log")
        assert "a line that" not in text


async def test_resizing_rearranges(control: ControlDouble, open_dashboard: Open, write_log: WriteLog) -> None:
    """From wide to tiny and back nothing is lost and the keys still work."""
    write_log("memory", "a line in the log")
    control.document = all_ready()
    async with open_dashboard(130, 40) as screen:
        await screen.shows("HEALTH", "a line in the log")
        for width, height in ((40, 12), (30, 8), (92, 24)):
            await screen.pilot.resize_terminal(width, height)
        await screen.shows("QUEUE", "a line in the log", without="HEALTH")
        await screen.pilot.press("slash")
        await screen.pilot.press(*"nothing")
        await screen.shows("/nothing/", without="a line in the log")


async def test_a_crash_loop_tells_its_reason(control: ControlDouble, open_dashboard: Open) -> None:
    """A service in backoff shows the countdown, how it ended, and its last words."""
    control.document = crash_looping()
    async with open_dashboard() as screen:
        await screen.shows("↻ backoff, 8 s", "exited 1 after 4s", "database is locked")


async def test_a_new_snapshot_is_drawn(control: ControlDouble, open_dashboard: Open) -> None:
    """A published change appears without a key being pressed."""
    async with open_dashboard() as screen:
        await screen.shows("◐ starting")
        control.publish(all_ready())
        await screen.shows("2/2 ready", without="◐ starting")


async def test_a_fallback_port_is_marked(control: ControlDouble, open_dashboard: Open) -> None:
    """A port that is not the first of its range carries a `!`."""
    document = all_ready()
    document["services"]["inference"].update(port=5006, fallback_port=True)
    control.document = document
    async with open_dashboard() as screen:
        await screen.shows("5006!")


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
        text = await screen.shows("/timeout/", "2 of 3", without="calm")
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


@pytest.mark.parametrize(
    ("keys", "kind", "services"),
    [
        (("r",), "restart", ["inference"]),
        (("s",), "stop", ["inference"]),
        (("down", "r"), "restart", ["memory"]),
        (("R",), "restart", ["inference", "memory"]),
    ],
)
async def test_keys_send_commands(
    control: ControlDouble, open_dashboard: Open, keys: tuple[str, ...], kind: str, services: list[str]
) -> None:
    """Each action key sends its command for the marked service, and says so."""
    async with open_dashboard() as screen:
        await screen.shows("> inference")
        await screen.pilot.press(*keys)
        data = await asyncio.to_thread(control.wait_for_command, kind)
        assert data == {"services": services}
        await screen.shows(f"{kind}: {', '.join(services)}")


async def test_s_starts_a_stopped_service(control: ControlDouble, open_dashboard: Open) -> None:
    """The same key that stops a running service starts one that is at rest."""
    control.document = status(one=service(child("one", "stopped"), desired="down"))
    async with open_dashboard() as screen:
        await screen.shows("○ stopped")
        await screen.pilot.press("s")
        assert await asyncio.to_thread(control.wait_for_command, "start") == {"services": ["one"]}


async def test_a_refused_command_is_shown(control: ControlDouble, open_dashboard: Open) -> None:
    """What the supervisor answers with an error is shown as it said it, brackets and all."""
    refusal = {"status": "error", "message": "[x] is no good", "code": "E_CONFIG", "exit_code": 2}
    control.answers["restart"] = lambda data: refusal
    async with open_dashboard() as screen:
        await screen.shows("> inference")
        await screen.pilot.press("r")
        await screen.shows("[x] is no good")


async def test_q_detaches(control: ControlDouble, open_dashboard: Open) -> None:
    """`q` leaves and stops nothing."""
    async with open_dashboard() as screen:
        await screen.shows("> inference")
        await screen.pilot.press("q")
    assert screen.app.return_value == DETACH
    assert "down" not in [kind for kind, _ in control.commands]


@pytest.mark.parametrize(
    ("keys", "outcome"),
    [(("s",), STOP_ALL), (("ctrl+c",), STOP_ALL), (("l",), DETACH)],
)
async def test_ctrl_c_asks(
    control: ControlDouble, open_dashboard: Open, keys: tuple[str, ...], outcome: str
) -> None:
    """Ctrl-C asks; `s` or a second Ctrl-C stop everything, `l` leaves it running."""
    async with open_dashboard() as screen:
        await screen.shows("> inference")
        await screen.pilot.press("ctrl+c")
        await screen.shows("stop everything", "leave it running", "cancel")
        await screen.pilot.press(*keys)
    assert screen.app.return_value == outcome


async def test_ctrl_c_can_be_cancelled(control: ControlDouble, open_dashboard: Open) -> None:
    """Escape goes back to the dashboard."""
    async with open_dashboard() as screen:
        await screen.shows("> inference")
        await screen.pilot.press("ctrl+c")
        await screen.shows("leave it running")
        await screen.pilot.press("escape")
        await screen.shows("> inference", without="leave it running")
        assert screen.app.is_running


async def test_help_lists_the_keys(control: ControlDouble, open_dashboard: Open) -> None:
    """`?` shows the keys and Escape closes them."""
    async with open_dashboard() as screen:
        await screen.shows("> inference")
        await screen.pilot.press("question_mark")
        await screen.shows("restart all", "select a service")
        await screen.pilot.press("escape")
        await screen.shows("> inference", without="select a service")


async def test_a_lost_supervisor_is_shown_and_found_again(
    control: ControlDouble, open_dashboard: Open, stack: Path
) -> None:
    """When the stack ends the figures stay, the loss is said, and a new supervisor is picked up."""
    async with open_dashboard() as screen:
        await screen.shows("> inference")
        await asyncio.to_thread(control.close)
        await screen.shows("nothing runs; waiting for it to come back", "inference")
        again = ControlDouble(stack / "config.yaml", all_ready())
        try:
            await screen.shows("2/2 ready", without="waiting for it")
        finally:
            await asyncio.to_thread(again.close)


async def test_a_crash_has_a_bad_exit_code(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in the dashboard ends it with a code that is not 0."""

    def broken(self: Dashboard, *size: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Dashboard, "_arrange", broken)
    app = Dashboard(stack / "config.yaml")
    with pytest.raises(RuntimeError, match="a bug"):
        async with app.run_test():
            pass
    assert app.return_code == 1


async def test_without_colour_the_states_are_words(
    control: ControlDouble, open_dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With NO_COLOR every state is still a glyph and a word, and the selection a mark."""
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_dashboard() as screen:
        await screen.shows("> inference  ● ready", "◐ starting")

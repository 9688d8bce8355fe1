"""The dashboard as a person sees it: screen text at four sizes, keys, trouble."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from launcher.dashboard import app as app_module
from launcher.dashboard.app import DETACH, STOP_ALL, Dashboard
from tests.launcher.control_double import ControlDouble, all_ready, child, crash_looping, service, status
from tests.launcher.dashboard.conftest import Open

WriteLog = Callable[..., None]


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


async def test_a_filter_is_typed_where_there_is_no_room_for_the_log(
    control: ControlDouble, open_dashboard: Open, write_log: WriteLog
) -> None:
    """No letter of it is taken for an order; with room again the box goes on, and the log is filtered."""
    write_log("memory", "rest assured", "something else")
    async with open_dashboard(30, 8) as screen:
        await screen.shows("no room for the log")
        await screen.pilot.press("slash", *"rest")
        await screen.pilot.resize_terminal(92, 24)
        await screen.pilot.press(*" as")
        await screen.shows("rest assured", without="something else")
        await screen.pilot.press("enter", "e")
        await screen.shows("errors")
        await screen.pilot.resize_terminal(30, 8)
        await screen.shows("no room for the log")
        await screen.pilot.press("slash", "enter", "e")
        await screen.pilot.resize_terminal(92, 24)
        await screen.shows("rest assured")
    assert not [kind for kind, _ in control.commands if kind in ("restart", "stop", "start")]


async def test_what_was_ordered_is_sent_before_leaving(control: ControlDouble, open_dashboard: Open) -> None:
    """`r` and `q` in one breath: the service is restarted."""
    async with open_dashboard() as screen:
        await screen.shows("1/2 ready")
        await screen.app.run_action("do('restart')")
        await screen.app.run_action("do('leave')")
        await screen.until(lambda: screen.app.return_value is not None, lambda: "it never ended")
    assert [kind for kind, _ in control.commands if kind == "restart"] == ["restart"]


async def test_a_supervisor_that_takes_no_order_keeps_nobody(
    control: ControlDouble, open_dashboard: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaving waits for it, but not for long."""
    monkeypatch.setattr(app_module, "LAST_ORDERS_S", 0.05)
    async with open_dashboard() as screen:
        await screen.shows("1/2 ready")
        never = asyncio.Event()

        async def command(kind: str, services: Sequence[str]) -> None:
            await never.wait()

        monkeypatch.setattr(screen.app.feed, "command", command)
        await screen.app.run_action("do('restart')")
        await screen.app.run_action("do('leave')")
        await screen.until(lambda: screen.app.return_value is not None, lambda: "it never ended")


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
        await screen.shows("restart every service", "select the service above")
        await screen.pilot.press("escape")
        await screen.shows("> inference", without="select the service above")


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

    monkeypatch.setattr(Dashboard, "arrange", broken)
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

"""How the dashboard ends in a real terminal, wanted or not: services and terminal come out of it whole."""

import os
import shlex
import signal
import sys

import pytest

from tests.integration.stack import wait_ended
from tests.terminal.conftest import OpenTerminal
from tests.terminal.light_stack import LightStack

# A mistake in the program, as it may be in any: the part that draws the table fails at the second snapshot.
CRASHING = """
import sys
from launcher.dashboard.view import View
take, taken = View.take, []
def fail(self, document):
    taken.append(1)
    if len(taken) > 1:
        raise RuntimeError("a mistake in the program")
    take(self, document)
View.take = fail
from launcher.cli import main
sys.exit(main(["dashboard"]))
"""


def test_ctrl_c_asks_and_c_stays(lit: LightStack, dashboard: OpenTerminal) -> None:
    """The question names its answers; `c` goes on as if nothing had been."""
    terminal = dashboard()
    terminal.press("C-c")
    terminal.shows("What about the services?", "stop everything", "leave it running")
    terminal.press("c")
    terminal.shows("> echo", without="What about the services?")
    assert set(lit.pids()) == {"echo", "web"}


@pytest.mark.parametrize("answer", ["s", "C-c"])
def test_ctrl_c_and_s_stop_everything(lit: LightStack, dashboard: OpenTerminal, answer: str) -> None:
    """So does a second Ctrl-C: every process is gone, and the exit code is 0."""
    processes = lit.processes()
    terminal = dashboard()
    terminal.press("C-c")
    terminal.shows("What about the services?")
    terminal.press(answer)
    terminal.shows("everything is stopped", "exit=0.")
    assert lit.wait_gone(processes, 5) == []
    assert terminal.is_sane()


def test_ctrl_c_and_l_leave_it_running(lit: LightStack, dashboard: OpenTerminal) -> None:
    """As `q` does."""
    before = lit.pids()
    terminal = dashboard()
    terminal.press("C-c")
    terminal.shows("What about the services?")
    terminal.press("l")
    terminal.shows("left running", "exit=0.")
    assert lit.pids() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(
    lit: LightStack, dashboard: OpenTerminal, number: signal.Signals
) -> None:
    """Exit code 128 + number, a sane terminal, the same processes."""
    before = lit.pids()
    terminal = dashboard()
    os.kill(lit.viewer().pid, number)
    terminal.shows(f"exit={128 + number}.")
    assert terminal.is_sane()
    assert lit.pids() == before


def test_a_killed_dashboard_harms_no_service(lit: LightStack, dashboard: OpenTerminal) -> None:
    """What nobody can catch leaves the terminal as it was, but the stack runs on and can be watched again."""
    before = lit.pids()
    terminal = dashboard()
    os.kill(lit.viewer().pid, signal.SIGKILL)
    terminal.shows("exit=137.")
    assert lit.pids() == before
    terminal.run("reset; clear; echo whole again", shows="whole again", without="SERVICE")
    terminal.run("lucid-launch dashboard; echo exit=$?.", shows="2/2")
    terminal.press("q")
    terminal.shows("exit=0.")
    assert terminal.is_sane()


def test_a_crash_is_loud_and_harms_nothing(lit: LightStack, open_terminal: OpenTerminal) -> None:
    """A mistake in the dashboard: exit code 1, a sane terminal, the mistake, the way on; same services."""
    before = lit.pids()
    terminal = open_terminal()
    script = lit.root / "crashing.py"
    script.write_text(CRASHING)
    terminal.run(f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}; echo exit=$?.")
    text = terminal.shows("exit=1.")
    assert "a mistake in the program" in text
    assert "the services run on" in text
    assert terminal.is_sane()
    assert lit.pids() == before


def test_a_closed_terminal_ends_the_dashboard_alone(lit: LightStack, dashboard: OpenTerminal) -> None:
    """When the window is closed the dashboard goes and the services stay."""
    before = lit.pids()
    terminal = dashboard()
    viewer = os.pidfd_open(lit.viewer().pid)
    try:
        terminal.signal(signal.SIGTERM)
        wait_ended(viewer, 10)
    finally:
        os.close(viewer)
    assert lit.pids() == before


def test_ctrl_z_suspends_the_dashboard_alone(lit: LightStack, dashboard: OpenTerminal) -> None:
    """The shell is back, the services run, `fg` shows the screen again."""
    terminal = dashboard()
    terminal.press("C-z")
    terminal.shows("Stopped")
    assert terminal.is_sane()
    lit.say("written while it slept")
    terminal.run("fg", shows="> echo")
    terminal.shows("written while it slept")
    terminal.press("q")
    terminal.shows("left running")


def test_a_dashboard_that_was_stopped_by_others_goes_on_and_ends(
    lit: LightStack, dashboard: OpenTerminal
) -> None:
    """SIGSTOP and SIGCONT from outside, before the shell even looks: keys work, `q` ends it, all is sane."""
    terminal = dashboard()
    viewer = lit.viewer().pid
    for _ in range(3):
        os.kill(viewer, signal.SIGCONT)
    lit.say("after the signals")
    terminal.shows("after the signals", "the terminal is back")
    terminal.press("?")
    terminal.shows("restart the selected service")
    terminal.press("Escape")
    terminal.shows("> echo", without="restart the selected service")
    terminal.press("q")
    terminal.shows("left running", "exit=0.")
    assert terminal.is_sane()


def test_the_end_of_the_stack_is_told_and_its_return_is_shown(
    lit: LightStack, dashboard: OpenTerminal
) -> None:
    """`down` elsewhere: the dashboard says so and stays; `up` elsewhere: it shows the new stack."""
    terminal = dashboard()
    lit.run("down")
    terminal.shows("waiting for it to come back")
    lit.run("up", "-d", "--wait")
    terminal.shows("2/2 ready", without="waiting for it to come back")
    terminal.press("q")
    terminal.shows("exit=0.")


@pytest.mark.parametrize(
    "line",
    ["lucid-launch dashboard 2>err.txt", "lucid-launch dashboard | cat", "TERM=dumb lucid-launch dashboard"],
)
def test_no_full_screen_where_it_cannot_be(lit: LightStack, open_terminal: OpenTerminal, line: str) -> None:
    """A redirected stream or a terminal without a cursor gets one sentence, and not one escape code."""
    terminal = open_terminal()
    terminal.raw()
    text, _ = terminal.run_to_end(f"{line}; test ! -s err.txt || cat err.txt")
    assert "the dashboard needs a terminal" in text
    assert "lucid-launch status --watch" in text
    assert b"\x1b[?1049h" not in terminal.raw()


def test_the_supervisor_outlives_the_terminal_that_started_it(
    light: LightStack, open_terminal: OpenTerminal
) -> None:
    """`up` on a terminal, then the terminal is closed: the stack is still there."""
    terminal = open_terminal()
    terminal.run("lucid-launch up", shows="2/2")
    pid = light.status()["supervisor"]["pid"]
    viewer = light.viewer("up")
    terminal.signal(signal.SIGKILL)
    assert light.wait_gone([viewer], 10) == []
    assert light.status()["supervisor"]["pid"] == pid

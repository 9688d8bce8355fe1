"""The dashboard in a real terminal on a real stack: what a person sees, and what the keys do."""

import os
import re
import signal

import pytest
from rich.cells import cell_len

from tests.launcher.nvml_double import write_module, write_state
from tests.terminal.conftest import OpenTerminal
from tests.terminal.light_stack import LightStack

SIZES = [(130, 40), (92, 24), (60, 16)]
# A colour in any form: 30–37, 40–47, 90–97, 38;…, 48;… anywhere in a sequence of styles.
COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])(?:;\d+)*m")


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_size_shows_services_log_and_keys(
    lit: LightStack, dashboard: OpenTerminal, width: int, height: int
) -> None:
    """Title, rows with states, the log, and the keys stand on the screen, and no line is wider than it."""
    terminal = dashboard(width, height)
    lit.say("the printer is on the second floor")
    text = terminal.shows("> echo", "web", "● ready", "SERVICE", "the printer is on", "q leave")
    assert str(lit.memory_port) in text
    lines = text.rstrip("\n").split("\n")
    assert len(lines) == height
    assert max(map(cell_len, lines)) <= width
    assert "PID" in text if width == 130 else "PID" not in text


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_q_leaves_everything_running_and_says_so(
    lit: LightStack, dashboard: OpenTerminal, width: int, height: int
) -> None:
    """Exit code 0, the way back on the screen, the terminal as before, and the same processes."""
    before = lit.pids()
    terminal = dashboard(width, height)
    terminal.press("q")
    text = " ".join(terminal.shows("exit=0.").split())
    assert "left running; come back with lucid-launch dashboard , stop it with lucid-launch down" in text
    assert terminal.is_sane()
    assert lit.pids() == before


def test_a_filter_finds_what_came_before_and_after_it(lit: LightStack, dashboard: OpenTerminal) -> None:
    """`/` with a regular expression, smart case; escape shows all again."""
    terminal = dashboard()
    lit.say("Timeout of peer 1", "all is well", "timeout of peer 2")
    terminal.shows("all is well", "timeout of peer 2")
    terminal.press("/")
    terminal.shows("regular expression")
    terminal.type("time.*peer")
    terminal.press("Enter")
    terminal.shows("/time.*peer/", "Timeout of peer 1", without="all is well")
    lit.say("still all is well", "timeout of peer 3")
    assert "still all is well" not in terminal.shows("timeout of peer 3")
    terminal.press("Escape")
    terminal.shows("still all is well", "all is well", without="/time")


def test_only_errors_are_shown_and_all_again(lit: LightStack, dashboard: OpenTerminal) -> None:
    """`e` hides what tells of no trouble, `e` again shows it."""
    terminal = dashboard()
    lit.say("INFO fine", "ERROR broken")
    terminal.shows("INFO fine", "ERROR broken")
    terminal.press("e")
    terminal.shows("errors only", "ERROR broken", without="INFO fine")
    terminal.press("e")
    terminal.shows("INFO fine")


def test_scrolling_up_pauses_and_counts_what_is_new(lit: LightStack, dashboard: OpenTerminal) -> None:
    """The lines on the screen stay, the title counts, `f` follows again."""
    terminal = dashboard(92, 24)
    lit.say(*(f"old line {number:03d}" for number in range(100)))
    terminal.shows("old line 099", "following")
    terminal.press("PageUp")
    paused = terminal.shows("paused", without="old line 099")
    lit.say(*(f"new line {number}" for number in range(7)))
    assert "7 new (f follows)" in terminal.shows("▼ 7 new")
    top = next(line for line in paused.split("\n") if "old line" in line)
    assert top in terminal.text()
    terminal.press("f")
    terminal.shows("new line 6", "following")


def test_solo_shows_one_service_and_escape_goes_back(lit: LightStack, dashboard: OpenTerminal) -> None:
    """Its process, its figures, a command to copy, and its own lines alone."""
    terminal = dashboard()
    lit.say("from echo")
    terminal.shows("from echo", "web: generation 1")
    terminal.press("Enter")
    terminal.shows("logs: echo", f"pid {lit.pids()['echo']}", "lucid-launch logs echo -f", without="web: gen")
    terminal.press("j")
    terminal.shows("logs: web", f"curl -i http://localhost:{lit.memory_port}/", without="from echo")
    terminal.press("Escape")
    terminal.shows("logs: all", "from echo")


def test_help_lists_the_keys(dashboard: OpenTerminal) -> None:
    """`?` opens it over the screen, Escape closes it."""
    terminal = dashboard()
    terminal.press("?")
    terminal.shows("restart the selected service", "filter by a regular expression")
    terminal.press("Escape")
    terminal.shows("> echo", without="restart the selected service")


def test_the_palette_restarts_a_service_by_name(lit: LightStack, dashboard: OpenTerminal) -> None:
    """Ctrl-P, a few letters, Enter: a new process for that service and for no other."""
    before = lit.pids()
    terminal = dashboard()
    terminal.press("C-p")
    terminal.shows("a command, such as")
    terminal.type("restart web")
    terminal.shows("restart web", without="stop echo")
    terminal.press("Enter")
    terminal.shows("web: generation 2")
    lit.run("wait", "web")
    after = lit.pids()
    assert after["web"] != before["web"]
    assert after["echo"] == before["echo"]


def test_keys_stop_start_and_restart_the_selected_service(lit: LightStack, dashboard: OpenTerminal) -> None:
    """`s` stops it, `s` again starts it, `r` restarts it; the log marks each new process."""
    terminal = dashboard()
    terminal.shows("> echo")
    terminal.press("s")
    terminal.shows("○ stopped")
    terminal.press("s")
    terminal.shows("echo: generation 2", without="○ stopped")
    terminal.press("r")
    terminal.shows("echo: generation 3")
    lit.run("wait", "echo")
    assert lit.child("echo")["generation"] == 3
    assert lit.child("web")["generation"] == 1


def test_y_copies_the_screen_into_the_terminals_clipboard(lit: LightStack, dashboard: OpenTerminal) -> None:
    """OSC 52 as a real terminal takes it."""
    terminal = dashboard()
    lit.say("copy me")
    terminal.shows("copy me")
    terminal.press("y")
    terminal.shows("copied")
    assert "copy me" in terminal.clipboard()


def test_each_gpu_has_a_line_until_it_is_hidden(light: LightStack, open_terminal: OpenTerminal) -> None:
    """Name and memory as the driver tells them (here a stand-in), in the dashboard and in `status`."""
    write_state(light.root / "nvml.json", {0: (80, 60), 1: (80, 80)})
    write_module(light.root / "nvml", light.root / "nvml.json")
    paths = os.pathsep.join([str(light.root / "nvml"), os.getcwd()])
    light.environ = light.environ | {"PYTHONPATH": paths}
    light.run("up", "-d", "--wait")
    terminal = open_terminal(92, 24, PYTHONPATH=paths)
    terminal.run("lucid-launch dashboard; echo exit=$?.", shows="2/2")
    text = terminal.shows("GPU 0 H200", "GPU 1 H200")
    assert "20.0G/80.0G" in next(line for line in text.split("\n") if "GPU 0" in line)
    terminal.press("g")
    terminal.shows("> echo", without="GPU 1")
    terminal.press("q")
    terminal.shows("exit=0.")
    assert "GPU 0 H200" in light.run("status").stdout


def test_a_resize_storm_ends_in_a_whole_screen(lit: LightStack, dashboard: OpenTerminal) -> None:
    """Through every layout and the smallest windows: no traceback, the names, and the right columns."""
    terminal = dashboard()
    for width, height in [(60, 16), (30, 8), (200, 50), (1, 1), (10, 2), (92, 24), (30, 8)] * 3:
        terminal.resize(width, height)
    terminal.shows("echo", "web", "no room for the log")
    terminal.resize(130, 40)
    text = terminal.shows("> echo", "PID", "following", "q leave")
    assert "Traceback" not in text
    terminal.press("q")
    terminal.shows("exit=0.")


def test_no_color_means_no_color(lit: LightStack, dashboard: OpenTerminal) -> None:
    """With NO_COLOR not one colour code is sent; states are still told by glyph and word."""
    terminal = dashboard(NO_COLOR="1")
    lit.say("ERROR broken")
    terminal.shows("● ready", "ERROR broken")
    terminal.press("e")
    terminal.shows("errors only")
    terminal.press("Enter")
    terminal.shows("logs: echo")
    written = terminal.raw()
    assert b"SERVICE" in written
    assert COLOUR.search(written) is None


@pytest.mark.parametrize("locale", [{"LC_ALL": "C"}, {"LANG": "C"}, {"LC_ALL": None, "LUCID_ASCII": "1"}])
def test_an_ascii_locale_gets_ascii(
    lit: LightStack, dashboard: OpenTerminal, locale: dict[str, str | None]
) -> None:
    """Not one character beyond ASCII, also for what a child writes beyond it; marks instead of glyphs."""
    terminal = dashboard(**locale)
    lit.say("Zimmertemperatur 21 °C")
    terminal.shows("[ok] ready", "- logs: all", "Zimmertemperatur 21 \\xb0C")
    terminal.press("?")
    terminal.shows("restart the selected service")
    assert terminal.raw().isascii()


def test_what_a_child_writes_cannot_drive_the_terminal(lit: LightStack, dashboard: OpenTerminal) -> None:
    """Titles, clearing, other screens, colours and markup are taken out or shown as the text they are."""
    terminal = dashboard()
    title = terminal.ask("pane_title")
    lit.say(
        "\x1b]0;owned\x07after the title",
        "\x1b[2J\x1b[Hafter clearing",
        "\x1b[?1049lafter the other screen",
        "\x1b]52;c;b3duZWQ=\x07after the clipboard",
        "[bold red]not markup[/] [@click=app.quit]nor a link[/]",
        "\x1bcreset \x9b31mand eight bits \u202ereversed",
    )
    text = terminal.shows("after the title", "after clearing", "after the clipboard", "reset and eight")
    assert "[bold red]not markup[/] [@click=app.quit]nor a link[/]" in text
    assert "> echo" in text
    assert terminal.ask("alternate_on") == "1"
    assert terminal.ask("pane_title") == title
    written = terminal.raw()
    assert b"owned" not in written
    assert b"b3duZWQ=" not in written


def test_a_stopped_dashboard_slows_no_child(lit: LightStack, dashboard: OpenTerminal) -> None:
    """While it is stopped a child writes all it has, the supervisor does not grow, and others are served."""
    terminal = dashboard()
    viewer = lit.viewer()
    before = lit.status()["supervisor"]["rss_bytes"]
    os.kill(viewer.pid, signal.SIGSTOP)
    try:
        lit.say(*(f"flood {number:06d} {'x' * 80}" for number in range(200_000)))
        lit.say("the end of the flood")
        log = lit.run("logs", "echo", "-n", "1", "-g", "the end of the flood", "-o", "raw")
        while "the end" not in log.stdout:
            log = lit.run("logs", "echo", "-n", "1", "-g", "the end of the flood", "-o", "raw")
        assert lit.status()["supervisor"]["rss_bytes"] - before < 20_000_000
    finally:
        os.kill(viewer.pid, signal.SIGCONT)
    terminal.run("fg", shows="the end of the flood")  # the shell took it for a job that was stopped
    terminal.shows("the terminal is back")
    terminal.press("q")
    terminal.shows("left running")
    assert terminal.is_sane()


def test_a_terminal_that_takes_nothing_slows_no_child(lit: LightStack, dashboard: OpenTerminal) -> None:
    """A terminal that is stopped while lines pour in: the child goes on; later the screen catches up."""
    terminal = dashboard()
    terminal.signal(signal.SIGSTOP)
    try:
        for batch in range(20):
            lit.say(*(f"batch {batch} line {number:05d} {'x' * 80}" for number in range(2_000)))
        lit.say("the end of the flood")
        lit.run("wait", "echo")
    finally:
        terminal.signal(signal.SIGCONT)
    terminal.shows("the end of the flood", "> echo")

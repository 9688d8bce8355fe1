"""The first minute in a real terminal: no file, a broken one, the first start, the second, all running.

Two built-in servers with the engine that needs no model, as a newcomer would start them.
"""

import pytest

from tests.integration.stack import CONFIG
from tests.integration.supervised_stack import hostile
from tests.terminal.conftest import OpenTerminal
from tests.terminal.light_stack import LightStack
from tests.terminal.tmux import Terminal

WIDTHS = [130, 92, 60]


@pytest.fixture
def newcomer(light: LightStack) -> LightStack:
    """A folder with the two servers in its file, and nothing else."""
    light.config.write_text(
        CONFIG.format(memory_port=light.memory_port, inference_port=light.inference_range, backend="debug")
    )
    return light


def first_screens(terminal: Terminal, line: str) -> list[str]:
    """Run a line that ends in the dashboard; every screen on the way, and the first of the dashboard."""
    screens: list[str] = []

    def look(text: str) -> bool:
        screens.append(text)
        return "2/2" in text and "SERVICE" in text

    terminal.type(line)
    terminal.press("Enter")
    terminal.until(look, "the dashboard never came")
    return screens


@pytest.mark.parametrize("width", WIDTHS)
def test_no_file_at_all(light: LightStack, open_terminal: OpenTerminal, width: int) -> None:
    """What is missing, and the two ways on; then `init` writes one that `up` understands."""
    light.config.unlink()
    terminal = open_terminal(width, 24)
    text, code = terminal.run_to_end("clear; lucid-launch up")
    assert code == 2
    assert "error[E_CONFIG_MISSING]: there is no config.yaml in" in " ".join(text.split())
    assert "lucid-launch init" in " ".join(text.split())
    text, code = terminal.run_to_end("clear; lucid-launch init")
    assert code == 0
    assert "next: lucid-launch up" in text
    assert all(mark in text for mark in ("gpu", "ports", "model"))
    _, code = terminal.run_to_end("clear; lucid-launch -q config check")
    assert code == 0


def test_a_broken_file(light: LightStack, open_terminal: OpenTerminal) -> None:
    """Every mistake with its line and a caret below it; the exit code is 2 and nothing runs."""
    light.config.write_text(
        "services:\n  memory: {server: memory, prot: 5000}\n  a: {command: [cat], replicas: many}\n"
    )
    terminal = open_terminal()
    text, code = terminal.run_to_end("clear; lucid-launch up")
    assert code == 2
    lines = text.split("\n")
    row = next(at for at, line in enumerate(lines) if "did you mean 'port'?" in line)
    caret = lines[row + 2].index("^")
    assert lines[row + 1][caret : caret + 4] == "prot"
    assert "error[E_CONFIG]: 2 errors; nothing was started or changed." in text
    light.run("status", check=3)


def test_the_first_start(newcomer: LightStack, open_terminal: OpenTerminal) -> None:
    """Steps with phases and times, then the addresses and what to try, which stay when the dashboard goes."""
    terminal = open_terminal()
    screens = first_screens(terminal, "clear; lucid-launch up; echo exit=$?.")
    assert any("◐ memory" in screen for screen in screens)
    assert any("ports" in screen and "reserved" in screen for screen in screens)
    terminal.press("q")
    text = terminal.shows("left running", "exit=0.")
    assert text.count("ready in ") == 2
    assert f"memory ws://localhost:{newcomer.memory_port}" in text
    assert f"console http://localhost:{newcomer.memory_port}/" in text
    assert 'lucid-launch call inference embeddings text="hello"' in text
    assert terminal.is_sane()
    _, code = terminal.run_to_end("clear; lucid-launch -q selftest >/dev/null")
    assert code == 0


def test_everything_is_running_already(newcomer: LightStack, open_terminal: OpenTerminal) -> None:
    """`up` says so at once, changes nothing, and shows the dashboard."""
    newcomer.run("up", "-d", "--wait")
    before = newcomer.pids()
    terminal = open_terminal(92, 24)
    screens = first_screens(terminal, "clear; lucid-launch up; echo exit=$?.")
    assert any("already running; nothing to change" in screen for screen in screens)
    assert any("✓ memory       ready, up" in screen for screen in screens)
    terminal.press("q")
    terminal.shows("exit=0.")
    assert newcomer.pids() == before


def test_a_second_start_after_a_stop(newcomer: LightStack, open_terminal: OpenTerminal) -> None:
    """`down` tells what it does; the next `up` is a start like the first."""
    terminal = open_terminal()
    first_screens(terminal, "clear; lucid-launch up; echo exit=$?.")
    terminal.press("q")
    terminal.shows("exit=0.")
    text, code = terminal.run_to_end("clear; lucid-launch down")
    assert code == 0
    assert "everything is stopped" in text
    first_screens(terminal, "clear; lucid-launch up; echo exit=$?.")
    terminal.press("q")
    assert terminal.shows("exit=0.").count("ready in ") == 2


def test_a_service_that_cannot_start(light: LightStack, open_terminal: OpenTerminal) -> None:
    """The step list ends with the reason and its last words; the dashboard opens on it, and names it."""
    crash = hostile("--complain", "database is locked", "--exit", "1")
    policy = "{max_failures: 2, backoff: {initial: 10ms, jitter: 0}}"
    light.config.write_text(
        f"services:\n  job: {{command: {crash}, health: {{notify: true}}, restart: {policy}}}\n"
    )
    terminal = open_terminal()
    terminal.run("clear; lucid-launch up; echo exit=$?.")
    terminal.shows("0/1 ready", "✖ failed", "job: failed: gave up", "database is locked")
    terminal.press("q")
    text = terminal.shows("exit=0.")
    assert "error[E_ACTION_FAILED]: job  failed: gave up: it ended 2 times in a row (exit code 1)" in text
    assert "lucid-launch logs job" in text


@pytest.mark.parametrize(("answer", "says"), [("l", "it goes on in the background"), ("s", "is stopped")])
def test_ctrl_c_during_a_start(
    light: LightStack, open_terminal: OpenTerminal, answer: str, says: str
) -> None:
    """It asks; nothing is stopped that was not asked for; the exit code is 130."""
    light.config.write_text(f"services:\n  job: {{command: {hostile()}, health: {{notify: true}}}}\n")
    terminal = open_terminal()
    terminal.run("clear; lucid-launch up; echo exit=$?.", shows="◐ job")
    terminal.press("C-c")
    terminal.shows("stop everything (s), leave it running (l), or go on (c)")
    terminal.type(answer)
    terminal.press("Enter")
    terminal.shows(says, "exit=130.")
    light.run("status", check=1 if answer == "l" else 3)


def test_ctrl_c_and_going_on(light: LightStack, open_terminal: OpenTerminal) -> None:
    """`c` goes back to the steps."""
    light.config.write_text(f"services:\n  job: {{command: {hostile()}, health: {{notify: true}}}}\n")
    terminal = open_terminal()
    terminal.run("clear; lucid-launch up; echo exit=$?.", shows="◐ job")
    terminal.press("C-c")
    terminal.shows("stop everything (s), leave it running (l), or go on (c)")
    terminal.type("c")
    terminal.press("Enter")
    terminal.shows("or go on (c) [s]: c\n  ◐ job")


ESCAPE = b"\x1b"
QUIET_VERBS = ["status", "logs -n 50", "events", "plan", "doctor", "selftest", "config show", "stats"]


def test_a_dumb_terminal_gets_not_one_escape_code(newcomer: LightStack, open_terminal: OpenTerminal) -> None:
    """`TERM=dumb`: a start, every verb that prints, and a stop, without a single escape."""
    terminal = open_terminal(TERM_PROGRAM=None)
    terminal.run_to_end("clear; export TERM=dumb")
    terminal.raw()
    verbs = ["up -d --wait", *QUIET_VERBS, "call inference stats", "statsu", "down"]
    for verb in verbs:
        terminal.run_to_end(f"lucid-launch {verb}")
    written = terminal.raw().replace(b"\x1b[?2004h", b"").replace(b"\x1b[?2004l\r", b"")  # the shell's own
    assert b"everything is stopped" in written
    assert ESCAPE not in written


def test_no_color_on_a_terminal(newcomer: LightStack, open_terminal: OpenTerminal) -> None:
    """`NO_COLOR=1`: the verbs that only print write no escape code; states are words."""
    newcomer.run("up", "-d", "--wait")
    terminal = open_terminal(NO_COLOR="1")
    terminal.raw()
    for verb in QUIET_VERBS:
        terminal.run_to_end(f"lucid-launch {verb}")
    written = terminal.raw().replace(b"\x1b[?2004h", b"").replace(b"\x1b[?2004l\r", b"")
    assert b"ready" in written
    assert ESCAPE not in written


def test_the_c_locale_gets_ascii_from_every_verb(light: LightStack, open_terminal: OpenTerminal) -> None:
    """Steps, tables, reasons, logs and errors: not one byte beyond ASCII, even for a child's own words."""
    crash = hostile("--complain", "die Tür klemmt", "--exit", "1")
    policy = "{max_failures: 2, backoff: {initial: 10ms, jitter: 0}}"
    light.config.write_text(
        f"services:\n  job: {{command: {crash}, health: {{notify: true}}, restart: {policy}}}\n"
    )
    terminal = open_terminal(LC_ALL="C")
    terminal.raw()
    for verb in ("up --wait", "status", "logs", "events", "plan", "doctor", "config check", "down", "statsu"):
        terminal.run_to_end(f"lucid-launch {verb}")
    written = terminal.raw()
    assert b"| die T\\xfcr klemmt" in written
    assert b"[FAIL] failed" in written
    assert written.isascii()

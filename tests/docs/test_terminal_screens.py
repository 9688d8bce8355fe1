"""The captures from a real terminal: all there, as large as they claim, with nothing of a machine in them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docs.generate.plain_screen import FIRST_PORT, HOME, plain
from docs.generate.terminal_scenes import BEGIN, END, SCENES, SIZES, page_section
from docs.generate.terminal_screens import IMAGES, PAGE

FOLDER = "/tmp/ab_12xyz"
AGAIN = "python -m docs.generate.terminal_screens"
# What each scene is there to show.
SHOWS = {
    "no-file": "E_CONFIG_MISSING",
    "init": "next: lucid-launch up",
    "broken-file": "did you mean 'port'?",
    "first-run-steps": "░",
    "first-run": "left running",
    "dashboard": "following ▼",
    "solo": "─ try",
    "ctrl-c": "What about the services?",
    "status": "● ready",
    "running-already": "already running; nothing to change",
    "down": "everything is stopped",
    "second-run": "ready in ",
    "crash-loop": "✖ failed",
}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_was_captured_in_every_size(scene: str, size: tuple[int, int]) -> None:
    """No line is wider and no screen higher than the terminal, and what the scene is about can be seen."""
    width, height = size
    text = (IMAGES / f"{scene}-{width}x{height}.txt").read_text("utf-8")
    lines = text.splitlines()
    assert 0 < len(lines) <= height, AGAIN
    assert max(map(len, lines)) <= width, AGAIN
    assert " ".join(SHOWS[scene].split()) in " ".join(text.split()), AGAIN
    assert not re.search(r"/tmp|/work|Traceback|exit=", text)


def test_no_other_captures_lie_there() -> None:
    """A scene that is gone takes its files along."""
    kept = {f"{scene}-{width}x{height}.txt" for scene in SCENES for width, height in SIZES}
    assert {path.name for path in IMAGES.iterdir()} == kept


def test_the_page_shows_the_captures_as_they_are() -> None:
    """Nobody edits a screen by hand."""
    page = PAGE.read_text("utf-8")
    assert page == page_section(page, IMAGES), AGAIN


def test_a_page_without_its_marks_is_refused() -> None:
    """Rather than written over."""
    for page in ("", BEGIN, END, f"{END}{BEGIN}"):
        with pytest.raises(ValueError, match="marks"):
            page_section(page, IMAGES)


def test_what_belongs_to_the_machine_is_replaced_in_its_place() -> None:
    """Folder, its name, ports, dates, times, which keep their distance; the prompt and the exit code go."""
    screen = (
        f" ab_12xyz  at {FOLDER}/config.yaml\n2026-01-02 09:59:58 up on 7100 and 7105, pid 71001\n"
        "10:00:00.500 ready in 2.5 s\n10:00:00.4│ half of it is hidden\nexit=0.\n% \n\n"
    )
    assert plain(screen, FOLDER, 7100) == (
        f" lucid-ai  at {HOME}/config.yaml\n2026-11-23 14:02:18 up on 5000 and 5005, pid 71001\n"
        "14:02:20.655 ready in 2.5 s\n14:02:20.5│ half of it is hidden\n"
    )


@pytest.mark.parametrize(("folder", "port"), [("/tmp/short", 7100), (FOLDER, 17100)])
def test_what_would_move_the_columns_is_refused(folder: str, port: int) -> None:
    """A folder or a port of another length."""
    with pytest.raises(ValueError, match="not as long"):
        plain("", folder, port)


@given(
    st.lists(
        st.sampled_from([FOLDER, "ab_12xyz", "7100", "7114", "23:59:59.999", "00:00:01", "x", " ", "\n"])
    )
)
def test_no_column_moves(parts: list[str]) -> None:
    """Whatever is replaced stays as wide as it was."""
    lines = "".join(["|", *parts, "|"])
    assert [len(line) for line in plain(lines, FOLDER, 7100).splitlines()] == [
        len(line.rstrip()) for line in lines.strip("\n").splitlines()
    ]


def test_the_first_port_is_that_of_the_shipped_file() -> None:
    """The captures and the tutorial speak of the same addresses."""
    assert FIRST_PORT == 5000

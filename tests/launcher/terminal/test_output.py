"""Which streams get colour and glyphs, by flag, environment and kind."""

import io
from collections.abc import Mapping

import pytest

from launcher.terminal.output import Output, wrapped_note


class Terminal(io.StringIO):
    """A stream that says it is a terminal with this encoding."""

    def __init__(self, encoding: str = "utf-8", *, is_terminal: bool = True) -> None:
        super().__init__()
        self._encoding = encoding
        self._is_terminal = is_terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a StringIO has none
        """As open() gives it."""
        return self._encoding

    def isatty(self) -> bool:
        """Whether it is one."""
        return self._is_terminal


def output(color: str = "auto", *, ascii_only: bool = False, **environ: str) -> Output:
    """A voice in an environment."""
    return Output(color, quiet=False, verbose=0, environ=environ, ascii_only=ascii_only)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"LANG": "de_DE.UTF-8"}, False),
        ({"LC_ALL": "C"}, True),
        ({"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, True),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, False),
        ({"LC_CTYPE": "C"}, True),
        ({"LANG": "C"}, True),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),  # as the interpreter makes it of LANG=C
        ({"LC_CTYPE": "C.UTF-8"}, False),  # as it makes it of nothing
        ({"LANG": "C", "LC_CTYPE": "en_US.UTF-8"}, False),
    ],
)
def test_the_locale_decides_on_glyphs(environ: Mapping[str, str], expected: bool) -> None:
    """The C locale means ASCII, although Python speaks UTF-8 in it; nothing set means what Python says."""
    assert output(**environ).is_ascii(Terminal()) is expected


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1", "cp1252"])
def test_a_stream_without_utf_8_gets_ascii(encoding: str) -> None:
    """Whatever the locale says."""
    assert output(LANG="de_DE.UTF-8").is_ascii(Terminal(encoding))


def test_ascii_can_be_asked_for() -> None:
    """`--ascii` wins."""
    assert output(ascii_only=True).is_ascii(Terminal())


@pytest.mark.parametrize(
    ("color", "environ", "is_terminal", "expected"),
    [
        ("auto", {"TERM": "xterm"}, True, True),
        ("auto", {"TERM": "xterm"}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {}, True, False),
        ("auto", {"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ("auto", {"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"CLICOLOR_FORCE": "1"}, False, True),
        ("auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colour(color: str, environ: Mapping[str, str], is_terminal: bool, expected: bool) -> None:
    """The flag beats the environment, NO_COLOR beats FORCE_COLOR, and a pipe gets none unasked."""
    assert output(color, **environ).wants_color(Terminal(is_terminal=is_terminal)) is expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("short", "short"),
        (
            "left running; come back with  lucid-launch dashboard",
            "left running; come back\n  with  lucid-launch\n  dashboard",
        ),
        (
            "  at ws://localhost:35283/a/long/path and more",
            "  at\n    ws://localhost:35283/a/long/path\n    and more",
        ),
        ("first\nthe second line is too long", "first\nthe second line is too\n  long"),
    ],
)
def test_a_note_is_broken_between_words(text: str, shown: str) -> None:
    """Never inside of an address, which is for copying; a pipe gets it as it is."""
    assert wrapped_note(text, 24) == shown
    assert wrapped_note(text, None) == text

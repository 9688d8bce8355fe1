"""No text of a child can drive a terminal, whatever it holds."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from launcher.terminal.sanitize import MAX_LINE_CHARS, clean

SEQUENCE_PARTS = st.sampled_from(
    [
        "\x1b",
        "[",
        "]",
        "0;",
        "31m",
        "\x07",
        "\x1b\\",
        "\x9b",
        "\x9d",
        "\x9c",
        "P",
        "?25l",
        "\r",
        "\t",
        "a",
        "é",
        "\u202e",
    ]
)


@given(st.one_of(st.text(), st.lists(SEQUENCE_PARTS).map("".join)))
@example("\x1b]0;title")
@example("\x1b\x1b[[31mm")
@example("\x9b31m\x90q")
def test_nothing_that_acts_is_left(text: str) -> None:
    """No control, line-break or direction character survives, for any input."""
    shown = clean(text)
    assert not any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\ufeff")


@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    """What is clean stays as it is."""
    assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[1;31mred\x1b[0m end", "red end"),
        ("\x1b]0;new title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never closed", ""),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("10%\r50%\r100%", "100%"),
        ("dos line\r\n", "dos line"),
        ("bell \x07", "bell \\x07"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("a\tb", "a       b"),
        ("naïve 漢字 [bold]", "naïve 漢字 [bold]"),
    ],
)
def test_what_a_person_sees(text: str, shown: str) -> None:
    """Sequences vanish, a progress bar leaves its latest state, other controls are written out."""
    assert clean(text) == shown


def test_a_very_long_line_is_cut() -> None:
    """No line costs more than its limit."""
    assert len(clean("é" * (MAX_LINE_CHARS + 10))) == MAX_LINE_CHARS

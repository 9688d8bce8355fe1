"""Text without a character beyond ASCII."""

from hypothesis import given
from hypothesis import strategies as st

from launcher.terminal.plain_ascii import in_ascii


def test_our_own_glyphs_keep_their_likeness() -> None:
    """Rules, dots, arrows, ticks."""
    assert in_ascii("── a · b → c … │ ✓") == "-- a - b -> c ... | [ok]"


def test_all_else_is_written_out() -> None:
    """Nothing is lost."""
    assert in_ascii("Zürich €") == "Z\\xfcrich \\u20ac"


@given(st.text())
def test_nothing_beyond_ascii_is_left(text: str) -> None:
    """Whatever it was; ASCII stays as it is."""
    assert in_ascii(text).isascii()
    assert not text.isascii() or in_ascii(text) == text

"""Long sentences on narrow terminals."""

from hypothesis import given
from hypothesis import strategies as st

from launcher.terminal.wrapping import hanging


def test_a_line_goes_on_under_its_beginning() -> None:
    """Between words, and as deep as its head is wide."""
    assert (
        hanging("ok  gpu  ", "one two three four five", 9, 30) == "ok  gpu  one two three four\n         five"
    )


def test_a_pipe_gets_one_line() -> None:
    """No width, no break."""
    assert hanging("ok  ", "x " * 200, 4, None).count("\n") == 0


def test_a_path_is_never_broken() -> None:
    """It is there to be copied, however long it is."""
    path = "/srv/" + "very-long/" * 20
    assert path in hanging("ok  ", f"the file {path} is there", 4, 60)


@given(st.lists(st.text("abc", min_size=1, max_size=12), min_size=1), st.integers(30, 120))
def test_nothing_is_lost_and_nothing_too_wide(words: list[str], width: int) -> None:
    """All words in their order, every line within the width."""
    text = hanging("head  ", " ".join(words), 6, width)
    assert text.split() == ["head", *words]
    assert max(map(len, text.split("\n"))) <= width

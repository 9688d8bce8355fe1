"""Long sentences on narrow terminals."""

from hypothesis import given
from hypothesis import strategies as st

from launcher.terminal.output import wrapped_error
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


def test_without_a_head_only_what_follows_is_set_in() -> None:
    """As an error's sentence: from the left edge, then two cells in."""
    assert (
        hanging("", "error[E_X]: one two three four five", 2, 24) == "error[E_X]: one two\n  three four five"
    )


def test_an_error_keeps_what_it_quotes() -> None:
    """On a narrow terminal sentences and mends are broken; source lines and carets are not."""
    quoted = "config.yaml:12:3 |   " + "x" * 90
    text = f"error[E_X]: {'words ' * 20}\n  {quoted}\n  hint: {'more ' * 20}".replace(" \n", "\n").rstrip()
    wrapped = wrapped_error(text, 60).split("\n")
    assert f"  {quoted}" in wrapped
    assert all(len(line) <= 60 for line in wrapped if quoted not in line)
    assert " ".join(" ".join(wrapped).split()) == " ".join(text.split())
    assert wrapped_error(text, None) == text


def test_a_mistake_in_the_file_fits_a_narrow_terminal() -> None:
    """Its sentence is broken between words, its source line cut, and the caret stands where it stood."""
    text = (
        "config.yaml:20:5: services.memory.prot: unknown key; did you mean 'port'?\n"
        "  20 |     prot: 5000          # exactly this one; clients expect it\n"
        "     |     ^^^^\n"
        "1 error; nothing was started or changed."
    )
    assert wrapped_error(text, 50).split("\n") == [
        "config.yaml:20:5: services.memory.prot: unknown",
        "  key; did you mean 'port'?",
        "  20 |     prot: 5000          # exactly this one…",
        "     |     ^^^^",
        "1 error; nothing was started or changed.",
    ]

"""Variables in values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.configuration.interpolation import CHILD_VARIABLE, interpolate

ENV = {"HOME": "/home/ana", "EMPTY": "", "TRICK": "${HOME} $$"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("${HOME}/x", "/home/ana/x"),
        ("${NOPE:-5000}", "5000"),
        ("${NOPE:-}", ""),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY}", ""),
        ("${HOME:-x}", "/home/ana"),
        ("$$HOME $${HOME}", "$HOME ${HOME}"),
        ("$HOME costs 5$", "$HOME costs 5$"),
        ("${TRICK}", "${HOME} $$"),
        ("${NOPE:-a:-b}", "a:-b"),
    ],
)
def test_references_are_replaced_once(text: str, result: str) -> None:
    """Values are put in as they are; defaults stand in for what is unset or empty; $$ is a dollar sign."""
    done = interpolate(text, ENV)
    assert done.text == result
    assert done.problems == ()


@pytest.mark.parametrize(
    ("text", "offset", "width", "words"),
    [
        ("ab${NOPE}", 2, 7, "NOPE is not set"),
        ("${HOME", 0, 6, "without its '}'"),
        ("x ${1BAD}", 2, 7, "is not a variable"),
        ("${}", 0, 3, "is not a variable"),
        ("${A-b}", 0, 6, "is not a variable"),
    ],
)
def test_each_mistake_has_its_place(text: str, offset: int, width: int, words: str) -> None:
    """The offset and width of the reference, and what to write instead."""
    ((at, wide, said),) = interpolate(text, ENV).problems
    assert (at, wide) == (offset, width)
    assert words in said


def test_all_mistakes_are_found_at_once() -> None:
    """Three references, three problems."""
    assert len(interpolate("${A} ${B} ${", {}).problems) == 3


def test_the_variables_of_a_child_are_left_for_the_spawn() -> None:
    """`${PORT}` stays in a command even when the launcher has a PORT of its own."""
    text = "--port ${PORT} --as ${LUCID_CHILD} --home ${HOME}"
    done = interpolate(text, {**ENV, "PORT": "1"}, keep=CHILD_VARIABLE)
    assert done.text == "--port ${PORT} --as ${LUCID_CHILD} --home /home/ana"
    assert done.variables == ("HOME",)


def test_only_variables_that_gave_a_value_are_named() -> None:
    """A default is no variable."""
    assert interpolate("${HOME}${NOPE:-x}", ENV).variables == ("HOME",)


@given(st.text(max_size=60), st.dictionaries(st.sampled_from("ABC"), st.text(max_size=5), max_size=3))
def test_nothing_raises_and_text_without_dollars_is_unchanged(text: str, environ: dict[str, str]) -> None:
    """Every text has a result; only references change anything."""
    done = interpolate(text, environ)
    if "$" not in text:
        assert done.text == text

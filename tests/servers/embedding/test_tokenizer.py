"""Cutting early gives the very tokens that cutting late gives."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from servers.embedding.models import find_model
from servers.embedding.tokenizer import TextTokenizer

SOURCE = Tokenizer.from_file(str(find_model("all-MiniLM-L6-v2").path / "tokenizer.json"))
LIMIT = 16
PLAIN = Tokenizer.from_str(SOURCE.to_str())
PLAIN.no_padding()
PLAIN.enable_truncation(LIMIT)
EARLY = TextTokenizer(SOURCE, LIMIT)


def whole(text: str) -> tuple[list[int], bool]:
    """The tokens of the whole text, cut at the end, as the model's library does it."""
    encoding = PLAIN.encode(text)
    return encoding.ids, bool(encoding.overflowing)


pieces = st.sampled_from(
    [
        "word ",
        "unbelievably ",
        "x" * 40,
        "y" * 130 + " ",
        "港",
        "\n",
        " " * 60,
        "e\u0301",
        "😀",
        "#",
        "\u200b",
    ]
)


@settings(max_examples=200, deadline=None)  # the library's own speed is not what is tested
@given(st.lists(pieces, max_size=60).map("".join))
def test_a_prefix_gives_the_same_tokens_as_the_whole_text(text: str) -> None:
    """Whatever the text, long words, blanks and signs without spaces included, the early cut is exact."""
    (tokens,) = EARLY.tokenize([text])
    ids, was_cut = whole(text)
    assert tokens.ids.tolist() == ids
    assert tokens.truncated == was_cut


def test_the_tokenizer_file_s_own_cut_and_padding_are_not_taken_over() -> None:
    """all-MiniLM-L6-v2's file says 128 tokens, padded; the model takes 256, and lengths must be true."""
    short, long = TextTokenizer(SOURCE, 256).tokenize(["one", "many words " * 300])
    assert (len(short), len(long)) == (3, 256)
    assert SOURCE.padding is not None


def test_a_prompt_goes_in_front_of_every_text() -> None:
    """A model's default prompt is part of what it reads."""
    (prompted,) = TextTokenizer(SOURCE, 64, "query: ").tokenize(["rain"])
    (written,) = TextTokenizer(SOURCE, 64).tokenize(["query: rain"])
    assert prompted.ids.tolist() == written.ids.tolist()


@pytest.mark.parametrize("text", ["z" * 1_000_000, "ab " * 400_000])
def test_a_huge_text_is_cut_like_any_other(text: str) -> None:
    """A megabyte with or without a single blank ends at the limit or as one unknown word."""
    (tokens,) = EARLY.tokenize([text])
    ids, was_cut = whole(text)
    assert tokens.ids.tolist() == ids
    assert tokens.truncated == was_cut

"""The shared scoring terms hold protocol.md section 4 to the letter."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers import scoring_terms


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", set()),
        ("the and of", set()),
        ("The cat, the CAT and the dog!", {"cat", "dog"}),
        ("naïve_user 42", {"naïve", "user", "42"}),
        ("猫が好き", {"猫", "が", "好", "き"}),
    ],
)
def test_content_tokens_are_distinct_folded_and_without_function_words(text: str, tokens: set[str]) -> None:
    """Only distinct, case-folded words that carry content are counted."""
    assert scoring_terms.content_tokens(text) == tokens


def test_information_follows_the_published_curve() -> None:
    """Twelve distinct content tokens give 1 - 1/e, none give exactly nothing."""
    assert scoring_terms.information("of the") == 0.0
    twelve = " ".join(f"word{number}" for number in range(12))
    assert scoring_terms.information(twelve) == pytest.approx(1 - math.exp(-1))


@given(st.text(max_size=200), st.text(max_size=200))
def test_information_never_falls_when_text_is_added(text: str, more: str) -> None:
    """Adding words after a space can only raise information, which stays in 0…1."""
    grown = scoring_terms.information(f"{text} {more}")
    assert 0.0 <= scoring_terms.information(text) <= grown + 1e-12
    assert grown <= 1.0


@pytest.mark.parametrize(
    ("similarity", "expected"), [(None, 1.0), (1.0, 0.0), (0.25, 0.75), (-0.5, 1.0), (1.0000001, 0.0)]
)
def test_surprise_is_one_minus_similarity_clamped(similarity: float | None, expected: float) -> None:
    """Surprise is 1 - similarity, never outside 0…1, and full when nothing is known."""
    assert scoring_terms.surprise(similarity) == pytest.approx(expected)


@given(st.floats(0, 1), st.floats(0, 1))
def test_significance_is_the_weighted_sum(surprise: float, information: float) -> None:
    """Significance is 0.6 · surprise + 0.4 · information and stays in 0…1."""
    value = scoring_terms.significance(surprise, information)
    assert value == pytest.approx(0.6 * surprise + 0.4 * information)
    assert 0.0 <= value <= 1.0

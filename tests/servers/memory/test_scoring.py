"""The scoring of memories: pure, bounded, monotone, and the numbers of the contract."""

import math

from hypothesis import given
from hypothesis import strategies as st

from servers.memory.scoring import (
    DAY_MS,
    HALF_LIFE_DAYS,
    RankWeights,
    SignificanceWeights,
    rank,
    recency,
    weigh_significance,
)

shares = st.floats(0, 1)
ages = st.floats(-1e15, 1e15)
half_lives = st.floats(1, 1e15)


def test_the_defaults_are_those_of_the_contract() -> None:
    """Significance weighs 0.6 and 0.4, ranking 0.6, 0.25 and 0.15, and the half life is 30 days."""
    assert SignificanceWeights() == SignificanceWeights(0.6, 0.4)
    assert RankWeights() == RankWeights(0.6, 0.25, 0.15)
    assert recency(30 * DAY_MS, HALF_LIFE_DAYS * DAY_MS) == 0.5


@given(shares, shares, shares, shares)
def test_significance_is_a_share_and_grows_with_its_terms(
    surprise: float, information: float, weight: float, more: float
) -> None:
    """Whatever the weights, significance lies in 0…1 and never falls when a term grows."""
    weights = SignificanceWeights(weight, 1.0)
    low = weigh_significance(surprise, information, weights)
    high = weigh_significance(max(surprise, more), information, weights)
    assert 0.0 <= low <= high <= 1.0


@given(shares, shares)
def test_default_significance_is_the_weighted_mean(surprise: float, information: float) -> None:
    """With the default weights the formula of the contract holds as written."""
    found = weigh_significance(surprise, information, SignificanceWeights())
    assert math.isclose(found, 0.6 * surprise + 0.4 * information, abs_tol=1e-12)


@given(ages, ages, half_lives)
def test_recency_is_a_share_that_falls_with_age(age: float, other: float, half_life: float) -> None:
    """Newer is never less recent; what is new or from the future counts as 1."""
    older, newer = max(age, other), min(age, other)
    assert 0.0 <= recency(older, half_life) <= recency(newer, half_life) <= 1.0
    assert recency(min(age, 0.0), half_life) == 1.0


@given(st.integers(0, 40), half_lives)
def test_recency_halves_with_every_half_life(times: int, half_life: float) -> None:
    """After n half lives, 2^-n is left."""
    assert math.isclose(recency(times * half_life, half_life), 2.0**-times, rel_tol=1e-9)


@given(st.floats(-1, 1), shares, shares, st.floats(-1, 1))
def test_rank_grows_with_relevance(
    relevance: float, significance: float, recent: float, other: float
) -> None:
    """A more relevant memory never ranks lower, all else being equal."""
    weights = RankWeights()
    low, high = sorted((relevance, other))
    assert rank(low, significance, recent, weights) <= rank(high, significance, recent, weights)
    assert math.isclose(
        rank(relevance, significance, recent, weights),
        0.6 * relevance + 0.25 * significance + 0.15 * recent,
        abs_tol=1e-12,
    )

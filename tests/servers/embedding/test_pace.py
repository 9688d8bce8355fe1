"""Pace: what a batch costs is learned from batches, and budgets follow from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.embedding.pace import (
    INTERACTIVE_MEMORY_S,
    LONGEST_BATCH_S,
    MIN_BUDGET_TOKENS,
    SHORTEST_BULK_BATCH_S,
    Pace,
)

FIXED_S, PER_TOKEN_S = 0.004, 0.0001


def learned(*sizes: int) -> Pace:
    """A pace that saw batches of these sizes from a device of constant behaviour."""
    pace = Pace()
    for tokens in sizes:
        pace.update(tokens, FIXED_S + PER_TOKEN_S * tokens)
    return pace


def test_before_the_first_batch_nothing_is_known_and_batches_are_small() -> None:
    """No speed is invented, and the first batch is no gamble."""
    assert Pace().tokens_per_s is None
    assert Pace().batch_seconds(100) == 0.0
    assert Pace().budget_tokens(16_384, bulk=False, now=0.0) == MIN_BUDGET_TOKENS


def test_the_fixed_cost_of_a_batch_is_told_from_that_of_its_tokens() -> None:
    """From batches of different sizes the cost of any size follows."""
    pace = learned(16, 128, 16, 512)
    for tokens in (1, 100, 1000):
        assert pace.batch_seconds(tokens) == pytest.approx(FIXED_S + PER_TOKEN_S * tokens, rel=1e-6)


def test_batches_of_one_size_teach_a_rate_only() -> None:
    """Without different sizes, the whole cost is taken to depend on the tokens."""
    assert learned(100, 100, 100).batch_seconds(200) == pytest.approx(2 * (FIXED_S + 100 * PER_TOKEN_S))


def test_speed_is_tokens_over_seconds_and_follows_a_lasting_change() -> None:
    """After enough batches at a new speed, the old one is forgotten."""
    pace = Pace()
    pace.update(100_000, 1.0)
    assert pace.tokens_per_s == pytest.approx(100_000)
    for _ in range(200):
        pace.update(1000, 1.0)
    assert pace.tokens_per_s == pytest.approx(1000, rel=0.05)


def test_a_hiccup_of_the_machine_is_not_taken_for_its_speed() -> None:
    """One batch that took a hundred times as long changes little; many such batches are believed."""
    pace = learned(*([16, 512] * 20))
    before = pace.budget_tokens(16_384, bulk=False, now=0.0)
    pace.update(512, 100 * pace.batch_seconds(512))
    assert pace.budget_tokens(16_384, bulk=False, now=0.0) > before / 2
    slow = 100 * pace.batch_seconds(512)
    for _ in range(40):
        pace.update(512, slow)
    assert pace.batch_seconds(512) > slow / 2


def test_a_batch_is_mostly_work_even_where_each_has_a_large_fixed_cost() -> None:
    """A device on which every batch takes at least 80 ms gets batches that are worth it."""
    pace = Pace()
    for tokens in (16, 512, 16, 512):
        pace.update(tokens, 0.08 + 0.0002 * tokens)
    budget = pace.budget_tokens(16_384, bulk=False, now=0.0)
    assert 0.0002 * budget >= 3.9 * 0.08


def test_a_slow_device_gets_batches_of_a_tenth_of_a_second() -> None:
    """Nobody waits much longer than that behind a running batch."""
    budget = learned(16, 512).budget_tokens(16_384, bulk=False, now=0.0)
    assert FIXED_S + PER_TOKEN_S * budget == pytest.approx(LONGEST_BATCH_S, abs=PER_TOKEN_S)


def test_tokens_cost_something_even_if_large_batches_happened_to_be_sooner_done() -> None:
    """Otherwise the next batch would have all that is allowed, and take seconds."""
    pace = Pace()
    for tokens, seconds in ((16, 0.05), (256, 0.04)) * 10:
        pace.update(tokens, seconds)
    budget = pace.budget_tokens(16_384, bulk=False, now=0.0)
    assert 256 <= budget <= 4 * 1024


def test_several_streams_get_a_batch_for_each() -> None:
    """What is dealt out takes as long on each of them."""
    pace = learned(16, 512)
    one = pace.budget_tokens(16_384, bulk=False, now=0.0)
    assert pace.budget_tokens(16_384, bulk=False, now=0.0, streams=2) in (2 * one, 2 * one + 1)


def test_a_fast_device_gets_full_batches() -> None:
    """At a GPU's speed the configured limit is what counts."""
    pace = Pace()
    pace.update(1000, 0.001)
    pace.update(16_000, 0.004)
    assert pace.budget_tokens(16_384, bulk=False, now=0.0) == 16_384


def test_bulk_batches_are_short_while_interactive_clients_are_about_and_only_then() -> None:
    """They take no longer than an interactive batch; a second after the last one they are long again."""
    pace = learned(16, 512)
    alone = pace.budget_tokens(16_384, bulk=True, now=10.0)
    pace.note_interactive(0.012, 10.0)
    beside = pace.budget_tokens(16_384, bulk=True, now=10.5)
    assert pace.batch_seconds(beside) == pytest.approx(0.012, abs=PER_TOKEN_S)
    assert pace.budget_tokens(16_384, bulk=False, now=10.5) == alone
    assert pace.budget_tokens(16_384, bulk=True, now=10.1 + INTERACTIVE_MEMORY_S) == alone


def test_bulk_batches_are_never_shorter_than_anybody_would_notice() -> None:
    """On a device whose interactive batches take a millisecond, bulk still gets useful ones."""
    pace = Pace()
    pace.update(1000, 0.001)
    pace.update(16_000, 0.004)
    pace.note_interactive(0.001, 0.0)
    assert pace.batch_seconds(pace.budget_tokens(1 << 20, bulk=True, now=0.0)) == pytest.approx(
        SHORTEST_BULK_BATCH_S, rel=0.01
    )


observed = st.lists(st.tuples(st.integers(1, 100_000), st.floats(1e-6, 100.0)), max_size=30)


@given(observed, st.integers(16, 1 << 20), st.booleans(), st.floats(0.0, 10.0))
def test_whatever_was_observed_the_budget_is_usable(
    batches: list[tuple[int, float]], most: int, bulk: bool, interactive_s: float
) -> None:
    """Wild timings, as on a busy machine, never give a budget outside 1 to the limit, nor a negative cost."""
    pace = Pace()
    for tokens, seconds in batches:
        pace.update(tokens, seconds)
    pace.note_interactive(interactive_s, 0.0)
    assert 1 <= pace.budget_tokens(most, bulk=bulk, now=0.5) <= most
    assert pace.batch_seconds(100) >= -1e-9

"""Batches: the oldest always goes, near lengths go along, the budget holds, nothing is lost or starved."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.embedding.batching import (
    BULK_EVERY,
    FREE_WASTE_TOKENS,
    MIN_BUDGET_TOKENS,
    MOST_WASTE,
    Backlog,
    Throughput,
    budget_tokens,
    padded_tokens,
)


@dataclass(frozen=True)
class Item:
    """A waiting text with a name."""

    name: int
    length: int
    bulk: bool = False


def filled(*items: Item) -> Backlog[Item]:
    """A backlog with `items` in order of arrival."""
    backlog: Backlog[Item] = Backlog()
    for item in items:
        backlog.put(item)
    return backlog


def everyone(item: Item) -> bool:
    """Want every item."""
    return True


lengths = st.lists(st.integers(1, 256), min_size=1, max_size=60)


@given(lengths, st.integers(1, 4096))
def test_every_text_is_taken_exactly_once_and_the_oldest_of_all_in_every_batch(
    sizes: list[int], budget: int
) -> None:
    """Taking until empty yields each text once, and each batch holds the text that waited longest."""
    backlog = filled(*(Item(name, size) for name, size in enumerate(sizes)))
    waiting = set(range(len(sizes)))
    while batch := backlog.take(budget, everyone):
        names = [item.name for item in batch]
        assert min(waiting) in names
        assert names == sorted(set(names))
        assert waiting.issuperset(names)
        waiting.difference_update(names)
    assert not waiting
    assert len(backlog) == 0


@given(lengths, st.integers(1, 4096))
def test_a_batch_of_several_stays_within_budget_and_is_mostly_not_padding(
    sizes: list[int], budget: int
) -> None:
    """Only a single text may exceed the budget; padding stays within its bound."""
    backlog = filled(*(Item(name, size) for name, size in enumerate(sizes)))
    while batch := backlog.take(budget, everyone):
        if len(batch) > 1:
            assert padded_tokens(batch) <= budget
            true_tokens = sum(item.length for item in batch)
            assert padded_tokens(batch) <= MOST_WASTE * true_tokens + FREE_WASTE_TOKENS


def test_texts_of_near_length_go_with_the_oldest() -> None:
    """With room for three, the two nearest lengths join the oldest, not the two next in line."""
    backlog = filled(Item(0, 100), Item(1, 10), Item(2, 104), Item(3, 250), Item(4, 98))
    batch = backlog.take(3 * 104, everyone)
    assert [item.name for item in batch] == [0, 2, 4]


def test_a_short_text_is_not_padded_to_a_long_one() -> None:
    """A lone short text next to a long one gets its own batch even with room to spare."""
    backlog = filled(Item(0, 3), Item(1, 256))
    assert [item.name for item in backlog.take(16_384, everyone)] == [0]


def test_unwanted_texts_are_dropped_and_never_returned() -> None:
    """Texts nobody waits for are skipped, and a backlog of only such texts is empty."""
    backlog = filled(*(Item(name, 8) for name in range(6)))
    batch = backlog.take(1000, lambda item: item.name % 2 == 1)
    assert [item.name for item in batch] == [1, 3, 5]
    assert backlog.take(1000, everyone) == []


def test_bulk_gives_way_but_never_starves() -> None:
    """While both lanes wait, interactive goes first and every fifth batch is bulk."""
    items = [Item(name, 100, bulk=name % 2 == 1) for name in range(24)]
    backlog = filled(*items)
    lanes = [backlog.take(100, everyone)[0].bulk for _ in range(2 * BULK_EVERY)]
    assert lanes == ([False] * (BULK_EVERY - 1) + [True]) * 2


def test_interactive_work_is_not_counted_against_an_empty_bulk_lane() -> None:
    """A bulk text that arrives after much interactive work still waits its turn."""
    backlog = filled(*(Item(name, 100) for name in range(20)))
    for _ in range(10):
        backlog.take(100, everyone)
    backlog.put(Item(99, 100, bulk=True))
    assert not backlog.take(100, everyone)[0].bulk


def test_draining_returns_both_lanes() -> None:
    """Draining hands back everything that waits."""
    backlog = filled(Item(0, 5), Item(1, 5, bulk=True))
    assert {item.name for item in backlog.drain()} == {0, 1}
    assert len(backlog) == 0


def test_throughput_is_unknown_before_the_first_batch_and_weighs_large_batches_more() -> None:
    """Speed is tokens over seconds across recent batches, not a mean of speeds."""
    throughput = Throughput()
    assert throughput.tokens_per_s is None
    throughput.update(10, 0.01)
    throughput.update(10_000, 1.0)
    assert throughput.tokens_per_s == pytest.approx(10_009 / 1.009)


def test_throughput_follows_a_lasting_change() -> None:
    """After enough batches at a new speed, the old one is forgotten."""
    throughput = Throughput()
    throughput.update(100_000, 1.0)
    for _ in range(80):
        throughput.update(1000, 1.0)
    assert throughput.tokens_per_s == pytest.approx(1000, rel=0.05)


@given(st.one_of(st.none(), st.floats(1, 1e8)), st.integers(16, 1 << 20))
def test_the_budget_lies_between_the_floor_and_the_configured_limit(speed: float | None, limit: int) -> None:
    """Whatever the speed, a batch has at least the floor (if allowed) and at most the limit."""
    assert min(limit, MIN_BUDGET_TOKENS) <= budget_tokens(speed, limit) <= limit


def test_a_fast_device_gets_full_batches() -> None:
    """At a GPU's speed the configured limit is what counts."""
    assert budget_tokens(4_000_000, 16_384) == 16_384

"""Batches: whose turn it is goes, near lengths go along, the budget holds, nothing is lost or starved."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.embedding.batching import (
    BULK_EVERY,
    FREE_WASTE_TOKENS,
    LOOK_AHEAD_TEXTS,
    MOST_WASTE,
    Backlog,
    padded_tokens,
)


@dataclass(frozen=True)
class Item:
    """A waiting text with a name; `is_dead` when nobody wants it any more."""

    name: int
    length: int
    bulk: bool = False
    client: str = "a"
    is_dead: bool = False


def filled(*items: Item) -> Backlog[Item]:
    """A backlog with `items` in order of arrival."""
    backlog: Backlog[Item] = Backlog()
    backlog.put(items)
    return backlog


def everyone(item: Item) -> bool:
    """Want every item."""
    return True


def same(budget: int) -> Callable[[bool], int]:
    """The same budget for both lanes."""
    return lambda bulk: budget


def names(batch: list[Item]) -> list[int]:
    """Who is in a batch."""
    return [item.name for item in batch]


lengths = st.lists(st.integers(1, 256), min_size=1, max_size=60)
budgets = st.integers(1, 4096)
arrivals = st.lists(
    st.tuples(st.integers(1, 256), st.booleans(), st.sampled_from("abc"), st.booleans()), max_size=60
)


def items_of(arriving: list[tuple[int, bool, str, bool]]) -> list[Item]:
    """Items with names in order of arrival."""
    return [
        Item(name, length, bulk, client, is_dead)
        for name, (length, bulk, client, is_dead) in enumerate(arriving)
    ]


def taken_while_arriving(items: list[Item], budget: int, at_once: int) -> list[list[Item]]:
    """All batches, when `at_once` items come in between two of them."""
    backlog: Backlog[Item] = Backlog()
    batches: list[list[Item]] = []
    for start in range(0, len(items) + at_once, at_once):
        backlog.put(items[start : start + at_once])
        batches.append(backlog.take(same(budget), lambda item: not item.is_dead))
    while batch := backlog.take(same(budget), lambda item: not item.is_dead):
        batches.append(batch)
    assert len(backlog) == 0
    return batches


@given(arrivals, budgets, st.integers(1, 20))
def test_every_wanted_text_is_taken_exactly_once_and_no_other(
    arriving: list[tuple[int, bool, str, bool]], budget: int, at_once: int
) -> None:
    """Whatever comes in between batches, nothing is lost, doubled, or computed for nobody."""
    items = items_of(arriving)
    taken = [item.name for batch in taken_while_arriving(items, budget, at_once) for item in batch]
    assert sorted(taken) == [item.name for item in items if not item.is_dead]


@given(arrivals, budgets, st.integers(1, 20))
def test_a_batch_of_several_stays_within_budget_lane_and_waste(
    arriving: list[tuple[int, bool, str, bool]], budget: int, at_once: int
) -> None:
    """Only a single text may exceed the budget; a batch is of one lane, and mostly not padding."""
    for batch in taken_while_arriving(items_of(arriving), budget, at_once):
        assert len({item.bulk for item in batch}) <= 1
        if len(batch) > 1:
            assert padded_tokens(batch) <= budget
            true_tokens = sum(item.length for item in batch)
            assert padded_tokens(batch) <= MOST_WASTE * true_tokens + FREE_WASTE_TOKENS


@given(arrivals, budgets, st.integers(1, 20))
def test_a_client_s_texts_of_one_length_leave_in_order(
    arriving: list[tuple[int, bool, str, bool]], budget: int, at_once: int
) -> None:
    """Within client and lane only a text of another length is ever passed over for a nearer one."""
    order: dict[tuple[str, bool, int], list[int]] = {}
    for batch in taken_while_arriving(items_of(arriving), budget, at_once):
        for item in sorted(batch, key=lambda item: item.name):
            order.setdefault((item.client, item.bulk, item.length), []).append(item.name)
    assert all(numbers == sorted(numbers) for numbers in order.values())


@given(lengths, budgets)
def test_the_oldest_text_of_a_lone_client_is_in_every_batch(sizes: list[int], budget: int) -> None:
    """However texts are sorted by length, the one that waited longest never waits for another batch."""
    backlog = filled(*(Item(name, size) for name, size in enumerate(sizes)))
    waiting = set(range(len(sizes)))
    while batch := backlog.take(same(budget), everyone):
        assert min(waiting) in names(batch)
        waiting.difference_update(names(batch))
    assert not waiting


@given(st.integers(1, 256), lengths, budgets, st.booleans())
def test_a_newcomer_waits_for_no_more_tokens_than_it_brings(
    length: int, sizes: list[int], budget: int, bulk: bool
) -> None:
    """However much a client has waiting, it gets no more before a newcomer than that one brings."""
    backlog = filled(*(Item(name, size, bulk) for name, size in enumerate(sizes)))
    backlog.take(same(budget), everyone)
    backlog.put([Item(-1, length, bulk, "newcomer")])
    before = 0
    while -1 not in names(batch := backlog.take(same(budget), everyone)):
        before += sizes[min(names(batch))]
    assert before <= length


def test_a_single_text_goes_before_what_is_left_of_two_thousand() -> None:
    """A client that asks for one text does not wait for one that asked for 2,048 before it."""
    backlog = filled(*(Item(name, 100, client="greedy") for name in range(2048)))
    backlog.take(same(1000), everyone)
    backlog.put([Item(5000, 100, client="modest")])
    assert 5000 in names(backlog.take(same(1000), everyone))


def test_newcomers_without_end_do_not_starve_a_client_with_much_to_do() -> None:
    """Although somebody new comes before every batch, the large client gets what they leave."""
    backlog = filled(*(Item(name, 10, client="large") for name in range(50)))
    of_large = 0
    for number in range(50):
        backlog.put([Item(1000 + number, 10, client=f"new {number}")])
        of_large += sum(item.client == "large" for item in backlog.take(same(20), everyone))
    assert of_large >= 48


def test_even_in_overload_everybody_s_turn_comes() -> None:
    """With more newcomers than can be served, the large client still moves on."""
    backlog = filled(*(Item(name, 10, client="large") for name in range(10)))
    batches = 0
    while any(item.client == "large" for item in backlog.take(same(10), everyone)) or batches < 60:
        backlog.put([Item(1000 + batches, 10, client=f"new {batches}")])
        batches += 1
    assert not any(item.client == "large" for item in backlog.drain())


def test_clients_with_much_to_do_share_by_tokens() -> None:
    """Of two busy clients, the one with longer texts does not get more of the model for it."""
    backlog = filled(*(Item(number, 100, client="long") for number in range(100)))
    backlog.put([Item(1000 + number, 10, client="short") for number in range(1000)])
    tokens = {"long": 0, "short": 0}
    for _ in range(100):
        for item in backlog.take(same(100), everyone):
            tokens[item.client] += item.length
    assert tokens["long"] == pytest.approx(tokens["short"], rel=0.1)


def test_texts_of_near_length_go_with_the_oldest() -> None:
    """With room for three, the two nearest lengths join the oldest, not the two next in line."""
    backlog = filled(Item(0, 100), Item(1, 10), Item(2, 104), Item(3, 250), Item(4, 98))
    assert names(backlog.take(same(3 * 104), everyone)) == [0, 2, 4]


def test_a_short_text_is_not_padded_to_a_long_one() -> None:
    """A lone short text next to a long one gets its own batch even with room to spare."""
    backlog = filled(Item(0, 3), Item(1, 256))
    assert names(backlog.take(same(16_384), everyone)) == [0]


def test_the_search_for_near_lengths_has_an_end() -> None:
    """Among very many waiting texts only the first are looked at, so that a batch is formed in no time."""
    looked_at: set[int] = set()

    def look(item: Item) -> bool:
        looked_at.add(item.name)
        return True

    backlog = filled(*(Item(name, 1) for name in range(2 * LOOK_AHEAD_TEXTS)))
    assert backlog.take(same(1 << 20), look)
    assert len(looked_at) == LOOK_AHEAD_TEXTS


def test_bulk_gives_way_but_never_starves() -> None:
    """While both lanes wait, interactive goes first and every fifth batch is bulk."""
    backlog = filled(*(Item(name, 100, bulk=name % 2 == 1) for name in range(24)))
    lanes = [backlog.take(same(100), everyone)[0].bulk for _ in range(2 * BULK_EVERY)]
    assert lanes == ([False] * (BULK_EVERY - 1) + [True]) * 2


def test_interactive_work_is_not_counted_against_an_empty_bulk_lane() -> None:
    """A bulk text that arrives after much interactive work still waits its turn."""
    backlog = filled(*(Item(name, 100) for name in range(20)))
    for _ in range(10):
        backlog.take(same(100), everyone)
    backlog.put([Item(99, 100, bulk=True)])
    assert not backlog.take(same(100), everyone)[0].bulk


def test_each_lane_has_its_own_budget() -> None:
    """Bulk batches can be held short while interactive ones are not."""
    backlog = filled(*(Item(name, 10, bulk=name >= 10) for name in range(20)))

    def budget_of(bulk: bool) -> int:
        return 20 if bulk else 50

    assert [len(backlog.take(budget_of, everyone)) for _ in range(5)] == [5, 5, 2, 2, 2]


def test_draining_returns_both_lanes() -> None:
    """Draining hands back everything that waits, looked at before or not."""
    backlog = filled(Item(0, 5), Item(1, 5, bulk=True), Item(2, 200), Item(3, 5))
    assert names(backlog.take(same(5), everyone)) == [0]
    assert {item.name for item in backlog.drain()} == {1, 2, 3}
    assert len(backlog) == 0
    assert backlog.take(same(100), everyone) == []

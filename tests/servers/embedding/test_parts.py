"""A batch is dealt out so that little is padding and every core has about the same to do."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from servers.embedding.parts import PART_COST_TOKENS, deal, padded_width

LENGTHS = st.lists(st.integers(1, 256), min_size=1, max_size=80)
STREAMS = st.integers(1, 8)


def cost(part: list[int], lengths: list[int]) -> int:
    """What a part is worth in tokens."""
    return padded_width(max(lengths[place] for place in part)) * len(part) + PART_COST_TOKENS


@given(lengths=LENGTHS, streams=STREAMS)
def test_every_text_is_in_exactly_one_part(lengths: list[int], streams: int) -> None:
    """Nothing is lost or computed twice, and no part is empty."""
    parts = deal(lengths, streams)
    assert sorted(place for part in parts for place in part) == list(range(len(lengths)))
    assert all(parts)


@given(lengths=LENGTHS, streams=STREAMS)
def test_the_largest_part_is_begun_first(lengths: list[int], streams: int) -> None:
    """What takes longest must not be what is begun last."""
    costs = [cost(part, lengths) for part in deal(lengths, streams)]
    assert costs == sorted(costs, reverse=True)


@given(lengths=LENGTHS)
def test_parts_never_cost_more_than_the_whole_batch_as_one(lengths: list[int]) -> None:
    """On one core a batch is cut only where that saves more padding than a part costs."""
    parts = deal(lengths, 1)
    whole = cost(list(range(len(lengths))), lengths)
    assert sum(cost(part, lengths) for part in parts) <= whole


@given(lengths=LENGTHS)
def test_no_part_mixes_lengths_in_between_which_another_part_has_texts(lengths: list[int]) -> None:
    """Near lengths are together."""
    ranges = sorted(
        (min(lengths[place] for place in part), max(lengths[place] for place in part))
        for part in deal(lengths, 2)
    )
    assert all(low[1] <= high[0] for low, high in pairwise(ranges))


def test_texts_of_one_length_are_shared_out_evenly() -> None:
    """Two cores get a half each."""
    assert sorted(map(len, deal([16] * 32, 2))) == [16, 16]


def test_a_single_text_is_one_part() -> None:
    """There is nothing to share."""
    assert deal([9], 4) == [[0]]


def test_two_texts_are_computed_side_by_side() -> None:
    """A core of its own is worth more than company."""
    assert sorted(deal([9, 9], 2)) == [[0], [1]]


def test_one_long_text_does_not_pad_the_short_ones() -> None:
    """The long text is alone in its part."""
    assert [7] in deal([8, 8, 8, 8, 8, 8, 8, 250], 2)

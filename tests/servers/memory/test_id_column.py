"""The ids of all rows in one piece of memory: the same texts, in a fraction of it."""

import sys
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.memory.id_column import IdColumn


@given(batches=st.lists(st.lists(st.text(max_size=12), max_size=8), max_size=6))
def test_ids_come_back_as_they_were_put(batches: list[list[str]]) -> None:
    """Whatever their letters and lengths, each row has its id; there are no more."""
    column, expected = IdColumn(), []
    for batch in batches:
        column.extend(batch)
        expected += batch
        assert len(column) == len(expected)
    assert [column[row] for row in range(len(expected))] == expected
    with pytest.raises(IndexError):
        column[len(expected)]


def test_ids_take_less_than_half_of_what_a_list_does() -> None:
    """A thousand ids as the server gives them."""
    ids = [str(uuid4()) for _ in range(1000)]
    column = IdColumn()
    column.extend(ids)
    assert column.held_bytes == 44 * 1000
    assert 2 * column.held_bytes < sum(sys.getsizeof(one) for one in ids) + sys.getsizeof(ids)

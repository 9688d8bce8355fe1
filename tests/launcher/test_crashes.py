"""launcher.crashes: how long the pauses are, whatever comes in a row."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launcher.crashes import Crashes

UP_S = st.floats(min_value=0.0, max_value=1e7)


@given(st.lists(UP_S, max_size=40))
def test_pauses_follow_the_row(rows: list[float]) -> None:
    """Each pause is that of its place since the last crash after a minute of being up; after five, none."""
    crashes, count = Crashes(), 0
    for up_s in rows:
        count = 1 if up_s > 60.0 else count + 1
        pause_s = crashes.next_pause_s(up_s)
        assert crashes.count == count
        assert pause_s == {1: 0.0, 2: 0.25, 3: 0.5, 4: 1.0, 5: 2.0}.get(count)


@given(st.lists(UP_S, max_size=40))
def test_a_row_costs_little_time(rows: list[float]) -> None:
    """Between two long lives, or to the end, no more than 3.75 s are waited."""
    crashes, waited_s = Crashes(), 0.0
    for up_s in rows:
        waited_s = 0.0 if up_s > 60.0 else waited_s
        waited_s += crashes.next_pause_s(up_s) or 0.0
        assert waited_s <= 3.75

"""Rows and lines: wherever lines come and go, every row knows its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.dashboard.log_layout import LogLayout
from launcher.dashboard.log_lines import LineStyle
from launcher.dashboard.log_ring import LogRing
from launcher.dashboard.log_rows import RowIndex
from launcher.logs.records import LogLine

HEIGHTS = st.lists(st.integers(1, 5), max_size=12)
STEPS = st.lists(st.one_of(HEIGHTS, st.integers(0, 8)), max_size=12)


@given(STEPS)
def test_the_index_agrees_with_a_list_of_rows(steps: list[list[int] | int]) -> None:
    """After any sequence of lines added and dropped, each row is found where a plain list has it."""
    index, heights = RowIndex(), list[int]()
    for step in steps:
        if isinstance(step, list):
            index.append(step)
            heights += step
        else:
            count = min(step, len(heights))
            assert index.drop(count) == sum(heights[:count])
            del heights[:count]
    rows = [(line, part) for line, height in enumerate(heights) for part in range(height)]
    assert [index.locate(row) for row in range(len(index))] == rows
    assert [index.start(line) for line in range(index.lines)] == [
        rows.index((line, 0)) for line in range(len(heights))
    ]


def test_a_row_below_the_end_is_an_error() -> None:
    """There is no line to draw there."""
    with pytest.raises(IndexError):
        RowIndex([2]).locate(2)


TEXTS = st.sampled_from(
    ["short", "a longer line that takes several rows when it is wrapped", "ERROR keep", "名前" * 20]
)
CHANGES = st.lists(
    st.one_of(
        st.lists(TEXTS, max_size=30),
        st.sampled_from(["pattern", "wrap", "all", "pretty"]),
        st.integers(20, 60),
    ),
    max_size=10,
)


@given(CHANGES)
def test_the_layout_is_what_a_fresh_one_would_be(changes: list[list[str] | str | int]) -> None:
    """After lines, filters, looks and widths in any order the rows are those of a layout made from
    scratch.
    """
    ring, style = LogRing(20, 5), LineStyle(name_width=6)
    layout, width = LogLayout(ring, style), 40
    layout.lay_out(width)
    for change in changes:
        if isinstance(change, list):
            layout.extend(*ring.add([LogLine("memory", "", "stdout", text) for text in change]))
        elif isinstance(change, int):
            width = change
        elif change == "wrap":
            style.is_wrapped = not style.is_wrapped
        elif change == "pretty":
            style.is_pretty = not style.is_pretty
        else:
            ring.set_pattern("keep" if change == "pattern" else "")
        layout.lay_out(width)
        fresh = LogLayout(ring, style)
        fresh.lay_out(width)
        assert [layout.text(row).plain for row in range(len(layout))] == [
            fresh.text(row).plain for row in range(len(fresh))
        ]

"""The ring of log lines: bounded, and its view is always exactly what the filters let through."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.dashboard.log_ring import LogRing
from launcher.logs.records import LogLine

TEXTS = st.sampled_from(["calm", "ERROR disk", "Timeout", "timeout again", "error: no"])
LINES = st.lists(
    st.builds(LogLine, st.sampled_from(["memory", "inference.0"]), st.just(""), st.just("stdout"), TEXTS)
)
STEPS = st.lists(
    st.one_of(
        LINES,
        st.sampled_from(["", "timeout", "Timeout", "disk|no"]),
        st.booleans(),
        st.sampled_from([0, 20, 30, 40]),
        st.sampled_from([("memory",), ("inference",), (None,)]),
    ),
    max_size=12,
)


@given(STEPS)
def test_the_view_is_what_a_fresh_look_would_show(steps: list[object]) -> None:
    """After any sequence of lines and filters the view ends with what a ring filtered from scratch shows, and
    holds nothing that the filters do not let through.
    """
    ring, everything = LogRing(20, 5), []
    for step in steps:
        if isinstance(step, list):
            ring.add(step)
            everything += step
        elif isinstance(step, str):
            ring.set_pattern(step)
        elif isinstance(step, bool):
            ring.set_errors_only(step)
        elif isinstance(step, int):
            ring.set_level(step)
        elif isinstance(step, tuple):
            ring.set_solo(step[0])
        assert len(ring) <= 25
        assert len(ring.shown) <= 25
        fresh = LogRing(10_000)
        fresh.add(everything[-len(ring) :] if len(ring) else [])
        fresh.set_pattern(ring.pattern_text)
        fresh.set_errors_only(ring.errors_only)
        fresh.set_level(ring.least_level)
        fresh.set_solo(ring.solo)
        assert ring.shown[len(ring.shown) - len(fresh.shown) :] == fresh.shown
        assert all(ring.wants(line) for line in ring.shown)


def test_added_and_dropped_are_counted_in_shown_lines() -> None:
    """The pane learns how far its view moved, not how many lines the ring lost."""
    ring = LogRing(2, 0)
    ring.set_pattern("keep")
    keep, skip = LogLine("m", "", "stdout", "keep"), LogLine("m", "", "stdout", "skip")
    assert ring.add([keep, skip]) == (1, 0)
    assert ring.add([skip, keep]) == (1, 0)
    assert ring.add([keep]) == (1, 1)


def test_found_lines_stand_before_what_comes() -> None:
    """Matches from the files replace the view, and new matches follow them."""
    ring = LogRing()
    ring.set_pattern("keep")
    old, new = LogLine("m", "1", "stdout", "keep old"), LogLine("m", "2", "stdout", "keep new")
    epoch = ring.epoch
    ring.show_found([old])
    ring.add([new, LogLine("m", "3", "stdout", "other")])
    assert ring.shown == [old, new]
    assert ring.epoch > epoch


def test_a_broken_pattern_keeps_the_last_good_one() -> None:
    """A bad regular expression raises and changes nothing."""
    ring = LogRing()
    ring.add([LogLine("m", "", "stdout", "a"), LogLine("m", "", "stdout", "b")])
    ring.set_pattern("a")
    with pytest.raises(re.error):
        ring.set_pattern("(")
    assert [line.text for line in ring.shown] == ["a"]
    assert ring.pattern_text == "a"

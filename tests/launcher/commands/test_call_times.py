"""What one call was spent on: parts that add up, whatever a server says of its times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.commands.call_times import parts_of, split_text

MS = st.floats(0, 1e6)


@given(st.dictionaries(st.sampled_from(["queue_ms", "embed_ms", "infer_ms"]), MS), MS, MS)
def test_the_parts_add_up_to_the_reply(stages: dict[str, float], more: float, way: float) -> None:
    """The stages, the rest of the server's time, the rest of the reply's; in that order, none below zero."""
    total = sum(stages.values()) + more
    parts = parts_of({"timing": {**stages, "total_ms": total}}, total + way)
    assert list(parts) == [*(name.removesuffix("_ms") for name in stages), "server", "transport"]
    assert min(parts.values()) >= 0
    assert sum(parts.values()) == pytest.approx(total + way, rel=1e-6, abs=1e-3)


def test_a_rest_is_never_below_zero() -> None:
    """Two clocks may disagree by microseconds."""
    parts = parts_of({"timing": {"infer_ms": 5.001, "total_ms": 5.0}}, 4.9)
    assert (parts["server"], parts["transport"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    "reply", [{}, {"timing": None}, {"timing": []}, {"timing": {"infer_ms": "5"}}, {"timing": {"a": True}}]
)
def test_a_reply_without_times_has_no_parts(reply: dict[str, object]) -> None:
    """Nor has one whose times are none."""
    assert parts_of(reply, 5.0) == {}


def test_stages_without_a_total_are_shown_alone() -> None:
    """What is left of the reply cannot be told apart then."""
    assert parts_of({"timing": {"infer_ms": 5}}, 9.0) == {"infer": 5.0}


def test_the_line() -> None:
    """One line under the reply; without parts it ends after the reply's time."""
    assert split_text(1.25, 8.4, {"infer": 6.9, "transport": 1.5}) == (
        "connect 1.2 ms · reply 8.4 ms = infer 6.9 + transport 1.5"
    )
    assert split_text(1.25, 8.4, {}) == "connect 1.2 ms · reply 8.4 ms"

"""Values to cells: the unknown is a dash, units are short, states are glyph and word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.snapshot import STATES
from launcher.terminal import cells


@pytest.mark.parametrize("function", [cells.duration, cells.size, cells.number, cells.milliseconds])
def test_the_unknown_is_a_dash(function: object) -> None:
    """None is `-` and never 0."""
    assert callable(function)
    assert function(None) == "-"
    assert function(0) != "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0.4s"), (6, "6s"), (250, "4m10s"), (11_520, "3h12m"), (187_200, "2d4h"), (-1, "0.0s")],
)
def test_durations(seconds: float, text: str) -> None:
    """Two units at most."""
    assert cells.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (512, "512B"),
        (340 * 2**20, "340M"),
        (1_400_000_000, "1.3G"),
        (139 * 2**30, "139G"),
        (999 * 2**20, "999M"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    """Powers of 1024 in at most four characters."""
    assert cells.size(count) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.4, "0.4"), (12, "12"), (533.2, "533"), (12_345, "12k")]
)
def test_numbers(value: float, text: str) -> None:
    """Short at every size."""
    assert cells.number(value) == text


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_its_marks(state: str) -> None:
    """Each state of the contract has a glyph, an ASCII form, a colour and a rank."""
    assert cells.glyph(state) != "?"
    assert cells.glyph(state, ascii_only=True).isascii()
    assert state in cells.COLORS
    assert state in cells.SEVERITY


@pytest.mark.parametrize(
    ("child", "words"),
    [
        ({"state": "ready"}, "ready"),
        ({"state": "starting", "phase": "load-model", "progress": 0.624}, "starting load-model 62%"),
        ({"state": "starting", "phase": None, "progress": None}, "starting"),
        ({"state": "backoff", "next_retry_s": 7.6}, "backoff, 8 s"),
        ({"state": "unhealthy", "health": {"failures": 2}}, "unhealthy, 2 probes"),
        ({"state": "failed"}, "failed"),
    ],
)
def test_state_words(child: dict[str, object], words: str) -> None:
    """The state carries what a person asks next."""
    assert cells.state_words(child) == words


@given(st.lists(st.floats(0, 1e6)), st.integers(1, 60))
def test_sparklines_fit(values: list[float], width: int) -> None:
    """Never wider than asked for, and the largest value has the full bar."""
    line = cells.sparkline(values, width)
    assert len(line) == min(len(values), width)
    if any(value > 0 for value in values[-width:]):
        assert "█" in line


@given(st.floats(-1, 2), st.integers(1, 40))
def test_bars_fit(fraction: float, width: int) -> None:
    """A bar has exactly its width, for any fraction."""
    assert len(cells.bar(fraction, width)) == width

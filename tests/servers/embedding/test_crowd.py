"""Who was just answered and comes back: when a batch waits for them, and for how long at most."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.embedding.crowd import LONGEST_WAIT, Crowd

BATCH_S = 1.0
SOON = LONGEST_WAIT * BATCH_S / 2


def loyal(texts: int = 8, *, back: int = 8, rounds: int = 10) -> tuple[Crowd, float]:
    """A crowd that has come back so often, and the instant at which its last batch ended."""
    crowd, now = Crowd(), 0.0
    for _ in range(rounds):
        crowd.note_answered(texts, BATCH_S, now)
        crowd.note_asked(back, now + SOON)
        now += BATCH_S
    crowd.note_answered(texts, BATCH_S, now)
    return crowd, now


def test_nobody_is_waited_for_before_they_came_back() -> None:
    """The first batches are begun with whoever is there."""
    crowd = Crowd()
    assert crowd.wait_s(0, 0.0) == 0.0
    crowd.note_answered(8, BATCH_S, 1.0)
    assert crowd.wait_s(1, 1.0) == 0.0


def test_who_always_comes_back_is_waited_for() -> None:
    """Until as many wait as have left, at most for a small part of what the last batch took."""
    crowd, now = loyal()
    assert crowd.wait_s(1, now) == pytest.approx(LONGEST_WAIT * BATCH_S)
    assert crowd.wait_s(7, now + SOON) == pytest.approx(LONGEST_WAIT * BATCH_S - SOON)
    assert crowd.wait_s(8, now + SOON) == 0.0
    assert crowd.wait_s(1, now + 2 * SOON) == 0.0


@pytest.mark.parametrize("back", [0, 3])
def test_who_seldom_comes_back_is_not_waited_for(back: int) -> None:
    """Clients that ask once, or take their time, cost the others nothing."""
    crowd, now = loyal(back=back)
    assert crowd.wait_s(1, now) == 0.0


def test_those_who_come_too_late_have_not_come_back() -> None:
    """What comes in after the wait would have ended says nothing for waiting."""
    crowd, now = Crowd(), 0.0
    for _ in range(10):
        crowd.note_answered(8, BATCH_S, now)
        crowd.note_asked(8, now + 3 * SOON)
        now += BATCH_S
    assert crowd.wait_s(1, now) == 0.0


def test_a_crowd_that_dissolves_is_soon_no_longer_waited_for() -> None:
    """After a few batches from which nobody returned, the next begins at once."""
    crowd, now = loyal()
    waits = []
    for _ in range(5):
        waits.append(crowd.wait_s(1, now))
        now += BATCH_S
        crowd.note_answered(8, BATCH_S, now)
    assert waits[0] > 0.0
    assert crowd.wait_s(1, now) == 0.0


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 100), st.floats(0.0, 2.0)), max_size=50))
def test_a_wait_is_never_longer_than_promised(events: list[tuple[bool, int, float]]) -> None:
    """Whatever happens, it lies between nothing and the share of the last batch's time."""
    crowd, now = Crowd(), 0.0
    for is_answer, texts, step in events:
        now += step
        if is_answer:
            crowd.note_answered(texts, BATCH_S, now)
        else:
            crowd.note_asked(texts, now)
        assert 0.0 <= crowd.wait_s(0, now) <= LONGEST_WAIT * BATCH_S * (1 + 1e-9)

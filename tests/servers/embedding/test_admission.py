"""Admission: whole requests, two limits, honest advice on when to come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.embedding.admission import MAX_RETRY_S, MIN_RETRY_S, UNKNOWN_SPEED_RETRY_S, Admission
from servers.errors import Overloaded


def test_what_does_not_fit_is_refused_whole_and_takes_no_room() -> None:
    """A refused request leaves the counts as they were."""
    admission = Admission(10, 1000)
    admission.admit(8, 80, 1000.0)
    with pytest.raises(Overloaded):
        admission.admit(3, 30, 1000.0)
    assert (admission.texts, admission.tokens) == (8, 80)
    admission.admit(2, 20, 1000.0)


def test_asking_for_room_takes_none() -> None:
    """It says what admitting would say, as often as it is asked."""
    admission = Admission(10, 1000)
    admission.require_room(11, 2000, None)
    admission.admit(8, 80, 1000.0)
    for _ in range(3):
        admission.require_room(2, 20, 1000.0)
    with pytest.raises(Overloaded):
        admission.require_room(2, 20, 1000.0, bulk=True)
    with pytest.raises(Overloaded):
        admission.require_room(3, 30, 1000.0)
    assert (admission.texts, admission.tokens) == (8, 80)


def test_retry_after_is_the_time_until_the_request_would_fit() -> None:
    """600 tokens too many at 200 tokens/s are gone after 3 s."""
    admission = Admission(100, 1000)
    admission.admit(10, 900, 200.0)
    with pytest.raises(Overloaded) as refused:
        admission.admit(5, 700, 200.0)
    assert refused.value.retry_after == pytest.approx(3.0)
    assert refused.value.details == {"waiting_texts": 10, "limit_texts": 100}


def test_too_many_texts_are_counted_in_mean_tokens() -> None:
    """Five texts too many, 20 tokens each, take a second at 100 tokens/s."""
    admission = Admission(10, 10_000)
    admission.admit(10, 200, 100.0)
    with pytest.raises(Overloaded) as refused:
        admission.admit(5, 5, 100.0)
    assert refused.value.retry_after == pytest.approx(1.0)


def test_an_empty_queue_admits_any_request() -> None:
    """A request larger than the queue can still be served when nothing else waits."""
    admission = Admission(4, 10)
    permit = admission.admit(100, 1000, None)
    admission.release(permit)
    assert (admission.texts, admission.tokens) == (0, 0)


def test_releasing_twice_gives_room_back_once() -> None:
    """A permit counts once, however often it is released."""
    admission = Admission(10, 100)
    first, _second = admission.admit(2, 20, None), admission.admit(3, 30, None)
    admission.release(first)
    admission.release(first)
    assert (admission.texts, admission.tokens) == (3, 30)


def test_correcting_replaces_the_estimate() -> None:
    """After tokenising, the true number of tokens counts, and releasing gives exactly that back."""
    admission = Admission(10, 100)
    permit = admission.admit(1, 90, None)
    admission.correct(permit, 7)
    assert admission.tokens == 7
    admission.release(permit)
    assert admission.tokens == 0


@given(
    st.integers(1, 50),
    st.integers(1, 5000),
    st.one_of(st.none(), st.floats(0.0, 1e7)),
    st.integers(1, 50),
    st.integers(1, 5000),
)
def test_advice_is_always_given_and_bounded(
    texts: int, tokens: int, speed: float | None, more_texts: int, more_tokens: int
) -> None:
    """Every refusal says when to come back, within bounds; every admission stays within the limits."""
    admission = Admission(40, 2000)
    admission.admit(texts, tokens, speed)
    refused = _refusal(admission, more_texts, more_tokens, speed)
    if refused is None:
        assert texts + more_texts <= 40
        assert tokens + more_tokens <= 2000
        return
    assert refused.retry_after is not None
    assert MIN_RETRY_S <= refused.retry_after <= MAX_RETRY_S
    assert speed or refused.retry_after == UNKNOWN_SPEED_RETRY_S


def _refusal(admission: Admission, texts: int, tokens: int, speed: float | None) -> Overloaded | None:
    try:
        admission.admit(texts, tokens, speed)
    except Overloaded as refused:
        return refused
    return None

"""Requests and the texts they share: complete when all is there, forgotten when nobody waits."""

import numpy as np
import pytest

from servers.embedding.engine import Tokens
from servers.embedding.pending import PendingRequest, QueuedText, TextsUnderway

TOKENS = Tokens(np.arange(5), truncated=False)


def request_of(*texts: str, deadline: float | None = None) -> PendingRequest:
    """A request of two-number vectors."""
    return PendingRequest(texts, 2, deadline=deadline)


async def test_a_request_is_done_when_its_last_vector_has_come() -> None:
    """In whatever order they come, each lands in its place."""
    request = request_of("a", "b")
    request.receive(1, np.array([3, 4], np.float32), TOKENS)
    assert not request.done.done()
    request.receive(0, np.array([1, 2], np.float32), TOKENS)
    await request.done
    np.testing.assert_array_equal(request.vectors, [[1, 2], [3, 4]])


async def test_a_failed_request_stays_failed() -> None:
    """Vectors that come later change nothing, a second failure neither; what is queued is dropped."""
    request = request_of("a")
    request.fail(ValueError("first"))
    request.fail(ValueError("second"))
    request.receive(0, np.zeros(2, np.float32), TOKENS)
    assert request.is_departed
    with pytest.raises(ValueError, match="first"):
        await request.done


async def test_a_text_is_shared_until_it_is_finished_and_new_afterwards() -> None:
    """Who joins before the vector is there waits for the same one, who comes later for another."""
    underway = TextsUnderway()
    first, second, third = request_of("a", "b"), request_of("b"), request_of("b")
    underway.join(first)
    underway.join(second)
    assert first.shared[1] is second.shared[0]
    assert (len(underway), underway.joined) == (2, 1)
    assert underway.finish(first.shared[1]) == [(first, 1), (second, 0)]
    underway.join(third)
    assert third.shared[0] is not second.shared[0]


async def test_leaving_forgets_what_nobody_waits_for_and_nothing_else() -> None:
    """The texts of the last who waits are forgotten; leaving twice is harmless."""
    underway = TextsUnderway()
    first, second = request_of("a", "b"), request_of("b")
    underway.join(first)
    underway.join(second)
    underway.leave(first)
    assert len(underway) == 1
    assert underway.finish(second.shared[0]) == [(second, 0)]
    again = request_of("b")
    underway.join(again)
    underway.leave(second)
    underway.leave(second)
    assert len(underway) == 1


async def test_an_entry_is_wanted_by_one_who_waits_in_time_for_what_nobody_computes() -> None:
    """Taken, departed or expired: each alone is enough to drop it."""
    underway = TextsUnderway()
    requests = [request_of("a", deadline=10.0) for _ in range(3)]
    for request in requests:
        underway.join(request)
    entries = [QueuedText(TOKENS, request, request.shared[0]) for request in requests]
    assert entries[0].is_wanted(9.9)
    assert not entries[0].is_wanted(10.0)
    requests[1].depart()
    assert not entries[1].is_wanted(9.0)
    assert entries[2].shared.take()
    assert not entries[2].shared.take()
    assert not entries[0].is_wanted(9.0)


async def test_a_text_that_must_not_be_cut_is_not_shared() -> None:
    """Whoever forbids cutting must look at the text itself before it is computed for it."""
    underway = TextsUnderway()
    cut, whole = request_of("a"), PendingRequest(["a"], 2, truncate=False)
    underway.join(cut)
    underway.join(whole)
    assert cut.shared[0] is not whole.shared[0]
    underway.leave(whole)
    assert len(underway) == 1

"""Where the time of a request went: how stages are named, summed, rounded, and what a block of code notes."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.service import RequestContext
from servers.stages import Stages


def test_stages_keep_their_order_and_the_total_comes_last() -> None:
    """A stage that runs twice is summed where it first stood."""
    stages = Stages()
    for stage, seconds in (("embed", 0.25), ("commit", 0.5), ("embed", 0.125)):
        stages.note(stage, seconds)
    assert stages.document(1.0) == {"embed_ms": 375.0, "commit_ms": 500.0, "total_ms": 1000.0}
    assert list(stages.document(1.0)) == ["embed_ms", "commit_ms", "total_ms"]


def test_a_request_without_stages_has_a_total() -> None:
    """`stats` and whatever else is answered at once."""
    assert Stages().document(0.0001234) == {"total_ms": 0.123}


@given(st.lists(st.floats(0, 1e6)))
def test_what_is_told_is_what_was_noted(seconds: list[float]) -> None:
    """To the microsecond that is written."""
    stages = Stages()
    for each in seconds:
        stages.note("infer", each)
    told = stages.document(0.0).get("infer_ms", 0.0)
    assert told == pytest.approx(sum(seconds) * 1000, abs=0.001, rel=1e-9)


async def test_a_block_notes_what_it_waited_for() -> None:
    """Awaiting is part of a stage; another context's notes are its own."""
    context, other = RequestContext(1, None, 0.0), RequestContext(2, None, 0.0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with context.timed("search"):
        done = loop.create_future()
        loop.call_later(0.01, done.set_result, None)
        await done
    took_ms = (loop.time() - began) * 1000
    assert 9.9 <= context.stages.document(0.0)["search_ms"] <= took_ms + 0.001
    assert other.stages.document(0.0) == {"total_ms": 0.0}


async def test_a_block_that_fails_notes_nothing() -> None:
    """Its reply is a refusal, which has no times."""
    context = RequestContext(1, None, 0.0)
    with pytest.raises(ZeroDivisionError), context.timed("search"):
        raise ZeroDivisionError
    assert context.stages.document(0.0) == {"total_ms": 0.0}

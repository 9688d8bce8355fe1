"""The bounds of one connection."""

from __future__ import annotations

import asyncio

import pytest

from servers.errors import Overloaded
from servers.open_requests import CANCEL, OpenRequests, Slot
from servers.protocol import Envelope
from servers.readiness import Readiness
from servers.telemetry import Telemetry


@pytest.fixture
def telemetry() -> Telemetry:
    """The counters of a probe."""
    return Telemetry("probe", "1", Readiness())


def opened(telemetry: Telemetry, most_bytes: int = 100) -> OpenRequests:
    """An empty connection that knows `stats`."""
    return OpenRequests(telemetry, {"stats", CANCEL}, most_bytes, asyncio.get_running_loop().time)


def slot(name: str = "stats", *, size_bytes: int = 10, **echo: object) -> Slot:
    """A request that was received at 0."""
    return Slot(Envelope(name, {}, echo), 0.0, size_bytes)


async def answer(text: str) -> str:
    """A task's answer."""
    return text


async def test_unread_replies_count_until_they_have_left(telemetry: Telemetry) -> None:
    """A client that sends and does not read is refused before it fills the memory."""
    requests, first = opened(telemetry), slot()
    task = asyncio.ensure_future(answer("x" * 95))
    requests.open(first, task)
    requests.require_room(slot(size_bytes=90))
    await task
    await asyncio.wait({asyncio.ensure_future(answer(""))})
    with pytest.raises(Overloaded) as raised:
        requests.require_room(slot(size_bytes=10))
    assert raised.value.retry_after
    requests.close(first)
    requests.close(first)
    requests.require_room(slot(size_bytes=100))


async def test_in_flight_ends_at_zero_however_requests_end(telemetry: Telemetry) -> None:
    """Answered and cancelled alike; a cancelled one is counted as such."""
    requests = opened(telemetry)
    tasks = {asyncio.ensure_future(answer("a")), asyncio.ensure_future(asyncio.Event().wait())}
    for task in tasks:
        requests.open(slot(), task)  # type: ignore[arg-type]  # one of them never answers
    assert telemetry.in_flight == 2
    requests.cancel_all()
    await asyncio.wait(tasks)
    await asyncio.wait({asyncio.ensure_future(answer(""))})
    assert telemetry.in_flight == 0
    assert telemetry.errors >= 1


@pytest.mark.parametrize(
    ("request_id", "wanted", "is_found"),
    [(1, 1, True), ("a", "a", True), (1, True, False), (1, 1.0, False), ("1", 1, False), ([1], [1], True)],
)
async def test_ids_are_compared_with_their_type(
    telemetry: Telemetry, request_id: object, wanted: object, is_found: bool
) -> None:
    """JSON's 1, 1.0, true and "1" are four ids."""
    requests, one = opened(telemetry), slot(id=request_id)
    task = asyncio.ensure_future(answer("a"))
    requests.open(one, task)
    assert requests.cancel(wanted) == ({task} if is_found else set())
    assert one.was_cancelled is is_found
    await asyncio.wait({task})


async def test_a_cancel_does_not_find_another_cancel_nor_what_is_done(telemetry: Telemetry) -> None:
    """Only requests that still run are dropped."""
    requests = opened(telemetry)
    done, other = asyncio.ensure_future(answer("a")), asyncio.ensure_future(answer("b"))
    requests.open(slot(id=1), done)
    requests.open(slot(CANCEL, id=1), other)
    await asyncio.wait({done, other})
    assert requests.cancel(1) == set()


async def test_invented_types_are_one_metric(telemetry: Telemetry) -> None:
    """A client must not be able to grow the registry."""
    requests = opened(telemetry)
    for name in ("a", "b", "c"):
        requests.record(slot(name), "unknown_command")
    assert 'lucid_requests_total{code="unknown_command",op="unknown"} 3.0' in telemetry.metrics().decode()

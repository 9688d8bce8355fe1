"""launcher.children.usage and publisher."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.children.usage import UsageMeter, own_rss_bytes
from launcher.procfs import read_stat
from launcher.running.publisher import Publisher
from launcher.snapshot import EventDocument

HOSTILE = str(Path(__file__).parents[2] / "hostile_child.py")


@pytest.fixture
def family() -> Iterator[int]:
    """A session leader with a forked child, and memory that is really used."""
    argv = [sys.executable, HOSTILE, "--fork", "--hoard", "50", "--say", "up"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        yield process.pid
        os.killpg(process.pid, 9)


def test_memory_of_the_whole_tree_is_counted(family: int) -> None:
    """The sum is more than the leader alone; a child that is gone is not in the answer."""
    leader = read_stat(family)
    assert leader is not None
    found = UsageMeter().sample({"a": family, "gone": 2**22 + 1}, 0.0)
    assert set(found) == {"a"}
    assert found["a"].rss_bytes > leader.rss_bytes
    assert found["a"].cpu_percent is None


def test_processor_time_needs_two_samples() -> None:
    """A busy loop between two samples shows as a share of one processor."""
    meter = UsageMeter()
    meter.sample({"me": os.getpid()}, 0.0)
    before = read_stat(os.getpid())
    assert before is not None
    while (now := read_stat(os.getpid())) is not None and now.cpu_s - before.cpu_s < 0.1:
        pass
    used = meter.sample({"me": os.getpid()}, 1.0)["me"]
    assert used.cpu_percent is not None
    assert used.cpu_percent >= 10.0


def test_own_memory_is_known() -> None:
    """The supervisor can tell its own size."""
    rss = own_rss_bytes()
    assert rss is not None
    assert rss > 1_000_000


def event(revision: int) -> EventDocument:
    """An event about nothing."""
    return {
        "revision": revision,
        "at": "",
        "service": "a",
        "child": "a",
        "from": "stopped",
        "to": "starting",
        "cause": "start_requested",
        "reason": None,
        "detail": "",
        "generation": 1,
        "pid": None,
        "diagnosis": None,
    }


async def test_publisher_keeps_a_bounded_past() -> None:
    """Only the last thousand events are kept, and asking since a revision gives what came after."""
    publisher = Publisher()
    for _ in range(1500):
        publisher.record(event(publisher.next_revision()))
    assert [found["revision"] for found in publisher.events_since(0)] == list(range(501, 1501))
    assert [found["revision"] for found in publisher.events_since(1498)] == [1499, 1500]


async def test_subscriber_is_woken_once_for_many_changes() -> None:
    """Changes while nobody waits are one wake-up; without a change the wait ends by itself."""
    publisher = Publisher()
    subscriber = publisher.subscribe()
    assert publisher.has_subscribers
    for _ in range(5):
        publisher.changed()
    async with asyncio.timeout(5):
        await subscriber.wait(60.0)
    await subscriber.wait(0.01)
    publisher.close()
    async with asyncio.timeout(5):
        await subscriber.wait(60.0)
    publisher.unsubscribe(subscriber)
    assert not publisher.has_subscribers

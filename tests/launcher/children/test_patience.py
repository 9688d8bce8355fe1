"""Limits that are fair: hold-ups of the loop and waits for a processor do not count, up to a bound."""

from __future__ import annotations

import asyncio
import os
import select
import threading
from collections.abc import Callable

import pytest

from launcher.children import patience
from launcher.children.patience import FairTimer, Starvation, starved_s


def hold_up(duration_s: float) -> None:
    """Keep this thread, and the loop on it, from running."""
    select.select([], [], [], duration_s)


async def time_passes(duration_s: float) -> None:
    """Return when the loop has run for so long."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(duration_s, passed.set)
    await passed.wait()


@pytest.fixture
async def elapsed() -> Callable[[], float]:
    """Seconds since the test began."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    return lambda: loop.time() - start


async def test_fires_once_when_it_is_time(elapsed: Callable[[], float]) -> None:
    """Without a hold-up a fair timer is a timer."""
    fired = asyncio.Event()
    FairTimer().start_fair(0.1, fired.set)
    await fired.wait()
    assert 0.1 <= elapsed() < 5


async def test_a_hold_up_does_not_use_the_time_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that was held up beyond the limit first gives whoever is limited a chance."""
    monkeypatch.setattr(patience, "LATE_S", 0.05)
    fired = asyncio.Event()
    timer = FairTimer()
    timer.start_fair(0.2, fired.set)
    hold_up(0.5)
    await time_passes(0.01)
    assert not fired.is_set()
    await asyncio.wait_for(fired.wait(), 30)


async def test_a_plain_timer_fires_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends nobody is done as soon as the loop runs again."""
    fired = asyncio.Event()
    FairTimer().start(0.05, fired.set)
    hold_up(0.3)
    await asyncio.wait_for(fired.wait(), 5)


async def test_hold_ups_without_end_do_not_keep_a_child_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many extensions and no more: even a loop that is always late comes to an end."""
    monkeypatch.setattr(patience, "LATE_S", -1.0)
    fired = asyncio.Event()
    FairTimer().start_fair(0.01, fired.set)
    await asyncio.wait_for(fired.wait(), 30)


async def test_waiting_for_a_processor_is_given_back(elapsed: Callable[[], float]) -> None:
    """The time for which a child had no processor is added, and what was added to that, and no more."""
    told = iter([5.0, 5.2, 5.3, 5.3])
    fired = asyncio.Event()
    FairTimer().start_fair(0.2, fired.set, lambda: next(told))
    await asyncio.wait_for(fired.wait(), 30)
    assert elapsed() >= 0.2 + 0.2 + 0.1
    assert next(told, None) is None


async def test_starvation_is_given_back_up_to_a_bound() -> None:
    """A child that never gets a processor is ended in the end."""
    calls = 0

    def starving() -> float:
        nonlocal calls
        calls += 1
        return calls * 100.0

    fired = asyncio.Event()
    FairTimer().start_fair(0.06, fired.set, starving)
    await asyncio.wait_for(fired.wait(), 30)
    assert calls == 1 + 20


async def test_cancelled_and_set_anew() -> None:
    """Nothing fires after `cancel`, and a timer that is set again forgets what it was set to."""
    timer, fired = FairTimer(), []
    timer.start_fair(0.01, lambda: fired.append("first"))
    timer.start(0.02, lambda: fired.append("second"))
    await time_passes(0.2)
    assert fired == ["second"]
    timer.start_fair(0.01, lambda: fired.append("third"))
    timer.cancel()
    timer.cancel()
    await time_passes(0.05)
    assert fired == ["second"]


def test_waits_for_a_processor_are_read_from_the_kernel() -> None:
    """Threads that fight for one processor have waited for it; a process that is gone has not."""
    allowed = os.sched_getaffinity(0)
    before = starved_s(os.getpid())
    stop = threading.Event()

    def spin() -> None:
        os.sched_setaffinity(0, {min(allowed)})
        while not stop.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=spin) for _ in range(3)]
    for thread in threads:
        thread.start()
    hold_up(0.3)
    # Threads that have ended are not asked any more.
    waited_s = starved_s(os.getpid()) - before
    stop.set()
    for thread in threads:
        thread.join()
    assert waited_s >= 0.0
    assert starved_s(2**22 - 1) == 0.0


def test_failures_of_a_starved_child_are_excused() -> None:
    """The first of a row counts; the next do not while most of the time between went in waiting."""
    waited = iter([1.0, 2.5, 2.6, 4.5])
    starvation = Starvation(lambda: next(waited))
    assert [starvation.excuses(now) for now in (10.0, 12.0, 14.0, 16.0)] == [False, True, False, True]


def test_an_answer_begins_a_new_row() -> None:
    """What was waited before the last answer is no excuse for what fails now."""
    waited = iter([1.0, 9.0, 10.9])
    starvation = Starvation(lambda: next(waited))
    assert not starvation.excuses(10.0)
    starvation.ended()
    assert not starvation.excuses(20.0)
    assert starvation.excuses(22.0)


def test_there_is_an_end_to_excuses() -> None:
    """A child that only ever waits is given up in the end."""
    starvation = Starvation(iter(range(0, 1000, 2)).__next__)
    excused = [starvation.excuses(float(now)) for now in range(0, 100, 2)]
    assert excused == [False] + [True] * 10 + [False] * 39

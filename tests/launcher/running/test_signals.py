"""Signals to a supervisor: the end in order, then at once; the file read again, a bad one only told of."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from launcher.errors import ActionFailed
from launcher.reconcile import Action
from launcher.running.reload import Reconciler
from launcher.running.signals import Signals
from launcher.running.stack import Stack


class EndingStack:
    """A stack that only notes how it is ended."""

    def __init__(self) -> None:
        self.is_ending = False
        self.asked: asyncio.Queue[str] = asyncio.Queue()

    def end(self) -> None:
        """In order."""
        self.is_ending = True
        self.asked.put_nowait("end")

    def kill(self) -> None:
        """At once."""
        self.asked.put_nowait("kill")


class OneReading:
    """A reconciler that gives one answer, or fails, when it is told to."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.has_begun, self.may_answer = asyncio.Event(), asyncio.Event()
        self.may_answer.set()

    async def up(self, names: list[str]) -> Any:
        """The answer."""
        self.has_begun.set()
        await self.may_answer.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Listening:
    """Signals that are listened to, and what was said."""

    def __init__(self, answer: Any, tasks: asyncio.TaskGroup) -> None:
        self.stack, self.reading = EndingStack(), OneReading(answer)
        self.said: asyncio.Queue[str] = asyncio.Queue()
        reconciler = cast(Reconciler, self.reading)
        self.signals = Signals(cast(Stack, self.stack), reconciler, tasks, self.said.put_nowait)
        self.signals.listen()


CHANGES = ([Action("a", "restart", "env changed"), Action("b", "keep", "is unchanged")], ["a note"])


@pytest.fixture
async def tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """Where the work is done; the handlers are taken back afterwards."""
    async with asyncio.TaskGroup() as group:
        yield group
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().remove_signal_handler(number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_second_one_kills(tasks: asyncio.TaskGroup, number: signal.Signals) -> None:
    """The first asks for the end in order, the second has no more patience."""
    listening = Listening(CHANGES, tasks)
    os.kill(os.getpid(), number)
    assert await listening.stack.asked.get() == "end"
    os.kill(os.getpid(), signal.SIGTERM)
    assert await listening.stack.asked.get() == "kill"


async def test_the_guardian_asks_once(tasks: asyncio.TaskGroup) -> None:
    """Its word comes again and again, and is no second signal."""
    listening = Listening(CHANGES, tasks)
    listening.signals.end_once()
    listening.signals.end_once()
    assert listening.stack.asked.qsize() == 1


async def test_a_client_may_set_a_limit(tasks: asyncio.TaskGroup) -> None:
    """After its seconds everything that is left is killed."""
    listening = Listening(CHANGES, tasks)
    listening.signals.end_within(0.01)
    assert [await listening.stack.asked.get() for _ in range(2)] == ["end", "kill"]


async def test_hang_up_reads_the_file_again(tasks: asyncio.TaskGroup) -> None:
    """What was changed is said, and every note."""
    listening = Listening(CHANGES, tasks)
    os.kill(os.getpid(), signal.SIGHUP)
    assert await listening.said.get() == "the file was read again: restart a"
    assert await listening.said.get() == "a note"


async def test_a_bad_file_is_told_of(tasks: asyncio.TaskGroup) -> None:
    """And nothing else comes of it."""
    listening = Listening(ActionFailed("line 3 is wrong"), tasks)
    os.kill(os.getpid(), signal.SIGHUP)
    assert await listening.said.get() == "the file was not taken over: line 3 is wrong"


async def test_closing_ends_a_reading(tasks: asyncio.TaskGroup) -> None:
    """A file that is being read when the supervisor ends is not waited for."""
    listening = Listening(CHANGES, tasks)
    listening.reading.may_answer.clear()
    os.kill(os.getpid(), signal.SIGHUP)
    await listening.reading.has_begun.wait()
    await listening.signals.close()
    assert listening.said.empty()

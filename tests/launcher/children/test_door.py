"""launcher.children.door: who answers for children that share what they listen on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.children.runtime import ChildRuntime
from launcher.children.surroundings import Surroundings
from launcher.lifecycle_values import Child, Event
from launcher.logfiles import LogFile
from launcher.placement import CPU
from launcher.planning.prepared import PreparedChild
from launcher.running.installer import rules_of
from launcher.snapshot import State
from launcher.sockets import bind_service
from tests.launcher.children.test_runtime import surrounded
from tests.launcher.config_files import load

COMMAND = "command: [x], inherit_sockets: true"
SERVER = "server: inference, gpu: none"


@pytest.fixture
async def around(tmp_path: Path) -> AsyncIterator[Surroundings]:
    """What children need of a supervisor."""
    events: asyncio.Queue[Event] = asyncio.Queue()
    async with surrounded(tmp_path, events) as made:
        yield made


@pytest.fixture
async def siblings(
    tmp_path: Path, around: Surroundings
) -> AsyncIterator[Callable[[str], list[ChildRuntime]]]:
    """Makes two children on one shared port that are away for now."""
    made: list[ChildRuntime] = []
    knowing = replace(around, siblings=lambda service: made)

    def make(keys: str) -> list[ChildRuntime]:
        text = f"services:\n  a: {{{keys}, port: auto, port_mode: shared, replicas: 2}}\n"
        service = load(tmp_path, text).services["a"]
        (shared,) = bind_service("127.0.0.1", 0)
        for number in range(2):
            (private,) = bind_service("127.0.0.1", 0)
            name, port, own = f"a.{number}", shared.getsockname()[1], private.getsockname()[1]
            sockets = (shared.dup(), private)
            prepared = PreparedChild(name, service, number, port, sockets, False, None, CPU, own)
            log = LogFile(tmp_path / f"{name}.log", 1_000_000, 1)
            made.append(
                ChildRuntime(service, prepared, Child(rules_of(service)), log, tmp_path / name, knowing)
            )
        shared.close()
        return made

    yield make
    for child in made:
        child.close()
        for held in child.prepared.sockets:
            held.close()


def put(child: ChildRuntime, state: State) -> None:
    """Let it be in a state, as the supervisor does it."""
    child.life = replace(child.life, state=state, desired_up=True)
    child.door.mind()


async def is_answered(child: ChildRuntime) -> bool:
    """Whether a client of the shared port hears anything within a moment."""
    reader, writer = await asyncio.open_connection("127.0.0.1", child.prepared.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    try:
        return b"503" in await asyncio.wait_for(reader.read(), 0.2)
    except TimeoutError:
        return False
    finally:
        writer.transport.abort()


Siblings = Callable[[str], list[ChildRuntime]]


@pytest.mark.parametrize("accepting", ["starting", "ready", "unhealthy"])
async def test_nobody_is_answered_while_one_of_them_can_accept(siblings: Siblings, accepting: State) -> None:
    """Whichever it is, and whoever changes; with none, one answers for all."""
    one, two = siblings(f"{COMMAND}, while_starting: answer")
    put(one, "backoff")
    put(two, "backoff")
    assert await is_answered(one)
    put(two, accepting)
    assert not await is_answered(one)
    put(one, accepting)
    put(two, "stopping")
    assert not await is_answered(one)
    put(one, "backoff")
    assert await is_answered(one)


async def test_a_server_that_starts_leaves_the_port_to_the_others(siblings: Siblings) -> None:
    """It does not accept before it is ready, so that its clients are told."""
    one, two = siblings(f"{SERVER}, while_starting: answer")
    put(one, "starting")
    put(two, "backoff")
    assert await is_answered(one)
    put(one, "ready")
    assert not await is_answered(one)


async def test_by_default_they_wait(siblings: Siblings) -> None:
    """Nobody is answered in their place."""
    one, two = siblings(COMMAND)
    put(one, "backoff")
    put(two, "backoff")
    assert not await is_answered(one)


async def test_one_that_leaves_answers_for_nobody(siblings: Siblings) -> None:
    """Those that stay do it, and its end takes nothing with it."""
    made = siblings(f"{COMMAND}, while_starting: answer")
    one, two = made
    put(one, "stopping")
    put(two, "backoff")
    made.remove(one)
    put(one, "stopped")
    one.close()
    for held in one.prepared.sockets:
        held.close()
    assert await is_answered(two)
    assert isinstance(two.prepared.sockets[0], socket.socket)

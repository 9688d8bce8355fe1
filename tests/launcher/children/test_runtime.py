"""One child's edges, with a real guardian and real processes: effects performed, events posted."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.children.diagnosing import Diagnostician
from launcher.children.gpu_watch import GpuWatch
from launcher.children.oom import OomCounter
from launcher.children.runtime import ChildRuntime
from launcher.children.surroundings import Surroundings
from launcher.gpus import NvmlReader
from launcher.lifecycle_values import (
    Child,
    Event,
    Exited,
    Kill,
    Progressed,
    SetTimer,
    Spawn,
    Spawned,
    SpawnFailed,
    Terminate,
    TimerFired,
)
from launcher.logfiles import LogFile
from launcher.placement import CPU
from launcher.planning.prepared import PreparedChild
from launcher.restart_policy import Outcome
from launcher.running.installer import rules_of
from launcher.sockets import bind_service
from tests.launcher.config_files import load
from tests.launcher.guarded import guarded
from tests.launcher.nvml_double import FakeNvml, LibraryNotFound

HOSTILE = Path(__file__).parents[2] / "hostile_child.py"
Make = Callable[..., ChildRuntime]


@asynccontextmanager
async def surrounded(folder: Path, events: asyncio.Queue[Event]) -> AsyncIterator[Surroundings]:
    """What a child needs of a supervisor, with a guardian of its own; what it posts comes to `events`."""
    async with guarded() as parent, asyncio.TaskGroup() as tasks:
        gpus = GpuWatch(NvmlReader(FakeNvml({}, init=LibraryNotFound("none"))))
        around = Surroundings(
            parent=parent,
            tasks=tasks,
            logs=folder,
            post=lambda name, event: events.put_nowait(event),
            changed=lambda: None,
            journal=lambda: None,
            remember=lambda: None,
            peers=dict,
            rank=lambda service: 0,
            oom=OomCounter(None),
            diagnostician=Diagnostician(parent, folder),
            gpus=gpus,
        )
        yield around
        around.diagnostician.close()
        gpus.close()


@pytest.fixture
def events() -> asyncio.Queue[Event]:
    """What the child has posted."""
    return asyncio.Queue()


@pytest.fixture
async def make(tmp_path: Path, events: asyncio.Queue[Event]) -> AsyncIterator[Make]:
    """Makes a child of these keys, at rest."""
    made: list[ChildRuntime] = []
    async with surrounded(tmp_path, events) as around:

        def make_child(keys: str, sockets: tuple[socket.socket, ...] = ()) -> ChildRuntime:
            service = load(tmp_path, f"services:\n  a: {{{keys}}}\n").services["a"]
            port = sockets[0].getsockname()[1] if sockets else None
            prepared = PreparedChild("a", service, 0, port, sockets, False, None, CPU)
            log = LogFile(tmp_path / "a.log", 1_000_000, 1)
            life = Child(rules_of(service))
            made.append(ChildRuntime(service, prepared, life, log, tmp_path / "notify", around))
            return made[-1]

        yield make_child
        for child in made:
            if child.tree is not None:
                child.perform(Kill())
                while child.tree is not None:
                    await events.get()
            child.close()
            for held in child.prepared.sockets:
                held.close()


def command(*flags: str) -> str:
    """The keys of a hostile child."""
    words = ", ".join(f"'{word}'" for word in (sys.executable, str(HOSTILE), *flags))
    return f"command: [{words}]"


async def spawned(child: ChildRuntime, events: asyncio.Queue[Event]) -> set[Event]:
    """Spawn a child that tells of a phase once it handles signals; what it posted until then."""
    child.perform(Spawn(1))
    return {await events.get(), await events.get()}


async def test_from_spawn_to_exit(make: Make, events: asyncio.Queue[Event]) -> None:
    """A generation is born with a pid, ends by its stop signal, and its end is on record."""
    child = make(command("--phase", "up"))
    posted = await spawned(child, events)
    assert child.tree is not None
    assert posted == {Spawned(1, child.tree.pid), Progressed(1)}
    child.perform(Terminate())
    assert await events.get() == Exited(1, Outcome("exited", 0), "exit code 0", True)
    assert child.tree is None
    assert child.exits.total == 1
    assert child.exits.last is not None
    assert child.exits.last.status.code == 0
    assert "last words" in (child.around.logs / "a.log").read_text()


async def test_an_end_that_was_charged_keeps_its_charge(make: Make, events: asyncio.Queue[Event]) -> None:
    """A child that is ended as unhealthy and then exits 0 has failed all the same."""
    child = make(command("--phase", "up"))
    await spawned(child, events)
    child.life = replace(child.life, charge=Outcome("unhealthy"))
    child.perform(Terminate())
    ended = await events.get()
    assert isinstance(ended, Exited)
    assert ended.outcome == Outcome("unhealthy")


async def test_a_kill_from_outside_is_a_kill(make: Make, events: asyncio.Queue[Event]) -> None:
    """SIGKILL of somebody else is judged as that, as no counter tells of want of memory."""
    child = make(command())
    child.perform(Spawn(1))
    await events.get()
    assert child.tree is not None
    child.around.parent.signal(child.tree.pid, signal.SIGKILL)
    assert await events.get() == Exited(1, Outcome("killed"), "killed by SIGKILL", True)


async def test_a_program_that_is_not_there(make: Make, events: asyncio.Queue[Event]) -> None:
    """It is an end like any other: counted, with the reason for people and for the lifecycle."""
    child = make("command: [/nowhere/to/be/found]")
    child.perform(Spawn(1))
    failed = await events.get()
    assert isinstance(failed, SpawnFailed)
    assert "/nowhere/to/be/found" in failed.text
    assert (child.exits.total, child.exits.last and child.exits.last.outcome) == (1, Outcome("spawn_failed"))


@pytest.mark.parametrize("kind", ["startup", "stable", "diagnosis", "grace", "backoff"])
async def test_every_timer_fires_for_its_generation(
    make: Make, events: asyncio.Queue[Event], kind: str
) -> None:
    """Also when another generation has begun meanwhile: whoever handles it must be able to tell."""
    child = make(command())
    child.life = replace(child.life, generation=3)
    child.perform(SetTimer(kind, 0.01))  # type: ignore[arg-type]  # the names of all kinds of timer
    child.life = replace(child.life, generation=4)
    assert await events.get() == TimerFired(kind, 3)  # type: ignore[arg-type]  # the same


async def answer(port: int) -> bytes:
    """What a client of the port hears within a moment; nothing when nobody accepts."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    try:
        return await asyncio.wait_for(reader.read(), 0.3)
    except TimeoutError:
        return b""
    finally:
        writer.transport.abort()


async def test_clients_are_answered_in_its_place_and_left_to_it(
    make: Make, events: asyncio.Queue[Event]
) -> None:
    """While it is away its clients are answered, where asked for; from the spawn on they are its own."""
    held = bind_service("127.0.0.1", 0)
    port = held[0].getsockname()[1]
    child = make(f"{command('--serve')}, port: auto, inherit_sockets: true, while_starting: answer", held)
    child.life = replace(child.life, state="backoff", desired_up=True, generation=1)
    child.door.mind()
    assert b'"code": "starting"' in await answer(port)
    child.life = replace(child.life, state="starting")
    child.perform(Spawn(2))
    assert isinstance(await events.get(), Spawned)
    assert (await answer(port)).endswith(b"\r\n\r\n2")


async def test_by_default_clients_wait(make: Make) -> None:
    """Nobody is answered in its place."""
    held = bind_service("127.0.0.1", 0)
    child = make(f"{command('--serve')}, port: auto, inherit_sockets: true", held)
    child.life = replace(child.life, state="backoff", desired_up=True)
    child.door.mind()
    assert await answer(held[0].getsockname()[1]) == b""


async def test_new_settings_bring_new_sockets(make: Make) -> None:
    """What is given up is closed, what stays is kept, and clients of both are answered meanwhile."""
    old, new = bind_service("127.0.0.1", 0), bind_service("127.0.0.1", 0)
    stays = bind_service("127.0.0.1", 0)
    keys = f"{command('--serve')}, port: auto, inherit_sockets: true, while_starting: answer"
    child = make(keys, (*old, *stays))
    child.life = replace(child.life, state="backoff", desired_up=True)
    child.door.mind()
    child.configure(child.service, replace(child.prepared, sockets=(*stays, *new)))
    assert old[0].fileno() == -1
    for kept in (*stays, *new):
        assert b"503" in await answer(kept.getsockname()[1])

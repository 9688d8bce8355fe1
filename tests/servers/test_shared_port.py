"""Several processes on one held port: by turns, only while ready, and the end of one refuses nobody."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.client import ClientConnection, connect

from servers.listeners import Listeners
from servers.notify import Notifier
from servers.readiness import Readiness
from servers.serve import ServerProcess, access_rules
from servers.settings import ServerSettings
from servers.shared_port import SharedPort, turn_after_s
from tests.servers.probe_server import build_service

Spawn = Callable[..., subprocess.Popen[str]]


@dataclass
class Shared:
    """A held port with its processes, and the private port of each."""

    held: socket.socket
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    private: list[int] = field(default_factory=list)

    @property
    def port(self) -> int:
        """The port that they share."""
        return port_of(self.held)


def port_of(one: socket.socket) -> int:
    """Its port."""
    return int(one.getsockname()[1])


@pytest.fixture
def add(spawn_probe: Spawn) -> Iterator[Callable[..., Shared]]:
    """Starts one more process on the port; it returns once the process is ready, unless it never will be."""
    with contextlib.ExitStack() as held:
        shared = Shared(held.enter_context(socket.create_server(("127.0.0.1", 0))))

        def start(environ: dict[str, str] | None = None) -> Shared:
            number = len(shared.processes)
            private = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            told = {
                "LISTEN_FDS": "2",
                "LISTEN_FDNAMES": "probe:probe.private",
                "LUCID_CHILD": f"probe.{number}",
            }
            process = spawn_probe(environ={**told, **(environ or {})}, held=(shared.held, private))
            shared.processes.append(process)
            shared.private.append(port_of(private))
            assert process.stderr is not None
            word = "ready on" if environ is None else "load-model"
            assert any(word in line for line in process.stderr)
            return shared

        yield start


def ask(client: ClientConnection) -> int:
    """The pid of the server behind a connection."""
    client.send(json.dumps({"type": "stats"}))
    return int(json.loads(client.recv(timeout=20))["stats"]["pid"])


def who_answers(port: int) -> int:
    """The pid behind a new connection to a port."""
    with connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
        return ask(client)


def test_each_replica_serves_the_port_that_they_share(add: Callable[..., Shared]) -> None:
    """While one is held up, the other accepts; the same port, the other way round; each alone at its own."""
    add()
    shared = add()
    one, two = shared.processes
    for busy, free in ((one, two), (two, one)):
        busy.send_signal(signal.SIGSTOP)
        assert {who_answers(shared.port) for _ in range(5)} == {free.pid}
        busy.send_signal(signal.SIGCONT)
    assert [who_answers(port) for port in shared.private] == [one.pid, two.pid]


def test_the_end_of_one_is_no_refusal_for_anybody(add: Callable[..., Shared]) -> None:
    """A client that comes after a sudden death meets the other replica."""
    add()
    shared = add()
    one, two = shared.processes
    one.kill()
    one.wait()
    assert {who_answers(shared.port) for _ in range(5)} == {two.pid}


def test_connections_are_dealt_by_how_many_each_has(add: Callable[..., Shared]) -> None:
    """Of many that stay, each has its share; one that comes later catches up."""
    shared = add()
    with contextlib.ExitStack() as clients:

        def come(count: int) -> Counter[int]:
            url = f"ws://127.0.0.1:{shared.port}"
            return Counter(ask(clients.enter_context(connect(url, proxy=None))) for _ in range(count))

        first = come(48)
        add()
        one, two = (process.pid for process in shared.processes)
        assert first == {one: 48}
        later = come(15)
        assert later[two] > later[one]


def test_one_that_loads_takes_nobody(add: Callable[..., Shared]) -> None:
    """It answers where it is asked alone, and leaves the shared port to those that are ready."""
    add({"PROBE_LOADS_FOREVER": "1"})
    shared = add()
    assert {who_answers(shared.port) for _ in range(5)} == {shared.processes[1].pid}
    with connect(f"ws://127.0.0.1:{shared.private[0]}", proxy=None) as client:
        client.send(json.dumps({"type": "stats"}))
        assert json.loads(client.recv(timeout=20))["code"] == "model_loading"


@given(st.integers(0, 100_000), st.floats(0, 1))
def test_a_turn_is_short_and_later_the_more_one_has(connections: int, chance: float) -> None:
    """At once without any, never more than 12 ms, and with more connections never earlier."""
    delay_s = turn_after_s(connections, chance)
    assert 0 <= delay_s <= 0.012
    assert (delay_s == 0) is (connections == 0)
    assert turn_after_s(connections + 1, chance) >= delay_s


class Taken(asyncio.Protocol):
    """Notes that it was made."""

    def __init__(self, made: asyncio.Queue[None]) -> None:
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tell of it."""
        self._made.put_nowait(None)


@dataclass
class InLoop:
    """A listening socket, what accepts on it while the readiness says so, and who was accepted."""

    held: socket.socket
    accepting: SharedPort
    readiness: Readiness
    taken: asyncio.Queue[None]

    def come(self) -> socket.socket:
        """A client that is in the queue when this returns."""
        return socket.create_connection(self.held.getsockname(), 5)

    async def one_taken(self) -> None:
        """Wait until a client was accepted."""
        await asyncio.wait_for(self.taken.get(), 10)

    async def nobody_taken(self) -> None:
        """Nothing is under way by which a client could be accepted."""
        for _ in range(10):
            await asyncio.sleep(0)
        assert self.taken.empty()
        assert not self.accepting.is_open


@pytest.fixture
async def door() -> AsyncIterator[InLoop]:
    """Nobody is ready yet."""
    taken: asyncio.Queue[None] = asyncio.Queue()
    with socket.create_server(("127.0.0.1", 0)) as held:
        held.setblocking(False)
        accepting, readiness = SharedPort([held], lambda: Taken(taken)), Readiness()
        accepting.follow(readiness)
        yield InLoop(held, accepting, readiness, taken)
        accepting.close()


async def test_it_opens_and_closes_with_the_readiness(door: InLoop) -> None:
    """Nobody is accepted before it is ready, nor after the worker has died or the drain has begun."""
    with door.come():
        await door.nobody_taken()
        door.readiness.ready()
        await door.one_taken()
        door.readiness.fail("the worker is dead")
        with door.come():
            await door.nobody_taken()
            door.readiness.ready()
            await door.one_taken()
        door.readiness.drain()
        with door.come():
            await door.nobody_taken()


async def test_leaving_gives_the_last_time_to_ask(door: InLoop) -> None:
    """A quarter of a second from its acceptance, and none when nobody has come."""
    door.readiness.ready()
    assert door.accepting.leave_s() == 0
    door.accepting.follow(door.readiness)
    with door.come():
        await door.one_taken()
        assert 0 < door.accepting.leave_s() <= 0.25
        await door.nobody_taken()


async def test_without_descriptors_it_rests_and_goes_on(
    door: InLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cannot be accepted here is left in the queue, for others or for later."""
    monkeypatch.setattr("servers.shared_port._REST_S", 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with door.come():
        filled = fill_descriptors()
        try:
            door.readiness.ready()
            for _ in range(10):
                await asyncio.sleep(0)
            assert door.taken.empty()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in filled:
                os.close(fd)
        await door.one_taken()


def fill_descriptors() -> list[int]:
    """Leave this process none that is free."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
    filled = []
    with contextlib.suppress(OSError):
        while True:
            filled.append(os.dup(0))
    return filled


async def http_status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> int:
    """The status of one GET on a connection that is kept."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    await reader.readexactly(int(length[1]) if length is not None else 0)
    return int(head.split()[1])


@contextlib.asynccontextmanager
async def served(listeners: Listeners, *, load_forever: bool = False) -> AsyncIterator[ServerProcess]:
    """The probe service on these sockets, in this loop."""
    service, settings = build_service(load_forever=load_forever), ServerSettings(host="127.0.0.1")
    rules = access_rules(service, settings, listeners)
    process = ServerProcess(service, settings, listeners, rules, Notifier(None), is_supervised=True)
    task = asyncio.get_running_loop().create_task(process.run())
    yield process
    process.stop()
    process.stop()
    await asyncio.wait({task})


async def test_whoever_was_just_accepted_is_heard_by_one_that_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    """It could have met another process, so that it is not refused here."""
    monkeypatch.setattr("servers.shared_port._FIRST_REQUEST_S", 60.0)
    with socket.create_server(("127.0.0.1", 0)) as held, socket.create_server(("127.0.0.1", 0)) as own:
        async with served(Listeners((held,), private=(own,))) as process:
            reader, writer = await asyncio.open_connection(*held.getsockname())
            assert await http_status(reader, writer, "/") == 200
            process.stop()
            await asyncio.sleep(0)
            assert await http_status(reader, writer, "/") == 200
            writer.close()


async def test_sockets_that_are_nobody_elses_are_served_as_ever() -> None:
    """It answers there while it loads."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        async with served(Listeners((held,)), load_forever=True):
            reader, writer = await asyncio.open_connection(*held.getsockname())
            assert await http_status(reader, writer, "/readyz") == 503
            writer.close()

"""Clients that store while their server is killed again and again, and the account at the end.

Used by the tests with some hundred kills and by `benchmarks/crash_loop.py` with thousands. Every client keeps
its own log of what was acknowledged and repeats, under the same id, what was not.
"""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import websockets

ROOT = Path(__file__).parents[3]
CLIENTS = 4
MOST_ACKS_PER_RUN = 24
MOST_DELAY_S = 0.004


@dataclass
class Account:
    """What the loop saw; the three sets are empty when the server keeps its promises."""

    runs: int = 0
    acknowledged: int = 0
    repeated: int = 0
    lost: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    torn: set[str] = field(default_factory=set)
    unsearchable: set[str] = field(default_factory=set)


class Server:
    """One server of the nursery."""

    def __init__(self, nursery: "subprocess.Popen[str]", notify: socket.socket) -> None:
        self._answers: IO[str] = nursery.stdout  # type: ignore[assignment] # opened as a pipe
        self._notify = notify
        self.pid = int(self._answers.readline())

    def wait_until_ready(self) -> None:
        """Block until it says READY=1."""
        while b"READY=1" not in self._notify.recv(65536):
            pass

    def kill(self) -> None:
        """End it as nothing can prevent."""
        os.kill(self.pid, 9)

    def wait(self) -> int:
        """Block until it has ended; returns its exit status."""
        status = int(self._answers.readline())
        self._notify.close()
        return status


class Nursery:
    """Starts servers over one data folder on one listening socket that outlives them."""

    def __init__(self, folder: Path, process: "subprocess.Popen[str]", listening: socket.socket) -> None:
        self._folder, self._process, self._listening = folder, process, listening
        self.port: int = listening.getsockname()[1]

    def start(self) -> Server:
        """Start a server; the one before must have ended."""
        address = self._folder / "notify"
        address.unlink(missing_ok=True)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(address))
        order = {
            "path": str(self._folder / "data"),
            "notify": str(address),
            "listen": self._listening.fileno(),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        return Server(self._process, notify)


@contextmanager
def open_nursery(folder: Path) -> Iterator[Nursery]:
    """A nursery over an empty data folder."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("LUCID_", "LISTEN_"))}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.memory.server_nursery"],
            cwd=ROOT,
            env=environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(listening.fileno(),),
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                yield Nursery(folder, process, listening)
            finally:
                # After a failure a server may still run, and its nursery waits for it.
                os.killpg(process.pid, signal.SIGKILL)


class Client:
    """Stores memories under ids of its own, in order; what was not acknowledged is sent again."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._number = 0
        self.acknowledged: list[str] = []
        self.repeated = 0

    async def store(self, port: int, on_ack: Callable[[], None]) -> None:
        """Store until the connection breaks."""
        is_repetition = bool(self._number)
        with suppress(websockets.ConnectionClosed, websockets.InvalidMessage, OSError):
            async with websockets.connect(f"ws://127.0.0.1:{port}/", open_timeout=60) as connection:
                while True:
                    memory_id = f"{self._name}-{self._number}"
                    reply = await ask(connection, "store", id=memory_id, text=text_of(memory_id))
                    assert reply["status"] == "success", reply
                    self.repeated += is_repetition
                    is_repetition = False
                    self.acknowledged.append(memory_id)
                    self._number += 1
                    on_ack()


def text_of(memory_id: str) -> str:
    """The text that belongs to an id, long enough to span pages now and then."""
    return f"memory {memory_id} " + "long " * (zlib.crc32(memory_id.encode()) % 7 * 300)


async def ask(connection: websockets.ClientConnection, kind: str, **data: object) -> dict[str, Any]:
    """The reply to one request."""
    await connection.send(json.dumps({"type": kind, "data": data}))
    reply: dict[str, Any] = json.loads(await connection.recv())
    return reply


async def run_crash_loop(folder: Path, runs: int, seed: int) -> Account:
    """Kill the server `runs` times while clients store, then take stock with a last server."""
    rng = random.Random(seed)
    clients = [Client(f"c{number}") for number in range(CLIENTS)]
    with open_nursery(folder) as nursery:
        for _ in range(runs):
            await _run_once(nursery, clients, rng)
        server = nursery.start()
        await asyncio.to_thread(server.wait_until_ready)
        account = await _take_stock(nursery.port, clients)
        server.kill()
        await asyncio.to_thread(server.wait)
    account.runs = runs
    return account


async def _run_once(nursery: Nursery, clients: list[Client], rng: random.Random) -> None:
    server = nursery.start()
    loop = asyncio.get_running_loop()
    left = rng.randint(1, MOST_ACKS_PER_RUN)

    def count_down() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            # Not at the acknowledgement itself: the kill must hit every instant of a commit.
            loop.call_later(rng.random() * MOST_DELAY_S, server.kill)

    await asyncio.to_thread(server.wait_until_ready)
    await asyncio.gather(*(client.store(nursery.port, count_down) for client in clients))
    assert await asyncio.to_thread(server.wait) == -9


async def _take_stock(port: int, clients: list[Client]) -> Account:
    acknowledged = {memory_id for client in clients for memory_id in client.acknowledged}
    present: list[str] = []
    torn: set[str] = set()
    searchable: set[str] = set()
    async with websockets.connect(f"ws://127.0.0.1:{port}/", max_size=None) as connection:
        cursor = None
        while True:
            page = await ask(connection, "list", limit=500, cursor=cursor)
            present += [memory["id"] for memory in page["memories"]]
            torn |= {memory["id"] for memory in page["memories"] if memory["text"] != text_of(memory["id"])}
            cursor = page["next_cursor"]
            if cursor is None:
                break
        while True:
            found = await ask(connection, "retrieve", count=1000, offset=len(searchable), sort="recent")
            searchable |= {memory["id"] for memory in found["memories"]}
            if not found["memories"]:
                break
        damaged = (await ask(connection, "stats"))["stats"]["damaged_memories"]
    assert damaged == 0
    return Account(
        acknowledged=len(acknowledged),
        repeated=sum(client.repeated for client in clients),
        lost=acknowledged - set(present),
        doubled={memory_id for memory_id, times in Counter(present).items() if times > 1},
        torn=torn,
        unsearchable=set(present) ^ searchable,
    )

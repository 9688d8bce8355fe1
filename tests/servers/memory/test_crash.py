"""Nothing acknowledged is lost when the process is killed, at whatever moment (kill -9, again and again)."""

import asyncio
import json
import os
import random
import socket
import subprocess
import sys
from collections import deque
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import websockets

from servers.memory.store.sqlite import SqliteStore
from tests.servers.memory.doubles import make_memory

ROOT = Path(__file__).parents[3]
WRITER = Path(__file__).with_name("crash_writer.py")
ENVIRON = {
    **{key: value for key, value in os.environ.items() if not key.startswith(("LUCID_", "LISTEN_"))},
    "PYTHONPATH": str(ROOT),
}


def store_until_killed(folder: Path, name: str, writers: int, acknowledgements: int) -> list[str]:
    """Let a process store, kill it as soon as so many were acknowledged, and return all that were."""
    command = [sys.executable, str(WRITER), str(folder), name, str(writers)]
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRON, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(acknowledgements)]
        process.kill()
        # What is in the pipe when the kill lands was acknowledged too; a cut last line was not.
        acknowledged += [line for line in process.stdout if line.endswith(b"\n")]
    assert process.returncode == -9
    return [line.decode().strip() for line in acknowledged]


@pytest.mark.parametrize("seed", range(8))
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, seed: int) -> None:
    """After two kills at random moments every acknowledged memory is there once, bit for bit."""
    rng = random.Random(seed)
    acknowledged: list[str] = []
    for name in ("first", "second"):
        acknowledged += store_until_killed(tmp_path, f"{name}{seed}", rng.randint(1, 6), rng.randint(1, 300))
    with closing(SqliteStore(tmp_path)) as store:
        present = [memory_id for step in store.scan(1000) for memory_id in step.ids]
        found = store.find_many(present)
        damaged = store.info().damaged_rows
    assert set(acknowledged) <= set(present)
    assert len(present) == len(set(present))
    assert damaged == 0
    for memory_id, memory in found.items():
        expected = make_memory(memory_id)
        assert memory.text == expected.text
        assert memory.vector.tobytes() == expected.vector.tobytes()


class Server:
    """`python -m servers.memory` on a socket that outlives it, as under the launcher."""

    def __init__(self, folder: Path, listening: socket.socket) -> None:
        command = [
            sys.executable,
            "-m",
            "servers.memory",
            "--backend",
            "debug",
            "--path",
            str(folder / "data"),
        ]
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = folder / f"notify-{self._notify.fileno()}"
        address.unlink(missing_ok=True)
        self._notify.bind(str(address))
        # The socket must be fd 3 (sd_listen_fds(3)): the shell renumbers it and becomes the server.
        inherit = f'exec 3<&{listening.fileno()}; exec "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", inherit, "bash", *command],
            cwd=ROOT,
            env={**ENVIRON, "LISTEN_FDS": "1", "NOTIFY_SOCKET": str(address)},
            pass_fds=(listening.fileno(),),
            stderr=subprocess.DEVNULL,
        )

    def wait_until_ready(self) -> None:
        """Block until the server says READY=1."""
        while b"READY=1" not in self._notify.recv(65536):
            pass

    def kill(self) -> None:
        """End it as nothing can prevent."""
        self.process.kill()
        self.process.wait()
        self._notify.close()


async def ask(connection: websockets.ClientConnection, **request: object) -> dict[str, Any]:
    """The reply to one request."""
    await connection.send(json.dumps(request))
    reply: dict[str, Any] = json.loads(await connection.recv())
    return reply


class Client:
    """Stores memories under ids of its own and keeps its own log of what was acknowledged."""

    def __init__(self, texts: list[str]) -> None:
        self.waiting = deque(texts)
        self.acknowledged: dict[str, dict[str, Any]] = {}

    async def store(self, port: int, enough: asyncio.Event, most: int) -> None:
        """Store until killed or done; what was not acknowledged stays to be sent again."""
        with suppress(websockets.ConnectionClosed, OSError):
            async with websockets.connect(f"ws://127.0.0.1:{port}/", open_timeout=60) as connection:
                while self.waiting:
                    text = self.waiting[0]
                    reply = await ask(connection, type="store", data={"id": text, "text": text})
                    assert reply["status"] == "success", reply
                    self.acknowledged[self.waiting.popleft()] = reply
                    if len(self.acknowledged) >= most:
                        enough.set()


async def everything(port: int) -> list[str]:
    """The texts of all memories, page by page."""
    found: list[str] = []
    async with websockets.connect(f"ws://127.0.0.1:{port}/", open_timeout=60) as connection:
        cursor = None
        while True:
            reply = await ask(connection, type="list", data={"limit": 100, "cursor": cursor})
            found += [memory["text"] for memory in reply["memories"]]
            cursor = reply["next_cursor"]
            if cursor is None:
                return found


async def test_a_killed_server_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    """Clients that repeat what was not acknowledged end with every memory stored exactly once."""
    rng = random.Random(11)
    clients = [Client([f"client {number} memory {place}" for place in range(60)]) for number in range(3)]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        for kill in (1, 2, None):
            server = Server(tmp_path, listening)
            await asyncio.to_thread(server.wait_until_ready)
            enough = asyncio.Event()
            most = 1000 if kill is None else 20 * kill - rng.randint(0, 15)
            storing = asyncio.gather(*(client.store(port, enough, most) for client in clients))
            if kill is not None:
                await enough.wait()
                server.kill()
            await storing
        present = await everything(port)
        server.kill()
    assert sorted(present) == sorted(text for client in clients for text in client.acknowledged)
    assert len(present) == 180

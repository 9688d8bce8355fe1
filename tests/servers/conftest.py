"""Doubles and real servers for the tests of the doors."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from servers.listeners import bind
from servers.notify import Notifier
from servers.serve import ServerProcess, access_rules
from servers.service import Service
from servers.settings import ServerSettings
from tests.servers.probe_server import build_service

PROBE = Path(__file__).with_name("probe_server.py")
ROOT = PROBE.parents[2]
FROM_FD_3 = """import os, sys
given = [os.dup2(int(fd), 500 + place) for place, fd in enumerate(sys.argv[1].split(","))]
for place, fd in enumerate(given):
    os.dup2(fd, 3 + place)
os.closerange(500, 600)
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass
class Running:
    """A service that answers on a loopback port inside the test's own loop."""

    service: Service
    process: ServerProcess
    port: int
    task: asyncio.Task[int]

    @property
    def ws(self) -> str:
        """The WebSocket address."""
        return f"ws://127.0.0.1:{self.port}/"

    @property
    def http(self) -> str:
        """The HTTP address, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"


Serve = Callable[..., Awaitable[Running]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts services on ephemeral ports; whatever still runs at the end is stopped."""
    running: list[Running] = []

    async def start(
        service: Service | None = None, *, is_supervised: bool = False, **options: object
    ) -> Running:
        chosen = service or build_service()
        settings = ServerSettings.model_validate({"host": "127.0.0.1", "drain_s": 2.0, **options})
        listeners = bind(settings.host, (settings.port or 0,))
        rules = access_rules(chosen, settings, listeners)
        process = ServerProcess(
            chosen, settings, listeners, rules, Notifier(None), is_supervised=is_supervised
        )
        task = asyncio.get_running_loop().create_task(process.run())
        running.append(Running(chosen, process, listeners.port, task))
        return running[-1]

    yield start
    for one in running:
        if not one.task.done():
            one.process.stop()
            one.process.stop()
        await asyncio.wait({one.task})


@pytest.fixture
def spawn_probe() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the probe server as a real process; it is killed at the end if it still runs."""
    spawned: list[subprocess.Popen[str]] = []

    def spawn(
        *argv: str, environ: dict[str, str] | None = None, held: tuple[socket.socket, ...] = ()
    ) -> subprocess.Popen[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("LUCID_", "LISTEN_"))}
        command = [sys.executable, str(PROBE), *argv]
        if held:
            numbers = ",".join(str(one.fileno()) for one in held)
            command = [sys.executable, "-c", FROM_FD_3, numbers, *command]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**clean, "PYTHONPATH": str(ROOT), **(environ or {})},
            stderr=subprocess.PIPE,
            pass_fds=[one.fileno() for one in held],
            text=True,
        )
        spawned.append(process)
        return process

    yield spawn
    for process in spawned:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)

"""Real servers as processes, with the engine that needs no model, that can be killed and started again."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 60


@dataclass
class ServerProcess:
    """One server on a port of its own; `peers` are the servers of its stack by name."""

    kind: str
    port: int
    folder: Path
    peers: Mapping[str, int] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def http(self) -> str:
        """Its address for a browser, without a trailing slash."""
        return f"http://localhost:{self.port}"

    @property
    def ws(self) -> str:
        """Its WebSocket address."""
        return f"ws://localhost:{self.port}/"

    def start(self, until: bytes = b"READY=1") -> None:
        """Starts it and waits until it reports `until` to its supervisor; fails with its last words."""
        address = self.folder / f"{self.kind}-{self.port}.notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reports:
            reports.bind(str(address))
            try:
                ended = os.pidfd_open(self._spawn(address).pid)
                try:
                    while until not in self._next_report(reports, ended):
                        continue
                finally:
                    os.close(ended)
            finally:
                address.unlink()

    def _next_report(self, reports: socket.socket, ended: int) -> bytes:
        readable, _, _ = select.select([reports, ended], [], [], START_TIMEOUT_S)
        assert reports in readable, f"{self.kind} is not there: {self._log.read_text('utf-8')[-2000:]}"
        return reports.recv(4096)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Sends one request beside the browser and returns its successful reply."""
        with connect(self.ws, proxy=None) as server:
            server.send(json.dumps(request))
            reply: dict[str, Any] = json.loads(server.recv(timeout=30))
        assert reply["status"] == "success", reply
        return reply

    def kill(self) -> None:
        """Ends it at once, as a crash would, and waits until it is gone; idempotent."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def _log(self) -> Path:
        return self.folder / f"{self.kind}-{self.port}.log"

    def _spawn(self, address: Path) -> subprocess.Popen[bytes]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("LUCID_", "LISTEN_"))}
        peers = {name: f"ws://localhost:{port}" for name, port in self.peers.items()}
        own = (*self.command, "--port", str(self.port), *self.options)
        default = ("-m", f"servers.{self.kind}", "--backend", "debug")
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(() if self.command else default), *own],
                cwd=ROOT,
                env={
                    **clean,
                    "LUCID_PEERS": json.dumps(peers),
                    "NOTIFY_SOCKET": str(address),
                    "PYTHONPATH": str(ROOT),
                    **self.environ,
                },
                stdout=log,
                stderr=log,
            )
        return self.process


@dataclass(frozen=True)
class Pair:
    """A memory and an inference server that know each other."""

    memory: ServerProcess
    inference: ServerProcess

    def start(self) -> Pair:
        """Starts both and waits until they are ready."""
        self.memory.start()
        self.inference.start()
        return self

    def kill(self) -> None:
        """Ends both."""
        self.memory.kill()
        self.inference.kill()


def make_pair(folder: Path, ports: tuple[int, int], *options: str) -> Pair:
    """A stopped pair on the two ports whose files lie in `folder`; `options` go to both."""
    peers = {"memory": ports[0], "inference": ports[1]}
    path = ("--path", str(folder / "store"))
    return Pair(
        ServerProcess("memory", ports[0], folder, peers, (*path, *options)),
        ServerProcess("inference", ports[1], folder, peers, options),
    )

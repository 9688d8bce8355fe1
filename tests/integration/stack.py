"""One real stack in a folder of its own: the command line, the supervisor and both servers as processes.

Waiting is on events throughout: a verb that returns, a pidfd that becomes readable, a reply that arrives.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from websockets.sync.client import ClientConnection, connect

CONFIG = """\
project: lucid-test
defaults:
  restart: {{backoff: {{initial: 100ms, max: 1s}}}}
  health: {{period: 300ms, timeout: 500ms, failures: 2}}
  stop: {{grace: 5s}}
services:
  memory:
    server: memory
    port: {memory_port}
    gpu: none
    options: {{backend: {backend}, path: data/memory}}
  inference:
    server: inference
    port: {inference_port}
    gpu: none
    options: {{backend: {backend}}}
"""


def free_ports(count: int) -> list[int]:
    """Return `count` neighbouring free loopback ports; the range is only used at once and by this test."""
    first = 21000 + (os.getpid() * 37) % 20000
    for start in range(first, first + 2000, count):
        with contextlib.ExitStack() as bound:
            try:
                for port in range(start, start + count):
                    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
                        held = bound.enter_context(socket.socket(family, socket.SOCK_STREAM))
                        held.bind((host, port))
            except OSError:
                continue
            return list(range(start, start + count))
    raise AssertionError("no free ports on loopback")


class Stack:
    """A project folder and the verbs run in it."""

    def __init__(self, root: Path, *, backend: str = "debug", config: str | None = None) -> None:
        ports = free_ports(4)
        self.memory_port, self.inference_port = ports[0], ports[1]
        self.inference_range = f"{ports[1]}-{ports[3]}"
        self.root = root
        self.config = root / "config.yaml"
        self.environ = os.environ | {"XDG_RUNTIME_DIR": str(root / "run"), "NO_COLOR": "1", "TERM": "dumb"}
        (root / "run").mkdir(mode=0o700)
        text = config or CONFIG.format(
            memory_port=self.memory_port, inference_port=self.inference_range, backend=backend
        )
        self.config.write_text(text)

    def run(
        self, *verb: str, timeout_s: float = 90, check: int | None = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run one verb to its end; `check` is the exit code it must have (None: any)."""
        done = subprocess.run(
            [sys.executable, "-m", "launcher", *verb],
            cwd=self.root,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
        )
        if check is not None:
            assert done.returncode == check, f"{verb}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def status(self) -> dict[str, Any]:
        """Return the status document of the running stack."""
        document: dict[str, Any] = json.loads(self.run("status", "--json", check=None).stdout)
        return document

    def child(self, service: str) -> dict[str, Any]:
        """Return the status of the only child of `service`."""
        child: dict[str, Any] = self.status()["services"][service]["children"][0]
        return child

    def kill(self, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal one process of this stack and, for SIGKILL, wait until the kernel says that it ended."""
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, number)
            if number is signal.SIGKILL:
                wait_ended(descriptor, 10)
        finally:
            os.close(descriptor)

    def processes(self) -> list[psutil.Process]:
        """Return every live process that was started from this folder's configuration."""
        return [p for p in psutil.process_iter() if is_of(p, str(self.root / "run"))]

    def wait_gone(self, processes: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
        """Wait for the processes to end and return those that are still there."""
        _, alive = psutil.wait_procs(processes, timeout=timeout_s)
        return [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    @contextlib.contextmanager
    def connect(self, port: int, **options: Any) -> Iterator[ClientConnection]:
        """Open one WebSocket to a server of the stack."""
        options.setdefault("proxy", None)
        path = options.pop("path", "/")
        with connect(f"ws://localhost:{port}{path}", open_timeout=30, **options) as connection:
            yield connection

    def ask(self, port: int, request: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Send one request on a new connection and return its reply."""
        with self.connect(port, **options) as connection:
            return exchange(connection, request)

    def close(self) -> None:
        """Stop the stack; whatever a failed test left behind is ended by pid."""
        self.run("down", check=None)
        left = self.processes()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)


def exchange(connection: ClientConnection, request: dict[str, Any]) -> dict[str, Any]:
    """Send one request and return the next reply."""
    connection.send(json.dumps(request))
    reply: dict[str, Any] = json.loads(connection.recv(timeout=30))
    return reply


def wait_ended(descriptor: int, timeout_s: float) -> None:
    """Wait until a pidfd says that its process ended."""
    readable, _, _ = select.select([descriptor], [], [], timeout_s)
    assert readable, f"the process did not end within {timeout_s} s"


def is_of(process: psutil.Process, runtime: str) -> bool:
    """Tell whether a process was started with this runtime folder in its environment."""
    try:
        return (
            process.environ().get("XDG_RUNTIME_DIR") == runtime and process.status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False

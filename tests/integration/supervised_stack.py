"""A real guardian and its supervisor for tests: start them on a config text, ask, wait for what snapshots
show.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, unix_connect

from launcher.procfs import scan
from launcher.runtime_dir import runtime_paths

HOSTILE = Path(__file__).parent.parent / "hostile_child.py"
WAIT_S = 30.0
Document = dict[str, Any]


def hostile(*flags: str) -> str:
    """The command of a hostile child as a YAML list."""
    return json.dumps([sys.executable, str(HOSTILE), *flags])


class SupervisedStack:
    """One guardian process, `process`, its supervisor, and a control connection to that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.process: subprocess.Popen[bytes] | None = None
        self.report: Document = {}
        os.environ["XDG_RUNTIME_DIR"] = str(folder)
        self.socket = runtime_paths(self.config).control_socket

    def write(self, services: str) -> None:
        """Write the config file; `services` is the YAML below `services:`, indented by two.

        What has no probe counts as ready at once, since nearly no test is about that.
        """
        defaults = "defaults: {health: {min_uptime: 0s}}"
        self.config.write_text(f"project: test\n{defaults}\nservices:\n{services}", encoding="utf-8")

    def start(self, *flags: str) -> Document:
        """Start the guardian and return the startup report of its supervisor."""
        reader, writer = os.pipe()
        argv = [sys.executable, "-m", "launcher.guardian", "--config", str(self.config), *flags]
        with open(self.folder / "supervisor.out", "ab") as log:
            self.process = subprocess.Popen(
                [*argv, "--report-fd", str(writer)],
                pass_fds=[writer],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(writer)
        with os.fdopen(reader) as report:
            line = report.readline()
        assert line, self.output()
        self.report = json.loads(line)
        return self.report

    @property
    def supervisor_pid(self) -> int:
        """The pid of the supervisor that answers now."""
        return int(self.ask("snapshot")["snapshot"]["supervisor"]["pid"])

    @property
    def guardian_pid(self) -> int:
        """The pid of the guardian that guards now."""
        return int(self.ask("snapshot")["snapshot"]["supervisor"]["guardian_pid"])

    def output(self) -> str:
        """What the supervisor printed."""
        return (self.folder / "supervisor.out").read_text()

    @contextmanager
    def connected(self) -> Iterator[ClientConnection]:
        """A control connection."""
        opening = unix_connect(str(self.socket), compression=None, ping_interval=None, close_timeout=0.5)
        with opening as connection:
            yield connection

    def ask(self, kind: str, **data: object) -> Document:
        """One request, one reply."""
        with self.connected() as connection:
            connection.send(json.dumps({"type": kind, "data": data}))
            reply: Document = json.loads(connection.recv(WAIT_S))
            return reply

    def child(self, name: str) -> Document:
        """The document of a child now."""
        return find_child(self.ask("snapshot")["snapshot"], name)

    def wait_for(self, name: str, is_reached: Callable[[Document], bool]) -> Document:
        """Follow snapshots until the child's document is as asked, and return it."""
        with self.connected() as connection:
            connection.send(json.dumps({"type": "subscribe", "data": {}}))
            connection.recv(WAIT_S)
            while True:
                snapshot = json.loads(connection.recv(WAIT_S))["snapshot"]
                document = find_child(snapshot, name)
                if document and is_reached(document):
                    return document

    def wait_state(self, name: str, state: str, generation: int = 0) -> Document:
        """Follow snapshots until the child is in `state`, at least in that generation."""
        return self.wait_for(
            name, lambda child: child["state"] == state and child["generation"] >= generation
        )

    def wait_end(self) -> int:
        """Wait for the end of the stack and return its exit status."""
        assert self.process is not None
        return self.process.wait(WAIT_S)

    def log(self, child: str) -> list[str]:
        """The lines of a child's log file."""
        return (self.folder / "logs" / f"{child}.log").read_text().splitlines()

    def close(self) -> None:
        """End the stack, however the test left it; a stack that does not end by itself is a failure."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            supervisor = self.supervisor_pid
            self.process.kill()
            os.kill(supervisor, signal.SIGKILL)
            raise


def find_child(snapshot: Document, name: str) -> Document:
    """The document of a child in a snapshot; empty when it is not there."""
    for service in snapshot["services"].values():
        for child in service["children"]:
            if child["name"] == name:
                found: Document = child
                return found
    return {}


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    return any(process.pid == pid and process.is_alive for process in scan())


def wait_gone(pid: int) -> None:
    """Wait until a process has ended; it need not be our child."""
    import select

    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        readable, _, _ = select.select([pidfd], [], [], WAIT_S)
        assert readable, f"pid {pid} still runs"
    finally:
        os.close(pidfd)

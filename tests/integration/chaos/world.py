"""The stack that chaos is done to: its configuration, what was asked of it, and what of it is alive.

Speaks to the product through its command line and its control socket only, and repeats what a supervisor that
died did not answer. Does not decide what is done (`operations`) and performs no mischief (`deeds`).
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.sync.client import unix_connect

from launcher.control_client import control_path
from tests.integration.stack import Stack

__all__ = ["CHILD", "Document", "World"]

Document = dict[str, Any]
CHILD = Path(__file__).parent / "chaos_child.py"
PATIENCE_S = 30.0
AWAY = (OSError, ConnectionClosed, InvalidHandshake, InvalidMessage, EOFError, TimeoutError)
"""What a client sees of a supervisor that is dying, dead, or not yet back."""

CONFIG = """\
project: chaos
defaults:
  restart: {{backoff: {{initial: 10ms, max: 50ms}}, max_failures: 1000000}}
  stop: {{grace: 400ms}}
  logs: {{max_size: 300KB, backups: 1000}}
services:
  web:
    command: [{child}]
    port: auto
    host: 127.0.0.1
    inherit_sockets: true
    port_mode: {port_mode}
    health: {{http: /, period: 300ms, timeout: 1s, failures: 2}}
    env: {{VALUE: "{web}"}}
  family:
    command: [{child}, --family, --stubborn]
    port: auto
    host: 127.0.0.1
    inherit_sockets: true
    while_starting: answer
    health: {{http: /, period: 300ms, timeout: 1s, failures: 2}}
    env: {{VALUE: "{family}"}}
  chatty:
    command: [{child}, --chatter]
    health: {{notify: true}}
    env: {{VALUE: "{chatty}"}}
  dependent:
    command: [{child}]
    health: {{notify: true}}
    depends_on: {{web: {{condition: ready, restart: true}}}}
    env: {{VALUE: "{dependent}"}}
"""


class World:
    """One stack in a folder of its own, and what was last asked of each service."""

    def __init__(self, folder: Path) -> None:
        """Write the first configuration; nothing runs yet."""
        self.evidence = folder / "evidence"
        (self.evidence / "lines").mkdir(parents=True)
        self.values = {"web": 1, "family": 0, "chatty": 0, "dependent": 0}
        self.stopped: set[str] = set()
        """Services whose last word was `stop`, and that nothing asked to run since."""
        self.cut: set[str] = set()
        """Births whose pipes went with guardian and supervisor."""
        root = folder / "stack"
        root.mkdir()
        self.stack = Stack(root, config=self.config_text())
        # For the functions of ours that find the socket by the environment.
        os.environ["XDG_RUNTIME_DIR"] = self.stack.environ["XDG_RUNTIME_DIR"]
        self.ports: dict[str, int] = {}

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.stack.config

    @property
    def logs(self) -> Path:
        """The folder of the children's logs."""
        return self.stack.root / "logs"

    def config_text(self) -> str:
        """The configuration with the present values."""
        child = ", ".join(
            json.dumps(word) for word in (sys.executable, "-IS", str(CHILD), str(self.evidence))
        )
        # Half of its values put the replicas of `web` on one port: a reload takes them there and back.
        port_mode = "shared" if self.values["web"] % 2 else "each"
        return CONFIG.format(child=child, port_mode=port_mode, **self.values)

    def up(self) -> None:
        """Start everything, wait until it is ready, and learn the ports."""
        self.stack.run("up", "-d", "--wait", "--timeout", f"{PATIENCE_S:g}s")
        self.stopped.clear()
        services = self.status()["services"]
        self.ports = {name: services[name]["children"][0]["port"] for name in ("web", "family")}

    def ask(self, kind: str, **data: object) -> Document:
        """One request, one reply; asked again for as long as supervisors die before they answer."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                with self._connected() as connection:
                    connection.send(json.dumps({"type": kind, "data": data}))
                    reply: Document = json.loads(connection.recv(PATIENCE_S))
                    return reply
            except AWAY:
                if time.monotonic() > until:
                    raise

    def status(self) -> Document:
        """The status document now."""
        snapshot: Document = self.ask("snapshot")["snapshot"]
        return snapshot

    def wait_settled(self, within_s: float) -> str | None:
        """Follow the status until everything is as it was asked; else what is not, after `within_s`."""
        until = time.monotonic() + within_s
        why = "no supervisor answered"
        while (left_s := until - time.monotonic()) > 0:
            try:
                with self._connected() as connection:
                    connection.send(json.dumps({"type": "subscribe", "data": {}}))
                    while (left_s := until - time.monotonic()) > 0:
                        frame = json.loads(connection.recv(left_s))
                        if "snapshot" in frame and not (why := self.unsettled(frame["snapshot"])):
                            return None
            except AWAY:
                continue
        return why

    def unsettled(self, document: Document) -> str:
        """What is not yet as it was asked; empty when all is well."""
        owner = document["supervisor"]
        for role in ("pid", "guardian_pid"):
            if not is_running(owner[role]):
                return f"the document names {role} {owner[role]}, which does not run"
        services = document["services"]
        up = {name for name, service in services.items() if service["desired"] == "up"}
        for name, service in services.items():
            for child in service["children"]:
                wanted = "stopped" if name not in up else "ready"
                if name == "dependent" and "web" not in up and child["state"] == "waiting":
                    continue
                if child["state"] != wanted:
                    return f"{child['name']} is {child['state']}, not {wanted}: {child['reason']}"
                if wanted == "ready" and not is_running(child["pid"]):
                    return f"{child['name']} counts as ready, but pid {child['pid']} does not run"
        forgotten = sorted(self.stopped & up)
        return f"stopped by request, but wanted up: {', '.join(forgotten)}" if forgotten else ""

    def owner(self) -> Document:
        """Supervisor and guardian, both alive: who loses one while the other is away loses both at once."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            owner: Document = self.status()["supervisor"]
            if is_running(owner["pid"]) and is_running(owner["guardian_pid"]):
                return owner
        raise AssertionError("guardian and supervisor are not both back")

    def births_alive(self) -> set[str]:
        """The births of all children that run now."""
        pids = {process.pid for process in self.stack.processes()}
        return {
            path.name for path in (self.evidence / "lines").iterdir() if int(path.name.split("-")[-2]) in pids
        }

    def leaders(self) -> dict[str, int]:
        """The pids of the children that run, by name."""
        children = [child for service in self.status()["services"].values() for child in service["children"]]
        return {child["name"]: child["pid"] for child in children if child["pid"] is not None}

    def descendants(self) -> list[psutil.Process]:
        """What children left behind or forked: processes of this stack that the status does not name."""
        known = set(self.leaders().values())
        return [p for p in self.stack.processes() if p.pid not in known and _runs(p, CHILD.name)]

    def _connected(self) -> Any:
        return unix_connect(
            str(control_path(self.config)),
            compression=None,
            ping_interval=None,
            open_timeout=PATIENCE_S,
            close_timeout=0.5,
            max_size=None,
        )


def is_running(pid: int) -> bool:
    """Whether a process exists and is neither a zombie nor stopped."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def _runs(process: psutil.Process, program: str) -> bool:
    try:
        return any(word.endswith(program) for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False

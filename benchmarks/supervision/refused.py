"""Row: clients that are refused while a server is restarted, again and again, in every way.

A client connects every four milliseconds; the server takes 100 ms to start. A restart is over when the server
answers with another pid.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from benchmarks.supervision.figures import percentiles_ms, wait_until
from benchmarks.supervision.ours import Ours
from benchmarks.supervision.systems import NotOffered, Service, System, free_port, python_child

__all__ = ["KINDS", "measure"]

PERIOD_S = 0.004
START_S = 0.1
BACK_WITHIN_S = 20.0
KINDS = ("crash", "hang", "restart", "rolling", "change", "supervisor", "guardian")


class Client:
    """Asks one port without end; knows the pids that answered last."""

    def __init__(self, port: int) -> None:
        """Not started; use it as a context."""
        self.port = port
        self.tried = self.refused = self.cut = 0
        self.longest_s = 0.0
        self.pid = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"client of {port}")

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._done.wait(PERIOD_S):
            began = time.monotonic()
            self.tried += 1
            try:
                with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
                    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    body = _read(connection).rpartition(b"\r\n")[2]
            except ConnectionRefusedError:
                self.refused += 1
            except OSError:
                self.cut += 1
            else:
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                if body.isdigit():
                    self.pid = int(body)
                else:
                    self.cut += 1


def measure(system: System, kind: str, restarts: int) -> dict[str, Any]:
    """Restart so many times in the way that `kind` says; raises NotOffered where there is no such way."""
    replicas = 2 if kind == "rolling" else 1
    if kind in ("hang", "supervisor", "guardian") and not isinstance(system, Ours):
        raise NotOffered("finds no hang" if kind == "hang" else "see orphans")
    port = free_port()
    service = Service(
        "web",
        python_child("serve", "fd:listen", "--start", str(START_S)),
        port,
        replicas=replicas,
        is_held=True,
        # A rolling restart is only one if readiness is more than having been spawned.
        finds_hangs=True,
    )
    system.start([service])
    with Client(port) as client:
        wait_until(lambda: client.pid, BACK_WITHIN_S)
        # What is refused before the first answer is the start's, not a restart's.
        client.refused = client.cut = client.tried = 0
        took_s = _restart_often(system, service, kind, restarts, client)
    return {
        "restarts": len(took_s),
        "refused": client.refused,
        "cut": client.cut,
        "clients": client.tried,
        "longest_wait_ms": round(client.longest_s * 1000),
        "back_ms": percentiles_ms(took_s),
        "failed_restarts": restarts - len(took_s),
    }


def _restart_often(system: System, service: Service, kind: str, restarts: int, client: Client) -> list[float]:
    act = _acts(system, service, client)[kind]
    took_s = []
    for _ in range(restarts):
        before = client.pid
        began = time.monotonic()
        is_over = act()
        reached = is_over or (lambda before=before: client.pid != before)
        if wait_until(reached, BACK_WITHIN_S) is not None:
            took_s.append(time.monotonic() - began)
    return took_s


Act = Callable[[], "Callable[[], object] | None"]
"""Does it, and returns how to see that it is over; None: when another pid answers."""


def _acts(system: System, service: Service, client: Client) -> dict[str, Act]:
    def hit(number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(client.pid, number)

    return {
        "crash": lambda: hit(signal.SIGKILL),
        "hang": lambda: hit(signal.SIGSTOP),
        "restart": lambda: system.restart(service),
        "rolling": lambda: _roll(system, service),
        "change": lambda: system.change(service),
        "supervisor": lambda: _kill_owner(system, "supervisor"),
        "guardian": lambda: _kill_owner(system, "guardian"),
    }


def _roll(system: System, service: Service) -> Callable[[], object]:
    system.roll(service)
    return lambda: True


def _kill_owner(system: System, role: str) -> Callable[[], object]:
    """Over when another supervisor answers, with everything ready."""
    assert isinstance(system, Ours)
    before = system.owners()
    os.kill(before[role], signal.SIGKILL)

    def is_back() -> bool:
        document = system.status_or_none()
        if document is None:
            return False
        owner = document["supervisor"]
        others = {owner["pid"], owner["guardian_pid"]} - {before[role]}
        ready = all(service["state"] == "ready" for service in document["services"].values())
        return len(others) == 2 and ready

    return is_back


def _read(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(4096):
        received += chunk
    return received

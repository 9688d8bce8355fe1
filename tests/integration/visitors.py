"""Clients that come again and again, each time on a new connection, and keep what became of each visit."""

from __future__ import annotations

import json
import threading
from collections import Counter

from websockets.exceptions import InvalidMessage, InvalidStatus, WebSocketException
from websockets.sync.client import connect

ASKED = json.dumps({"type": "stats"})
PERIOD_S = 0.01
"""From one visit to the next: without a pause they would have the machine to themselves."""


def who_answers(port: int, timeout_s: float = 20) -> int:
    """The pid of the server behind a new connection to `port` on loopback."""
    with connect(f"ws://127.0.0.1:{port}", proxy=None, open_timeout=timeout_s) as client:
        client.send(ASKED)
        reply = json.loads(client.recv(timeout=timeout_s))
    if reply["status"] != "success":
        raise NotServed(reply)
    return int(reply["stats"]["pid"])


class NotServed(Exception):
    """The server was there and did not want to answer."""


class Visitors:
    """Threads that visit one port while entered; then `answered` is by pid, and the others are counted."""

    def __init__(self, port: int, count: int = 3) -> None:
        self.answered: Counter[int] = Counter()
        self.refused = self.cut = 0
        self._port = port
        self._done = threading.Event()
        self._come = threading.Condition()
        self._threads = [threading.Thread(target=self._run, name="visitor") for _ in range(count)]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads)

    def wait_answers(self, pid: int, count: int = 1) -> None:
        """Wait until that server has answered so often from now on."""
        with self._come:
            wanted = self.answered[pid] + count
            assert self._come.wait_for(lambda: self.answered[pid] >= wanted, timeout=30), self.answered

    def _run(self) -> None:
        while not self._done.wait(PERIOD_S):
            try:
                pid = who_answers(self._port)
            except (ConnectionRefusedError, InvalidStatus, NotServed):
                self.refused += 1
            except (ConnectionError, InvalidMessage, WebSocketException, EOFError):
                # It was with a server that has just died.
                self.cut += 1
            else:
                with self._come:
                    self.answered[pid] += 1
                    self._come.notify_all()

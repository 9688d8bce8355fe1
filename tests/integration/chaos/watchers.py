"""Threads that look at a stack without a pause while chaos works on it: clients, and a reader of its status.

They only collect; what counts as wrong is said by `problems` of each, afterwards.
"""

from __future__ import annotations

import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from launcher.control_client import fetch_status
from launcher.errors import NotRunning, SupervisorFailed
from tests.strict_schema import problems as schema_problems

__all__ = ["Client", "StatusReader", "Watcher"]

Document = dict[str, Any]
ANSWER_TIMEOUT_S = 1.0
KEPT_DOCUMENTS = 200


class Watcher(ABC):
    """A thread that looks again and again, `period_s` apart, until it is told to stop.

    While `excused` is set the whole stack has been killed, and nobody can be blamed for its absence.
    """

    def __init__(self, name: str, period_s: float) -> None:
        """Not started yet; use it as a context."""
        self.excused = threading.Event()
        self._period_s = period_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=name)
        self._failed = threading.Event()
        self._failure: BaseException | None = None

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(30)
        assert not self._thread.is_alive(), f"{self._thread.name} does not end"
        if self._failure is not None:
            raise self._failure

    def wait_failed(self, within_s: float) -> bool:
        """Wait for a failure of the watching itself; whether there was one."""
        return self._failed.wait(within_s)

    @abstractmethod
    def look(self) -> None:
        """Look once."""

    def _watch(self) -> None:
        try:
            while not self._done.wait(self._period_s):
                self.look()
        except BaseException as error:  # carried over to the thread that waits for this one
            self._failure = error
            self._failed.set()


class Client(Watcher):
    """Connects to a port that must stay held, sends a request, and counts what came of it."""

    def __init__(self, name: str, port: Callable[[], int], period_s: float = 0.005) -> None:
        """`port` is asked each time, as a new stack may have another one."""
        super().__init__(f"client of {name}", period_s)
        self.service, self._port = name, port
        self.tried = self.answered = self.cut = self.waited = self.refused = 0

    def look(self) -> None:
        """One connection, one request."""
        was_excused = self.excused.is_set()
        self.tried += 1
        try:
            with socket.create_connection(("127.0.0.1", self._port()), ANSWER_TIMEOUT_S) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                self.answered += connection.recv(4096).startswith(b"HTTP/1.0 200")
        except ConnectionRefusedError:
            self.refused += not (was_excused or self.excused.is_set())
        except TimeoutError:
            self.waited += 1
        except OSError:
            self.cut += 1  # it was being served when the child was killed

    def problems(self, *, is_up: bool) -> list[str]:
        """Nobody was refused, and it was not for want of asking: with `is_up`, a last client is answered."""
        found = [f"{self.service}: {self.refused} of {self.tried} clients refused"] if self.refused else []
        if is_up and not self.answered:
            self.look()
        return (
            found if self.answered or not is_up else [*found, f"{self.service}: no client was ever answered"]
        )


class StatusReader(Watcher):
    """Reads the status document, notes how long nobody answered and how large each supervisor is."""

    def __init__(self, config: Path, longest_gap_s: float, rss_growth_bytes: int) -> None:
        """`longest_gap_s` is the bound for a supervisor's absence, `rss_growth_bytes` for its growth."""
        super().__init__("status reader", 0.1)
        self._config = config
        self._longest_gap_s, self._rss_growth_bytes = longest_gap_s, rss_growth_bytes
        self._absent_since: float | None = None
        self.gaps_s: list[float] = []
        self.documents: list[Document] = []
        self.rss_bytes: dict[int, list[int]] = {}

    def look(self) -> None:
        """Read once."""
        was_excused = self.excused.is_set()
        asked_at = time.monotonic()
        try:
            document = fetch_status(self._config, timeout_s=10)
        except (NotRunning, SupervisorFailed, OSError):
            if self._absent_since is None and not self.excused.is_set():
                self._absent_since = asked_at
            return
        if not (was_excused or self.excused.is_set()):
            # Who waits for an answer misses a supervisor as much as who gets none.
            self.gaps_s.append(time.monotonic() - (self._absent_since or asked_at))
        self._absent_since = None
        self._keep(document)

    def _keep(self, document: Document) -> None:
        supervisor = document["supervisor"]
        self.rss_bytes.setdefault(supervisor["pid"], []).append(supervisor["rss_bytes"])
        self.documents.append(document)
        if len(self.documents) > KEPT_DOCUMENTS:
            # Every second one: early and late states stay, memory does not grow.
            del self.documents[::2]

    def problems(self) -> list[str]:
        """Always valid, never away for long, never growing."""
        found = {
            problem for document in self.documents for problem in schema_problems("lucid.status", document)
        }
        late = [gap_s for gap_s in self.gaps_s if gap_s > self._longest_gap_s]
        return [
            *sorted(f"status: {text}" for text in found),
            *(f"no supervisor for {gap_s:.2f} s" for gap_s in late),
            *(problem for sizes in self.rss_bytes.values() for problem in self._judge_size(sizes)),
        ]

    def _judge_size(self, sizes: list[int]) -> list[str]:
        # The first second belongs to the start: what is imported late, the first of everything.
        settled = sizes[10:]
        grown = settled[-1] - settled[0] if settled else 0
        if grown <= self._rss_growth_bytes:
            return []
        return [f"a supervisor grew by {grown / 1e6:.1f} MB from {settled[0] / 1e6:.1f} MB"]

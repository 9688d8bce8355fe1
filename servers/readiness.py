"""How far a server is: starting through named phases, ready, failed, draining.

Decides what a request that needs the model or the store is told meanwhile.  Does not know who listens: the
doors read it, `servers.serve` forwards its changes to the supervisor.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from uuid import uuid4

from servers.errors import InternalError, ModelLoading, RequestError, StoreOpening

logger = logging.getLogger("lucid.readiness")

__all__ = ["STORE_PHASES", "Readiness"]

STORE_PHASES = frozenset({"open-store", "index"})
"""Phases in which the store, not the model, is what a request waits for (ux.md's phase names)."""

_ABOUT = {
    "download": "the model; only the first start does this",
    "export": "the model for a faster engine; only the first start does this",
    "measure": "which engine is fastest here; only the first start does this",
}
"""What a person who waits through such a phase should know of it."""

_LEAST_RETRY_S, _MOST_RETRY_S = 0.5, 30.0


class Readiness:
    """The one place where a server says how far it is.

    May be changed from any thread; subscribers are called on the changing thread and must not block.  Phases
    are import, download, load-model, export, measure, warmup, open-store, index, ready; progress is 0…1 or
    None when unknown.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.phase = "starting"
        self.progress: float | None = None
        self.detail: str | None = None
        self.device: str | None = None
        self.failure: str | None = None
        self.is_ready = False
        self.is_draining = False
        self._incident = uuid4().hex[:12]
        self._clock = clock
        self._phase_since = clock()
        self._lock = threading.Lock()
        self._subscribers: list[Callable[[Readiness], None]] = []

    def subscribe(self, on_change: Callable[[Readiness], None]) -> None:
        """Calls `on_change` after every change from now on."""
        self._subscribers.append(on_change)

    def enter(self, phase: str, progress: float | None = None, detail: str | None = None) -> None:
        """Reports a phase, or progress inside it; without `detail` a person is told what the phase is."""
        with self._lock:
            if phase != self.phase:
                self._phase_since = self._clock()
            self.phase, self.progress, self.detail = phase, progress, detail or _ABOUT.get(phase)
        self._announce()

    def ready(self, device: str | None = None) -> None:
        """The model and store are loaded and have answered once."""
        with self._lock:
            self.phase, self.progress, self.detail, self.device = "ready", None, None, device
            self.failure, self.is_ready = None, not self.is_draining
        self._announce()

    def fail(self, text: str) -> None:
        """What answers requests is dead; unready until the process is replaced.  Idempotent."""
        with self._lock:
            if self.failure is not None:
                return
            self.phase, self.progress, self.failure, self.is_ready = "failed", None, text, False
        logger.error("%s; no request is answered until a restart (incident %s)", text, self._incident)
        self._announce()

    def drain(self) -> None:
        """The server takes no new requests from now on."""
        with self._lock:
            self.is_draining, self.is_ready = True, False
        self._announce()

    def retry_after_s(self) -> float:
        """When to ask again, in seconds: what the phase's progress so far lets expect, else one second."""
        if not self.progress or self.progress >= 1:
            return 1.0
        elapsed = self._clock() - self._phase_since
        return min(max(elapsed * (1 - self.progress) / self.progress, _LEAST_RETRY_S), _MOST_RETRY_S)

    def loading_error(self) -> RequestError:
        """What a request that came too early, or after a failure, is answered with."""
        if self.failure is not None:
            return InternalError(self._incident, self.failure)
        kind, thing = (StoreOpening, "store") if self.phase in STORE_PHASES else (ModelLoading, "model")
        percent = "" if self.progress is None else f" {self.progress:.0%}"
        return kind(
            f"The {thing} is not ready yet: {self.phase}{percent}. Ask again shortly.",
            details={"phase": self.phase, "progress": self.progress},
            retry_after=self.retry_after_s(),
        )

    def _announce(self) -> None:
        for on_change in self._subscribers:
            on_change(self)

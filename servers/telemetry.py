"""What a server counts about itself: Prometheus metrics and the `stats` payload.

Decides the names of the shared metrics and the windows behind `requests.per_second` (10 s) and `latency_ms`
(60 s).  Does not know the commands; what only one server measures is registered in the same registry by it.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest

from servers.activity import Activity
from servers.histograms import Histograms
from servers.readiness import Readiness
from servers.recent_lines import RecentLines

__all__ = ["OBSERVERS_COMMAND", "LatencyWindow", "Telemetry"]

WINDOW_S = 60.0
RATE_WINDOW_S = 10
_MOST_SAMPLES = 8192
OBSERVERS_COMMAND = "stats"
"""Asked by the launcher's probe and by pages that watch: an idle server must not look busy for it."""
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LatencyWindow:
    """Durations of the last 60 seconds (the newest 8,192 of them) and their percentiles.

    Not thread-safe for concurrent readers and writers beyond what CPython's deque gives: appends may come
    from one worker thread while the loop reads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, float]] = deque(maxlen=_MOST_SAMPLES)

    def add(self, seconds: float) -> None:
        """Remembers one duration."""
        self._samples.append((self._clock(), seconds))

    def percentiles(self) -> dict[str, float] | None:
        """`{"p50", "p99"}` in milliseconds by nearest rank, or None when the window is empty."""
        oldest = self._clock() - WINDOW_S
        recent = sorted(seconds for at, seconds in self._samples.copy() if at >= oldest)
        if not recent:
            return None
        return {
            name: round(1000 * recent[min(int(len(recent) * share), len(recent) - 1)], 3)
            for name, share in (("p50", 0.50), ("p99", 0.99))
        }


class Telemetry:
    """The counters of one server process; used from the event loop only.

    `port`, `connections` and `in_flight` are kept up to date by the doors.  `child` is what the launcher
    calls this process, which tells replicas on one port apart.  `peers` maps the other services of the stack
    to their URLs.  `activity` and `lines` are what the page shows of the recent past.
    """

    def __init__(
        self,
        service: str,
        version: str,
        readiness: Readiness,
        *,
        peers: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service, self.version, self.readiness = service, version, readiness
        self.peers = dict(peers or {})
        self.port: int | None = None
        self.child: str | None = None
        self.connections = 0
        self.in_flight = 0
        self.total = 0
        self.errors = 0
        self.latency = LatencyWindow(clock)
        self.activity = Activity()
        self.lines = RecentLines()
        self._clock = clock
        self._started_at = clock()
        self._per_second: deque[list[int]] = deque(maxlen=RATE_WINDOW_S + 1)
        self.registry = CollectorRegistry()
        self._register()

    def record(self, command: str, code: str, seconds: float) -> None:
        """Counts one answered request; `code` is "ok" or the failure's, `seconds` is receipt to reply."""
        self.total += 1
        self.errors += code != "ok"
        self.latency.add(seconds)
        if command != OBSERVERS_COMMAND:
            self._count_for_rate()
        if command != OBSERVERS_COMMAND or code != "ok":
            self.activity.answered(time.time(), command, code, seconds)
        counter = self._counters.get((command, code))
        if counter is None:
            counter = self._counters[command, code] = self._requests.labels(command, code)
        counter.inc()
        self._duration.observe(command, seconds)

    def snapshot(self) -> dict[str, Any]:
        """The shared part of the `stats` payload; parts nobody measured yet are null."""
        return {
            "service": self.service,
            "version": self.version,
            "pid": os.getpid(),
            "child": self.child,
            "port": self.port,
            "uptime_s": round(self._clock() - self._started_at, 3),
            "phase": self.readiness.phase,
            "device": self.readiness.device,
            "connections": self.connections,
            "requests": {
                "total": self.total,
                "errors": self.errors,
                "in_flight": self.in_flight,
                "per_second": self.per_second(),
            },
            "latency_ms": {
                "total": self.latency.percentiles(),
                "queue": None,
                "tokenize": None,
                "infer": None,
            },
            "queue": None,
            "peers": self.peers,
        }

    def per_second(self) -> float:
        """Requests answered per second but for `stats`, as the mean over the last ten whole seconds."""
        now = int(self._clock())
        recent = sum(count for second, count in self._per_second if now - RATE_WINDOW_S <= second < now)
        return recent / RATE_WINDOW_S

    def _count_for_rate(self) -> None:
        second = int(self._clock())
        if not self._per_second or self._per_second[-1][0] != second:
            self._per_second.append([second, 0])
        self._per_second[-1][1] += 1

    def metrics(self) -> bytes:
        """The registry in Prometheus text format."""
        return generate_latest(self.registry)

    def _register(self) -> None:
        registry = self.registry
        ProcessCollector(registry=registry)
        self._requests = Counter("lucid_requests", "Requests answered", ("op", "code"), registry=registry)
        self._counters: dict[tuple[str, str], Counter] = {}
        self._duration = Histograms(
            "lucid_request_duration_seconds", "From receipt to reply", "op", _BUCKETS_S, registry
        )
        build = Gauge("lucid_build_info", "Always 1", ("service", "version"), registry=registry)
        build.labels(self.service, self.version).set(1)
        for name, text, read in (
            ("lucid_connections", "Open WebSockets", lambda: self.connections),
            ("lucid_requests_in_flight", "Requests accepted and not yet answered", lambda: self.in_flight),
            ("lucid_service_up", "1 while ready", lambda: float(self.readiness.is_ready)),
        ):
            Gauge(name, text, registry=registry).set_function(read)

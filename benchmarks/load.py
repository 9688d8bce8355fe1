"""A load generator in a process of its own: many clients, one loop, next to no work per request.

Decides when requests leave and what is remembered of their replies. It speaks just enough WebSocket (RFC
6455) and HTTP/1.1 to ask a server on loopback, with requests that were written before the clock starts: a
client library would spend more of a small machine than the server under test. Only the first reply of each
connection is read in full; of the others, the status and the length.

Run by `benchmarks.inference`, or alone: `python -m benchmarks.load '{"url": "ws://127.0.0.1:5005/", ...}'`
(the fields of `Plan`); the result is one JSON object on stdout.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from benchmarks.texts import short_texts
from benchmarks.wire import LOST, Connection, HttpConnection, WebSocketConnection

_OK = "ok"
MOST_TEXTS = 4096


@dataclass(frozen=True)
class Plan:
    """What to ask of whom, for how long.

    `kind` is the shape of a request: `embeddings` (our WebSocket command), `openai` (POST with base64).
    Closed loop without `per_second`: each of `clients` asks again as soon as it is answered. Open loop with
    it: requests leave on the beat whatever the answers, each on a free one of `clients` connections, and a
    beat without a free connection counts as `no_connection`.
    """

    url: str
    kind: str = "embeddings"
    clients: int = 1
    seconds: float = 5.0
    warmup_s: float = 1.0
    per_second: float | None = None
    texts_per_request: int = 1
    config: dict[str, Any] = field(default_factory=dict)
    timeout_ms: int | None = None
    seed: int = 1


@dataclass
class Tally:
    """What came back within the measured time; latencies in seconds by code."""

    begins: float
    ends: float
    latencies: dict[str, list[float]] = field(default_factory=dict)
    codes: Counter[str] = field(default_factory=Counter)
    lateness: list[float] = field(default_factory=list)
    """By how many seconds the generator itself missed each beat: its own part in what it measured."""

    def add(self, code: str, sent_at: float, now: float) -> None:
        """Count one reply if it came within the time."""
        if self.begins <= now < self.ends:
            self.codes[code] += 1
            self.latencies.setdefault(code, []).append(now - sent_at)


async def run(plan: Plan) -> dict[str, Any]:
    """Carry `plan` out and return its figures: rates per second, latencies in milliseconds by code."""
    requests = written_requests(plan)
    connections = await _connect(plan)
    now, used = asyncio.get_running_loop().time(), time.process_time()
    tally = Tally(now + plan.warmup_s, now + plan.warmup_s + plan.seconds)
    try:
        if plan.per_second is None:
            await asyncio.gather(
                *(
                    _ask_again_and_again(connection, requests[place :: plan.clients], tally)
                    for place, connection in enumerate(connections)
                )
            )
        else:
            await _ask_on_the_beat(connections, requests, plan.per_second, tally)
    finally:
        for connection in connections:
            connection.close()
    taken = asyncio.get_running_loop().time() - now
    return _figures(plan, tally) | {"generator_cores": round((time.process_time() - used) / taken, 3)}


def written_requests(plan: Plan) -> list[bytes]:
    """Return the requests' bytes, more than enough different ones to make repetition rare."""
    size = plan.texts_per_request
    texts = short_texts(max(MOST_TEXTS, size * plan.clients), seed=plan.seed)
    groups = [texts[place : place + size] for place in range(0, len(texts) - size + 1, size)]
    return [_written(plan, group) for group in groups]


def _written(plan: Plan, texts: list[str]) -> bytes:
    text: str | list[str] = texts[0] if len(texts) == 1 else texts
    if plan.kind == "openai":
        body = {"model": "all-MiniLM-L6-v2", "input": text, "encoding_format": "base64", **plan.config}
        return HttpConnection.written(urlsplit(plan.url), json.dumps(body).encode())
    data: dict[str, Any] = {"text": text}
    if plan.config:
        data["config"] = plan.config
    if plan.timeout_ms is not None:
        data["timeout_ms"] = plan.timeout_ms
    return WebSocketConnection.written(json.dumps({"type": "embeddings", "data": data}).encode())


async def _connect(plan: Plan) -> list[Connection]:
    kind = HttpConnection if plan.kind == "openai" else WebSocketConnection
    return [await kind.open(urlsplit(plan.url)) for _ in range(plan.clients)]


async def _ask_again_and_again(connection: Connection, requests: list[bytes], tally: Tally) -> None:
    """Ask with texts that no other client sends, so that nothing is answered from somebody else's work."""
    loop = asyncio.get_running_loop()
    finished: asyncio.Future[None] = loop.create_future()
    turns = itertools.cycle(requests)
    sent_at = loop.time()

    def answered(code: str) -> None:
        nonlocal sent_at
        now = loop.time()
        tally.add(code, sent_at, now)
        if code == LOST:
            finished.set_exception(ConnectionError("closed by the server"))
        elif now >= tally.ends:
            finished.set_result(None)
        else:
            sent_at = now
            connection.ask(next(turns), answered)

    connection.ask(next(turns), answered)
    await finished


async def _ask_on_the_beat(
    connections: list[Connection], requests: list[bytes], per_second: float, tally: Tally
) -> None:
    loop = asyncio.get_running_loop()
    free, has_changed = deque(connections), asyncio.Event()

    def ask(connection: Connection, request: bytes) -> None:
        sent_at = loop.time()

        def answered(code: str) -> None:
            tally.add(code, sent_at, loop.time())
            free.append(connection)
            has_changed.set()

        connection.ask(request, answered)

    began, turn = loop.time(), 0
    while loop.time() < tally.ends:
        due = int((loop.time() - began) * per_second) + 1
        tally.lateness.append(loop.time() - began - turn / per_second)
        while turn < due:
            turn += 1
            if free:
                ask(free.popleft(), requests[turn % len(requests)])
            else:
                tally.add("no_connection", loop.time(), loop.time())
        await asyncio.sleep(max(0.0, began + due / per_second - loop.time()))
    while len(free) < len(connections):
        has_changed.clear()
        await has_changed.wait()


def _figures(plan: Plan, tally: Tally) -> dict[str, Any]:
    return {
        "plan": asdict(plan),
        "texts_per_second": round(tally.codes[_OK] * plan.texts_per_request / plan.seconds, 2),
        "replies": dict(tally.codes),
        "latency_ms": {code: _percentiles(values) for code, values in sorted(tally.latencies.items())},
        "late_ms": _percentiles(tally.lateness) if tally.lateness else None,
    }


def _percentiles(values: list[float]) -> dict[str, float]:
    ranked = sorted(values)
    return {
        name: round(1000 * ranked[min(len(ranked) - 1, int(len(ranked) * share))], 3)
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(Plan(**json.loads(sys.argv[1]))))))

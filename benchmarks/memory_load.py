"""Clients that retrieve with text queries over WebSocket.

`python -m benchmarks.memory_load PORT CLIENTS SECONDS`: a process of its own beside the server; the figures
are one JSON object on stdout.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from urllib.parse import urlsplit

from benchmarks.memory_serving import latencies
from benchmarks.wire import WebSocketConnection


async def run(port: int, clients: int, seconds: float) -> dict[str, float]:
    """Ask until the time is over; raises RuntimeError for any answer but success."""
    url = urlsplit(f"ws://127.0.0.1:{port}/")
    free = deque([await WebSocketConnection.open(url) for _ in range(clients)])

    async def one(text: str) -> None:
        connection = free.popleft()
        request = {"type": "retrieve", "data": {"query": text, "count": 5}}
        reply = await connection.exchange(WebSocketConnection.written(json.dumps(request).encode()))
        if b'"success"' not in reply:
            raise RuntimeError(reply[:300].decode(errors="replace"))
        free.append(connection)

    try:
        return await latencies(one, clients, seconds)
    finally:
        for connection in free:
            connection.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))))

"""A control server with a scripted memory: real Unix socket, real WebSocket, documents given by the test."""

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, unix_serve

from launcher.runtime_dir import create_runtime_dir

Document = dict[str, Any]
Answer = Callable[[Document], Document]


class ControlDouble:
    """Answers GET /status and commands on the control socket of one config file.

    `commands` holds every command received; `answers` maps a command to a function from its data to the
    reply.
    `publish` gives every subscriber a new snapshot, `emit` an event, `close` ends all connections.
    """

    def __init__(self, config_path: Path, document: Document) -> None:
        self.document = document
        self.commands: list[tuple[str, Document]] = []
        self.answers: dict[str, Answer] = {}
        self.events: list[Document] = []
        self._subscribers: list[ServerConnection] = []
        self._changed = threading.Condition()
        self._socket = create_runtime_dir(config_path).control_socket
        self._server = unix_serve(
            self._serve, str(self._socket), process_request=self._http, compression=None
        )
        self._thread = threading.Thread(target=self._server.serve_forever, name="control-double")
        self._thread.start()

    def publish(self, document: Document) -> None:
        """Make `document` the current one and send it to the subscribers."""
        with self._changed:
            self.document = document
            receivers = list(self._subscribers)
        for connection in receivers:
            # Who has seen enough has left: the document may have reached it in answer to its `subscribe`.
            with suppress(ConnectionClosed):
                connection.send(json.dumps({"type": "snapshot", "snapshot": document}))

    def emit(self, event: Document) -> None:
        """Remember an event and send it to the subscribers."""
        with self._changed:
            self.events.append(event)
            receivers = list(self._subscribers)
        for connection in receivers:
            connection.send(json.dumps({"type": "event", "event": event}))

    def wait_for_command(self, kind: str, count: int = 1, timeout_s: float = 10.0) -> Document:
        """Block until `count` commands of this kind came; returns the data of the last one."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self._received(kind)) >= count, timeout_s)
            assert arrived, f"no {kind!r} command came; got {self.commands}"
            return self._received(kind)[-1]

    def drop_clients(self, code: int = 1000) -> None:
        """End every open subscription with a goodbye (1012: another supervisor takes over); new clients are
        still served.
        """
        with self._changed:
            leaving, self._subscribers = self._subscribers, []
        for connection in leaving:
            connection.close(code)

    def close(self) -> None:
        """Stop serving, as a supervisor does that ends."""
        self._server.shutdown()
        self._thread.join(10)
        self.drop_clients()
        self._socket.unlink(missing_ok=True)

    def _received(self, kind: str) -> list[Document]:
        return [data for name, data in self.commands if name == kind]

    def _http(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.headers.get("Upgrade"):
            return None
        body = json.dumps(self.document).encode()
        headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body))})
        headers["Connection"] = "close"
        return Response(200, "OK", headers, body)

    def _serve(self, connection: ServerConnection) -> None:
        try:
            for message in connection:
                self._answer(connection, json.loads(message))
        except ConnectionClosed:
            return

    def _answer(self, connection: ServerConnection, request: Document) -> None:
        kind, data = request["type"], request.get("data", {})
        if kind in self.answers:
            reply = self.answers[kind](data)
        elif kind == "snapshot":
            reply = {"snapshot": self.document}
        elif kind == "events":
            reply = {"events": self.events}
        else:
            reply = {}
        connection.send(json.dumps({"status": "success", "type": kind, "id": request.get("id"), **reply}))
        if kind == "subscribe":
            connection.send(json.dumps({"type": "snapshot", "snapshot": self.document}))
        with self._changed:
            if kind == "subscribe":
                self._subscribers.append(connection)
            self.commands.append((kind, data))
            self._changed.notify_all()


def child(name: str, state: str = "ready", **facts: Any) -> Document:
    """A child document of launcher.md section 4; everything not given is unknown."""
    return {
        "name": name,
        "pid": None,
        "generation": 1,
        "state": state,
        "phase": None,
        "progress": None,
        "detail": None,
        "uptime_s": None,
        "restarts": 0,
        "consecutive_failures": 0,
        "exits_total": 0,
        "last_exit": None,
        "next_retry_s": None,
        "reason": None,
        "gpu": None,
        "cpu_percent": None,
        "rss_bytes": None,
        "vram_bytes": None,
        "health": {
            "probe": None,
            "address": None,
            "ok": None,
            "age_s": None,
            "latency_ms": None,
            "failures": 0,
            "stats": None,
            "detail": None,
        },
        "log": f"logs/{name}.log",
        "log_lines_dropped": 0,
        **facts,
    }


def service(*children: Document, desired: str = "up", **facts: Any) -> Document:
    """A service document whose state is that of its first child unless `state` says otherwise."""
    return {
        "desired": desired,
        "state": children[0]["state"] if children else "stopped",
        "port": None,
        "url": None,
        "fallback_port": False,
        "server": None,
        "depends_on": {},
        "notes": [],
        "children": list(children),
        **facts,
    }


def stats(**facts: Any) -> Document:
    """A server's `stats` payload under load."""
    return {
        "service": "inference",
        "device": "cuda:0",
        "requests": {"total": 9000, "errors": 2, "in_flight": 1, "per_second": 533.0},
        "latency_ms": {"total": {"p50": 1.8, "p99": 6.2}, "queue": None, "tokenize": None, "infer": None},
        "queue": {"depth": 3, "limit": 512},
        **facts,
    }


def status(revision: int = 42, **services: Document) -> Document:
    """A status document with these services."""
    return {
        "schema": "lucid.status/1",
        "project": "lucid",
        "config": "config.yaml",
        "revision": revision,
        "at": "2026-11-23T14:02:20.000000Z",
        "supervisor": {
            "pid": 811,
            "guardian_pid": None,
            "uptime_s": 11520.0,
            "version": "0.1.0",
            "rss_bytes": 27_000_000,
        },
        "services": services,
        "gpus": [{"uuid": "GPU-6f0c", "index": 0, "name": "H200"}],
        "notes": [],
    }


def two_services() -> Document:
    """The usual picture: inference ready under load, memory still opening its store."""
    return status(
        inference=service(
            child(
                "inference",
                pid=29303,
                uptime_s=11519.2,
                gpu={"ids": ["GPU-6f0c"], "device": "cuda:0"},
                cpu_percent=83.0,
                rss_bytes=1_400_000_000,
                vram_bytes=2_254_857_830,
                health={
                    "probe": "websocket",
                    "address": "127.0.0.1:5005",
                    "ok": True,
                    "age_s": 0.4,
                    "latency_ms": 1.1,
                    "failures": 0,
                    "stats": stats(),
                    "detail": None,
                },
            ),
            port=5005,
            url="ws://localhost:5005",
            server="inference",
        ),
        memory=service(
            child(
                "memory", "starting", pid=29310, phase="open-store", progress=0.62, uptime_s=6.0, restarts=1
            ),
            port=5000,
            url="ws://localhost:5000",
            server="memory",
        ),
    )


def all_ready() -> Document:
    """Both services ready."""
    document = two_services()
    document["services"]["memory"] = service(
        child("memory", pid=29310, uptime_s=6.0), port=5000, url="ws://localhost:5000", server="memory"
    )
    return document


def crash_looping() -> Document:
    """Memory waits for its third attempt; its last words are known."""
    document = two_services()
    last_exit = {
        "code": 1,
        "signal": None,
        "reason": "exited",
        "at": "2026-11-23T14:02:16.000000Z",
        "after_s": 4.1,
        "stderr_tail": ["opening store", "sqlite3.OperationalError: database is \u001b[31mlocked\u001b[0m"],
        "diagnosis": None,
    }
    document["services"]["memory"] = service(
        child("memory", "backoff", next_retry_s=8.0, restarts=2, consecutive_failures=2, last_exit=last_exit),
        port=5000,
        url="ws://localhost:5000",
        server="memory",
    )
    return document

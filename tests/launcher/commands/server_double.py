"""A server that speaks the wire contract on a real port, and breaks it where a test asks for that."""

import json
import threading
from http import HTTPStatus
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

Reply = dict[str, Any]


class ServerDouble:
    """Answers as a memory and an inference server at once.

    `broken` replaces the reply of a request type; `received` holds every request; `stored` what is stored
    now. `timing` is what a reply says of its time to those that ask. What is `unanswered` gets no reply.
    """

    def __init__(self) -> None:
        self.broken: dict[str, Reply] = {}
        self.received: list[Reply] = []
        self.stored: dict[str, str] = {}
        self.unanswered: set[str] = set()
        self.timing: dict[str, float] | None = None
        self.lets_everybody_in = False
        self.token: str | None = None
        self._server = serve(self._serve, "127.0.0.1", 0, process_request=self._door, compression=None)
        port = self._server.socket.getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="server-double")
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join(10)

    def _door(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/readyz":
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, '{"phase": "load-model"}')
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return connection.respond(HTTPStatus.FORBIDDEN, "unauthorized")
        origin = request.headers.get("Origin", "")
        if "foreign" in origin and not self.lets_everybody_in:
            return connection.respond(HTTPStatus.FORBIDDEN, "foreign origin")
        return None

    def _serve(self, connection: ServerConnection) -> None:
        is_null = connection.request is not None and connection.request.headers.get("Origin") == "null"
        try:
            for frame in connection:
                reply = self._reply(str(frame), is_null)
                if reply.get("type") not in self.unanswered:
                    connection.send(json.dumps(reply))
        except ConnectionClosed:
            return

    def _reply(self, frame: str, is_null: bool) -> Reply:
        try:
            request = json.loads(frame)
        except ValueError:
            return failure("invalid_json")
        self.received.append(request)
        kind, data = request["type"], request.get("data", {})
        if kind in self.broken:
            return self.broken[kind]
        if is_null and kind != "stats":
            return failure("origin_null")
        answer = getattr(self, f"_{kind}", None) if kind.isalpha() else None
        if answer is None:
            return failure("unknown_command")
        is_timed = self.timing is not None and request.get("timing") is True
        return {
            "status": "success",
            "type": kind,
            **answer(data),
            **({"timing": self.timing} if is_timed else {}),
        }

    def _stats(self, data: Reply) -> Reply:
        return {"stats": {"device": "cpu"}}

    def _store(self, data: Reply) -> Reply:
        identity = f"m{len(self.received)}"
        self.stored[identity] = data["text"]
        return {"id": identity}

    def _retrieve(self, data: Reply) -> Reply:
        memories = [{"id": key, "text": text, "similarity": 1.0} for key, text in self.stored.items()]
        return {"memories": memories}

    def _delete(self, data: Reply) -> Reply:
        for identity in data["ids"]:
            self.stored.pop(identity, None)
        return {"deleted": len(data["ids"])}

    def _embeddings(self, data: Reply) -> Reply:
        return {"embeddings": [0.6, 0.8, 0, 0, 0, 0, 0, 0], "dimensions": 8, "model": "double"}

    def _process(self, data: Reply) -> Reply:
        return {"embeddings": [1.0], "significance": 0.5, "predictions": [{}] * len(data["context"])}


def failure(code: str) -> Reply:
    """An error reply."""
    return {"status": "error", "code": code, "error": f"text of {code}", "message": f"text of {code}"}

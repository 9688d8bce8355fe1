"""The stdio bridge against an HTTP server of the test: headers, order, failures in words."""

import io
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from launcher.commands.mcp_bridge import McpBridge

Message = dict[str, Any]


class Door:
    """Answers every POST as `answer` says: status, content type, body."""

    def __init__(self) -> None:
        self.received: list[tuple[Message, dict[str, str]]] = []
        self.answers: dict[str, tuple[int, str, bytes]] = {}
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["content-length"])))
                door.received.append((message, {key.lower(): value for key, value in self.headers.items()}))
                status, kind, body = door.answers.get(message.get("method", ""), door.echo(message))
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/mcp"
        self._thread = threading.Thread(target=self._server.serve_forever, name="door")
        self._thread.start()

    def echo(self, message: Message) -> tuple[int, str, bytes]:
        """A plain result for a request, 202 for a notification."""
        if "id" not in message:
            return 202, "application/json", b""
        result = {"protocolVersion": "2025-06-18", "method": message["method"]}
        return (
            200,
            "application/json",
            json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode(),
        )

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


@pytest.fixture
def door() -> Iterator[Door]:
    """An MCP door."""
    made = Door()
    yield made
    made.close()


def carry(url: str, *messages: object, token: str | None = None) -> list[Message]:
    """What the bridge answers to these lines."""
    lines = [message if isinstance(message, bytes) else json.dumps(message).encode() for message in messages]
    out = io.BytesIO()
    McpBridge(url, token).run([line + b"\n" for line in lines], out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def request(number: int, method: str, **params: Any) -> Message:
    """A JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def test_every_request_is_answered_once(door: Door) -> None:
    """Requests are paired by id; notifications are passed on and answered by nothing."""
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    answers = carry(
        door.url, request(1, "initialize"), note, *(request(n, "tools/list") for n in range(2, 20))
    )
    assert sorted(answer["id"] for answer in answers) == list(range(1, 20))
    assert len(door.received) == 20


def test_the_settled_version_goes_with_every_later_request(door: Door) -> None:
    """As revision 2025-06-18 asks of clients over HTTP."""
    carry(door.url, request(1, "initialize"), request(2, "tools/list"))
    versions = {message["id"]: headers.get("mcp-protocol-version") for message, headers in door.received}
    assert versions == {1: None, 2: "2025-06-18"}


def test_modern_requests_are_mirrored_in_headers(door: Door) -> None:
    """As revision 2026-07-28 asks: version, method and name stand in the headers too."""
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    carry(door.url, request(1, "tools/call", name="get_memory", arguments={}, _meta=meta))
    ((_, headers),) = door.received
    assert headers["mcp-protocol-version"] == "2026-07-28"
    assert (headers["mcp-method"], headers["mcp-name"]) == ("tools/call", "get_memory")


def test_the_token_is_sent(door: Door) -> None:
    """And without one nothing is."""
    carry(door.url, request(1, "ping"), token="secret")
    carry(door.url, request(2, "ping"))
    assert [headers.get("authorization") for _, headers in door.received] == ["Bearer secret", None]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((404, "application/json", b'{"message": "no"}'), "mcp: true"),
        ((401, "application/json", b"{}"), "--token-file"),
        ((503, "application/json", b'{"message": "still loading"}'), "still loading"),
        ((500, "text/plain", b"oops"), "oops"),
        ((200, "application/json", b"[]"), "HTTP 200"),
    ],
)
def test_a_refusal_becomes_an_error_in_words(door: Door, answer: tuple[int, str, bytes], told: str) -> None:
    """The client shows the text to a person, so it says what to do."""
    door.answers["tools/list"] = answer
    (failed,) = carry(door.url, request(7, "tools/list"))
    assert failed["id"] == 7
    assert told in failed["error"]["message"]


def test_events_are_unpacked(door: Door) -> None:
    """An answer as a stream of events becomes lines."""
    event = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}})
    door.answers["tools/list"] = (200, "text/event-stream", f"event: message\ndata: {event}\n\n".encode())
    assert carry(door.url, request(1, "tools/list")) == [{"jsonrpc": "2.0", "id": 1, "result": {}}]


def test_a_server_that_is_away_is_told_not_hidden() -> None:
    """The bridge goes on, since the server may come back."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    failed = carry(f"http://127.0.0.1:{port}/mcp", request(1, "initialize"), request(2, "tools/list"))
    assert [answer["id"] for answer in failed] == [1, 2]
    assert "lucid-launch up" in failed[0]["error"]["message"]


def test_what_is_not_json_rpc_is_refused(door: Door) -> None:
    """A broken line costs nobody anything but its own answer."""
    answers = carry(door.url, b"nonsense", b"[1]", b"", request(1, "ping"))
    assert [answer.get("error", {}).get("code") for answer in answers] == [-32700, -32700, None]

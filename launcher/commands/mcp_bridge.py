"""MCP over standard input and output, carried to a server's `/mcp` door and back.

For clients that can only start a command. Each line in is one JSON-RPC message, posted as it is; each answer
is one line out. It decides the HTTP headers that the protocol asks for and what becomes of failures; it
understands no tool. Answers leave in the order in which they come: JSON-RPC pairs them by id.
"""

import json
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import IO, Any
from urllib.parse import urlsplit

REPLY_TIMEOUT_S = 120.0
WORKERS = 8
"""Requests that are under way at once; a client rarely has more than two."""

NOT_REACHED = -32001
"""The JSON-RPC code of an answer that the bridge itself gives (the range is the implementation's own)."""

_VERSION_IN_META = "io.modelcontextprotocol/protocolVersion"
_NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}

Message = dict[str, Any]


@dataclass
class McpBridge:
    """Carries messages to `url` (http://host:port/mcp), with `token` as the bearer token if there is one."""

    url: str
    token: str | None = None
    _version: str | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def run(self, lines: Iterable[bytes], out: IO[bytes]) -> None:
        """Carry every line until there are no more; returns when the last answer has been written."""
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="mcp") as workers:
            for line in lines:
                if not line.strip():
                    continue
                message = _read(line)
                if isinstance(message, str):
                    self._write(out, _failure(None, -32700, message))
                elif message.get("method") == "initialize":
                    # Everything after it carries the version that it settles.
                    self._carry(message, out)
                else:
                    workers.submit(self._carry, message, out)

    def _carry(self, message: Message, out: IO[bytes]) -> None:
        try:
            answers = self._post(message)
        except (OSError, HTTPException) as error:
            text = f"The memory server at {self.url} does not answer ({error}). Start it: lucid-launch up -d"
            answers = [_failure(message.get("id"), NOT_REACHED, text)]
        for answer in answers:
            if message.get("method") == "initialize" and isinstance(answer.get("result"), Mapping):
                self._version = answer["result"].get("protocolVersion")
            if "id" in message or "method" in answer:
                self._write(out, answer)

    def _post(self, message: Message) -> list[Message]:
        place = urlsplit(self.url)
        connection = HTTPConnection(place.hostname or "localhost", place.port, timeout=REPLY_TIMEOUT_S)
        try:
            connection.request("POST", place.path, json.dumps(message).encode(), self._headers(message))
            response = connection.getresponse()
            return self._answers(message, response)
        finally:
            connection.close()

    def _headers(self, message: Message) -> dict[str, str]:
        headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        params = message.get("params")
        meta = params.get("_meta") if isinstance(params, Mapping) else None
        modern = meta.get(_VERSION_IN_META) if isinstance(meta, Mapping) else None
        if isinstance(modern, str):
            headers |= {"mcp-protocol-version": modern, **_mirrored(message)}
        elif self._version is not None:
            headers["mcp-protocol-version"] = self._version
        return headers

    def _answers(self, message: Message, response: HTTPResponse) -> list[Message]:
        body = response.read()
        if response.getheader("content-type", "").startswith("text/event-stream"):
            events = [line[5:] for line in body.splitlines() if line.startswith(b"data:")]
            found = [_read(event) for event in events if event.strip()]
        else:
            found = [_read(body)] if body.strip() else []
        answers = [answer for answer in found if isinstance(answer, dict) and "jsonrpc" in answer]
        if answers or ("id" not in message and response.status < 400):
            return answers
        return [_failure(message.get("id"), NOT_REACHED, _refusal(response.status, body))]

    def _write(self, out: IO[bytes], answer: Message) -> None:
        line = json.dumps(answer, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            out.write(line)
            out.flush()


def _mirrored(message: Message) -> dict[str, str]:
    """The headers that repeat parts of the body since revision 2026-07-28, for servers behind gateways."""
    method = str(message.get("method", ""))
    mirrored = {"mcp-method": method}
    name = message["params"].get(_NAMED_BY.get(method, ""))
    if isinstance(name, str) and name.isascii() and name.isprintable():
        mirrored["mcp-name"] = name
    return mirrored


def _read(line: bytes) -> Message | str:
    try:
        message = json.loads(line)
    except ValueError as error:
        return f"not JSON: {error}"
    return message if isinstance(message, dict) else "not a JSON object"


def _failure(message_id: object, code: int, text: str) -> Message:
    return {"jsonrpc": "2.0", "id": message_id, "error": {"code": code, "message": text}}


def _refusal(status: int, body: bytes) -> str:
    if status == 404:
        return (
            "The memory server has no MCP door: set  options: {mcp: true}  for it in config.yaml, then up; "
            "it says how to get the package if that is missing."
        )
    if status == 401:
        return "The memory server wants its token: give the bridge --token-file FILE."
    said = _read(body)
    text = said.get("message") if isinstance(said, dict) else None
    return f"The memory server refused with HTTP {status}: {text or body[:200].decode(errors='replace')}"

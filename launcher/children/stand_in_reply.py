"""What a client hears while the service that it wants cannot answer: one HTTP response, or nothing.

Decides what counts as a request (the head of HTTP/1, a WebSocket handshake included), how it is answered
(503, `Retry-After`, the envelope of protocol.md section 3), and when somebody who speaks otherwise is hung up
on. Does not know sockets.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Literal

from launcher.snapshot import State

__all__ = ["HEAD_BYTES", "Situation", "build_reply", "judge"]

HEAD_BYTES = 16 * 1024
"""A head that is longer is not waited for."""
_UNKNOWN_RETRY_S = 1.0
_METHOD = re.compile(rb"[A-Z]{1,20}(?: |\Z)")
_FIRST_LINE = re.compile(rb"[A-Z]{1,20} [^ \r\n]+ HTTP/1\.[01]\r?\n")
_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True)
class Situation:
    """How a service is that does not answer itself; `retry_s` is until its next start, None: not known."""

    service: str
    state: State
    is_wanted: bool
    retry_s: float | None = None


def judge(received: bytes) -> Literal["more", "request", "stranger"]:
    """Tell whether `received` is a whole request head, the beginning of one, or of something else."""
    line_end = received.find(b"\n") + 1
    if not line_end:
        is_possible = _METHOD.match(received) is not None or not received
        return "more" if is_possible and len(received) < HEAD_BYTES else "stranger"
    if not _FIRST_LINE.match(received):
        return "stranger"
    return "request" if _END.search(received) or len(received) >= HEAD_BYTES else "more"


def build_reply(request: bytes, situation: Situation) -> bytes:
    """Return the whole response to a request whose head begins with `request`; without a body for HEAD."""
    code, text, retry_s = _describe(situation)
    document: dict[str, object] = {
        "status": "error",
        "error": text,
        "message": text,
        "code": code,
        "details": {"service": situation.service, "state": situation.state},
    }
    head = ["HTTP/1.1 503 Service Unavailable", "Content-Type: application/json"]
    if retry_s is not None:
        document["retry_after"] = round(retry_s, 3)
        head.append(f"Retry-After: {max(1, math.ceil(retry_s))}")
    body = json.dumps(document).encode()
    head += [f"Content-Length: {len(body)}", "Cache-Control: no-store", "Connection: close", "", ""]
    return "\r\n".join(head).encode() + (b"" if request.startswith(b"HEAD ") else body)


def _describe(situation: Situation) -> tuple[str, str, float | None]:
    """The code, the sentence, and after how many seconds it is worth while to ask again."""
    name, state = situation.service, situation.state
    if state == "failed":
        return "not_running", f"{name} has failed and is not started again by itself", None
    if not situation.is_wanted or state == "stopped":
        return "not_running", f"{name} is stopped", None
    if state == "backoff":
        retry_s = _UNKNOWN_RETRY_S if situation.retry_s is None else situation.retry_s
        return (
            "starting",
            f"{name} has ended and starts again in {max(0.0, retry_s):.1f} s",
            max(0.0, retry_s),
        )
    if state == "starting":
        return "starting", f"{name} is starting", _UNKNOWN_RETRY_S
    if state == "waiting":
        return "starting", f"{name} waits for another service before it starts", _UNKNOWN_RETRY_S
    return "starting", f"{name} is about to start anew", _UNKNOWN_RETRY_S

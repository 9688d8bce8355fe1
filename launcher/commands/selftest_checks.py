"""The checks of `selftest`: what the seed's test page tries in a browser, against one running server each.

A check is a function that returns a remark or raises ActionFailed or TimedOut with the reason. Whatever a
check stores it deletes again.
"""

import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from launcher.commands.server_connection import Answer, Door, open_server, readiness_text
from launcher.errors import ActionFailed, TimedOut

LOCAL_PAGE = "http://localhost:8081"
FOREIGN_PAGE = "https://foreign.example"
NAMESPACE = "lucid-selftest"

Check = Callable[[Door], str]


@dataclass(frozen=True)
class Outcome:
    """One check of one service: passed or not, how long it took, and a remark or the reason."""

    service: str
    check: str
    ok: bool
    took_ms: float
    detail: str

    def as_document(self) -> dict[str, Any]:
        """The outcome as a JSON object."""
        return {
            "service": self.service,
            "check": self.check,
            "ok": self.ok,
            "ms": round(self.took_ms, 2),
            "detail": self.detail,
        }


def run_checks(service: str, server: str, door: Door) -> Iterator[Outcome]:
    """Run the checks for a built-in server (`memory` or `inference`), one outcome at a time."""
    for name, check in CHECKS[server]:
        began = time.perf_counter()
        try:
            detail, ok = check(door), True
        except (ActionFailed, TimedOut) as failure:
            detail, ok = str(failure), False
        yield Outcome(service, name, ok, (time.perf_counter() - began) * 1000, detail)


def _connect(door: Door) -> str:
    with open_server(door) as connection:
        return f"handshake {connection.connect_ms:.1f} ms"


def _stats(door: Door) -> str:
    with open_server(door) as connection:
        stats = _payload(connection.ask({"type": "stats"}), door.url).get("stats")
    if not isinstance(stats, Mapping):
        raise ActionFailed("the reply to stats has no object 'stats'")
    return f"device {stats.get('device')}"


def _round_trip(door: Door) -> str:
    """Store a text nobody else has, find it by its meaning, delete it."""
    text = f"selftest {uuid.uuid4().hex}: the lighthouse keeper repairs the lamp"
    place = {"namespace": NAMESPACE}
    with open_server(door) as connection:
        stored = _payload(connection.ask({"type": "store", "data": {"text": text, **place}}), door.url)
        identity = stored.get("id")
        try:
            wanted = {"query": text, "count": 3, "min_significance": 0.0, **place}
            found = _payload(connection.ask({"type": "retrieve", "data": wanted}), door.url)
        finally:
            deleted = connection.ask({"type": "delete", "data": {"ids": [identity], **place}})
        _payload(deleted, door.url)
    memories = [memory for memory in found.get("memories") or [] if memory.get("id") == identity]
    if not memories:
        raise ActionFailed(f"stored {identity}, but retrieve did not find it")
    if memories[0].get("text") != text:
        raise ActionFailed(f"{identity} came back with another text")
    similarity = memories[0].get("similarity")
    shown = f"{similarity:.4f}" if isinstance(similarity, int | float) else "unknown"
    return f"similarity {shown}, deleted again"


def _embeddings(door: Door) -> str:
    with open_server(door) as connection:
        reply = _payload(connection.ask({"type": "embeddings", "data": {"text": "a lighthouse"}}), door.url)
    vector = reply.get("embeddings")
    _check_vector(vector)
    if reply.get("dimensions") != len(vector or ()):
        raise ActionFailed(f"{len(vector or ())} numbers came, but dimensions is {reply.get('dimensions')}")
    return f"{len(vector or ())} dimensions, model {reply.get('model')}"


def _process(door: Door) -> str:
    data = {
        "text": "who repairs the lamp?",
        "context": ["the keeper repairs the lamp", "bread is baked at dawn"],
    }
    with open_server(door) as connection:
        reply = _payload(connection.ask({"type": "process", "data": data}), door.url)
    _check_vector(reply.get("embeddings"))
    predictions = reply.get("predictions")
    if not isinstance(predictions, list) or len(predictions) != len(data["context"]):
        raise ActionFailed("predictions does not rank the two context items")
    return f"significance {reply.get('significance')}"


def _bad_json(door: Door) -> str:
    with open_server(door) as connection:
        _expect_code(connection.ask_raw("{not json"), "invalid_json")
        connection.ask({"type": "stats"})
    return "refused, and the connection goes on"


def _unknown_type(door: Door) -> str:
    with open_server(door) as connection:
        _expect_code(connection.ask({"type": "selftest-nonsense"}), "unknown_command")
        connection.ask({"type": "stats"})
    return "refused, and the connection goes on"


def _local_page(door: Door) -> str:
    with open_server(door, origin=LOCAL_PAGE) as connection:
        _payload(connection.ask({"type": "stats"}), door.url)
    return f"{LOCAL_PAGE} is served"


def _foreign_page(door: Door) -> str:
    try:
        with open_server(door, origin=FOREIGN_PAGE):
            pass
    except ActionFailed as refusal:
        if "HTTP 403" in str(refusal):
            return f"{FOREIGN_PAGE} is refused"
        raise
    raise ActionFailed(f"a page of {FOREIGN_PAGE} was let in")


def _null_page(door: Door) -> str:
    """A page opened from a file may ask for stats and nothing else (protocol.md section 2)."""
    with open_server(door, origin="null") as connection:
        _payload(connection.ask({"type": "stats"}), door.url)
        _expect_code(connection.ask({"type": "selftest-nonsense"}), "origin_null")
    return "stats only"


def _payload(answer: Answer, url: str) -> Mapping[str, Any]:
    """The reply of a request that must succeed."""
    if answer.reply.get("status") != "success":
        code, text = answer.reply.get("code"), answer.reply.get("error")
        still = readiness_text(url) if code in ("model_loading", "store_opening") else ""
        raise ActionFailed(f"{code}: {text}{still}")
    return answer.reply


def _expect_code(answer: Answer, code: str) -> None:
    """The reply of a request that must be refused in a certain way."""
    if answer.reply.get("status") != "error" or answer.reply.get("code") != code:
        raise ActionFailed(f"expected an error with code {code}, got {str(answer.reply)[:200]}")


def _check_vector(vector: object) -> None:
    """A flat list of finite numbers of unit length."""
    if not isinstance(vector, list) or not vector:
        raise ActionFailed("embeddings is not a list of numbers")
    if not all(isinstance(each, int | float) and math.isfinite(each) for each in vector):
        raise ActionFailed("embeddings holds something that is not a finite number")
    length = math.sqrt(sum(each * each for each in vector))
    if abs(length - 1) > 1e-3:
        raise ActionFailed(f"the vector has length {length:.4f}, not 1")


_COMMON: list[tuple[str, Check]] = [
    ("bad JSON", _bad_json),
    ("unknown type", _unknown_type),
    ("page on localhost", _local_page),
    ("foreign page", _foreign_page),
    ("page from a file", _null_page),
]
CHECKS: dict[str, list[tuple[str, Check]]] = {
    "memory": [("connect", _connect), ("stats", _stats), ("store and retrieve", _round_trip), *_COMMON],
    "inference": [
        ("connect", _connect),
        ("stats", _stats),
        ("embeddings", _embeddings),
        ("process", _process),
        *_COMMON,
    ],
}

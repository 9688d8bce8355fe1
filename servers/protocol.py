"""The JSON messages of protocol.md §3: bytes to typed requests, typed replies to text.

Pure: no sockets, no clock, no loop.  Knows the envelope and the text of every failure; does not know which
commands exist (the caller passes their names) nor what they do.

Two codecs on purpose.  Frames are read with the standard library (see `servers.json_reader`).  Replies are
written with orjson, which takes numpy arrays as they are; what it cannot write exactly falls back to the
standard library.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from servers.errors import InvalidRequest, RequestError, TooLarge, UnknownCommand
from servers.json_reader import MAX_DEPTH, is_unicode, read_json

__all__ = [
    "ECHOED",
    "MAX_DEPTH",
    "Envelope",
    "decode",
    "encode",
    "failure",
    "parse",
    "require_length",
    "success",
    "unknown_command",
]

ECHOED = ("id", "request_id", "message_id", "client_id")
"""Top-level request fields that every reply repeats unchanged (protocol.md §3)."""

_SURFACED = ("phase", "progress")  # a loading reply shows these beside its code
_SHOWN_CHARS = 80
_ENVELOPE_FIELDS = frozenset({"type", "data", *ECHOED})

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Envelope:
    """One well-formed request, its command not yet looked up.

    `data` holds the request's fields, whether they were sent under `data` or flat at the top level (`data`
    wins); the envelope's `timestamp` is among them unless `data` has its own.  `echo` holds the correlation
    fields to repeat.
    """

    type: str
    data: dict[str, Any]
    echo: dict[str, Any] = field(default_factory=dict)

    @property
    def wants_timing(self) -> bool:
        """Whether the reply should say where its time went; anything but `true` is an unknown field."""
        return self.data.get("timing") is True


def decode(frame: str | bytes, *, commands: Collection[str] | None = None) -> Envelope:
    """Reads one frame into an envelope.

    With `commands`, a type outside them is refused too.  Raises InvalidJson, InvalidRequest or
    UnknownCommand; the raised error carries `echo` and `request_type` as far as the frame showed them.
    """
    document, fault = read_json(frame)
    try:
        if fault is not None:
            raise fault
        return _envelope(document, commands)
    except RequestError as error:
        error.echo = _readable_echo(document, only_scalars=fault is not None)
        error.request_type = _readable_type(document)
        raise


def parse(model: type[M], envelope: Envelope) -> M:
    """Validates the envelope's data with `model`, unknown fields ignored as the model says.

    Raises InvalidRequest whose text names the first bad field, what is allowed there and what came; `details`
    list every problem.
    """
    try:
        return model.model_validate(envelope.data)
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors(include_url=False)]
    first = problems[0]
    text = f"{first['field']}: {first['allowed']}; got {first['got']}."
    raise InvalidRequest(text, details={**first, "problems": problems})


def require_length(text: str, limit: int, *, field_name: str = "text") -> None:
    """Raises TooLarge when `text` has more than `limit` characters."""
    if len(text) > limit:
        raise TooLarge(
            f"{field_name}: at most {limit} characters are accepted; got {len(text)}. Split the text.",
            details={"field": field_name, "limit_chars": limit, "got_chars": len(text)},
        )


def unknown_command(shown: object, commands: Iterable[str]) -> UnknownCommand:
    """The refusal of a request whose type is missing, not a string, or not among `commands`."""
    names = sorted(commands)
    listed = f". Known commands: {', '.join(names)}" if names else ""
    return UnknownCommand(f"Unknown command type: {_shown(shown)}{listed}", details={"commands": names})


def success(envelope: Envelope, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The success reply: status, type, the payload at the top level, then the echoed fields, which win."""
    fixed = {"status": "success", "type": envelope.type}
    return fixed | dict(payload) | fixed | envelope.echo


def failure(error: RequestError, envelope: Envelope | None) -> dict[str, Any]:
    """The failure reply; without an envelope, what the error itself could read is echoed."""
    request_type = envelope.type if envelope else error.request_type
    reply: dict[str, Any] = {"status": "error"}
    if request_type is not None:
        reply["type"] = request_type
    reply |= {"error": error.text, "message": error.text, "code": error.code}
    if error.retry_after is not None:
        reply["retry_after"] = round(error.retry_after, 3)
    if error.details is not None:
        reply["details"] = error.details
        reply |= {key: error.details[key] for key in _SURFACED if key in error.details}
    return reply | (envelope.echo if envelope else error.echo)


def encode(reply: Mapping[str, Any]) -> str:
    """Writes a reply as JSON text; numpy arrays are written directly.

    Raises ValueError when a number is NaN or infinite, since JSON cannot say it and `null` would hide it.
    """
    try:
        text = orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    except TypeError:
        # Integers beyond 64 bits, lone surrogates, keys that are not strings: rare, exact, slower.
        return json.dumps(reply, allow_nan=False, separators=(",", ":"), default=_plain)
    # orjson writes NaN as `null`, so a text without one needs no second look at its numbers.
    if "null" in text and not _is_finite(reply):
        raise ValueError("the reply holds a number that is not finite")
    return text


def _envelope(document: Any, commands: Collection[str] | None) -> Envelope:
    if not isinstance(document, dict):
        raise InvalidRequest(
            f'A request is one JSON object such as {{"type": "stats"}}; got {_kind(document)}.',
            details={"got": _kind(document)},
        )
    name = document.get("type")
    if not isinstance(name, str) or (commands is not None and name not in commands):
        raise unknown_command(name, commands or ())
    data = document.get("data")
    if data is not None and not isinstance(data, dict):
        raise InvalidRequest(
            f"data: must be an object; got {_kind(data)}.",
            details={"field": "data", "allowed": "an object", "got": _kind(data)},
        )
    return Envelope(name, _merged(document, data or {}), _readable_echo(document, only_scalars=False))


def _merged(document: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    flat = {key: value for key, value in document.items() if key not in _ENVELOPE_FIELDS}
    # A top-level id beside `data` correlates the request; in a flat request it may be the object's own
    # id (`get`, `delete`), which is always a string, whereas clients count requests with numbers.
    if not data and isinstance(document.get("id"), str):
        flat["id"] = document["id"]
    return {**flat, **data}


def _readable_echo(document: Any, *, only_scalars: bool) -> dict[str, Any]:
    if not isinstance(document, dict):
        return {}
    echo = {key: document[key] for key in ECHOED if key in document}
    return {key: value for key, value in echo.items() if _is_plain(value)} if only_scalars else echo


def _is_plain(value: Any) -> bool:
    """A scalar that can be written back; inside a refused document nothing else is trusted."""
    if isinstance(value, str):
        return is_unicode(value)
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int)


def _readable_type(document: Any) -> str | None:
    name = document.get("type") if isinstance(document, dict) else None
    return name if isinstance(name, str) and is_unicode(name) else None


def _problem(item: Mapping[str, Any]) -> dict[str, str]:
    missing = item["type"] == "missing"
    return {
        "field": ".".join(str(part) for part in item["loc"]) or "data",
        "allowed": "this field is required" if missing else _sentence(str(item["msg"])),
        "got": "nothing" if missing else _shown(item["input"]),
    }


def _sentence(message: str) -> str:
    text = message.removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    return text[:1].lower() + text[1:]


def _shown(value: object) -> str:
    if isinstance(value, str):
        return _cut(value) or '""'
    if isinstance(value, list | dict):
        return _kind(value)
    return _cut(str(value) if value is None else json.dumps(value, default=str))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}… ({len(text)} characters)"


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return f"an array of {len(value)}"
        case _:
            return "an object"


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return _is_finite(value.tolist()) if hasattr(value, "tolist") else True


def _plain(value: Any) -> Any:
    if isinstance(value, orjson.Fragment):
        return orjson.loads(orjson.dumps(value))
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")

"""Reads one frame as JSON, with the limits of protocol.md §3; pure.

With orjson, ten times as fast for an embedding, wherever it reads what the standard library does. That one
keeps integers beyond 64 bits exact (orjson turns 2**64 into a float silently), says what is wrong, and lets a
refused NaN still show the request's id.  Does not know the envelope.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import orjson

from servers.errors import InvalidJson

__all__ = ["MAX_DEPTH", "is_unicode", "read_json"]

MAX_DEPTH = 64
"""Deepest nesting of arrays and objects that a request may have (protocol.md §3)."""

_SHOWN_CHARS = 80
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_OPENING = ("[", "{")

_LONG_INTEGER = re.compile(r"[\s\[,:-][0-9]{19}")
"""An object without any has no integer beyond 64 bits; fractions, which are longer, follow upon a dot."""


def read_json(frame: str | bytes) -> tuple[Any, InvalidJson | None]:
    """The parsed document and, when it may not be used, why; both, so that the id can still be echoed.

    Refused: what is not UTF-8 or not JSON, a byte order mark, NaN and infinite numbers (also 1e400), nesting
    beyond MAX_DEPTH, and half surrogate pairs, which no reply could carry back.
    """
    try:
        if isinstance(frame, bytes):
            text = frame.decode("utf-8")
        else:
            text = frame
            text.encode("utf-8")
    except UnicodeError:
        return None, InvalidJson("the frame is not UTF-8")
    try:
        document, refused = _read(text)
    except RecursionError:
        return None, _too_deep()
    except ValueError as error:
        return None, InvalidJson(str(error))
    if refused is not None:
        return document, InvalidJson(f"{refused[:_SHOWN_CHARS]} is not a number that JSON can carry")
    if _depth_exceeds(document, text):
        return document, _too_deep()
    if _SURROGATE_ESCAPE.search(text) and not is_unicode(document):
        return document, InvalidJson("a string holds half of a surrogate pair")
    return document, None


def _read(text: str) -> tuple[Any, str | None]:
    """The document, and the first number in it that is not finite as it was written."""
    if text.startswith("{") and _LONG_INTEGER.search(text) is None:
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(text), None
    refused: list[str] = []

    def read_float(literal: str) -> float:
        value = float(literal)
        if math.isinf(value):
            refused.append(literal)
        return value

    document = json.loads(text, parse_constant=refused.append, parse_float=read_float)
    return document, refused[0] if refused else None


def _too_deep() -> InvalidJson:
    return InvalidJson(f"nested deeper than {MAX_DEPTH} levels")


def _depth_exceeds(document: Any, text: str) -> bool:
    if sum(map(text.count, _OPENING)) <= MAX_DEPTH:
        return False
    level, depth = [document], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return True
        level = [child for node in level for child in _children(node) if isinstance(child, dict | list)]
    return False


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def is_unicode(document: Any) -> bool:
    """Whether every string in the document can be written as UTF-8."""
    try:
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

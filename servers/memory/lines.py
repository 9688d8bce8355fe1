"""Memories as JSON Lines: the text form in which they leave a store and come back (protocol.md section 4).

Pure. It decides the form of a line, so that an export of an import is the same to the byte; it does not know
files. The first line says what follows: `{"format": "lucid.memories/1", "model": …, "dimensions": …}`. A file
without it is taken for plain `store` items, one a line.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import numpy as np
import orjson
from pydantic import Field, ValidationError, field_validator

from servers.errors import InvalidRequest
from servers.json_reader import read_json
from servers.memory.requests import (
    DEFAULT_NAMESPACE,
    Instant,
    Name,
    Request,
    Share,
    StoreItem,
    require_filled,
    require_keepable,
    tags_of,
)
from servers.memory.store.base import Memory, ModelMark, Vector

L = TypeVar("L", bound=Request)

FORMAT: Final = "lucid.memories/1"
"""The format's name and version, in the first line of a file."""


class MemoryLine(Request):
    """One exported memory; nothing is left to be computed."""

    id: Name
    namespace: Name
    text: Annotated[str, Field(strict=True)]
    timestamp: Instant
    significance: Share
    surprise: Share
    metadata: dict[str, Any]
    duplicate_of: Name | None = None
    expires_at: Instant | None = None
    embedding: Annotated[str, Field(strict=True)]

    @field_validator("text")
    @classmethod
    def _text_says_something(cls, text: str) -> str:
        return require_filled(text)

    @field_validator("metadata")
    @classmethod
    def _metadata_can_be_kept(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        return require_keepable(metadata)


def header_line(model: ModelMark) -> bytes:
    """Return the first line of an export of memories whose vectors that model made."""
    return _line({"format": FORMAT, "model": model.name, "dimensions": model.dimensions})


def memory_line(memory: Memory) -> bytes:
    """Return a memory as one line; its vector as base64 of little-endian float32."""
    vector = memory.vector.astype("<f4", copy=False).tobytes()
    return _line(
        {
            "id": memory.id,
            "namespace": memory.namespace,
            "text": memory.text,
            "timestamp": memory.timestamp_ms,
            "significance": memory.significance,
            "surprise": memory.surprise,
            "metadata": memory.metadata,
            "duplicate_of": memory.duplicate_of,
            "expires_at": memory.expires_at_ms,
            "embedding": base64.b64encode(vector).decode(),
        }
    )


def read_header(line: bytes) -> ModelMark | None:
    """Return the model that the first line names, None if it is not a header. Raises InvalidRequest."""
    document = _object(line, 1)
    if "format" not in document:
        return None
    name, dimensions = document.get("model"), document.get("dimensions")
    if document["format"] != FORMAT or not isinstance(name, str) or not isinstance(dimensions, int):
        raise InvalidRequest(f"line 1: not a header of {FORMAT}, which is what this version reads.")
    return ModelMark(name, dimensions)


def read_memory(line: bytes, number: int, dimensions: int) -> Memory:
    """Return the memory of an exported line. Raises InvalidRequest that names the line and the field."""
    parsed = _validated(MemoryLine, _object(line, number), number)
    return Memory(
        id=parsed.id,
        namespace=parsed.namespace,
        text=parsed.text,
        timestamp_ms=parsed.timestamp,
        significance=parsed.significance,
        surprise=parsed.surprise,
        type=parsed.metadata.get("type"),
        tags=tags_of(parsed.metadata),
        metadata=parsed.metadata,
        vector=_vector(parsed.embedding, number, dimensions),
        duplicate_of=parsed.duplicate_of,
        expires_at_ms=parsed.expires_at,
    )


def read_item(line: bytes, number: int) -> StoreItem:
    """Return the item of a plain line; without an id of its own it gets one that its content determines.

    So a file can be imported twice without storing anything twice. Raises InvalidRequest.
    """
    item = _validated(StoreItem, _object(line, number), number)
    if item.id is not None:
        return item
    namespace = item.namespace or DEFAULT_NAMESPACE
    digest = hashlib.sha256(f"{namespace}\0{item.text}".encode()).hexdigest()
    return item.model_copy(update={"id": f"import-{digest[:32]}"})


def _line(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document) + b"\n"


def _object(line: bytes, number: int) -> dict[str, Any]:
    document, fault = read_json(line)
    if fault is not None or not isinstance(document, dict):
        reason = (fault.details or {}).get("reason") if fault is not None else "it is no object"
        raise InvalidRequest(f"line {number}: is not one JSON object: {reason}.", details={"line": number})
    return document


def _validated(model: type[L], document: Mapping[str, Any], number: int) -> L:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "line"
        raise InvalidRequest(
            f"line {number}: {place}: {first['msg']}.", details={"line": number, "field": place}
        ) from error


def _vector(text: str, number: int, dimensions: int) -> Vector:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise InvalidRequest(f"line {number}: embedding: is not base64.", details={"line": number}) from error
    vector = np.frombuffer(raw, dtype="<f4") if len(raw) == 4 * dimensions else np.empty(0, np.float32)
    if not len(vector) or not np.isfinite(vector).all() or not vector.any():
        raise InvalidRequest(
            f"line {number}: embedding: must be {dimensions} finite float32 numbers, not all zero.",
            details={"line": number, "field": "embedding"},
        )
    return vector

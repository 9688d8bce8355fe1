"""How a memory becomes a row of the PostgreSQL store and comes back, checksum included.

It decides the binary form of vectors and what filters can compare; the checksummed values are those of
`servers.memory.store.rows`, so that a row means the same in every store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format
from psycopg.types.json import Jsonb

from servers.memory.store import rows
from servers.memory.store.base import Memory
from servers.memory.store.postgres_schema import SCHEMA

_NAMES: Final = (
    "id", "namespace", "text", "timestamp_ms", "significance", "surprise", "type", "tags", "metadata",
    "duplicate_of", "expires_at_ms", "vector", "checksum",
)  # fmt: skip
_READ: Final = (*_NAMES, "deleted_at_ms", "deletion", "seq")
_BYTES: Final = frozenset({"text", "type", "tags", "metadata"})
_HEADER_BYTES: Final = 4
"""pgvector's binary form: two bytes of dimensions, two unused, then big-endian float32 (vector_send)."""

COLUMNS: Final = ", ".join(_READ)
"""What is selected for `read`."""

TABLE: Final = f"{SCHEMA}.memories"
_MARKS: Final = ", ".join(["%s"] * (len(_NAMES) + 1))
INSERT: Final = f"INSERT INTO {TABLE} ({', '.join(_NAMES)}, facts) VALUES ({_MARKS}) RETURNING seq"
"""Adds what `to_row` returns."""
UPDATE: Final = f"UPDATE {TABLE} SET ({', '.join(_NAMES)}, facts) = ({_MARKS}) WHERE seq = %s"
"""Writes what `to_row` returns over the row of a seq."""


@dataclass(frozen=True, slots=True)
class PackedVector:
    """A vector in pgvector's binary form."""

    content: bytes


def to_row(memory: Memory) -> tuple[Any, ...]:
    """Return the values that `INSERT` binds."""
    *values, vector, checksum = rows.to_row(memory)
    wide = [
        value.encode() if name in _BYTES and value is not None else value
        for name, value in zip(_NAMES, values, strict=False)
    ]
    header = len(memory.vector).to_bytes(2) + b"\0\0"
    packed = PackedVector(header + np.frombuffer(vector, "<f4").astype(">f4").tobytes())
    return (*wide, packed, checksum, Jsonb(_facts(memory), dumps=orjson.dumps))


def read(raw: Sequence[Any]) -> rows.Row | None:
    """Return a row in the form that `rows.from_row` takes, or None if it is not what was written."""
    plain = [value.encode() if isinstance(value, str) else value for value in raw]
    vector = _READ.index("vector")
    content = bytes(plain[vector])[_HEADER_BYTES:]
    plain[vector] = np.frombuffer(content, ">f4").astype("<f4").tobytes()
    return rows.read(plain)


def without_nul(value: str) -> str:
    """Return a text that jsonb can hold: NUL, which it cannot, becomes a sign of the private use area."""
    return value.replace("\0", "\ue000")


def register_vectors(connection: psycopg.Connection[Any]) -> None:
    """Teach a connection to send `PackedVector`; the extension must exist."""
    (oid,) = connection.execute("SELECT 'vector'::regtype::oid").fetchone() or (0,)

    class VectorDumper(Dumper):
        format = Format.BINARY

        def dump(self, obj: PackedVector) -> Buffer:
            return obj.content

    VectorDumper.oid = int(oid)
    connection.adapters.register_dumper(PackedVector, VectorDumper)


def _facts(memory: Memory) -> Any:
    facts = {"type": memory.type, "tags": memory.tags, "metadata": memory.metadata}
    return _plain(orjson.loads(orjson.dumps(facts)))


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return without_nul(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {without_nul(key): _plain(item) for key, item in value.items()}
    return value

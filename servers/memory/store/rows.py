"""How a memory becomes a row of the SQLite store and comes back, with a checksum over all of it.

It decides the byte format of a row; it does not know connections or transactions. SQLite's pages carry no
checksum, so a flipped bit on the disk would otherwise be served as truth.
"""

import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson

from servers.memory.store.base import NEVER_MS, Columns, Memory

_TEXTS: Final = ("id", "namespace", "text", "type", "tags", "metadata", "duplicate_of", "deletion")
_ORDER: Final = (
    "id",
    "namespace",
    "text",
    "timestamp_ms",
    "significance",
    "surprise",
    "type",
    "tags",
    "metadata",
    "duplicate_of",
    "expires_at_ms",
    "vector",
    "checksum",
    "deleted_at_ms",
    "deletion",
    "seq",
)

COLUMNS: Final = ", ".join(f"CAST({name} AS BLOB)" if name in _TEXTS else name for name in _ORDER)
"""What is selected of `memories` for `read`; texts as bytes, since a damaged one may not be UTF-8."""

INSERT: Final = (
    "INSERT INTO memories (id, namespace, text, timestamp_ms, significance, surprise, type, tags, metadata, "
    "duplicate_of, expires_at_ms, vector, checksum) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
"""Adds what `to_row` returns. Without RETURNING, which has SQLite write every row nine times as large."""

UPDATE: Final = (
    "UPDATE memories SET id = ?, namespace = ?, text = ?, timestamp_ms = ?, significance = ?, surprise = ?, "
    "type = ?, tags = ?, metadata = ?, duplicate_of = ?, expires_at_ms = ?, vector = ?, checksum = ? "
    "WHERE seq = ?"
)
"""Writes what `to_row` returns over the row of a seq."""

SEQ: Final = _ORDER.index("seq")
"""Where a row has its seq."""

_TEXT_PLACES: Final = frozenset(_ORDER.index(name) for name in _TEXTS)
_VECTOR: Final = _ORDER.index("vector")
_CHECKSUM: Final = _ORDER.index("checksum")

Row = Sequence[Any]
"""One row in the order of `COLUMNS`."""


def to_row(memory: Memory) -> tuple[Any, ...]:
    """Return the values that `INSERT` binds; the vector as little-endian float32."""
    values = (
        memory.id,
        memory.namespace,
        memory.text,
        memory.timestamp_ms,
        memory.significance,
        memory.surprise,
        memory.type,
        orjson.dumps(memory.tags).decode(),
        orjson.dumps(memory.metadata).decode(),
        memory.duplicate_of,
        memory.expires_at_ms,
    )
    vector = memory.vector.astype("<f4", copy=False).tobytes()
    return (*values, vector, _checksum(values, vector))


def read(raw: Row) -> Row | None:
    """Return a selected row with its texts decoded, or None if it is not what was written (its checksum)."""
    try:
        row = [
            value.decode() if place in _TEXT_PLACES and value is not None else value
            for place, value in enumerate(raw)
        ]
    except UnicodeDecodeError:
        return None
    return row if _checksum(row[:_VECTOR], row[_VECTOR]) == row[_CHECKSUM] else None


def from_row(row: Row) -> Memory:
    """Return the memory of an intact row."""
    return Memory(
        id=row[0],
        namespace=row[1],
        text=row[2],
        timestamp_ms=row[3],
        significance=row[4],
        surprise=row[5],
        type=row[6],
        tags=tuple(orjson.loads(row[7])),
        metadata=orjson.loads(row[8]),
        duplicate_of=row[9],
        expires_at_ms=row[10],
        vector=np.frombuffer(row[_VECTOR], dtype="<f4"),
        deleted_at_ms=row[13],
        deletion=row[14],
        seq=row[SEQ],
    )


def to_columns(rows: Sequence[Row]) -> Columns:
    """Return the columns of at least one intact row, in their order; faster than through `Memory`."""
    joined = b"".join(row[_VECTOR] for row in rows)
    return Columns(
        ids=[row[0] for row in rows],
        namespaces=[row[1] for row in rows],
        seqs=np.array([row[SEQ] for row in rows], dtype=np.int64),
        timestamps_ms=np.array([row[3] for row in rows], dtype=np.int64),
        expires_at_ms=np.array([NEVER_MS if row[10] is None else row[10] for row in rows], dtype=np.int64),
        significances=np.array([row[4] for row in rows], dtype=np.float64),
        vectors=np.frombuffer(joined, dtype="<f4").reshape(len(rows), -1),
    )


def _checksum(values: Sequence[Any], vector: bytes) -> int:
    # JSON is an unambiguous and stable text of strings, integers, floats and nulls.
    return zlib.crc32(vector, zlib.crc32(orjson.dumps(values)))

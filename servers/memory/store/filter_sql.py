"""A `Filter` as a condition of SQLite's SQL, always with bound values.

It decides which SQL means which filter; it does not know which rows are deleted or which namespace is asked
for. Comparisons are strict about JSON types: 1 is not true, "1" is not 1, and a missing field equals null
only.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from servers.memory.filters import Condition, Filter, Scalar
from servers.memory.store.base import Selection

_SIGNS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def _valid(column: str, empty: str) -> str:
    # One damaged row must not fail the search of all others; its checksum keeps it from being served.
    return f"iif(json_valid(memories.{column}), memories.{column}, '{empty}')"


_METADATA: Final = _valid("metadata", "{}")


def condition_of(wanted: Filter) -> tuple[str, list[Any]]:
    """Return a SQL condition over the table `memories` and the values to bind, in order."""
    parts: list[tuple[str, list[Any]]] = []
    if wanted.types:
        parts.append((f"type IN ({_marks(wanted.types)})", list(wanted.types)))
    if wanted.since_ms is not None:
        parts.append(("timestamp_ms >= ?", [wanted.since_ms]))
    if wanted.until_ms is not None:
        parts.append(("timestamp_ms <= ?", [wanted.until_ms]))
    parts += [(_has_tag(1), [tag]) for tag in wanted.tags_all]
    if wanted.tags_any:
        parts.append((_has_tag(len(wanted.tags_any)), list(wanted.tags_any)))
    parts += [_compared(condition) for condition in wanted.conditions]
    sql = " AND ".join(f"({text})" for text, _ in parts) or "1"
    return sql, [value for _, values in parts for value in values]


def condition_of_selection(selection: Selection) -> tuple[str, list[Any]]:
    """Return a SQL condition for the undeleted memories that are selected, and the values to bind."""
    filtered, values = condition_of(selection.wanted)
    parts: list[tuple[str, list[Any]]] = [("deleted_at_ms IS NULL", []), (filtered, values)]
    if selection.namespace is not None:
        parts.append(("namespace = ?", [selection.namespace]))
    if selection.ids is not None:
        parts.append((f"id IN ({_marks(selection.ids)})", list(selection.ids)))
    if selection.seqs is not None:
        # One value, since there may be more seqs than a statement can bind.
        parts.append(("seq IN (SELECT value FROM json_each(?))", [json.dumps(selection.seqs)]))
    if selection.before_ms is not None:
        parts.append(("timestamp_ms < ?", [selection.before_ms]))
    if selection.below_significance is not None:
        parts.append(("significance < ?", [selection.below_significance]))
    return " AND ".join(f"({text})" for text, _ in parts), [value for _, bound in parts for value in bound]


def condition_of_purge(ids: Sequence[str] | None, deleted_before_ms: int) -> tuple[str, list[Any]]:
    """Return a SQL condition for the deleted memories of these ids, or those deleted before that time."""
    if ids is None:
        return "deleted_at_ms < ?", [deleted_before_ms]
    return f"deleted_at_ms IS NOT NULL AND id IN ({_marks(ids)})", list(ids)


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _has_tag(count: int) -> str:
    marks = ", ".join("?" * count)
    return f"EXISTS (SELECT 1 FROM json_each({_valid('tags', '[]')}) AS tag WHERE tag.value IN ({marks}))"


def _compared(condition: Condition) -> tuple[str, list[Any]]:
    path = "$" + "".join(f'."{key}"' for key in condition.path)
    if condition.operator in _SIGNS:
        return _ordered(path, _SIGNS[condition.operator], condition.values[0])
    tests = [_equal(path, value) for value in condition.values]
    either = " OR ".join(text for text, _ in tests) or "0"
    values = [value for _, bound in tests for value in bound]
    if condition.operator == "ne":
        return f"NOT coalesce(({either}), 0)", values
    return either, values


def _ordered(path: str, sign: str, value: Scalar) -> tuple[str, list[Any]]:
    kind = "= 'text'" if isinstance(value, str) else "IN ('integer', 'real')"
    return f"json_type({_METADATA}, ?) {kind} AND json_extract({_METADATA}, ?) {sign} ?", [path, path, value]


def _equal(path: str, value: Scalar) -> tuple[str, list[Any]]:
    if value is None:
        return f"json_extract({_METADATA}, ?) IS NULL", [path]
    if isinstance(value, bool):
        return f"json_type({_METADATA}, ?) = ?", [path, "true" if value else "false"]
    text, values = _ordered(path, "=", value)
    return f"({text})", values

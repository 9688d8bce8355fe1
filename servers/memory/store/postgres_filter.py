"""Filters and selections as conditions of PostgreSQL's SQL, always with bound values.

It decides which SQL means which filter, exactly as `filter_sql` does for SQLite: comparisons are strict about
JSON types, text is ordered by its code points, and a missing field equals null only.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from psycopg.types.json import Jsonb

from servers.memory.filters import Condition, Filter, Scalar
from servers.memory.store.base import Selection
from servers.memory.store.postgres_rows import without_nul

_SIGNS: Final = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_FIELD: Final = "jsonb_path_query_first(facts, %s::jsonpath, '{}', true)"

Part = tuple[str, list[Any]]


def condition_of(wanted: Filter) -> tuple[str, list[Any]]:
    """Return a SQL condition over the memories and the values to bind, in order."""
    parts: list[Part] = []
    if wanted.types:
        parts.append(("facts->>'type' = ANY(%s)", [_plain(wanted.types)]))
    if wanted.since_ms is not None:
        parts.append(("timestamp_ms >= %s", [wanted.since_ms]))
    if wanted.until_ms is not None:
        parts.append(("timestamp_ms <= %s", [wanted.until_ms]))
    if wanted.tags_all:
        parts.append(("facts->'tags' ?& %s", [_plain(wanted.tags_all)]))
    if wanted.tags_any:
        parts.append(("facts->'tags' ?| %s", [_plain(wanted.tags_any)]))
    parts += [_compared(condition) for condition in wanted.conditions]
    return _all(parts)


def condition_of_selection(selection: Selection) -> tuple[str, list[Any]]:
    """Return a SQL condition for the undeleted memories that are selected, and the values to bind."""
    parts: list[Part] = [("deleted_at_ms IS NULL", []), condition_of(selection.wanted)]
    if selection.namespace is not None:
        parts.append(("namespace = %s", [selection.namespace]))
    if selection.ids is not None:
        parts.append(("id = ANY(%s::text[])", [list(selection.ids)]))
    if selection.seqs is not None:
        parts.append(("seq = ANY(%s::bigint[])", [list(selection.seqs)]))
    if selection.before_ms is not None:
        parts.append(("timestamp_ms < %s", [selection.before_ms]))
    if selection.below_significance is not None:
        parts.append(("significance < %s", [selection.below_significance]))
    return _all(parts)


def condition_of_purge(ids: Sequence[str] | None, deleted_before_ms: int) -> tuple[str, list[Any]]:
    """Return a SQL condition for the deleted memories of these ids, or those deleted before that time."""
    if ids is None:
        return "deleted_at_ms < %s", [deleted_before_ms]
    return "deleted_at_ms IS NOT NULL AND id = ANY(%s::text[])", [list(ids)]


def _all(parts: Sequence[Part]) -> Part:
    sql = " AND ".join(f"({text})" for text, _ in parts) or "true"
    return sql, [value for _, values in parts for value in values]


def _plain(values: Sequence[str]) -> list[str]:
    return [without_nul(value) for value in values]


def _compared(condition: Condition) -> Part:
    # Strict mode: a path goes through objects only, never silently into the items of a list.
    path = "strict $" + "".join(f".{_quoted(key)}" for key in ("metadata", *condition.path))
    if condition.operator in _SIGNS:
        return _ordered(path, _SIGNS[condition.operator], condition.values[0])
    tests = [_equal(path, value) for value in condition.values]
    either = " OR ".join(text for text, _ in tests) or "false"
    values = [value for _, bound in tests for value in bound]
    if condition.operator == "ne":
        return f"NOT coalesce(({either}), false)", values
    return f"coalesce(({either}), false)", values


def _quoted(key: str) -> str:
    return json.dumps(without_nul(key))


def _ordered(path: str, sign: str, value: Scalar) -> Part:
    # CASE, since PostgreSQL may otherwise cast before it has looked at the type.
    if isinstance(value, str):
        test = f"({_FIELD} #>> '{{}}') COLLATE \"C\" {sign} %s"
        kind, bound = "string", without_nul(value)
    else:
        test = f"({_FIELD})::numeric {sign} %s::text::numeric"
        kind, bound = "number", repr(value)
    return f"CASE WHEN jsonb_typeof({_FIELD}) = '{kind}' THEN {test} ELSE false END", [path, path, bound]


def _equal(path: str, value: Scalar) -> Part:
    if value is None:
        return f"coalesce({_FIELD}, 'null'::jsonb) = 'null'::jsonb", [path]
    plain = without_nul(value) if isinstance(value, str) else value
    return f"{_FIELD} = %s", [path, Jsonb(plain)]

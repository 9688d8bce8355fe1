"""Filters in SQL against the same filters in plain Python, over arbitrary JSON."""

import json
import operator
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.memory.filters import Condition, Filter, parse_filter
from servers.memory.store.filter_sql import condition_of

MISSING = object()
scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -2.0, "", "a", "1", "é"])
)
keys = st.sampled_from(["k", "l", "ü m", "x'y"])
documents = st.dictionaries(keys, scalars | st.dictionaries(keys, scalars, max_size=2), max_size=3)
ordered = st.sampled_from(["gt", "gte", "lt", "lte"]).flatmap(
    lambda name: st.fixed_dictionaries({name: st.integers(-3, 3) | st.sampled_from([0.5, "a", ""])})
)
operands = (
    scalars
    | st.lists(scalars, max_size=3)
    | ordered
    | st.fixed_dictionaries({"ne": scalars})
    | st.fixed_dictionaries({"in": st.lists(scalars, max_size=3)})
)
paths = keys | st.tuples(keys, keys).map(".".join)


@pytest.fixture(scope="module")
def connection() -> Iterator[apsw.Connection]:
    """A table with the columns that filters read."""
    with closing(apsw.Connection(":memory:")) as opened:
        opened.execute("CREATE TABLE memories (type TEXT, tags TEXT, metadata TEXT, timestamp_ms INTEGER)")
        yield opened


def kind(value: Any) -> str:
    """The JSON type, with all numbers alike."""
    if value is None or value is MISSING:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def found(document: Any, path: tuple[str, ...]) -> Any:
    """What lies at a path, or MISSING."""
    for key in path:
        document = document.get(key, MISSING) if isinstance(document, dict) else MISSING
    return document


ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def holds(condition: Condition, value: Any) -> bool:
    """Whether one condition holds of a value, by the words of the documentation."""
    if condition.operator in ORDERS:
        (bound,) = condition.values
        is_comparable = kind(value) == kind(bound) and kind(value) in ("number", "str")
        return is_comparable and ORDERS[condition.operator](value, bound)
    is_equal = any(
        kind(value) == kind(other) and (kind(value) == "null" or value == other) for other in condition.values
    )
    return is_equal != (condition.operator == "ne")


def passes(document: Any, wanted: Filter) -> bool:
    """Whether all conditions hold of a document."""
    return all(holds(condition, found(document, condition.path)) for condition in wanted.conditions)


@settings(deadline=None, max_examples=400)
@given(document=documents, fields=st.dictionaries(paths, operands, min_size=1, max_size=2))
def test_sql_and_python_agree(connection: apsw.Connection, document: Any, fields: dict[str, Any]) -> None:
    """A document passes in the database exactly if it passes by the documented meaning."""
    wanted = parse_filter({"metadata": fields})
    condition, values = condition_of(wanted)
    connection.execute("DELETE FROM memories")
    connection.execute(
        "INSERT INTO memories VALUES (NULL, '[]', ?, 0)", (json.dumps(document, ensure_ascii=False),)
    )
    rows = connection.execute(f"SELECT 1 FROM memories WHERE {condition}", values).fetchall()
    assert bool(rows) == passes(document, wanted)

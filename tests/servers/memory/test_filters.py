"""Filters on the wire: what they mean, and what is refused with a reason."""

from typing import Any

import pytest

from servers.memory.filters import EVERYTHING, Condition, Filter, parse_filter


@pytest.mark.parametrize("raw", [None, {}, {"type": None, "tags": [], "metadata": {}, "since": None}])
def test_an_empty_filter_lets_everything_through(raw: dict[str, Any] | None) -> None:
    """Parts that are absent, null or empty ask for nothing."""
    assert parse_filter(raw) == EVERYTHING


def test_every_part_is_understood() -> None:
    """Types, tags, both bounds of time, and metadata with every operator."""
    raw = {
        "type": ["fact", "event"],
        "tags": {"all": ["a"], "any": ["b", "c"]},
        "since": "1970-01-01T00:00:01Z",
        "until": 9000,
        "timestamp": {"gt": 1500, "lte": 20_000},
        "metadata": {"project": "x", "a.b": {"gte": 1, "lt": 2}},
        "stage": [1, "two", None, True],
        "state": {"ne": None},
    }
    assert parse_filter(raw) == Filter(
        types=("fact", "event"),
        tags_all=("a",),
        tags_any=("b", "c"),
        since_ms=1501,
        until_ms=9000,
        conditions=(
            Condition(("stage",), "in", (1, "two", None, True)),
            Condition(("state",), "ne", (None,)),
            Condition(("project",), "eq", ("x",)),
            Condition(("a", "b"), "gte", (1,)),
            Condition(("a", "b"), "lt", (2,)),
        ),
    )


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"type": 1}, "type must be"),
        ({"tags": [1]}, "tags must be"),
        ({"tags": {"none": ["a"]}}, "tags must be"),
        ({"since": "soon"}, "since .* got 'soon'"),
        ({"timestamp": {"eq": 1}}, "timestamp takes"),
        ({"timestamp": 5}, "timestamp takes"),
        ({"metadata": 5}, "metadata must be"),
        ({"k": {}}, "k needs one of"),
        ({"k": {"like": "x"}}, "k.like is no operator"),
        ({"k": {"in": "x"}}, "k.in takes a list"),
        ({"k": {"gt": None}}, "k.gt takes a number or text"),
        ({"k": {"gt": True}}, "k.gt takes a number or text"),
        ({"k": {"eq": {"a": 1}}}, "k can be compared with"),
        ({"k": {"eq": 2**63}}, "beyond what is stored"),
        ({"k": [1e400]}, "beyond what is stored"),
        ({'quo"te': 1}, "no filter can name"),
        ({"a..b": 1}, "empty part"),
        ({"k": list(range(65))}, "at most 64"),
        ({f"k{i}": 1 for i in range(65)}, "at most 64"),
        ({"tags": ["t"] * 65}, "at most 64"),
    ],
)
def test_what_has_no_meaning_is_refused(raw: dict[str, Any], reason: str) -> None:
    """The reason names the part, what is allowed there and what came."""
    with pytest.raises(ValueError, match=reason):
        parse_filter(raw)

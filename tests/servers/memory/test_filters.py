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
    ("raw", "same"),
    [
        ({"type": {"in": ["a", "b"]}}, {"type": ["a", "b"]}),
        ({"type": {"eq": "a"}}, {"type": "a"}),
        ({"tags": {"in": ["a", "b"]}}, {"tags": {"any": ["a", "b"]}}),
        ({"tags": {"$in": ["a"], "$all": ["b"]}}, {"tags": {"any": ["a"], "all": ["b"]}}),
        ({"after": 5, "before": 9}, {"timestamp": {"gt": 5, "lt": 9}}),
        ({"timestamp": {"from": 5, "to": 9}}, {"since": 5, "until": 9}),
        ({"timestamp": {"$gte": 5, "$lt": 9}}, {"timestamp": {"gte": 5, "lt": 9}}),
        ({"timestamp": [5, 9]}, {"since": 5, "until": 9}),
        ({"time_range": {"start": 5, "end": 9}}, {"since": 5, "until": 9}),
        ({"time_range": {"since": 5, "before": 9}}, {"timestamp": {"gte": 5, "lt": 9}}),
        ({"time_range": [None, "1970-01-01T00:00:01Z"]}, {"until": 1000}),
        ({"timestamp": {}}, {}),
        ({"n": {"$gte": 1, "$lt": 5}}, {"n": {"gte": 1, "lt": 5}}),
        ({"n": {"min": 1, "max": 5}}, {"n": {"gte": 1, "lte": 5}}),
        ({"n": {"range": [1, 5]}}, {"n": {"gte": 1, "lte": 5}}),
        ({"n": {"range": [None, 5]}}, {"n": {"lte": 5}}),
        ({"metadata.n": 5}, {"n": 5}),
    ],
)
def test_what_people_also_write_means_what_it_says(raw: dict[str, Any], same: dict[str, Any]) -> None:
    """The contract names what can be asked, not the words for it; a guess must not silently find nothing."""
    assert parse_filter(raw) == parse_filter(same)


def test_words_for_times_are_fields_inside_metadata() -> None:
    """A memory may have a field of any name."""
    wanted = parse_filter({"metadata": {"after": 5, "timestamp": 6}})
    assert wanted.conditions == (Condition(("after",), "eq", (5,)), Condition(("timestamp",), "eq", (6,)))
    assert (wanted.since_ms, wanted.until_ms) == (None, None)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ({"type": 1}, "type must be"),
        ({"tags": [1]}, "tags must be"),
        ({"tags": {"none": ["a"]}}, "tags must be"),
        ({"since": "soon"}, "since .* got 'soon'"),
        ({"timestamp": {"eq": 1}}, "timestamp takes"),
        ({"timestamp": 5}, "timestamp takes"),
        ({"time_range": [5]}, "time_range takes"),
        ({"after": "soon"}, "after .* got 'soon'"),
        ({"type": {"ne": "a"}}, "type must be"),
        ({"tags": {"in": ["a"], "any": ["b"]}}, "tags must be"),
        ({"k": {"range": 5}}, "k.range takes a list"),
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

"""launcher.records: whatever is written down comes back as it was, and nothing else passes for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.configuration.choices import AutoGpu, AutoPort, FixedPort, NamedGpus, NoGpu, PortRange
from launcher.placement import Assignment
from launcher.records import Record, from_json, to_json
from tests.launcher.config_files import load

TEXT = st.text(max_size=8)
PORTS = st.integers(1, 65535)
CHOICES = st.one_of(
    st.builds(FixedPort, PORTS),
    st.builds(PortRange, PORTS, PORTS),
    st.just(AutoPort()),
    st.just(AutoGpu()),
    st.just(NoGpu()),
    st.builds(NamedGpus, st.lists(TEXT | st.integers(0, 9), max_size=3).map(tuple)),
    st.builds(
        Assignment,
        st.lists(TEXT, max_size=3).map(tuple),
        TEXT,
        TEXT,
        st.none() | TEXT,
        st.lists(st.integers(0, 99), max_size=3).map(tuple),
    ),
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
LEAVES = PLAIN | CHOICES | st.builds(Path, st.sampled_from(["/", "a/b", "/x y/ü", "."]))
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(TEXT, inner, max_size=3)
        | st.dictionaries(st.from_regex("[a-z]{1,5}", fullmatch=True), inner, max_size=3).map(Record)
    ),
    max_leaves=6,
)
GARBAGE = st.recursive(
    PLAIN | st.sampled_from(["r", "m", "l", "p", "c", "FixedPort"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=8,
)

EVERYTHING = """
project: p
defaults: {restart: {policy: never}}
services:
  a:
    command: [x, --flag]
    cwd: /tmp
    port: 6000-6010
    inherit_sockets: true
    host: 127.0.0.1
    replicas: 2
    env: {A: b}
    depends_on: {b: started}
    health: {http: /ready, period: 250ms, startup_budget: 2m}
    restart: {policy: on-failure, max_failures: 7, backoff: {initial: 10ms, factor: 3}}
    stop: {signal: INT, grace: 3s}
    limits: {memory: 1GB}
    logs: {max_size: 5MB, backups: 2}
    gpu: none
  b: {command: [y], port: auto}
  c: {command: [z], port: 7000, gpu: [0, 1]}
  embedding: {server: inference}
"""


@given(VALUES)
@settings(deadline=None)
def test_round_trip(value: Any) -> None:
    """Types included, by way of the text that is written."""
    again = from_json(json.loads(json.dumps(to_json(value))))
    assert (again, type(again)) == (value, type(value))


def test_every_setting_of_a_service_comes_back(tmp_path: Path) -> None:
    """Each field, and each property that our models add, of every kind of service."""
    services = load(tmp_path, EVERYTHING).services
    assert len(services) == 4
    for service in services.values():
        again = from_json(json.loads(json.dumps(to_json(service))))
        compare(service, again)
        assert from_json(to_json(again)) == again
        assert set(vars(again)) > set(type(service).model_fields)


def compare(wanted: Any, found: Any) -> None:
    """What came back is what was there, all the way down: lists as tuples, models as records."""
    if isinstance(found, Record):
        for name, value in vars(found).items():
            compare(getattr(wanted, name), value)
    elif isinstance(found, dict):
        assert list(found) == list(wanted)
        for name, value in found.items():
            compare(wanted[name], value)
    elif isinstance(found, tuple):
        assert isinstance(wanted, list | tuple | set | frozenset)
        assert len(found) == len(wanted)
        for one, other in zip(wanted, found, strict=True):
            compare(one, other)
    else:
        assert (found, type(found)) == (wanted, type(wanted))


def test_what_is_added_is_there() -> None:
    """Attributes that only the planner knows travel with the settings."""
    assert from_json(to_json(Record({"a": 1}), b=(2,))) == Record({"a": 1, "b": (2,)})


@given(GARBAGE)
@settings(deadline=None)
def test_what_was_never_written_is_refused(document: Any) -> None:
    """A damaged document ends in an error that says so, or is one that could have been written."""
    try:
        value = from_json(document)
    except (ValueError, TypeError, KeyError):
        return
    assert from_json(to_json(value)) == value


@pytest.mark.parametrize(
    "document",
    [
        ["z", 1],
        ["r", 5],
        ["r", [1]],
        ["m", "x"],
        ["l", "ab"],
        ["p", 5],
        ["c", ["Path", {}]],
        ["c", ["FixedPort", {"port": 1}]],
        ["c", ["FixedPort", 5]],
        ["c", "x"],
        ["l"],
        [1, 2, 3],
        [],
        {"a": 1},
        ["l", [["z", 1]]],
    ],
    ids=str,
)
def test_damage_is_refused(document: Any) -> None:
    """Unknown kinds, wrong content, too much, too little, and at any depth."""
    with pytest.raises((ValueError, TypeError, KeyError)):
        from_json(document)


@pytest.mark.parametrize("value", [object(), 1j, b"x", lambda: 1, {"a": object()}, [b"x"]], ids=str)
def test_what_is_no_setting_is_refused(value: object) -> None:
    """It would come back as something else."""
    with pytest.raises(TypeError, match="is no setting"):
        to_json(value)


def test_a_strange_dataclass_is_no_setting() -> None:
    """Only the choices that are known come back."""

    @dataclass
    class Stranger:
        number: int = 1

    with pytest.raises(TypeError, match="Stranger is no setting"):
        to_json(Stranger())


def test_a_record_is_read_only_and_equal_by_content() -> None:
    """Settings change by reading the file again."""
    record = Record({"a": 1, "b": {"c": 2}})
    assert record == Record({"a": 1, "b": {"c": 2}})
    assert record != Record({"a": 1, "b": {"c": 3}})
    assert record != {"a": 1, "b": {"c": 2}}
    with pytest.raises(AttributeError, match="a cannot be set: settings change by reading the file again"):
        record.a = 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(record)

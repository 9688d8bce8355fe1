"""The limits of what is read as JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers.json_reader import MAX_DEPTH, is_unicode, read_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_reads_every_json_document_exactly(document: object) -> None:
    """Whatever the standard library writes comes back equal, integers of any size included."""
    read, fault = read_json(json.dumps(document))
    assert fault is None
    assert read == document


@pytest.mark.parametrize("value", [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30])
@pytest.mark.parametrize(
    "frame", ['{"a":%d}', '{"a": %d}', '{"a":[%d]}', '{"a":[0,%d]}', '{"a":\n%d\t}', "%d", " [%d]"]
)
def test_integers_are_exact_wherever_they_stand(value: int, frame: str) -> None:
    """Also beyond 64 bits, with any sign, after whatever may come before a number."""
    text = frame % value
    document, fault = read_json(text)
    assert fault is None
    assert repr(document) == repr(json.loads(text))


@given(st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False) | st.integers()))
def test_numbers_are_what_the_standard_library_reads(document: dict[str, float]) -> None:
    """To the last bit, and integers as integers."""
    text = json.dumps(document)
    assert repr(read_json(text)) == repr((json.loads(text), None))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_but_never_raise(frame: bytes) -> None:
    """A frame of random bytes ends in a document or in a fault."""
    document, fault = read_json(frame)
    assert fault is None or fault.code == "invalid_json"
    assert fault is not None or json.loads(frame) == document


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{not json",
        "{} trailing",
        b"\xff\xfe{}",
        "\ufeff{}",
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e400}',
        '{"a": "\\ud800"}',
        '{"\\udfff": 1}',
        "[" * 100_000,
        '{"a": ' + "9" * 5000 + "}",
        '{"a": "\n"}',
    ],
)
def test_refuses_what_must_not_be_stored(frame: str | bytes) -> None:
    """Each row of the decoder table is a fault that says why."""
    _, fault = read_json(frame)
    assert fault is not None
    assert fault.details
    assert fault.details["reason"]


@pytest.mark.parametrize(("levels", "is_refused"), [(MAX_DEPTH, False), (MAX_DEPTH + 1, True), (900, True)])
def test_depth_is_limited_to_the_level(levels: int, is_refused: bool) -> None:
    """Sixty-four nested arrays are read, one more is refused."""
    _, fault = read_json("[" * levels + "]" * levels)
    assert (fault is not None) is is_refused


def test_wide_documents_are_not_deep() -> None:
    """Many containers side by side do not count as nesting."""
    document, fault = read_json(json.dumps([[i] for i in range(1000)]))
    assert fault is None
    assert len(document) == 1000


def test_a_whole_surrogate_pair_is_fine() -> None:
    """An escaped emoji is one character, not two halves."""
    assert read_json('"\\ud83d\\ude00"') == ("😀", None)
    assert is_unicode({"😀": ["é"]})
    assert not is_unicode(["\ud800"])

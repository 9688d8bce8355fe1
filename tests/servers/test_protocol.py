"""The envelope: what is accepted, what each failure says, what goes out."""

from __future__ import annotations

import json
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from servers.errors import InvalidRequest, Overloaded, RequestError, TooLarge, UnknownCommand
from servers.protocol import Envelope, decode, encode, failure, parse, require_length, success


class Retrieve(BaseModel):
    """A request with a bounded number."""

    text: str
    count: Annotated[int, Field(ge=1, le=1000)] = 5


def refused(frame: str | bytes, **options: Any) -> RequestError:
    """The error that a frame is refused with."""
    with pytest.raises(RequestError) as raised:
        decode(frame, **options)
    return raised.value


def test_data_and_flat_fields_are_merged_and_data_wins() -> None:
    """Older clients send fields at the top level; `data` has the last word."""
    envelope = decode('{"type":"store","text":"flat","mood":"x","timestamp":5,"data":{"text":"nested"}}')
    assert envelope.data == {"text": "nested", "mood": "x", "timestamp": 5}


def test_an_own_timestamp_in_data_is_kept() -> None:
    """The envelope's timestamp does not replace the one of the memory."""
    assert decode('{"type":"store","timestamp":5,"data":{"timestamp":7}}').data == {"timestamp": 7}


def test_all_correlation_fields_are_echoed_unchanged() -> None:
    """Whatever an id is, it comes back as it was, beyond 64 bits too."""
    envelope = decode(
        '{"type":"stats","id":36893488147419103232,"request_id":null,"message_id":[1],"client_id":"c","x":1}'
    )
    reply = json.loads(encode(success(envelope, {})))
    assert reply == {
        "status": "success",
        "type": "stats",
        "id": 2**65,
        "request_id": None,
        "message_id": [1],
        "client_id": "c",
    }


def test_a_correlation_id_beside_data_is_not_the_objects_id() -> None:
    """Two clients that number their requests must not overwrite each other's memories."""
    assert decode('{"type":"store","id":"7","data":{"text":"a"}}').data == {"text": "a"}
    assert decode('{"type":"store","id":7,"text":"a"}').data == {"text": "a"}


def test_a_flat_id_names_the_object() -> None:
    """`get` of older clients has its id at the top level."""
    assert decode('{"type":"get","id":"m1"}').data == {"id": "m1"}


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("nope", "invalid_json"),
        (b"\xff", "invalid_json"),
        ('{"type":"stats","id":1,"x":NaN}', "invalid_json"),
        ("[1]", "invalid_request"),
        ("null", "invalid_request"),
        ('"stats"', "invalid_request"),
        ("{}", "unknown_command"),
        ('{"type":5}', "unknown_command"),
        ('{"type":"zzz"}', "unknown_command"),
        ('{"type":"stats","data":[1]}', "invalid_request"),
    ],
)
def test_bad_frames_have_the_contracts_codes(frame: str | bytes, code: str) -> None:
    """Every row of the bad-frame table that the envelope decides."""
    assert refused(frame, commands={"stats"}).code == code


def test_invalid_json_has_the_fixed_text() -> None:
    """Old clients compare the text, so nothing is added to it."""
    assert failure(refused("{"), None)["error"] == "Invalid JSON format"


def test_an_unreadable_number_still_echoes_the_id() -> None:
    """A client with ids can tell which of its requests held the NaN."""
    reply = failure(refused('{"type":"stats","id":9,"client_id":"c","x":NaN}'), None)
    assert (reply["id"], reply["client_id"], reply["type"]) == (9, "c", "stats")


def test_an_unwritable_id_is_not_echoed() -> None:
    """A NaN for an id cannot be repeated, and must not break the reply."""
    assert "id" not in failure(refused('{"type":"stats","id":NaN}'), None)


def test_an_unknown_command_names_itself_and_the_known_ones() -> None:
    """The text starts as the seed's did and goes on with what would work."""
    error = refused('{"type":"fetch"}', commands={"stats", "store"})
    assert isinstance(error, UnknownCommand)
    assert error.text.startswith("Unknown command type: fetch")
    assert error.details == {"commands": ["stats", "store"]}


def test_a_bad_field_is_named_with_what_is_allowed_and_what_came() -> None:
    """All three are in the text, and every problem is in the details."""
    envelope = Envelope("retrieve", {"count": 0})
    with pytest.raises(InvalidRequest) as raised:
        parse(Retrieve, envelope)
    details = raised.value.details
    assert details is not None
    assert raised.value.text == "text: this field is required; got nothing."
    assert [problem["field"] for problem in details["problems"]] == ["text", "count"]  # type: ignore[attr-defined]  # a list
    with pytest.raises(InvalidRequest, match=r"count: .*greater than or equal to 1; got 0"):
        parse(Retrieve, Envelope("retrieve", {"text": "a", "count": 0}))


def test_unknown_fields_are_ignored() -> None:
    """A newer client's extra fields do no harm."""
    assert parse(Retrieve, Envelope("retrieve", {"text": "a", "new": 1})).count == 5


def test_long_values_are_cut_in_failures() -> None:
    """A megabyte of text is not sent back."""
    with pytest.raises(InvalidRequest) as raised:
        parse(Retrieve, Envelope("retrieve", {"text": "a", "count": "x" * 100_000}))
    assert len(raised.value.text) < 400


def test_too_long_texts_are_too_large() -> None:
    """The limit itself is fine, one more is refused with the limit."""
    require_length("abc", 3)
    with pytest.raises(TooLarge, match="at most 3 characters"):
        require_length("abcd", 3)


def test_a_failure_says_error_and_message_alike() -> None:
    """Clients read either key."""
    error = Overloaded("The queue is full.", details={"limit": 5}, retry_after=0.25)
    assert failure(error, Envelope("embeddings", {}, {"id": 1})) == {
        "status": "error",
        "type": "embeddings",
        "error": "The queue is full.",
        "message": "The queue is full.",
        "code": "overloaded",
        "retry_after": 0.25,
        "details": {"limit": 5},
        "id": 1,
    }


def test_a_payload_cannot_displace_status_type_or_the_echo() -> None:
    """A memory's own type and id would otherwise hide the reply's."""
    reply = success(Envelope("get", {}, {"id": 3}), {"type": "fact", "id": "m1", "status": "old"})
    assert reply == {"status": "success", "type": "get", "id": 3}


def test_numpy_vectors_are_written_directly() -> None:
    """float32 goes out with the digits that float32 has."""
    text = encode({"v": np.array([0.1, 1.0], dtype=np.float32)})
    assert text == '{"v":[0.1,1.0]}'


@pytest.mark.parametrize(
    "value",
    [float("nan"), [1.0, float("inf")], {"a": (float("-inf"),)}, np.array([1.0, np.nan], dtype=np.float32)],
)
def test_numbers_that_json_cannot_say_are_never_null(value: object) -> None:
    """orjson would write null; a client would then store it."""
    with pytest.raises(ValueError, match="not finite"):
        encode({"value": value, "none": None})


def test_null_beside_numbers_is_fine() -> None:
    """A real null is not mistaken for a NaN."""
    assert json.loads(encode({"type": None, "v": np.ones(2, dtype=np.float32)})) == {
        "type": None,
        "v": [1, 1],
    }


@given(
    st.dictionaries(
        st.text(),
        st.integers()
        | st.text(st.characters(exclude_categories=()))
        | st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_everything_else_is_written_and_read_back_equal(reply: dict[str, object]) -> None:
    """Huge integers and lone surrogates take the slow road, exactly."""
    assert json.loads(encode(reply)) == reply

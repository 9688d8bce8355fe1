"""Typed requests: defaults, limits, and errors that name the field."""

from typing import Any

import pytest
from pydantic import BaseModel

from servers.errors import InvalidRequest
from servers.memory.requests import (
    IdsRequest,
    ListRequest,
    RetrieveRequest,
    StoreRequest,
    read_cursor,
    write_cursor,
)
from servers.protocol import Envelope, parse


@pytest.mark.parametrize(
    ("model", "data", "field"),
    [
        (StoreRequest, {}, "text"),
        (StoreRequest, {"text": " \n"}, "text"),
        (StoreRequest, {"text": 5}, "text"),
        (StoreRequest, {"text": "a", "significance": True}, "significance"),
        (StoreRequest, {"text": "a", "significance": "0.5"}, "significance"),
        (StoreRequest, {"text": "a", "significance": 1.01}, "significance"),
        (StoreRequest, {"text": "a", "surprise": -0.01}, "surprise"),
        (StoreRequest, {"text": "a", "timestamp": "soon"}, "timestamp"),
        (StoreRequest, {"text": "a", "expires_at": True}, "expires_at"),
        (StoreRequest, {"text": "a", "id": 7}, "id"),
        (StoreRequest, {"text": "a", "id": ""}, "id"),
        (StoreRequest, {"text": "a", "namespace": "n" * 257}, "namespace"),
        (StoreRequest, {"text": "a", "metadata": []}, "metadata"),
        (StoreRequest, {"text": "a", "metadata": {"type": 1}}, "metadata"),
        (StoreRequest, {"text": "a", "metadata": {"tags": {"a": 1}}}, "metadata"),
        (StoreRequest, {"text": "a", "metadata": {"x": [{"y": 2**63}]}}, "metadata"),
        (StoreRequest, {"text": "a", "embedding": [0.0, 0]}, "embedding"),
        (StoreRequest, {"text": "a", "embedding": [1e39]}, "embedding"),
        (StoreRequest, {"text": "a", "embedding": ["1"]}, "embedding.0"),
        (StoreRequest, {"items": []}, "items"),
        (StoreRequest, {"items": "a"}, "items"),
        (StoreRequest, {"items": ["a"]}, "items.0"),
        (StoreRequest, {"items": [{"text": "a"}, {"text": ""}]}, "items.1.text"),
        (StoreRequest, {"items": [{"text": "a"}], "text": "b"}, "data"),
        (RetrieveRequest, {"count": 0}, "count"),
        (RetrieveRequest, {"count": 1001}, "count"),
        (RetrieveRequest, {"count": "5"}, "count"),
        (RetrieveRequest, {"min_significance": 1.5}, "min_significance"),
        (RetrieveRequest, {"offset": -1}, "offset"),
        (RetrieveRequest, {"sort": "best"}, "sort"),
        (RetrieveRequest, {"sort": "relevance"}, "data"),
        (RetrieveRequest, {"include": ["vector"]}, "include.0"),
        (RetrieveRequest, {"weights": {"recency": -1}}, "weights.recency"),
        (RetrieveRequest, {"filter": {"k": {"like": 1}}}, "filter"),
        (IdsRequest, {}, "data"),
        (IdsRequest, {"ids": []}, "ids"),
        (ListRequest, {"cursor": "c-1"}, "cursor"),
        (ListRequest, {"limit": 0}, "limit"),
        (ListRequest, {"count": 1001}, "limit"),
    ],
)
def test_an_error_names_the_field(model: type[BaseModel], data: dict[str, Any], field: str) -> None:
    """The first problem's field is named, in the text as well."""
    with pytest.raises(InvalidRequest) as caught:
        parse(model, Envelope("x", data))
    assert caught.value.details is not None
    assert str(caught.value.details["field"]).split(".")[: field.count(".") + 1] == field.split(".")
    assert field.split(".")[0] in str(caught.value)


def test_null_is_the_same_as_absent() -> None:
    """Clients that write null for what they do not mean get the defaults."""
    request = RetrieveRequest.model_validate(dict.fromkeys(RetrieveRequest.model_fields))
    assert request == RetrieveRequest()
    assert (request.count, request.min_significance, request.namespace) == (5, 0.0, "default")


def test_limits_are_inclusive() -> None:
    """The ends of every range are allowed."""
    request = RetrieveRequest.model_validate({"count": 1000, "min_significance": 1, "offset": 0})
    assert (request.count, request.min_significance) == (1000, 1.0)
    assert RetrieveRequest.model_validate({"count": 1}).count == 1


def test_a_single_memory_is_a_batch_of_one() -> None:
    """Type and tags come from the metadata, unknown fields are ignored, and a lone tag counts as one."""
    request = StoreRequest.model_validate(
        {"text": "a", "metadata": {"type": "fact", "tags": "x", "k": 1}, "unknown": object()}
    )
    (item,) = request.items
    assert not request.is_batch
    assert (item.type, item.tags, item.metadata["k"]) == ("fact", ("x",), 1)


def test_what_stands_beside_items_holds_for_all() -> None:
    """Namespace and timestamp are taken over by items that have none of their own."""
    request = StoreRequest.model_validate(
        {"items": [{"text": "a"}, {"text": "b", "namespace": "own"}], "namespace": "shared", "timestamp": 5}
    )
    assert request.is_batch
    assert [(item.namespace, item.timestamp) for item in request.items] == [("shared", 5), ("own", 5)]


def test_ids_are_named_once() -> None:
    """`id` and `ids` together mean all of them, without repetition."""
    assert IdsRequest.model_validate({"id": "b", "ids": ["a", "b", "a"]}).all_ids == ["b", "a"]


def test_a_cursor_reads_back() -> None:
    """What a page hands out, the next request understands."""
    assert read_cursor(write_cursor(255)) == 255

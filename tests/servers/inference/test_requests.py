"""Requests are read strictly, and refusals say what is allowed."""

from typing import Any

import pytest
from pydantic import ValidationError

from servers.inference.requests import EmbeddingsRequest, ProcessRequest


def test_a_bare_string_is_one_text_and_a_list_is_many() -> None:
    """The reply's shape follows from how the text was sent."""
    single = EmbeddingsRequest.model_validate({"text": "one"})
    many = EmbeddingsRequest.model_validate({"text": ["one"]})
    assert (single.text.items, single.text.is_single) == (["one"], True)
    assert (many.text.items, many.text.is_single) == (["one"], False)


@pytest.mark.parametrize("text", ["", [], ["a", ""], [1], [["a"]], 5, None, {"a": 1}, True])
def test_anything_else_is_no_text(text: Any) -> None:
    """Empty, nested and non-string texts are refused, and the field is named."""
    with pytest.raises(ValidationError) as refused:
        EmbeddingsRequest.model_validate({"text": text})
    assert refused.value.errors()[0]["loc"] == ("text",)
    assert "non-empty string" in refused.value.errors()[0]["msg"]


def test_a_bad_entry_is_named_by_its_place() -> None:
    """In a long list the client learns which entry is wrong."""
    with pytest.raises(ValidationError, match="entry 2 is null"):
        EmbeddingsRequest.model_validate({"text": ["a", "b", None]})


def test_the_defaults_are_those_of_the_contract() -> None:
    """Without `config`, or with null, vectors are normalised float32 in JSON numbers, and texts are cut."""
    nulls = {"dimensions": None, "normalize": None, "encoding": None, "priority": None}
    for data in ({"text": "a"}, *({"text": "a", "config": c} for c in (None, {}, {"unknown": 1}, nulls))):
        config = EmbeddingsRequest.model_validate(data).config
        assert config.model_dump() == {
            "dimensions": None,
            "normalize": True,
            "encoding": "float",
            "dtype": "float32",
            "truncate": True,
            "priority": "interactive",
        }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dimensions", 0),
        ("dimensions", "384"),
        ("dimensions", True),
        ("normalize", "yes"),
        ("encoding", "hex"),
        ("dtype", "float64"),
        ("truncate", 1),
        ("priority", "urgent"),
    ],
)
def test_wrong_config_values_are_refused_by_field(field: str, value: Any) -> None:
    """Nothing is guessed: a value of the wrong kind names its field."""
    with pytest.raises(ValidationError) as refused:
        EmbeddingsRequest.model_validate({"text": "a", "config": {field: value}})
    assert refused.value.errors()[0]["loc"] == ("config", field)


def test_context_takes_strings_messages_and_memories_and_skips_what_says_nothing() -> None:
    """All three kinds of entries are read in order; empty ones are left out."""
    context = [
        "plain",
        {"role": "user", "content": "message"},
        {"text": "memory", "timestamp": 1},
        {"role": "assistant", "content": None},
        "",
    ]
    request = ProcessRequest.model_validate({"text": "a", "context": context})
    assert request.context == ["plain", "message", "memory"]
    assert ProcessRequest.model_validate({"text": "a", "context": None}).context == []


@pytest.mark.parametrize("context", ["text", [3], [{"role": "user"}], [{"text": ["a"]}], [None]])
def test_other_contexts_are_refused(context: Any) -> None:
    """A context that is no list, or has an entry of another kind, names the field."""
    with pytest.raises(ValidationError) as refused:
        ProcessRequest.model_validate({"text": "a", "context": context})
    assert refused.value.errors()[0]["loc"] == ("context",)


@pytest.mark.parametrize("text", ["", None, ["a"], 3])
def test_process_takes_exactly_one_text(text: Any) -> None:
    """A list is for `embeddings`."""
    with pytest.raises(ValidationError):
        ProcessRequest.model_validate({"text": text})

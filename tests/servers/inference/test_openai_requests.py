"""Bodies of POST /v1/embeddings are read as that API reads them."""

import json
from typing import Any

import pytest

from servers.inference.openai_errors import ApiError
from servers.inference.openai_requests import EmbeddingsCall, read_call

NAMES = ("all-MiniLM-L6-v2", "alias")


def call(**body: Any) -> EmbeddingsCall:
    """The request read from `body`."""
    return read_call(json.dumps(body).encode(), NAMES)


def refusal(body: bytes) -> ApiError:
    """Why `body` is refused."""
    with pytest.raises(ApiError) as refused:
        read_call(body, NAMES)
    return refused.value


def test_strings_and_lists_are_read_with_their_options() -> None:
    """A string is one text; encoding and dimensions are passed on; unknown fields are ignored."""
    assert call(model="alias", input="one", user="u") == EmbeddingsCall(["one"], "float", None)
    many = call(input=["one", "two"], encoding_format="base64", dimensions=384)
    assert many == EmbeddingsCall(["one", "two"], "base64", 384)


@pytest.mark.parametrize("value", [[1, 2, 3], [[1, 2], [3]], [[]], ["text", [1, 2]]])
def test_token_ids_are_refused_with_the_cure(value: Any) -> None:
    """Ids of another vocabulary would give wrong vectors in silence; the text names the setting to change."""
    error = refusal(json.dumps({"input": value}).encode())
    assert error.status == 400
    assert error.param == "input"
    assert "check_embedding_ctx_length=False" in error.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"\xff", None),
        (b"[]", None),
        (b"[" * 100_000, None),
        (b"{}", "input"),
        (b'{"input": ""}', "input"),
        (b'{"input": []}', "input"),
        (b'{"input": ["a", ""]}', "input"),
        (b'{"input": [true]}', "input"),
        (b'{"input": null}', "input"),
        (b'{"input": "\\ud800"}', "input"),
        (b'{"input": "a", "encoding_format": "hex"}', "encoding_format"),
        (b'{"input": "a", "dimensions": 0}', "dimensions"),
        (b'{"input": "a", "dimensions": true}', "dimensions"),
        (b'{"input": "a", "model": 5}', "model"),
    ],
)
def test_other_bodies_are_refused_by_field(body: bytes, param: str | None) -> None:
    """Every malformed body is a 400 that names the field."""
    error = refusal(body)
    assert (error.status, error.param) == (400, param)


def test_an_unknown_model_is_not_found_and_the_known_ones_are_named() -> None:
    """404 model_not_found says what there is and how to give it another name."""
    error = refusal(b'{"model": "gpt", "input": "a"}')
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")
    for part in ("'gpt'", *NAMES, "aliases"):
        assert part in error.message

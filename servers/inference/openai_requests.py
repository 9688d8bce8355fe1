"""The body of POST /v1/embeddings, validated (protocol.md section 6).

Pure. It decides which bodies are accepted and refuses the others in the words of that API. Unknown fields
(`user` and whatever SDKs add) are ignored.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from servers.inference.openai_errors import ApiError

EncodingFormat = Literal["float", "base64"]

_TOKEN_IDS: Final = (
    "input: lists of token ids are refused, because they belong to another model's vocabulary and would give "
    "wrong vectors unnoticed. Send text; in LangChain, OpenAIEmbeddings(check_embedding_ctx_length=False)."
)
_INPUT: Final = "input: must be a non-empty string or a non-empty list of non-empty strings"


@dataclass(frozen=True, slots=True)
class EmbeddingsCall:
    """A valid request: texts, how to write the vectors, and the width asked for (None: the model's own)."""

    texts: list[str]
    encoding: EncodingFormat
    dimensions: int | None


def read_call(body: bytes, model_names: Collection[str]) -> EmbeddingsCall:
    """Return the request in `body`. Raises `ApiError`: 400 with the field, 404 with the models there are."""
    document = _read_object(body)
    check_model(document.get("model"), model_names)
    return EmbeddingsCall(
        _read_input(document), _read_encoding(document.get("encoding_format")), _read_dimensions(document)
    )


def check_model(model: Any, model_names: Collection[str]) -> None:
    """Raise `ApiError` unless `model` is one of `model_names`; None means the one that is loaded."""
    if model is None or model in model_names:
        return
    if not isinstance(model, str):
        raise ApiError(400, "model: must be a string.", param="model")
    raise ApiError(
        404,
        f"The model {model!r} does not exist here. This server has: {', '.join(model_names)}. "
        "Other names can be given to it with `aliases` in config.yaml.",
        param="model",
        code="model_not_found",
    )


def _read_object(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"The body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ApiError(400, "The body must be a JSON object with `model` and `input`.")
    return document


def _read_input(document: Mapping[str, Any]) -> list[str]:
    if "input" not in document:
        raise ApiError(400, "input: this field is required.", param="input")
    value = document["input"]
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise ApiError(400, f"{_INPUT}.", param="input")
    for place, text in enumerate(texts):
        _check_text(place, text)
    return texts


def _check_text(place: int, text: Any) -> None:
    is_ids = isinstance(text, list) and all(isinstance(each, int) for each in text)
    if is_ids or (isinstance(text, int) and not isinstance(text, bool)):
        raise ApiError(400, _TOKEN_IDS, param="input")
    if not isinstance(text, str) or not text:
        raise ApiError(400, f"{_INPUT}; entry {place} is not.", param="input")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ApiError(400, f"input: entry {place} holds half of a surrogate pair.", param="input") from error


def _read_encoding(value: Any) -> EncodingFormat:
    if value is None or value == "float":
        return "float"
    if value == "base64":
        return "base64"
    raise ApiError(400, "encoding_format: must be 'float' or 'base64'.", param="encoding_format")


def _read_dimensions(document: Mapping[str, Any]) -> int | None:
    value = document.get("dimensions")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ApiError(400, "dimensions: must be a whole number above 0.", param="dimensions")
    return value

"""The requests of the inference server's commands, validated (protocol.md section 5).

It decides which JSON is accepted and the words in which anything else is refused. It does not know the loaded
model: limits that depend on it are checked by the handlers.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, StrictBool, StrictInt

from servers.embedding.embedded import Priority
from servers.embedding.vectors import Dtype

Encoding = Literal["float", "base64", "binary"]

_TEXTS: Final = "must be a non-empty string, or a list of at least one non-empty string"
_ITEM: Final = "must be a string, an object with `role` and `content`, or an object with `text`"


@dataclass(frozen=True, slots=True)
class Texts:
    """One or more non-empty texts; `is_single`: the client sent a bare string and expects a flat vector."""

    items: list[str]
    is_single: bool


def read_texts(value: Any) -> Texts:
    """Return the texts of a request's `text`. Raises `ValueError` saying what is allowed and what came."""
    if isinstance(value, str) and value:
        return Texts([value], is_single=True)
    if not isinstance(value, list) or not value:
        raise ValueError(_TEXTS)
    for place, item in enumerate(value):
        if not isinstance(item, str) or not item:
            raise ValueError(f"{_TEXTS}; entry {place} is {_kind(item)}")
    return Texts(value, is_single=False)


def read_text(value: Any) -> str:
    """Return a request's single text. Raises `ValueError` unless it is a non-empty string."""
    if isinstance(value, str) and value:
        return value
    raise ValueError("must be a non-empty string")


def read_context(value: Any) -> list[str]:
    """Return the texts of `context`, in order; entries whose text is empty or null are left out.

    Each entry is a string, `{role, content}` or `{text, timestamp}`. Raises `ValueError` for anything else.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"must be a list; each entry {_ITEM}")
    texts = [_item_text(place, item) for place, item in enumerate(value)]
    return [text for text in texts if text]


def _item_text(place: int, item: Any) -> str:
    text = item
    if isinstance(item, dict):
        keys = [key for key in ("content", "text") if key in item]
        if not keys:
            raise ValueError(f"entry {place} {_ITEM}; it has neither `content` nor `text`")
        text = item[keys[0]] or ""
    if not isinstance(text, str):
        raise ValueError(f"entry {place} {_ITEM}; got {_kind(text)}")
    return text


def _kind(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}
    if value is None:
        return "null"
    return "empty" if value == "" else names.get(type(value), "of another type")


class EmbeddingConfig(BaseModel):
    """`config` of an `embeddings` request; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    dimensions: StrictInt | None = Field(default=None, ge=1)
    normalize: StrictBool = True
    encoding: Encoding = "float"
    dtype: Dtype = "float32"
    truncate: StrictBool = True
    priority: Priority = "interactive"


def _without_nulls(value: Any) -> Any:
    """`null` means the same as leaving a field out, as in every other request."""
    if value is None:
        return {}
    if isinstance(value, dict) and None in value.values():
        return {name: setting for name, setting in value.items() if setting is not None}
    return value


class EmbeddingsRequest(BaseModel):
    """`embeddings`: one text or a list of them, and how the vectors should look."""

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)

    text: Annotated[Texts, PlainValidator(read_texts)]
    config: Annotated[EmbeddingConfig, BeforeValidator(_without_nulls)] = EmbeddingConfig()


class ProcessRequest(BaseModel):
    """`process`: a text, and what it is to be seen against."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    text: Annotated[str, PlainValidator(read_text)]
    context: Annotated[list[str], PlainValidator(read_context)] = Field(default_factory=list)


class StatsRequest(BaseModel):
    """`stats`: takes nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

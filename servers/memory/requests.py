"""The requests of the memory server as typed, validated models (protocol.md section 4).

It decides what may be asked: names, types, ranges. `null` means the same as leaving a field out, unknown
fields are ignored. It does not know what is stored, nor what the model's dimensions are.
"""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    field_validator,
    model_validator,
)

from servers.memory.filters import Filter, parse_filter
from servers.memory.instants import instant_ms
from servers.memory.search import Match, Sort

DEFAULT_NAMESPACE: Final = "default"
MAX_COUNT: Final = 1000
"""Most memories in one reply, and most ids in one request."""
MAX_OFFSET: Final = 1_000_000_000
_INT64: Final = range(-(2**63), 2**63)

Name = Annotated[str, Field(min_length=1, max_length=256, strict=True, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""An id or a namespace: up to 256 characters, none of them a control character."""
Share = Annotated[float, Field(ge=0, le=1, strict=True, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1e6, strict=True, allow_inf_nan=False)]
Instant = Annotated[int, BeforeValidator(instant_ms)]
Component = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=MAX_COUNT, strict=True)]
Include = Literal["embedding", "score", "explain"]


def write_cursor(seq: int) -> str:
    """Return the cursor of the page after the memory with that seq; clients hand it back as it is."""
    return f"c{seq:x}"


def read_cursor(cursor: object) -> int:
    """Return the seq that a cursor stands for. Raises ValueError for text that no page was ever given."""
    if not isinstance(cursor, str) or not re.fullmatch(r"c[0-9a-f]{1,15}", cursor):
        raise ValueError("must be the next_cursor of an earlier page")
    return int(cursor[1:], 16)


class Request(BaseModel):
    """What all requests share."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None}


class Nothing(Request):
    """A request without data."""


class Content(Request):
    """What a memory says, in a request that may leave any of it out; the fields are those of the request."""

    @field_validator("text", check_fields=False)
    @classmethod
    def _text_says_something(cls, text: str | None) -> str | None:
        return None if text is None else require_filled(text)

    @field_validator("metadata", check_fields=False)
    @classmethod
    def _metadata_can_be_kept(cls, metadata: dict[str, Any] | None) -> dict[str, Any] | None:
        return None if metadata is None else require_keepable(metadata)

    @field_validator("embedding", check_fields=False)
    @classmethod
    def _embedding_points_somewhere(cls, embedding: list[float] | None) -> list[float] | None:
        return None if embedding is None else require_vector(embedding)

    @property
    def type(self) -> str | None:
        """The kind of memory, as its metadata say."""
        return self._metadata_given().get("type")

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that its metadata carry; a single string counts as one tag."""
        return tags_of(self._metadata_given())

    def _metadata_given(self) -> Mapping[str, Any]:
        given: Mapping[str, Any] | None = getattr(self, "metadata", None)
        return given or {}


class StoreItem(Content):
    """One memory to store; what is left out is computed or taken from the request around it."""

    text: Annotated[str, Field(strict=True)]
    metadata: dict[str, Any] = {}
    timestamp: Instant | None = None
    significance: Share | None = None
    surprise: Share | None = None
    id: Name | None = None
    namespace: Name | None = None
    embedding: list[Component] | None = None
    expires_at: Instant | None = None


class StoreRequest(Request):
    """`store`: one memory, or `items` with many; `namespace` and `timestamp` beside `items` hold for all."""

    items: Annotated[list[StoreItem], Field(min_length=1)]
    is_batch: bool

    @model_validator(mode="wrap")
    @classmethod
    def _one_or_many(cls, data: object, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """A single memory is validated as itself, so that an error names `text`, not `items.0.text`."""
        if not isinstance(data, Mapping) or data.get("items") is None:
            return validate({"items": [StoreItem.model_validate(data)], "is_batch": False})
        if data.get("text") is not None:
            raise ValueError("give either text or items, not both")
        shared = {key: data[key] for key in ("namespace", "timestamp") if data.get(key) is not None}
        items = data["items"]
        if isinstance(items, list):
            items = [{**shared, **item} if isinstance(item, Mapping) else item for item in items]
        return validate({"items": items, "is_batch": True})


class RankWeightsRequest(Request):
    """The shares of a score; what is left out keeps its default."""

    relevance: Weight | None = None
    significance: Weight | None = None
    recency: Weight | None = None


class Filtered(Request):
    """A request about the memories of one namespace that pass a filter."""

    namespace: Name = DEFAULT_NAMESPACE
    filter: dict[str, Any] = {}

    @field_validator("filter")
    @classmethod
    def _filter_has_a_meaning(cls, raw: dict[str, Any]) -> dict[str, Any]:
        parse_filter(raw)
        return raw

    @property
    def wanted(self) -> Filter:
        """The filter, typed."""
        return parse_filter(self.filter)


class RetrieveRequest(Filtered):
    """`retrieve`: the memories that matter most, or most for a query; a blank query counts as none."""

    count: Count = 5
    min_significance: Share = 0.0
    query: Annotated[str, Field(strict=True)] = ""
    sort: Sort | None = None
    weights: RankWeightsRequest = RankWeightsRequest()
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET, strict=True)] = 0
    include: frozenset[Include] = frozenset()
    explain: Annotated[bool, Field(strict=True)] = False
    match: Match = "meaning"

    @property
    def shown(self) -> frozenset[Include]:
        """What the memories of the reply carry beyond their own fields."""
        return self.include | ({"score", "explain"} if self.explain else frozenset())

    @model_validator(mode="after")
    def _relevance_needs_a_query(self) -> Self:
        if self.sort == "relevance" and not self.query.strip():
            raise ValueError("sort: relevance needs a query")
        if self.match != "meaning" and (not self.query.strip() or self.sort not in (None, "relevance")):
            raise ValueError("match: words and both need a query, and bring their own order")
        return self


class IdsRequest(Request):
    """`get`, `delete`, `restore`: one `id`, or several `ids`."""

    id: Name | None = None
    ids: Annotated[list[Name], Field(min_length=1, max_length=MAX_COUNT)] | None = None
    include: frozenset[Include] = frozenset()

    @model_validator(mode="after")
    def _something_is_named(self) -> Self:
        if self.id is None and self.ids is None:
            raise ValueError("id: name a memory with id, or several with ids")
        return self

    @property
    def all_ids(self) -> list[str]:
        """Every id that is named, once, in the order given."""
        named = [] if self.id is None else [self.id]
        return list(dict.fromkeys([*named, *(self.ids or [])]))


class ListRequest(Filtered):
    """`list`: every memory, newest stored first, page by page; `deleted`: what can be restored instead.

    `count`, as in `retrieve`, is another name for `limit`.
    """

    limit: Count = 50
    cursor: Annotated[int, BeforeValidator(read_cursor)] | None = None
    deleted: Annotated[bool, Field(strict=True)] = False
    include: frozenset[Include] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _count_is_the_limit(cls, data: object) -> object:
        if isinstance(data, Mapping) and data.get("limit") is None and data.get("count") is not None:
            return {**data, "limit": data["count"]}
        return data


def tags_of(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tags in valid metadata; a single string counts as one tag."""
    tags = metadata.get("tags") or ()
    return (tags,) if isinstance(tags, str) else tuple(tags)


def require_filled(text: str) -> str:
    """Return the text. Raises ValueError if there is nothing in it but white space."""
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def require_keepable(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return metadata whose type, tags and numbers can be kept. Raises ValueError for others."""
    kind, tags = metadata.get("type"), metadata.get("tags")
    if kind is not None and not isinstance(kind, str):
        raise ValueError("its field type must be a string")
    if tags is not None and not _are_tags(tags):
        raise ValueError("its field tags must be a list of strings")
    if not _is_keepable(metadata):
        raise ValueError("its integers must fit 64 bits and its numbers must be finite")
    return metadata


def require_vector(embedding: list[float]) -> list[float]:
    """Return a vector that has a direction in float32. Raises ValueError for others."""
    # Squares of float32's smallest and largest numbers fit a float64 many times over.
    if not 1e-30 < math.hypot(*embedding) < 3e38:
        raise ValueError("must be a vector of a length above zero that float32 can hold")
    return embedding


def _are_tags(tags: object) -> bool:
    return isinstance(tags, str) or (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags))


def _is_keepable(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_keepable(item) for item in value.values())
    if isinstance(value, list):
        return all(_is_keepable(item) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, bool) or not isinstance(value, int) or value in _INT64

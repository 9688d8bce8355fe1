"""The requests that alter, forget, move and secure memories, as typed models (protocol.md section 4).

It decides what may be asked, as `servers.memory.requests` does for the everyday commands.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from servers.memory.instants import instant_ms
from servers.memory.jobs import OnConflict
from servers.memory.requests import (
    MAX_COUNT,
    Component,
    Content,
    Count,
    Filtered,
    IdsRequest,
    Instant,
    Name,
    Request,
    Share,
    read_cursor,
)

_UNITS_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_AGE: Final = re.compile(r"(?:\d{1,9}(?:ms|s|m|h|d|w))+")
_AGE_PART: Final = re.compile(r"(\d+)(ms|s|m|h|d|w)")

FilePath = Annotated[str, Field(min_length=1, max_length=1024, strict=True)]


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound in time: an instant, or an age that counts from the moment of asking, in milliseconds."""

    instant_ms: int | None = None
    age_ms: int | None = None

    def at(self, now_ms: int) -> int:
        """Return the instant, in epoch milliseconds."""
        return self.instant_ms if self.instant_ms is not None else now_ms - (self.age_ms or 0)


def read_bound(value: object) -> Bound:
    """Return the bound that an age such as 30d or 1h30m, ISO-8601 text, or epoch milliseconds name."""
    if isinstance(value, str) and _AGE.fullmatch(value):
        return Bound(age_ms=sum(int(n) * _UNITS_MS[unit] for n, unit in _AGE_PART.findall(value)))
    try:
        return Bound(instant_ms=instant_ms(value))
    except ValueError as error:
        raise ValueError("must be an age such as 30d, ISO-8601 text, or milliseconds since 1970") from error


TimeBound = Annotated[Bound, BeforeValidator(read_bound)]


class UpdateRequest(IdsRequest, Content):
    """`update`: what is given replaces what was there, `metadata` as a whole; `expires_at: null` clears."""

    text: Annotated[str, Field(strict=True)] | None = None
    metadata: dict[str, Any] | None = None
    timestamp: Instant | None = None
    significance: Share | None = None
    surprise: Share | None = None
    embedding: list[Component] | None = None
    expires_at: Instant | None = None
    never_expires: bool = False

    @model_validator(mode="before")
    @classmethod
    def _null_clears_the_expiry(cls, data: object) -> object:
        # Elsewhere null means absent; here it is the only way to say that a memory no longer expires.
        if isinstance(data, Mapping) and "expires_at" in data and data["expires_at"] is None:
            return {**data, "never_expires": True}
        return data

    @model_validator(mode="after")
    def _something_changes(self) -> Self:
        if (self.text is not None or self.embedding is not None) and len(self.all_ids) > 1:
            raise ValueError("text and embedding can be changed of one memory at a time; give one id")
        changes = self.model_fields_set - {"id", "ids", "include"}
        if not changes:
            raise ValueError("name what changes: text, metadata, timestamp, significance, expires_at, …")
        return self


class ForgetRequest(Filtered):
    """`forget`: hide many at once; `undo` of the reply brings them back. At least one criterion is needed."""

    ids: Annotated[list[Name], Field(min_length=1, max_length=MAX_COUNT)] | None = None
    older_than: TimeBound | None = None
    below_significance: Share | None = None
    keep: Annotated[int, Field(ge=0, le=2**31, strict=True)] | None = None
    dry_run: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _says_what_to_forget(self) -> Self:
        named = (self.ids, self.older_than, self.below_significance, self.keep)
        if not self.filter and all(criterion is None for criterion in named):
            raise ValueError("name what to forget: ids, filter, older_than, below_significance or keep")
        return self


class RestoreRequest(Request):
    """`restore`: one `id`, several `ids`, or all that one `forget` hid, by the `undo` of its reply."""

    id: Name | None = None
    ids: Annotated[list[Name], Field(min_length=1, max_length=MAX_COUNT)] | None = None
    undo: Name | None = None

    @model_validator(mode="after")
    def _something_is_named(self) -> Self:
        if (self.undo is None) == (self.id is None and self.ids is None):
            raise ValueError("id: name a memory with id, several with ids, or a forget with undo")
        return self

    @property
    def all_ids(self) -> list[str]:
        """Every id that is named, once, in the order given."""
        named = [] if self.id is None else [self.id]
        return list(dict.fromkeys([*named, *(self.ids or [])]))


class PurgeRequest(Request):
    """`purge`: remove deleted memories for good: the named ones, or those deleted before a time."""

    ids: Annotated[list[Name], Field(min_length=1, max_length=MAX_COUNT)] | None = None
    deleted_before: TimeBound | None = None
    dry_run: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.ids is not None and self.deleted_before is not None:
            raise ValueError("give either ids or deleted_before, not both")
        return self


class DuplicatesRequest(Filtered):
    """`duplicates`: memories that repeated another when they were stored, newest first, with that other."""

    limit: Count = 50
    cursor: Annotated[int, BeforeValidator(read_cursor)] | None = None


class ExportRequest(Request):
    """`export`: every memory of a namespace (left out: of all) as JSON Lines in a file of the data folder."""

    path: FilePath | None = None
    namespace: Name | None = None


class ImportRequest(Request):
    """`import`: the memories of a JSON Lines file in the data folder."""

    path: FilePath
    on_conflict: OnConflict = "fail"
    reembed: Annotated[bool, Field(strict=True)] = False


class BackupRequest(Request):
    """`backup`: a complete copy of the store in a file of the data folder."""

    path: FilePath | None = None

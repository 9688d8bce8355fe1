"""The changes that clients ask for, as data, and what became of them.

It decides which changes there are and how heavy each is for a group commit; `servers.memory.ledger` and
`servers.memory.alterations` carry them out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from servers.memory.store.base import Memory, Selection, Vector

OnConflict = Literal["fail", "skip", "replace"]
"""What an imported memory does when its id is taken by another: refuse its batch, give way, or take over."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A memory before it is scored: `memory` without seq, scores None where they are to be computed.

    `information` lies in 0…1. With `is_named` the client chose the id, so it may be a repetition.
    """

    memory: Memory
    information: float
    significance: float | None
    surprise: float | None
    is_named: bool


@dataclass(frozen=True, slots=True)
class StoreJob:
    """Store these drafts: all of them, or none."""

    drafts: Sequence[Draft]

    @property
    def rows(self) -> int:
        """How many memories it changes."""
        return len(self.drafts)


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Mark the memories of these ids as deleted."""

    ids: Sequence[str]

    @property
    def rows(self) -> int:
        """How many memories it changes at most."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class RestoreJob:
    """Undo the deletion of the memories of these ids."""

    ids: Sequence[str]

    @property
    def rows(self) -> int:
        """How many memories it changes at most."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Patch:
    """What an update changes; None leaves a part as it is. `never_expires` takes the expiry away.

    With another `text` come its `information` and, unless the client gave one, its `vector`.
    """

    text: str | None = None
    information: float | None = None
    vector: Vector | None = None
    metadata: Mapping[str, Any] | None = None
    type: str | None = None
    tags: tuple[str, ...] = ()
    timestamp_ms: int | None = None
    significance: float | None = None
    surprise: float | None = None
    expires_at_ms: int | None = None
    never_expires: bool = False


@dataclass(frozen=True, slots=True)
class UpdateJob:
    """Change the memories of these ids by the same patch: all that exist, or none if one cannot be."""

    ids: Sequence[str]
    patch: Patch

    @property
    def rows(self) -> int:
        """How many memories it changes at most."""
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class ForgetJob:
    """Mark everything selected as deleted, under a name by which all of it can be brought back."""

    selection: Selection
    deletion: str
    rows: int = 1


@dataclass(frozen=True, slots=True)
class UndoJob:
    """Bring back what a `ForgetJob` of that name hid."""

    deletion: str
    rows: int = 1


@dataclass(frozen=True, slots=True)
class PurgeJob:
    """Remove deleted memories for good: these ids, or at most `most` that were deleted before that time."""

    deleted_before_ms: int
    most: int
    ids: tuple[str, ...] | None = None
    rows: int = 0


@dataclass(frozen=True, slots=True)
class ExpireJob:
    """Mark at most `most` memories whose time is over as deleted since then."""

    most: int
    rows: int = 0


@dataclass(frozen=True, slots=True)
class ImportJob:
    """Put memories back as they were exported: all of them, or none."""

    memories: Sequence[Memory]
    on_conflict: OnConflict

    @property
    def rows(self) -> int:
        """How many memories it changes at most."""
        return len(self.memories)


@dataclass(frozen=True, slots=True)
class NoteJob:
    """Keep a fact about the store, such as the time of its last backup."""

    name: str
    value: str
    rows: int = 0


Alteration = UpdateJob | ForgetJob | UndoJob | PurgeJob | ExpireJob | ImportJob | NoteJob
"""The rarer changes."""

Job = StoreJob | DeleteJob | RestoreJob | Alteration


@dataclass(slots=True)
class Outcome:
    """What a job did: `memories` one per draft or per id that was changed, and what the index must follow.

    `missing` are ids that name nothing to change, `affected` the ids of many that were hidden at once,
    `count` how many rows a purge removed, `unchanged` how many imported ones were there already. After the
    commit, `visible` and `active` count the memories shown and those that reach the significance threshold.
    """

    memories: list[Memory] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    added: list[Memory] = field(default_factory=list)
    revived: list[Memory] = field(default_factory=list)
    replaced: list[Memory] = field(default_factory=list)
    removed_seqs: list[int] = field(default_factory=list)
    affected: list[str] = field(default_factory=list)
    count: int = 0
    unchanged: int = 0
    visible: int = 0
    active: int = 0

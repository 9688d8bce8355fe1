"""What requests to store do when they are carried out together: which memories are new, and how they score.

It decides what a repeated id means and that a request is stored whole or not at all, before anything is
written; what is new of all requests is then written at once. It does not know commits, threads or the index.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from servers.errors import InvalidRequest, RequestError
from servers.memory import scoring
from servers.memory.jobs import Draft, Outcome, StoreJob
from servers.memory.novelty import Novelty
from servers.memory.room import Room
from servers.memory.scoring import Rules
from servers.memory.store.base import Memory, Transaction
from servers.scoring_terms import surprise


@dataclass(slots=True)
class _Plan:
    """What one request comes to: `parts` are its memories, those to be written as their place in the run.

    Its own new ones follow upon the `first` of the run that were there before.
    """

    first: int
    parts: list[Memory | int] = field(default_factory=list)
    added: list[Memory] = field(default_factory=list)
    revived: list[Memory] = field(default_factory=list)
    named: dict[str, Memory | int] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        """Whether it holds anything that the run still has to write."""
        return any(isinstance(part, int) for part in self.parts)


class StoreRun:
    """Plans requests one after the other with `plan`, then carries out all of them with `write`.

    `novelty` knows the neighbours of all drafts of the group, `room` what may still be taken in.
    """

    def __init__(self, novelty: Novelty, rules: Rules, room: Room, transaction: Transaction) -> None:
        self._novelty = novelty
        self._rules = rules
        self._room = room
        self._transaction = transaction
        self._new: list[Memory] = []
        self._named: dict[str, Memory | int] = {}
        self._plans: list[_Plan | RequestError] = []

    def plan(self, job: StoreJob, first_row: int) -> None:
        """Take one more request, whose drafts are those of `novelty` from `first_row` on."""
        plan = _Plan(len(self._new))
        rows = range(first_row, first_row + len(job.drafts))
        try:
            for row, draft in zip(rows, job.drafts, strict=True):
                self._take(plan, row, draft)
            self._room.take(plan.added)
        except RequestError as error:
            self._novelty.withdraw(rows)
            self._plans.append(error)
            return
        self._new += plan.added
        self._named.update(plan.named)
        self._plans.append(plan)

    def write(self) -> list[Outcome | RequestError]:
        """Write what is new and bring back what was deleted; returns an answer for each request, in order."""
        written: list[Memory] | RequestError = []
        if self._new:
            try:
                written = self._transaction.insert_many(self._new)
            except RequestError as error:
                written = error
        return [plan if isinstance(plan, RequestError) else self._done(plan, written) for plan in self._plans]

    def _take(self, plan: _Plan, row: int, draft: Draft) -> None:
        known = self._known(plan, draft.memory.id) if draft.is_named else None
        if known is None:
            plan.parts.append(plan.first + len(plan.added))
            plan.added.append(self._scored(row, draft))
            self._novelty.accept(row, draft.memory.id)
            if draft.is_named:
                plan.named[draft.memory.id] = plan.parts[-1]
        elif isinstance(known, int):
            _repeated(
                self._new[known] if known < plan.first else plan.added[known - plan.first], draft.memory
            )
            plan.parts.append(known)
        else:
            memory = _repeated(known, draft.memory)
            if known.deleted_at_ms is not None:
                plan.revived.append(memory)
            plan.named[memory.id] = memory
            plan.parts.append(memory)

    def _known(self, plan: _Plan, memory_id: str) -> Memory | int | None:
        """The memory of that id as it is after everything planned so far; a place if it is to be written."""
        for named in (plan.named, self._named):
            if memory_id in named:
                return named[memory_id]
        return self._transaction.find(memory_id)

    def _scored(self, row: int, draft: Draft) -> Memory:
        neighbour = self._novelty.nearest(row)
        novel = surprise(None if neighbour is None else neighbour.similarity)
        if draft.surprise is not None:
            novel = draft.surprise
        weighed = scoring.weigh_significance(novel, draft.information, self._rules.weights)
        is_duplicate = neighbour is not None and neighbour.similarity >= self._rules.duplicate_similarity
        return _with_scores(
            draft.memory,
            surprise=novel,
            significance=weighed if draft.significance is None else draft.significance,
            duplicate_of=neighbour.id if neighbour is not None and is_duplicate else None,
        )

    def _done(self, plan: _Plan, written: list[Memory] | RequestError) -> Outcome | RequestError:
        if isinstance(written, RequestError):
            if plan.writes:
                return written
            written = []
        for memory in plan.revived:
            self._transaction.set_deleted(memory.id, None)
        return Outcome(
            memories=[written[part] if isinstance(part, int) else part for part in plan.parts],
            added=written[plan.first : plan.first + len(plan.added)],
            revived=plan.revived,
        )


def _with_scores(memory: Memory, *, surprise: float, significance: float, duplicate_of: str | None) -> Memory:
    # A draft is neither deleted nor placed. Half the time of `dataclasses.replace`, once for every memory.
    return Memory(
        memory.id,
        memory.namespace,
        memory.text,
        memory.timestamp_ms,
        significance,
        surprise,
        memory.type,
        memory.tags,
        memory.metadata,
        memory.vector,
        duplicate_of,
        memory.expires_at_ms,
    )


def _repeated(known: Memory, wanted: Memory) -> Memory:
    if known.text == wanted.text and known.namespace == wanted.namespace:
        return replace(known, deleted_at_ms=None)
    raise InvalidRequest(
        f"id: {wanted.id!r} already belongs to another memory (namespace {known.namespace!r}); an id may be "
        "repeated only with the same text. Choose another id.",
        details={"field": "id", "id": wanted.id, "namespace": known.namespace},
    )

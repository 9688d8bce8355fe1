"""What the rarer changes do inside a transaction: update, forget, undo, purge, expire, import.

It decides what each means for the memories; scoring anew asks the caller for the nearest other memory. It
does not know commits, threads or the index.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from servers.errors import InvalidRequest
from servers.memory import scoring
from servers.memory.jobs import (
    Alteration,
    ExpireJob,
    ForgetJob,
    ImportJob,
    NoteJob,
    Outcome,
    Patch,
    PurgeJob,
    UndoJob,
    UpdateJob,
)
from servers.memory.scoring import Rules
from servers.memory.search import Neighbour
from servers.memory.store.base import Memory, Transaction, Vector
from servers.scoring_terms import surprise


@dataclass(frozen=True, slots=True)
class Alterations:
    """Carries out changes; `nearest_other` finds the memory nearest to a vector besides the one of a seq."""

    rules: Rules
    now_ms: Callable[[], int]
    nearest_other: Callable[[str, Vector, int], Neighbour | None]

    def run(self, job: Alteration, transaction: Transaction) -> Outcome:
        """Do what the job says; an error undoes all of it."""
        match job:
            case UpdateJob():
                return self._update(job, transaction)
            case ImportJob():
                return _import(job, transaction)
            case ForgetJob():
                gone = transaction.delete_selected(job.selection, self.now_ms(), job.deletion)
                return Outcome(
                    removed_seqs=[seq for seq, _ in gone], affected=[memory_id for _, memory_id in gone]
                )
            case UndoJob():
                back = transaction.restore_deletion(job.deletion)
                return Outcome(memories=back, revived=back)
            case ExpireJob():
                seqs = transaction.delete_expired(self.now_ms(), job.most)
                return Outcome(removed_seqs=seqs, count=len(seqs))
            case PurgeJob():
                return Outcome(count=transaction.purge(job.ids, job.deleted_before_ms, job.most))
            case NoteJob():
                transaction.set_property(job.name, job.value)
                return Outcome()

    def _update(self, job: UpdateJob, transaction: Transaction) -> Outcome:
        outcome = Outcome()
        for memory_id in job.ids:
            known = transaction.find(memory_id)
            if known is None or known.deleted_at_ms is not None:
                outcome.missing.append(memory_id)
                continue
            changed = self._patched(known, job.patch)
            transaction.replace(changed)
            outcome.memories.append(changed)
            outcome.replaced.append(changed)
        return outcome

    def _patched(self, known: Memory, patch: Patch) -> Memory:
        changed = known
        if patch.metadata is not None:
            changed = replace(changed, metadata=patch.metadata, type=patch.type, tags=patch.tags)
        if patch.timestamp_ms is not None:
            changed = replace(changed, timestamp_ms=patch.timestamp_ms)
        if patch.never_expires or patch.expires_at_ms is not None:
            changed = replace(changed, expires_at_ms=patch.expires_at_ms)
        if patch.text is not None:
            changed = replace(changed, text=patch.text)
        if patch.vector is not None:
            changed = self._rescored(replace(changed, vector=patch.vector), patch)
        if patch.surprise is not None:
            changed = replace(changed, surprise=patch.surprise)
        if patch.significance is not None:
            changed = replace(changed, significance=patch.significance)
        return changed

    def _rescored(self, changed: Memory, patch: Patch) -> Memory:
        """The memory with the scores that it would get if it were stored now."""
        neighbour = self.nearest_other(changed.namespace, changed.vector, changed.seq)
        novel = surprise(None if neighbour is None else neighbour.similarity)
        said = patch.information if patch.information is not None else 0.0
        basis = novel if patch.surprise is None else patch.surprise
        is_duplicate = neighbour is not None and neighbour.similarity >= self.rules.duplicate_similarity
        return replace(
            changed,
            surprise=novel,
            significance=scoring.weigh_significance(basis, said, self.rules.weights),
            duplicate_of=neighbour.id if neighbour is not None and is_duplicate else None,
        )


def _import(job: ImportJob, transaction: Transaction) -> Outcome:
    outcome = Outcome()
    for memory in job.memories:
        known = transaction.find(memory.id)
        if known is None:
            outcome.added.append(transaction.insert(memory))
        elif known.deleted_at_ms is None and is_same(known, memory):
            outcome.unchanged += 1
        elif job.on_conflict == "replace":
            _take_over(known, memory, transaction, outcome)
        elif job.on_conflict == "skip":
            outcome.unchanged += 1
        else:
            raise InvalidRequest(
                f"id: {memory.id!r} already belongs to another memory of this store; import with on_conflict "
                'set to "skip" or "replace".',
                details={"field": "on_conflict", "id": memory.id},
            )
    outcome.memories = [*outcome.added, *outcome.replaced, *outcome.revived]
    return outcome


def _take_over(known: Memory, memory: Memory, transaction: Transaction, outcome: Outcome) -> None:
    changed = replace(memory, seq=known.seq)
    if known.deleted_at_ms is not None:
        transaction.set_deleted(known.id, None)
    transaction.replace(changed)
    outcome.replaced.append(changed)


def is_same(one: Memory, other: Memory) -> bool:
    """Whether two memories are alike in everything that an export holds, the vector bit for bit."""
    plain = replace(one, seq=0, deleted_at_ms=None, deletion=None)
    return plain == replace(other, seq=0, deleted_at_ms=None, deletion=None) and np.array_equal(
        one.vector.view(np.uint32), other.vector.view(np.uint32)
    )

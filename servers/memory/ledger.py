"""What a group of changes does to the store and, once it is on the disk, to the index.

It decides the scores of new memories, what a repeated id means, and the order "disk first, then shown, then
acknowledged". It does not know threads, sockets or SQL. Called by the one thread that commits.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from servers.errors import InvalidRequest, RequestError
from servers.memory import scoring
from servers.memory.alterations import Alterations
from servers.memory.group_commit import Diverged
from servers.memory.index import VectorIndex
from servers.memory.jobs import Alteration, DeleteJob, Draft, Job, Outcome, RestoreJob, StoreJob
from servers.memory.keywords import KeywordIndex
from servers.memory.novelty import Novelty
from servers.memory.room import Room
from servers.memory.scoring import RankWeights, Rules
from servers.memory.search import Neighbour, Search
from servers.memory.store.base import CommitUnknown, Memory, Store, Transaction, Vector, columns_of
from servers.scoring_terms import surprise


class Ledger:
    """Commits groups of jobs to `store`, then to `index`; `now_ms` tells the time in epoch milliseconds.

    What would exceed `room` is refused with StorageFull.
    """

    def __init__(
        self,
        store: Store,
        index: VectorIndex,
        rules: Rules,
        now_ms: Callable[[], int],
        room: Room | None = None,
        keywords: KeywordIndex | None = None,
    ) -> None:
        self._store = store
        self._index = index
        self._rules = rules
        self._now_ms = now_ms
        self._keywords = keywords
        self._room = room or Room()
        self._alterations = Alterations(rules, now_ms, self._nearest_other)

    def commit(self, jobs: Sequence[Job]) -> list[Outcome | RequestError]:
        """Commit the jobs in order with one sync; returns an outcome, or the error that undid that job alone.

        Raises StorageFull or StorageError when nothing of the group was kept, Diverged when it was but
        cannot be shown.
        """
        drafts = [draft for job in jobs if isinstance(job, StoreJob) for draft in job.drafts]
        # Everything that may get a row is counted, so that what is committed can always be shown.
        self._index.reserve(sum(job.rows for job in jobs))
        novelty = self._novelty(drafts)
        if self._room.is_limited:
            visible, _ = self._index.counts(self._now_ms(), 0.0)
            names = self._index.columns
            self._room.begin(visible, names.namespace_count, lambda name: names.code_of(name) is not None)
        operations: list[Callable[[Transaction], Outcome]] = []
        first_row = 0
        for job in jobs:
            if isinstance(job, StoreJob):
                operations.append(partial(self._store_all, novelty, first_row, job.drafts))
                first_row += len(job.drafts)
            elif isinstance(job, DeleteJob | RestoreJob):
                operations.append(partial(self._mark_all, job))
            else:
                operations.append(partial(self._alter, job))
        try:
            outcomes = self._store.apply(operations)
        except CommitUnknown as error:
            raise Diverged("the store may hold more than is shown") from error
        self._show([outcome for outcome in outcomes if isinstance(outcome, Outcome)])
        return outcomes

    def _novelty(self, drafts: Sequence[Draft]) -> Novelty:
        vectors = (
            np.stack([draft.memory.vector for draft in drafts]) if drafts else np.empty((0, 1), np.float32)
        )
        return Novelty(self._index, vectors, [draft.memory.namespace for draft in drafts], self._now_ms())

    def _store_all(
        self, novelty: Novelty, first_row: int, drafts: Sequence[Draft], transaction: Transaction
    ) -> Outcome:
        outcome = Outcome()
        try:
            for row, draft in enumerate(drafts, start=first_row):
                self._store_one(novelty, row, draft, transaction, outcome)
            self._room.take(outcome.added)
        except RequestError:
            novelty.withdraw(range(first_row, first_row + len(drafts)))
            raise
        return outcome

    def _store_one(
        self, novelty: Novelty, row: int, draft: Draft, transaction: Transaction, outcome: Outcome
    ) -> None:
        known = transaction.find(draft.memory.id) if draft.is_named else None
        if known is None:
            memory = transaction.insert(self._scored(novelty, row, draft))
            novelty.accept(row, memory.id)
            outcome.added.append(memory)
        else:
            memory = _repeated(known, draft.memory)
            if known.deleted_at_ms is not None:
                transaction.set_deleted(known.id, None)
                outcome.revived.append(memory)
        outcome.memories.append(memory)

    def _scored(self, novelty: Novelty, row: int, draft: Draft) -> Memory:
        neighbour = novelty.nearest(row)
        novel = surprise(None if neighbour is None else neighbour.similarity)
        if draft.surprise is not None:
            novel = draft.surprise
        weighed = scoring.weigh_significance(novel, draft.information, self._rules.weights)
        is_duplicate = neighbour is not None and neighbour.similarity >= self._rules.duplicate_similarity
        return replace(
            draft.memory,
            surprise=novel,
            significance=weighed if draft.significance is None else draft.significance,
            duplicate_of=neighbour.id if neighbour is not None and is_duplicate else None,
        )

    def _alter(self, job: Alteration, transaction: Transaction) -> Outcome:
        outcome = self._alterations.run(job, transaction)
        self._room.take(outcome.added)
        return outcome

    def _mark_all(self, job: DeleteJob | RestoreJob, transaction: Transaction) -> Outcome:
        outcome = Outcome()
        is_delete = isinstance(job, DeleteJob)
        for memory_id in dict.fromkeys(job.ids):
            memory = transaction.find(memory_id)
            if memory is None or (memory.deleted_at_ms is None) != is_delete:
                outcome.missing.append(memory_id)
                continue
            at_ms = self._now_ms() if is_delete else None
            transaction.set_deleted(memory_id, at_ms)
            outcome.memories.append(replace(memory, deleted_at_ms=at_ms))
        if is_delete:
            outcome.removed_seqs = [memory.seq for memory in outcome.memories]
        else:
            outcome.revived = outcome.memories
        return outcome

    def _nearest_other(self, namespace: str, vector: Vector, seq: int) -> Neighbour | None:
        """The memory shown that is nearest to the vector, besides the one of that seq."""
        only_relevance = RankWeights(relevance=1.0, significance=0.0, recency=0.0)
        search = Search(namespace, self._now_ms(), 2, sort="relevance", query=vector, weights=only_relevance)
        hits = [hit for hit in self._index.search(search).hits if hit.seq != seq]
        if not hits or hits[0].similarity is None:
            return None
        found = self._store.fetch([hits[0].seq])
        return Neighbour(hits[0].similarity, found[hits[0].seq].id) if hits[0].seq in found else None

    def _show(self, outcomes: Sequence[Outcome]) -> None:
        added = [memory for outcome in outcomes for memory in outcome.added]
        try:
            if added:
                self._index.append(columns_of(added, len(added[0].vector)))
            for outcome in outcomes:
                if outcome.revived:
                    self._index.revive(columns_of(outcome.revived, len(outcome.revived[0].vector)))
                if outcome.replaced:
                    self._index.replace(columns_of(outcome.replaced, len(outcome.replaced[0].vector)))
                self._index.remove(outcome.removed_seqs)
                self._show_words(outcome)
            visible, active = self._index.counts(self._now_ms(), self._rules.significance_threshold)
        except Exception as error:
            raise Diverged("committed memories could not be shown") from error
        for outcome in outcomes:
            outcome.visible, outcome.active = visible, active

    def _show_words(self, outcome: Outcome) -> None:
        if self._keywords is None:
            return
        changed = [*outcome.added, *outcome.revived, *outcome.replaced]
        self._keywords.put((memory.seq, memory.text) for memory in changed)
        self._keywords.remove(outcome.removed_seqs)


def _repeated(known: Memory, wanted: Memory) -> Memory:
    if known.text == wanted.text and known.namespace == wanted.namespace:
        return replace(known, deleted_at_ms=None)
    raise InvalidRequest(
        f"id: {wanted.id!r} already belongs to another memory (namespace {known.namespace!r}); an id may be "
        "repeated only with the same text. Choose another id.",
        details={"field": "id", "id": wanted.id, "namespace": known.namespace},
    )

"""What a group of changes does to the store and, once it is on the disk, to the index.

It decides the scores of new memories, what a repeated id means, and the order "disk first, then shown, then
acknowledged". It does not know threads, sockets or SQL. Called by the one thread that commits.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

import numpy as np

from servers.errors import RequestError
from servers.memory.alterations import Alterations
from servers.memory.group_commit import Diverged
from servers.memory.index import VectorIndex
from servers.memory.jobs import Alteration, DeleteJob, Draft, Job, Outcome, RestoreJob, StoreJob
from servers.memory.keywords import KeywordIndex
from servers.memory.novelty import Novelty
from servers.memory.room import Room
from servers.memory.scoring import RankWeights, Rules
from servers.memory.search import Neighbour, Search
from servers.memory.store.base import CommitUnknown, Store, Transaction, Vector, columns_of
from servers.memory.store_run import StoreRun

_Operation = Callable[[Transaction], list[Outcome | RequestError]]


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
        operations: list[_Operation] = []
        first_row = 0
        for is_run, some in groupby(jobs, key=lambda job: isinstance(job, StoreJob)):
            together = list(some)
            if is_run:
                run = [job for job in together if isinstance(job, StoreJob)]
                operations.append(partial(self._store_run, novelty, first_row, run))
                first_row += sum(job.rows for job in run)
            else:
                operations += [partial(self._do, job) for job in together]
        try:
            answers = self._store.apply(operations)
        except CommitUnknown as error:
            raise Diverged("the store may hold more than is shown") from error
        outcomes = [
            one for answer in answers for one in ([answer] if isinstance(answer, RequestError) else answer)
        ]
        self._show([outcome for outcome in outcomes if isinstance(outcome, Outcome)])
        return outcomes

    def _novelty(self, drafts: Sequence[Draft]) -> Novelty:
        vectors = (
            np.stack([draft.memory.vector for draft in drafts]) if drafts else np.empty((0, 1), np.float32)
        )
        return Novelty(self._index, vectors, [draft.memory.namespace for draft in drafts], self._now_ms())

    def _store_run(
        self, novelty: Novelty, first_row: int, jobs: Sequence[StoreJob], transaction: Transaction
    ) -> list[Outcome | RequestError]:
        """Store what several requests bring, with one statement for all of them."""
        run = StoreRun(novelty, self._rules, self._room, transaction)
        for job in jobs:
            run.plan(job, first_row)
            first_row += job.rows
        return run.write()

    def _do(self, job: Job, transaction: Transaction) -> list[Outcome | RequestError]:
        """Carry out a job that is none of storing; its error undoes it alone."""
        if isinstance(job, DeleteJob | RestoreJob):
            return [self._mark_all(job, transaction)]
        assert not isinstance(job, StoreJob), "stored in runs"
        return [self._alter(job, transaction)]

    def _alter(self, job: Alteration, transaction: Transaction) -> Outcome:
        outcome = self._alterations.run(job, transaction)
        self._room.take(outcome.added, outcome.replaced)
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

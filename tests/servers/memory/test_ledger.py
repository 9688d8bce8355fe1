"""Groups of changes: scores, repeated ids, all-or-nothing batches, and disk before index before answer."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servers.errors import InvalidRequest, StorageFull
from servers.memory.group_commit import Diverged
from servers.memory.index import VectorIndex
from servers.memory.jobs import DeleteJob, Draft, Job, Outcome, RestoreJob, StoreJob
from servers.memory.ledger import Ledger
from servers.memory.search import Search
from servers.memory.store.base import Columns, Memory, ModelMark
from servers.memory.store.sqlite import SqliteStore
from servers.memory.store.sqlite_transaction import SqliteTransaction
from tests.servers.memory.doubles import DIMENSIONS, RULES, Disk, make_memory, make_vector

NOW_MS = 1_700_000_000_000


@dataclass
class World:
    """A ledger with what it writes to."""

    store: SqliteStore
    index: VectorIndex
    ledger: Ledger

    def commit(self, *jobs: Job) -> list[Outcome]:
        """Commit the jobs as one group, all of which must succeed."""
        answers = self.ledger.commit(jobs)
        assert all(isinstance(answer, Outcome) for answer in answers), answers
        return [answer for answer in answers if isinstance(answer, Outcome)]

    def shown(self) -> set[str]:
        """The ids that a search shows."""
        hits = self.index.search(Search("default", NOW_MS, 1000)).hits
        return {memory.id for memory in self.store.fetch([hit.seq for hit in hits]).values()}


def make_world(folder: Path, vfs: str | None = None) -> World:
    """An empty store with its index."""
    store = SqliteStore(folder, vfs=vfs)
    store.bind_model(ModelMark("a-model", DIMENSIONS))
    index = VectorIndex(DIMENSIONS)
    return World(store, index, Ledger(store, index, RULES, lambda: NOW_MS))


@pytest.fixture
def world(tmp_path: Path, disk: Disk) -> Iterator[World]:
    """An empty world on the disk that can fail."""
    made = make_world(tmp_path, disk.name)
    with closing(made.store):
        yield made


def draft(memory_id: str, *, named: bool = True, information: float = 0.5, **changes: Any) -> Draft:
    """A memory to store; `significance` and `surprise` are the client's own, unless left out."""
    significance, surprise = changes.pop("significance", None), changes.pop("surprise", None)
    return Draft(make_memory(memory_id, **changes), information, significance, surprise, named)


def store_job(*drafts: Draft) -> StoreJob:
    """A job that stores these."""
    return StoreJob(drafts)


def test_the_first_memory_is_all_surprise(world: World) -> None:
    """Nothing known: surprise 1, significance 0.6 + 0.4 · information."""
    (outcome,) = world.commit(store_job(draft("a", information=0.25)))
    (memory,) = outcome.memories
    assert (memory.surprise, memory.significance, memory.duplicate_of) == (1.0, pytest.approx(0.7), None)
    assert (outcome.visible, outcome.active) == (1, 1)


def test_a_repeated_text_is_no_surprise_and_named_a_duplicate(world: World) -> None:
    """The same vector again has surprise 0 and points to the first one; it is kept all the same."""
    world.commit(store_job(draft("a")))
    (outcome,) = world.commit(store_job(draft("b", vector=make_vector("a"))))
    (memory,) = outcome.memories
    assert memory.surprise == pytest.approx(0.0, abs=1e-6)
    assert memory.duplicate_of == "a"
    assert world.shown() == {"a", "b"}


def test_what_the_client_says_is_kept(world: World) -> None:
    """Significance and surprise that were sent are not computed."""
    (outcome,) = world.commit(store_job(draft("a", significance=0.125, surprise=0.5)))
    assert (outcome.memories[0].significance, outcome.memories[0].surprise) == (0.125, 0.5)
    (outcome,) = world.commit(store_job(draft("b", surprise=0.5, information=0.5)))
    assert outcome.memories[0].significance == pytest.approx(0.6 * 0.5 + 0.4 * 0.5)


def test_namespaces_surprise_apart(world: World) -> None:
    """The same vector in another namespace is new there."""
    world.commit(store_job(draft("a")))
    (outcome,) = world.commit(store_job(draft("b", vector=make_vector("a"), namespace="other")))
    assert outcome.memories[0].surprise == 1.0


def test_a_repeated_id_gets_the_same_answer(world: World) -> None:
    """Same id and text: nothing is added and the first answer is given, in the same group or later."""
    first, again = world.commit(store_job(draft("a")), store_job(draft("a")))
    assert again.memories == first.memories
    (later,) = world.commit(store_job(draft("a", information=0.9, significance=0.1)))
    assert later.memories == first.memories
    assert later.visible == 1


@pytest.mark.parametrize("change", [{"text": "another text"}, {"namespace": "other"}])
def test_an_id_cannot_change_its_meaning(world: World, change: dict[str, str]) -> None:
    """Same id with another text or place is refused, naming the id; the first memory stays."""
    world.commit(store_job(draft("a")))
    (answer,) = world.ledger.commit([store_job(draft("a", **change))])
    assert isinstance(answer, InvalidRequest)
    assert "'a'" in str(answer)
    assert world.store.find_many(["a"])["a"].text == "text of a"


def test_a_batch_is_stored_whole_or_not_at_all(world: World) -> None:
    """One bad item undoes its batch, and the batch leaves no trace in what follows it in the group."""
    world.commit(store_job(draft("taken")))
    batch = store_job(draft("x"), draft("taken", text="another"))
    refused, after = world.ledger.commit([batch, store_job(draft("y", vector=make_vector("x")))])
    assert isinstance(refused, InvalidRequest)
    assert isinstance(after, Outcome)
    assert after.memories[0].surprise > 0.1
    assert world.shown() == {"taken", "y"}


def test_storing_a_deleted_id_brings_it_back(world: World) -> None:
    """An acknowledged store is visible, also when its id had been deleted meanwhile."""
    world.commit(store_job(draft("a")))
    world.commit(DeleteJob(["a"]))
    assert world.shown() == set()
    world.commit(store_job(draft("a")))
    assert world.shown() == {"a"}


def test_a_refused_batch_brings_nothing_back(world: World) -> None:
    """A batch that is refused leaves the deleted memory that it named deleted."""
    world.commit(store_job(draft("gone"), draft("taken")))
    world.commit(DeleteJob(["gone"]))
    batch = store_job(draft("gone"), draft("taken", text="another"))
    (refused,) = world.ledger.commit([batch])
    assert isinstance(refused, InvalidRequest)
    assert world.shown() == {"taken"}


def test_an_id_named_twice_at_once_is_brought_back_once(world: World) -> None:
    """Two requests of one group that name a deleted memory both get it; it is shown once."""
    world.commit(store_job(draft("gone")))
    world.commit(DeleteJob(["gone"]))
    one, other = world.commit(store_job(draft("gone")), store_job(draft("gone"), draft("new")))
    assert one.memories == other.memories[:1]
    assert [len(each.revived) for each in (one, other)] == [1, 0]
    assert world.shown() == {"gone", "new"}


def test_an_id_may_be_named_twice_in_one_batch(world: World) -> None:
    """The second item gets the memory of the first; another text under it undoes the batch."""
    (outcome,) = world.commit(store_job(draft("a"), draft("a")))
    assert outcome.memories == [outcome.added[0]] * 2
    (refused,) = world.ledger.commit([store_job(draft("b"), draft("b", text="another"))])
    assert isinstance(refused, InvalidRequest)
    assert world.shown() == {"a"}


def test_the_meaning_of_an_id_is_held_within_a_group(world: World) -> None:
    """A request that gives another text to an id that the group has just stored is refused alone."""
    stored, refused = world.ledger.commit([store_job(draft("a")), store_job(draft("a", text="another"))])
    assert isinstance(stored, Outcome)
    assert isinstance(refused, InvalidRequest)


def test_what_cannot_be_added_spares_the_repetitions_beside_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be added, requests for memories that exist are answered, and only they."""
    world.commit(store_job(draft("known")))

    def refuse(self: SqliteTransaction, memories: Sequence[Memory]) -> list[Memory]:
        raise StorageFull("full")

    monkeypatch.setattr(SqliteTransaction, "insert_many", refuse)
    answers = world.ledger.commit(
        [store_job(draft("new")), store_job(draft("known")), store_job(draft("known"), draft("new"))]
    )
    assert [type(answer) for answer in answers] == [StorageFull, Outcome, StorageFull]
    assert world.shown() == {"known"}


def test_deletion_and_restoring_say_what_they_did(world: World) -> None:
    """Ids that name nothing to change are listed as missing."""
    world.commit(store_job(draft("a"), draft("b")))
    (deleted,) = world.commit(DeleteJob(["a", "a", "zzz"]))
    assert ([memory.id for memory in deleted.memories], deleted.missing) == (["a"], ["zzz"])
    assert deleted.visible == 1
    (again,) = world.commit(DeleteJob(["a"]))
    assert (again.memories, again.missing) == ([], ["a"])
    (restored,) = world.commit(RestoreJob(["a", "b"]))
    assert ([memory.id for memory in restored.memories], restored.missing) == (["a"], ["b"])
    assert world.shown() == {"a", "b"}


def test_a_restored_memory_of_an_earlier_run_is_shown(tmp_path: Path) -> None:
    """The index of a new process does not hold what was deleted before, and gets it on restore."""
    with closing(make_world(tmp_path).store) as store:
        Ledger(store, VectorIndex(DIMENSIONS), RULES, lambda: NOW_MS).commit(
            [store_job(draft("a")), DeleteJob(["a"])]
        )
    world = make_world(tmp_path)
    with closing(world.store):
        world.commit(RestoreJob(["a"]))
        assert world.shown() == {"a"}


def test_nothing_is_shown_that_is_not_on_the_disk(world: World, disk: Disk) -> None:
    """A full disk fails the group, and neither search nor surprise knows of it."""
    disk.fault = apsw.FullError("full")
    with pytest.raises(StorageFull):
        world.ledger.commit([store_job(draft("a")), store_job(draft("b"))])
    disk.fault = None
    assert world.shown() == set()
    (outcome,) = world.commit(store_job(draft("a")))
    assert outcome.memories[0].surprise == 1.0


def test_what_cannot_be_shown_is_a_divergence(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that the index cannot follow must end the process's writing, not be acknowledged."""

    def fail(columns: Columns) -> None:
        raise MemoryError

    monkeypatch.setattr(world.index, "append", fail)
    with pytest.raises(Diverged):
        world.ledger.commit([store_job(draft("a"))])


@settings(deadline=None, max_examples=25)
@given(cuts=st.sets(st.integers(1, 11)), seeds=st.lists(st.integers(0, 6), min_size=12, max_size=12))
def test_grouping_does_not_change_the_scores(
    tmp_path_factory: pytest.TempPathFactory, cuts: set[int], seeds: Sequence[int]
) -> None:
    """However memories are spread over groups, each is scored against all that came before it."""
    drafts = [draft(f"m{place}", vector=make_vector(str(seed))) for place, seed in enumerate(seeds)]
    world = make_world(tmp_path_factory.mktemp("world"))
    edges = [0, *sorted(cuts), len(drafts)]
    with closing(world.store):
        stored = [
            memory
            for start, end in pairwise(edges)
            for outcome in world.commit(*(store_job(each) for each in drafts[start:end]))
            for memory in outcome.memories
        ]
    vectors = np.stack([each.memory.vector for each in drafts]).astype(np.float64)
    for place, memory in enumerate(stored):
        earlier = (vectors[:place] @ vectors[place]).max() if place else None
        expected = 1.0 if earlier is None else min(1.0, max(0.0, 1.0 - earlier))
        assert memory.surprise == pytest.approx(expected, abs=1e-6)

"""Every change in every order, with failing disks and restarts between: store, index and words agree.

A Hypothesis state machine beside a plain dictionary, so that a failure shrinks to the shortest story.
"""

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import apsw
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from servers.errors import RequestError, StorageError, StorageFull
from servers.memory.index import VectorIndex
from servers.memory.jobs import (
    DeleteJob,
    Draft,
    ForgetJob,
    Job,
    Outcome,
    Patch,
    PurgeJob,
    RestoreJob,
    StoreJob,
    UndoJob,
    UpdateJob,
)
from servers.memory.keywords import KeywordIndex
from servers.memory.ledger import Ledger
from servers.memory.search import Search
from servers.memory.store.base import ModelMark, Selection
from servers.memory.store.sqlite import SqliteStore
from tests.servers.memory.doubles import DIMENSIONS, RULES, make_memory, make_vector
from tests.servers.memory.faulty_disk import FaultyDisk, faulty

NOW_MS = 1_700_000_000_000
IDS = st.sampled_from(["a", "b", "c", "d"])
SOME_IDS = st.lists(IDS, min_size=1, max_size=3, unique=True)
TEXTS = st.sampled_from(["one", "two"])


@dataclass
class Known:
    """What should be true of one id."""

    text: str
    deletion: str | None = None
    is_deleted: bool = False


class StoreMachine(RuleBasedStateMachine):
    """One store through its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.resources = ExitStack()
        self.disk = self.resources.enter_context(faulty(FaultyDisk()))
        self.known: dict[str, Known] = {}
        self.deletions = 0
        self.open()

    def open(self) -> None:
        """Open the store and build what is beside it."""
        self.store = SqliteStore(self.folder, vfs=self.disk.name, lock_wait_s=0.0)
        self.store.bind_model(ModelMark("a-model", DIMENSIONS))
        self.index, self.words = VectorIndex(DIMENSIONS), KeywordIndex()
        for columns in self.store.scan(100):
            self.index.append(columns)
        for memories in self.store.read_all(None, 100):
            self.words.put((memory.seq, memory.text) for memory in memories)
        self.ledger = Ledger(self.store, self.index, RULES, lambda: NOW_MS, None, self.words)

    def commit(self, job: Job) -> Outcome | None:
        """Commit a job; None when it was refused."""
        try:
            (answer,) = self.ledger.commit([job])
        except (StorageError, StorageFull):
            return None
        return None if isinstance(answer, RequestError) else answer

    @rule(ids=SOME_IDS, text=TEXTS)
    def store_some(self, ids: list[str], text: str) -> None:
        """A batch is stored whole, or refused when an id has another text."""
        drafts = [Draft(make_memory(name, text=text), 0.5, None, None, True) for name in ids]
        outcome = self.commit(StoreJob(drafts))
        if outcome is not None:
            assert all(self.known.get(name, Known(text)).text == text for name in ids)
            self.known |= {name: Known(text) for name in ids}

    @rule(name=IDS, text=TEXTS)
    def update(self, name: str, text: str) -> None:
        """A living memory gets another text and vector."""
        patch = Patch(text=text, vector=make_vector(text), information=0.5)
        outcome = self.commit(UpdateJob([name], patch))
        if outcome is not None and outcome.memories:
            self.known[name].text = text

    @rule(ids=SOME_IDS)
    def delete(self, ids: list[str]) -> None:
        """Deleted one by one."""
        outcome = self.commit(DeleteJob(ids))
        for memory in outcome.memories if outcome else []:
            self.known[memory.id] = Known(self.known[memory.id].text, None, True)

    @rule(ids=SOME_IDS)
    def restore(self, ids: list[str]) -> None:
        """Brought back one by one."""
        outcome = self.commit(RestoreJob(ids))
        for memory in outcome.memories if outcome else []:
            assert self.known[memory.id].is_deleted
            self.known[memory.id] = Known(memory.text)

    @rule(ids=SOME_IDS)
    def forget(self, ids: list[str]) -> None:
        """Deleted together, under a name."""
        self.deletions += 1
        name = f"deletion {self.deletions}"
        outcome = self.commit(ForgetJob(Selection(ids=tuple(ids)), name))
        for memory_id in outcome.affected if outcome else []:
            self.known[memory_id] = Known(self.known[memory_id].text, name, True)

    @rule()
    def undo(self) -> None:
        """The last forget is undone, as far as nothing else happened to its memories."""
        name = f"deletion {self.deletions}"
        outcome = self.commit(UndoJob(name))
        if outcome is not None:
            expected = {key for key, known in self.known.items() if known.deletion == name}
            assert {memory.id for memory in outcome.memories} == expected
            self.known |= {key: Known(self.known[key].text) for key in expected}

    @rule()
    def purge(self) -> None:
        """What is deleted goes for good."""
        outcome = self.commit(PurgeJob(NOW_MS + 1, 100))
        if outcome is not None:
            gone = {key for key, known in self.known.items() if known.is_deleted}
            assert outcome.count == len(gone)
            self.known = {key: known for key, known in self.known.items() if key not in gone}

    @rule(position=st.integers(1, 6), is_full=st.booleans())
    def break_the_disk(self, position: int, is_full: bool) -> None:
        """The n-th write or sync from here on fails."""

        def fail(kind: str) -> None:
            raise (apsw.FullError if is_full else apsw.IOError)("the disk says no")

        self.disk.arm(position, fail)

    @rule()
    def restart(self) -> None:
        """Everything beside the store is built anew."""
        self.disk.arm(0, lambda kind: None)
        self.store.close()
        self.open()

    @invariant()
    def all_agree(self) -> None:
        """Store, index and words hold what the dictionary holds, each memory once."""
        living = {key: known.text for key, known in self.known.items() if not known.is_deleted}
        stored = [memory for step in self.store.read_all(None, 100) for memory in step]
        assert sorted((memory.id, memory.text) for memory in stored) == sorted(living.items())
        hits = self.index.search(Search("default", NOW_MS, 1000)).hits
        assert sorted(hit.seq for hit in hits) == [memory.seq for memory in stored]
        assert sorted(self.words.search("one two")) == [memory.seq for memory in stored]
        by_seq = {memory.seq: memory for memory in stored}
        for memory in stored:
            query = Search("default", NOW_MS, 1000, sort="relevance", query=memory.vector)
            near = {hit.seq for hit in self.index.search(query).hits if (hit.similarity or 0) > 0.9999}
            twins = {seq for seq, other in by_seq.items() if (other.vector == memory.vector).all()}
            assert twins <= near

    def teardown(self) -> None:
        """Close and remove everything."""
        self.disk.arm(0, lambda kind: None)
        self.store.close()
        self.resources.close()
        shutil.rmtree(self.folder)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

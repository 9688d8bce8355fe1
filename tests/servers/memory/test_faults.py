"""One store, and something goes wrong at its first, second, … last write or sync: error or sudden end.

Deterministic: every position is tried.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from servers.errors import StorageError, StorageFull
from servers.memory.index import VectorIndex
from servers.memory.jobs import DeleteJob, Draft, StoreJob
from servers.memory.ledger import Ledger
from servers.memory.search import Search
from servers.memory.store.base import ModelMark
from servers.memory.store.sqlite import SqliteStore
from tests.servers.memory.doubles import DIMENSIONS, RULES, make_memory
from tests.servers.memory.faulty_disk import FaultyDisk, Kind, faulty

ROOT = Path(__file__).parents[3]
NOW_MS = 1_700_000_000_000


class World:
    """A store on a faulty disk, with its index."""

    def __init__(self, folder: Path, disk: FaultyDisk) -> None:
        self.store = SqliteStore(folder, vfs=disk.name, lock_wait_s=0.0)
        self.store.bind_model(ModelMark("a-model", DIMENSIONS))
        self.index = VectorIndex(DIMENSIONS)
        for columns in self.store.scan(1000):
            self.index.append(columns)
        self.ledger = Ledger(self.store, self.index, RULES, lambda: NOW_MS)

    def put(self, *ids: str) -> None:
        """Store memories of these ids as one batch."""
        self.ledger.commit([StoreJob([Draft(make_memory(name), 0.5, None, None, True) for name in ids])])

    def shown(self) -> set[str]:
        """What a search finds."""
        hits = self.index.search(Search("default", NOW_MS, 1000)).hits
        return {memory.id for memory in self.store.fetch([hit.seq for hit in hits]).values()}

    def kept(self) -> set[str]:
        """What the store holds."""
        return {memory_id for step in self.store.scan(100) for memory_id in step.ids}


def operations_of_a_store(folder: Path) -> int:
    """How many writes and syncs storing one batch takes."""
    with faulty(FaultyDisk()) as disk:
        world = World(folder, disk)
        world.put("before")
        disk.arm(0, lambda kind: None)
        world.put("a", "b", "c")
        world.store.close()
        return disk.operations.index("sync") + 1


@pytest.mark.parametrize(("error", "expected"), [(apsw.FullError, StorageFull), (apsw.IOError, StorageError)])
def test_a_fault_at_any_operation_is_told_and_survived(
    tmp_path: Path, error: type[Exception], expected: type[Exception]
) -> None:
    """Nothing acknowledged is lost, nothing refused appears, reads go on, the next store succeeds."""
    total = operations_of_a_store(tmp_path / "count")
    assert total >= 3
    for position in range(1, total + 1):
        folder = tmp_path / str(position)
        with faulty(FaultyDisk()) as disk:
            world = World(folder, disk)
            world.put("before")
            disk.arm(position, _raising(error))
            with pytest.raises(expected):
                world.put("a", "b", "c")
            assert world.shown() == world.kept() == {"before"}
            world.put("after")
            world.ledger.commit([DeleteJob(["before"])])
            assert world.shown() == world.kept() == {"after"}
            world.store.close()
        with closing(SqliteStore(folder)) as store:
            assert {memory_id for step in store.scan(100) for memory_id in step.ids} == {"after"}
            assert store.info().damaged_rows == 0


def test_a_fault_while_the_log_is_moved_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error at any operation of a checkpoint costs no memory: the log still has them."""
    monkeypatch.setattr("servers.memory.store.connections.CHECKPOINT_PAGES", 2)
    for position in range(1, 12):
        folder = tmp_path / str(position)
        stored: set[str] = set()
        with faulty(FaultyDisk()) as disk:
            world = World(folder, disk)
            disk.arm(position, _raising(apsw.IOError))
            for name in ("a", "b", "c"):
                try:
                    world.put(name)
                except StorageError:
                    continue
                stored.add(name)
            assert world.shown() == world.kept() == stored
            assert len(stored) >= 2
            world.store.close()
        with closing(SqliteStore(folder)) as store:
            assert {memory_id for step in store.scan(100) for memory_id in step.ids} == stored


def test_the_end_at_any_operation_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    """Killed at the n-th write or sync, for all n up to the close: what was acked is there, batches whole."""
    command = [sys.executable, "-m", "tests.servers.memory.kill_at", str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    runs = [line.split() for line in done.stdout.splitlines()]
    assert len(runs) >= 10
    for number, status, *acknowledged in runs[:-1]:
        assert int(status) == -signal.SIGKILL, number
        present = _present(tmp_path / number)
        assert set(acknowledged) <= present
        for batch in ({"a", "b", "c"}, {"d", "e"}):
            assert batch <= present or not batch & present
    number, status, *acknowledged = runs[-1]
    assert (int(status), acknowledged) == (0, ["before", "a", "b", "c", "d", "e"])


def _present(folder: Path) -> set[str]:
    with closing(SqliteStore(folder)) as store:
        ids = [memory_id for step in store.scan(100) for memory_id in step.ids]
        assert len(ids) == len(set(ids))
        assert store.info().damaged_rows == 0
        assert all(
            store.find_many(ids)[key].vector.tobytes() == make_memory(key).vector.tobytes() for key in ids
        )
        return set(ids)


def _raising(error: type[Exception]) -> Callable[[Kind], None]:
    def fail(kind: Kind) -> None:
        raise error("the disk says no")

    return fail

"""Power cuts: whatever was acknowledged is on the disk, at whatever moment the current goes.

The same cuts are shown to lose memories when SQLite is told not to sync, so the harness can tell.
"""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from servers.errors import RequestError, StorageError, StoreUnusable
from servers.memory.group_commit import GroupCommit
from servers.memory.store.base import Memory, ModelMark
from servers.memory.store.sqlite import SqliteStore
from tests.servers.memory.doubles import DIMENSIONS, make_memory
from tests.servers.memory.lossy_disk import Cut, LossyDisk, Mode, cuts, recording

CONNECTIONS = "servers.memory.store.connections"


def record(folder: Path, groups: int, group_rows: int) -> LossyDisk:
    """Store groups of memories on a recording disk, delete and purge some, and close."""
    with closing(SqliteStore(folder)) as fresh:
        fresh.bind_model(ModelMark("a-model", DIMENSIONS))
    with recording(LossyDisk(folder)) as disk:
        store = SqliteStore(folder, vfs=disk.name)
        for number in range(groups):
            ids = [f"{number}-{place}" for place in range(group_rows)]
            store.apply([lambda t, name=name: t.insert(make_memory(name)) for name in ids])
            disk.acknowledge(*ids)
        store.apply([lambda t: t.insert(make_memory("doomed"))])
        store.apply([lambda t: t.set_deleted("doomed", 1), lambda t: t.purge(["doomed"], 0, 1)])
        store.close()
    return disk


def lost(cut: Cut, folder: Path) -> set[str] | None:
    """What was acknowledged and is not there; None when the store cannot be opened at all."""
    cut.lay_out(folder)
    try:
        with closing(SqliteStore(folder)) as store:
            present = {memory_id for step in store.scan(1000) for memory_id in step.ids}
            assert store.info().damaged_rows == 0
    except (StoreUnusable, StorageError):
        return None
    return set(cut.acknowledged) - present


@pytest.mark.parametrize("mode", ["drop", "subset", "strict"])
def test_no_acknowledged_memory_is_lost_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    """A cut after every single write, sync, checkpoint step and deletion of a store's life loses nothing."""
    monkeypatch.setattr(f"{CONNECTIONS}.CHECKPOINT_PAGES", 6)
    disk = record(tmp_path / "live", groups=6, group_rows=2)
    positions = range(len(disk.events) + 1)
    assert len(positions) > 60
    for cut in cuts(disk, mode, positions, seed=1):
        assert lost(cut, tmp_path / f"cut{cut.position}") == set(), (mode, cut.position)
    assert len(cut.acknowledged) == 12


async def test_group_commits_survive_a_cut(tmp_path: Path) -> None:
    """Four clients at once share syncs; twelve cuts on the way, torn writes: nothing acked is lost."""
    with closing(SqliteStore(tmp_path / "live")) as fresh:
        fresh.bind_model(ModelMark("a-model", DIMENSIONS))
    with recording(LossyDisk(tmp_path / "live")) as disk:
        store = SqliteStore(tmp_path / "live", vfs=disk.name)
        writer = GroupCommit(partial(insert_all, store), queue_rows=100)

        async def keep_storing(name: str) -> None:
            for number in range(15):
                memory = await writer.submit(f"{name}{number}")
                disk.acknowledge(memory.id)

        await asyncio.gather(*(keep_storing(name) for name in "abcd"))
        writer.close()
        events = len(disk.events)
        store.close()
    for cut in cuts(disk, "subset", range(0, events, events // 12), seed=2):
        assert lost(cut, tmp_path / f"cut{cut.position}") == set()


def insert_all(store: SqliteStore, ids: Sequence[str]) -> list[Memory | RequestError]:
    """Store the memories of these ids in one group."""
    return store.apply([lambda t, name=name: t.insert(make_memory(name)) for name in ids])


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_the_harness_sees_what_a_missing_sync_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synchronous: str
) -> None:
    """With less than synchronous=FULL the very same cuts lose acknowledged memories or the whole store."""
    monkeypatch.setattr(f"{CONNECTIONS}.SYNCHRONOUS", synchronous)
    disk = record(tmp_path / "live", groups=6, group_rows=2)
    last_ack = max(place for place, event in enumerate(disk.events) if event.kind == "ack")
    (cut,) = cuts(disk, "drop", [last_ack + 1])
    assert len(cut.acknowledged) == 12
    assert lost(cut, tmp_path / "cut") != set()

"""The life of the memory server's inside: phases, restarts, and starts that cannot succeed."""

import asyncio
from pathlib import Path

import pytest

from servers.errors import StoreOpening, StoreUnusable
from servers.memory.jobs import DeleteJob
from servers.memory.settings import MemorySettings
from tests.servers.memory.desk import Desk, make_desk, open_desk


async def test_a_start_goes_through_its_phases(desk: Desk) -> None:
    """The store is opened, the index is built with progress, then readiness is reported once."""
    assert desk.phases[0] == "open-store"
    assert "index" in desk.phases
    assert desk.phases.count("ready") == 1
    assert desk.readiness.device == "cpu"
    assert desk.memories.is_alive()


async def test_a_new_process_finds_everything(tmp_path: Path) -> None:
    """After a restart the same questions get the same answers, deletions included."""
    async with open_desk(tmp_path) as first:
        await first.ask("store", items=[{"text": f"t{place}", "id": f"m{place}"} for place in range(50)])
        await first.ask("delete", id="m7")
        before = await first.ask("retrieve", query="t3", count=100, include=["score", "embedding"])
    async with open_desk(tmp_path) as second:
        assert await second.ask("retrieve", query="t3", count=100, include=["score", "embedding"]) == before
        await second.ask("restore", id="m7")
        assert len(await second.texts(count=100)) == 50


async def test_progress_is_reported_while_the_index_is_built(tmp_path: Path) -> None:
    """A start over many memories shows how far it is."""
    async with open_desk(tmp_path) as first:
        await first.ask("store", items=[{"text": f"t{place}"} for place in range(20)])
    desk = make_desk(MemorySettings(backend="debug", path=tmp_path))
    shares: list[float | None] = []
    desk.readiness.subscribe(
        lambda changed: shares.append(changed.progress) if changed.phase == "index" else None
    )
    await desk.memories.start()
    await desk.memories.stop()
    assert shares == [0.0, 1.0]


async def test_a_second_process_on_the_folder_is_refused(tmp_path: Path) -> None:
    """Two writers on one store cannot be."""
    async with open_desk(tmp_path):
        with pytest.raises(StoreUnusable, match="another process"):
            async with open_desk(tmp_path):
                pass


async def test_another_model_is_refused(tmp_path: Path) -> None:
    """Vectors of two models are never mixed, and the real model is not the debug engine."""
    async with open_desk(tmp_path) as first:
        await first.ask("store", text="a")
        with pytest.raises(StoreUnusable, match="debug"):
            _bind(first, tmp_path)


def _bind(desk: Desk, folder: Path) -> None:
    from servers.memory.store.base import ModelMark

    store = desk.memories._store
    assert store is not None
    store.bind_model(ModelMark("all-MiniLM-L6-v2", 384))


async def test_before_the_start_nothing_is_promised(tmp_path: Path) -> None:
    """Until the store is open, reads and writes are told so, and `stats` has no counts."""
    desk = make_desk(MemorySettings(backend="debug", path=tmp_path))
    with pytest.raises(StoreOpening):
        await desk.memories.find_many(["a"])
    with pytest.raises(StoreOpening):
        await desk.memories.change(DeleteJob(["a"]))
    assert (await desk.ask("stats"))["stats"]["memory_count"] is None
    assert not desk.memories.is_alive()
    await desk.memories.stop()


async def test_a_start_that_is_cut_short_lets_go_of_the_folder(tmp_path: Path) -> None:
    """Whenever a start is cancelled, stopping releases everything it had taken."""
    for steps in range(12):
        desk = make_desk(MemorySettings(backend="debug", path=tmp_path))
        starting = asyncio.ensure_future(desk.memories.start())
        for _ in range(steps):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await desk.memories.stop()
    async with open_desk(tmp_path):
        pass

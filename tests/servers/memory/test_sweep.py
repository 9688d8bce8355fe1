"""The housekeeping: expired memories are deleted, long deleted ones removed, in portions."""

import asyncio
from pathlib import Path

import pytest

from servers.errors import StorageFull
from servers.memory.jobs import Job, Outcome
from servers.memory.sweep import keep_sweeping, sweep
from tests.servers.memory.desk import NOON_MS, Desk, open_desk

DAY_MS = 86_400_000


async def swept(desk: Desk) -> int:
    """Sweep once with thirty days of undo."""
    return await sweep(desk.memories.change, desk.clock, 30 * DAY_MS)


async def test_the_expired_go_when_their_time_of_undo_is_over(desk: Desk) -> None:
    """An expired memory is first deleted, restorable, and thirty days later removed for good."""
    await desk.ask("store", items=[{"text": "a", "id": "a", "expires_at": NOON_MS + 1}, {"text": "b"}])
    desk.clock.now_ms += 2
    assert await swept(desk) == 0
    assert [memory["id"] for memory in (await desk.ask("list", deleted=True))["memories"]] == []
    assert (await desk.ask("stats"))["stats"]["deleted_memories"] == 1
    desk.clock.now_ms += 31 * DAY_MS
    assert await swept(desk) == 1
    assert (await desk.ask("stats"))["stats"]["deleted_memories"] == 0
    assert await desk.texts() == ["b"]


async def test_more_than_a_portion_is_removed_in_one_sweep(desk: Desk) -> None:
    """Portions only bound each commit, not what a sweep achieves."""
    await desk.ask("store", items=[{"text": "x", "id": str(place)} for place in range(1200)])
    assert (await desk.ask("forget", filter={"type": []}, keep=0))["forgotten"] == 1200
    desk.clock.now_ms += 31 * DAY_MS
    assert await swept(desk) == 1200


async def test_a_sweep_runs_at_every_start(tmp_path: Path) -> None:
    """What became due while the server was off is removed without being asked."""
    async with open_desk(tmp_path / "data") as desk:
        await desk.ask("store", text="a", id="a", expires_at=NOON_MS - 40 * DAY_MS)
    async with open_desk(tmp_path / "data") as desk:
        await desk.ask("store", text="b")
        assert (await desk.ask("stats"))["stats"]["deleted_memories"] == 0
        assert (await desk.ask("store", text="another", id="a"))["status"] == "success"


async def test_a_store_that_refuses_is_swept_again_later(caplog: pytest.LogCaptureFixture) -> None:
    """A full disk ends neither the sweeping nor the server."""
    calls: list[Job] = []
    enough = asyncio.Event()

    async def change(job: Job) -> Outcome:
        calls.append(job)
        if len(calls) == 1:
            raise StorageFull("full")
        if len(calls) > 3:
            enough.set()
        return Outcome()

    task = asyncio.create_task(keep_sweeping(change, lambda: NOON_MS, 0, period_s=0))
    await enough.wait()
    task.cancel()
    await asyncio.wait({task})
    assert "repeated later" in caplog.text

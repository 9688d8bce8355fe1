"""The memory server with `index_memory`: the same answers, its facts in stats, what happens at its end."""

import logging
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from servers.errors import BadSettings
from servers.memory import index_budget
from tests.servers.memory.desk import Desk, open_desk

BLOCK_ROWS = 1024
MEMORIES = 2 * BLOCK_ROWS + 100
LEAST = "16MiB"


async def store_many(desk: Desk, count: int = MEMORIES) -> None:
    """Store so many texts, in two batches."""
    for start, end in ((0, count // 2), (count // 2, count)):
        items = [
            {"id": f"m{place}", "text": f"text {place} about {place % 97}"} for place in range(start, end)
        ]
        reply = await desk.ask("store", items=items)
        assert reply["status"] == "success", reply


async def answers(desk: Desk) -> list[Any]:
    """What some searches find, with and without filters."""
    found = []
    for query in ("text 5 about 5", "about 96", "something else"):
        for more in ({}, {"offset": 40, "min_significance": 0.1}, {"sort": "recent"}):
            reply = await desk.ask("retrieve", query=query, count=20, **more)
            found.append(([one["id"] for one in reply["memories"]], reply["total"]))
    return found


async def index_of(desk: Desk) -> dict[str, Any]:
    """The facts about the index in `stats`."""
    reply = await desk.ask("stats")
    index: dict[str, Any] = reply["stats"]["index"]
    return index


async def test_a_budget_changes_where_the_index_lies_and_no_answer(tmp_path: Path) -> None:
    """Before and after a restart, with deletions and changes between, both ways round."""
    async with (
        open_desk(tmp_path / "limited", index_memory=LEAST) as limited,
        open_desk(tmp_path / "unlimited") as unlimited,
    ):
        for desk in (limited, unlimited):
            await store_many(desk)
            await desk.ask("delete", ids=["m5", "m1500", "m2100"])
            await desk.ask("update", id="m7", text="text 5 about 5, almost")
        expected = await answers(unlimited)
        assert await answers(limited) == expected
        plain, index = await index_of(unlimited), await index_of(limited)
    assert (plain["budget_bytes"], plain["room_for"]) == (None, None)
    assert index["budget_bytes"] == 16 << 20
    assert index["blocks"] == 2
    assert index["room_for"] > 10_000
    assert index["memory_bytes"] < 16 << 20
    async with open_desk(tmp_path / "limited", index_memory=LEAST) as desk:
        assert await answers(desk) == expected
        index = await index_of(desk)
        assert (index["blocks"], index["blocks_in_files"], index["exact"]) == (2, 2, True)
    async with open_desk(tmp_path / "limited") as desk:
        assert await answers(desk) == expected
    async with open_desk(tmp_path / "unlimited", index_memory=LEAST) as desk:
        assert await answers(desk) == expected
        assert (await index_of(desk))["blocks_in_files"] == 2


async def test_what_does_not_fit_is_refused_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stores and updates are refused by name; deletions and searches go on; a restart gives room back."""
    monkeypatch.setattr(index_budget, "ROW_BYTES", 1 << 20)
    async with open_desk(tmp_path, index_memory=LEAST) as desk:
        room = (await index_of(desk))["room_for"]
        assert 3 < room < 16
        for place in range(room):
            assert (await desk.ask("store", id=f"m{place}", text=f"text {place}"))["status"] == "success"
        refused = await desk.ask("store", id="more", text="one more")
        assert (refused["status"], refused["code"]) == ("error", "storage_full")
        assert "index_memory" in refused["error"]
        assert (await desk.ask("update", id="m1", text="another text"))["code"] == "storage_full"
        assert (await desk.ask("get", ids=["more"]))["missing"] == ["more"]
        assert (await desk.ask("store", id="m1", text="text 1"))["status"] == "success"
        assert (await desk.ask("delete", ids=["m0", "m2"]))["deleted"] == 2
        assert len(await desk.texts(query="text", count=50)) == room - 2
    async with open_desk(tmp_path, index_memory=LEAST) as desk:
        assert (await index_of(desk))["room_for"] == 2
        assert (await desk.ask("store", id="more", text="one more"))["status"] == "success"


async def test_a_store_too_large_for_the_budget_is_not_started_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start ends with the option and a value that is enough; with that value it goes on."""
    async with open_desk(tmp_path) as desk:
        await store_many(desk, 40)
    monkeypatch.setattr(index_budget, "ROW_BYTES", 1 << 20)
    with pytest.raises(BadSettings, match="too little") as refused:
        async with open_desk(tmp_path, index_memory=LEAST):
            pass
    assert refused.value.mend is not None
    enough = refused.value.mend.split()[3]
    async with open_desk(tmp_path, index_memory=enough) as desk:
        assert (await desk.ask("stats"))["stats"]["memory_count"] == 40


async def test_the_folder_of_files_may_be_removed_while_it_is_used(tmp_path: Path) -> None:
    """What lies in its files goes on being found; the next start makes them again."""
    async with open_desk(tmp_path, index_memory=LEAST) as desk:
        await store_many(desk)
    async with open_desk(tmp_path, index_memory=LEAST) as desk:
        expected = await answers(desk)
        rmtree(tmp_path / "index")
        assert await answers(desk) == expected
        items = [{"id": f"late{place}", "text": f"late {place}"} for place in range(BLOCK_ROWS)]
        assert (await desk.ask("store", items=items))["status"] == "success"
        expected = await answers(desk)
    async with open_desk(tmp_path, index_memory=LEAST) as desk:
        assert await answers(desk) == expected
        assert (await index_of(desk))["blocks_in_files"] == 3


async def test_without_a_folder_for_files_the_index_stays_in_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what cannot be written and that the budget is exceeded; stats show it; answers hold."""
    async with open_desk(tmp_path, index_memory=LEAST) as desk:
        await store_many(desk)
        expected = await answers(desk)
    (tmp_path / "index").rename(tmp_path / "gone")
    (tmp_path / "index").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        async with open_desk(tmp_path, index_memory=LEAST) as desk:
            index = await index_of(desk)
            assert (index["blocks"], index["blocks_in_files"]) == (2, 0)
            assert await answers(desk) == expected
    assert "exceeds its memory (option index_memory)" in caplog.text

"""The commands of the memory server as protocol.md section 4 describes them."""

import asyncio
from typing import Any

import apsw
import numpy as np
import pytest

from servers.scoring_terms import information
from tests.servers.memory.desk import NOON_MS, Desk
from tests.servers.memory.doubles import Disk

DAY_MS = 86_400_000
FIELDS = {
    "id",
    "text",
    "timestamp",
    "created_at",
    "significance",
    "surprise",
    "tags",
    "type",
    "metadata",
}


async def test_a_stored_memory_is_answered_and_found(desk: Desk) -> None:
    """The reply has the scores, the time and the counts; the memory is there for the next request."""
    reply = await desk.ask(
        "store", text="castles of Bavaria", metadata={"type": "fact", "tags": ["a"], "k": {"x": 1}}
    )
    assert reply["status"] == "success"
    assert (reply["surprise"], reply["timestamp"]) == (1.0, NOON_MS)
    assert reply["significance"] == pytest.approx(0.6 + 0.4 * information("castles of Bavaria"))
    assert reply["stats"] == {
        "total_memories": 1,
        "active_memories": 0,
        "significance_threshold": 0.7,
        "device": "cpu",
    }
    found = await desk.ask("retrieve")
    (memory,) = found["memories"]
    assert memory.keys() >= FIELDS
    assert "similarity" not in memory
    assert (memory["id"], memory["type"], memory["tags"]) == (reply["id"], "fact", ["a"])
    assert memory["metadata"] == {"type": "fact", "tags": ["a"], "k": {"x": 1}}
    assert (memory["timestamp"], memory["created_at"]) == (NOON_MS, "2025-06-15T15:06:40.000Z")
    assert (found["count"], found["total"], found["hidden_by_significance"]) == (1, 1, 0)


async def test_a_bare_memory_has_every_field(desk: Desk) -> None:
    """Clients read fields without a check, so null and empty values are written out."""
    await desk.ask("store", text="bare")
    (memory,) = (await desk.ask("retrieve"))["memories"]
    assert memory.keys() >= FIELDS
    assert (memory["type"], memory["tags"], memory["metadata"]) == (None, [], {})


@pytest.mark.parametrize("given", ["2024-01-02T03:04:05.678Z", 1_704_164_645_678])
async def test_the_clients_time_is_kept(desk: Desk, given: object) -> None:
    """A timestamp comes as ISO-8601 or as milliseconds and goes out as both."""
    reply = await desk.ask("store", text="a", timestamp=given)
    assert reply["timestamp"] == 1_704_164_645_678
    (memory,) = (await desk.ask("retrieve"))["memories"]
    assert memory["created_at"] == "2024-01-02T03:04:05.678Z"


async def test_a_batch_is_answered_item_by_item(desk: Desk) -> None:
    """Items come back in order, each scored against the earlier ones."""
    reply = await desk.ask("store", items=[{"text": "one", "id": "x"}, {"text": "two"}, {"text": "one"}])
    assert reply["count"] == 3
    assert reply["items"][0]["id"] == "x"
    assert reply["items"][0]["surprise"] == 1.0
    assert reply["items"][2]["surprise"] == pytest.approx(0.0, abs=1e-6)
    assert reply["items"][2]["duplicate_of"] == "x"
    assert reply["stats"]["total_memories"] == 3


async def test_one_bad_item_refuses_the_batch(desk: Desk) -> None:
    """All or nothing, whether the item is malformed or its id is taken."""
    await desk.ask("store", text="mine", id="taken")
    for bad in ({"text": ""}, {"text": "other", "id": "taken"}, {"text": "a", "embedding": [1.0]}):
        reply = await desk.ask("store", items=[{"text": "good"}, bad])
        assert reply["code"] == "invalid_request"
    assert await desk.texts(count=10) == ["mine"]


async def test_a_repeated_store_is_answered_alike(desk: Desk) -> None:
    """A retry with the same id changes nothing; another text under that id is refused."""
    first = await desk.ask("store", text="once", id="x")
    await desk.ask("store", text="between")
    desk.clock.now_ms += 1000
    again = await desk.ask("store", text="once", id="x")
    assert {key: again[key] for key in ("id", "significance", "surprise", "timestamp")} == {
        key: first[key] for key in ("id", "significance", "surprise", "timestamp")
    }
    refused = await desk.ask("store", text="twice", id="x")
    assert refused["code"] == "invalid_request"
    assert "id" in refused["error"]


async def test_a_vector_of_the_client_is_kept_bit_for_bit(desk: Desk) -> None:
    """A given embedding is neither computed nor altered."""
    vector = np.random.default_rng(3).normal(size=384).astype(np.float32)
    reply = await desk.ask("store", text="a", embedding=vector.tolist())
    (memory,) = (await desk.ask("get", id=reply["id"], include=["embedding"]))["memories"]
    assert np.array(memory["embedding"], dtype=np.float32).tobytes() == vector.tobytes()
    wrong = await desk.ask("store", text="b", embedding=[1.0, 2.0])
    assert wrong["code"] == "invalid_request"
    assert "384" in wrong["error"]


@pytest.mark.parametrize(
    ("options", "code"),
    [({"text": "x" * 1_000_001}, "too_large"), ({"items": [{"text": "a"}] * 2049}, "too_large")],
)
async def test_what_is_too_large_is_refused(desk: Desk, options: dict[str, Any], code: str) -> None:
    """Texts and batches have limits, and the error names them."""
    reply = await desk.ask("store", **options)
    assert reply["code"] == code
    assert "at most" in reply["error"]


async def test_order_without_a_query(desk: Desk) -> None:
    """Significance first, then the newest, then the id; `recent` turns the first two round."""
    for memory_id, significance, timestamp in (("b", 0.5, 10), ("a", 0.5, 10), ("c", 0.5, 20), ("d", 0.9, 5)):
        await desk.ask("store", text=memory_id, id=memory_id, significance=significance, timestamp=timestamp)
    assert await desk.texts() == ["d", "c", "a", "b"]
    assert await desk.texts(sort="recent") == ["c", "a", "b", "d"]
    assert await desk.texts(count=2, offset=1) == ["c", "a"]


async def test_min_significance_is_inclusive_and_counted(desk: Desk) -> None:
    """What significance alone hides is counted; `total` counts all matches, not just the page."""
    for significance in (0.2, 0.69, 0.7, 0.8):
        await desk.ask("store", text=f"s{significance}", significance=significance)
    reply = await desk.ask("retrieve", min_significance=0.7, count=1)
    assert [memory["text"] for memory in reply["memories"]] == ["s0.8"]
    assert (reply["count"], reply["total"], reply["hidden_by_significance"]) == (1, 2, 2)


async def test_a_query_ranks_by_the_weighted_sum(desk: Desk) -> None:
    """The score is the weighted sum, similarity comes with the query, and weights can be chosen."""
    await desk.ask("store", text="the very same words", significance=0.1, timestamp=NOON_MS - 30 * DAY_MS)
    await desk.ask("store", text="entirely different", significance=1.0)
    reply = await desk.ask("retrieve", query="the very same words", include=["score", "explain"])
    first = reply["memories"][0]
    assert first["text"] == "the very same words"
    assert first["similarity"] == pytest.approx(1.0, abs=1e-6)
    assert first["score"] == pytest.approx(0.6 + 0.25 * 0.1 + 0.15 * 0.5, abs=1e-6)
    assert first["explain"]["recency"] == pytest.approx(0.5)
    by_significance = {"relevance": 0, "significance": 1, "recency": 0}
    assert (await desk.texts(query="the very same words", weights=by_significance))[0] == "entirely different"
    assert (await desk.texts(query="the very same words", sort="recent"))[0] == "entirely different"


async def test_a_blank_query_is_none(desk: Desk) -> None:
    """An empty search box lists by significance."""
    await desk.ask("store", text="a")
    (memory,) = (await desk.ask("retrieve", query="  "))["memories"]
    assert "similarity" not in memory


async def test_filters_and_namespaces_narrow_the_search(desk: Desk) -> None:
    """Only what passes is found, counted and hidden."""
    await desk.ask("store", text="x1", metadata={"project": "x", "n": 1}, significance=0.9)
    await desk.ask("store", text="x2", metadata={"project": "x", "n": 2}, significance=0.1)
    await desk.ask("store", text="y", metadata={"project": "y"})
    await desk.ask("store", text="far", namespace="far", metadata={"project": "x"})
    reply = await desk.ask("retrieve", filter={"metadata": {"project": "x"}}, min_significance=0.5)
    assert [memory["text"] for memory in reply["memories"]] == ["x1"]
    assert (reply["total"], reply["hidden_by_significance"]) == (1, 1)
    assert await desk.texts(filter={"project": "x", "n": {"gt": 1}}, query="x") == ["x2"]
    assert await desk.texts(namespace="far") == ["far"]
    assert await desk.texts(namespace="nowhere") == []


async def test_expired_memories_are_hidden_everywhere(desk: Desk) -> None:
    """From the instant of `expires_at` on, nothing shows the memory and nothing counts it."""
    await desk.ask("store", text="brief", id="brief", expires_at=NOON_MS + 1000)
    assert await desk.texts() == ["brief"]
    desk.clock.now_ms += 1000
    assert await desk.texts() == []
    assert (await desk.ask("get", id="brief"))["code"] == "not_found"
    assert (await desk.ask("list"))["memories"] == []
    assert (await desk.ask("stats"))["stats"]["memory_count"] == 0
    assert (await desk.ask("store", text="brief"))["surprise"] == 1.0


async def test_get_answers_in_the_order_asked(desk: Desk) -> None:
    """Ids that name nothing are listed; a single one is an error."""
    await desk.ask("store", items=[{"text": "a", "id": "a"}, {"text": "b", "id": "b"}])
    reply = await desk.ask("get", ids=["b", "zzz", "a"])
    assert [memory["id"] for memory in reply["memories"]] == ["b", "a"]
    assert reply["missing"] == ["zzz"]
    assert (await desk.ask("get", id="a"))["memory"]["text"] == "a"
    assert (await desk.ask("get", id="zzz"))["code"] == "not_found"


async def test_delete_is_undone_by_restore(desk: Desk) -> None:
    """A deleted memory is gone from every answer, and back with all that it was after `restore`."""
    await desk.ask("store", text="a", id="a")
    before = await desk.ask("get", id="a")
    reply = await desk.ask("delete", id="a")
    assert (reply["deleted"], reply["ids"], reply["stats"]["total_memories"]) == (1, ["a"], 0)
    assert (reply["memory"], reply["memories"]) == (before["memory"], [before["memory"]])
    assert await desk.texts() == []
    assert (await desk.ask("get", id="a"))["code"] == "not_found"
    assert (await desk.ask("delete", id="a"))["code"] == "not_found"
    assert [memory["id"] for memory in (await desk.ask("list", deleted=True))["memories"]] == ["a"]
    assert (await desk.ask("restore", ids=["a", "b"]))["missing"] == ["b"]
    assert await desk.ask("get", id="a") == before
    assert (await desk.ask("restore", id="a"))["code"] == "not_found"


async def test_list_pages_through_everything(desk: Desk) -> None:
    """Following `next_cursor` shows every memory once, newest stored first."""
    await desk.ask("store", items=[{"text": f"t{place}", "metadata": {"n": place}} for place in range(7)])
    seen: list[str] = []
    cursor = None
    while True:
        reply = await desk.ask("list", limit=3, cursor=cursor)
        seen += [memory["text"] for memory in reply["memories"]]
        cursor = reply["next_cursor"]
        if cursor is None:
            break
    assert seen == [f"t{place}" for place in reversed(range(7))]
    assert (await desk.ask("list", count=2, filter={"n": {"lt": 3}}))["count"] == 2


async def test_stats_say_what_the_contract_lists(desk: Desk) -> None:
    """Counts, threshold, device, store, queue and latencies are there."""
    await desk.ask("store", items=[{"text": "a", "significance": 0.7}, {"text": "b", "significance": 0.6}])
    stats = (await desk.ask("stats"))["stats"]
    assert (stats["memory_count"], stats["total_memories"], stats["active_memories"]) == (2, 2, 1)
    assert (stats["significance_threshold"], stats["device"], stats["last_backup"]) == (0.7, "cpu", None)
    assert stats["store"]["engine_version"] == apsw.sqlite_lib_version()
    assert stats["store"]["size_bytes"] > 0
    assert stats.keys() >= {"uptime_s", "port", "requests", "latency_ms", "queue", "peers", "service"}
    assert "gpu" not in stats


async def test_a_full_disk_refuses_writes_and_serves_reads(desk: Desk, disk: Disk) -> None:
    """The client learns that the disk is full; what was stored before is still found."""
    await desk.ask("store", text="kept")
    disk.fault = apsw.FullError("full")
    reply = await desk.ask("store", text="lost")
    assert (reply["code"], reply["retry_after"]) == ("storage_full", 5.0)
    assert await desk.texts(query="lost") == ["kept"]
    disk.fault = None
    assert (await desk.ask("store", text="later"))["status"] == "success"
    assert sorted(await desk.texts()) == ["kept", "later"]


async def test_concurrent_stores_share_syncs_and_lose_nothing(desk: Desk, disk: Disk) -> None:
    """A hundred stores at once cost far fewer syncs, and every one is found afterwards."""
    before = disk.syncs
    replies = await asyncio.gather(*(desk.ask("store", text=f"memory {place}") for place in range(100)))
    assert all(reply["status"] == "success" for reply in replies)
    assert disk.syncs - before < 60
    assert set(await desk.texts(count=1000)) == {f"memory {place}" for place in range(100)}
    assert sum(reply["surprise"] == 1.0 for reply in replies) == 1


async def test_an_acknowledged_store_is_visible_to_every_next_retrieve(desk: Desk) -> None:
    """While others write, whoever was answered finds the memory in the very next search."""

    async def store_and_look(place: int) -> bool:
        reply = await desk.ask("store", text=f"memory {place}", significance=1.0)
        found = await desk.ask("retrieve", count=1000)
        return reply["id"] in {memory["id"] for memory in found["memories"]}

    assert all(await asyncio.gather(*(store_and_look(place) for place in range(40))))


async def test_a_client_that_leaves_does_not_stop_its_commit(desk: Desk, disk: Disk) -> None:
    """Once the commit is under way, cancelling the request keeps the memory whole, and nobody else waits."""
    disk.gate.clear()
    leaving = asyncio.ensure_future(desk.ask("store", text="leaving"))
    await asyncio.to_thread(disk.waiting.acquire)
    leaving.cancel()
    await asyncio.wait({leaving})
    assert leaving.cancelled()
    assert await desk.texts() == []
    disk.gate.set()
    await desk.ask("store", text="after")
    assert sorted(await desk.texts()) == ["after", "leaving"]


async def test_a_store_is_not_acknowledged_before_its_sync(desk: Desk, disk: Disk) -> None:
    """While the disk has not confirmed, neither the client nor any search learns of the memory."""
    disk.gate.clear()
    storing = asyncio.ensure_future(desk.ask("store", text="a"))
    await asyncio.to_thread(disk.waiting.acquire)
    assert await desk.texts() == []
    assert not storing.done()
    disk.gate.set()
    assert (await storing)["status"] == "success"
    assert await desk.texts() == ["a"]

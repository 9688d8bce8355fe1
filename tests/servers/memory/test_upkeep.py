"""Update, forget with undo, purge, duplicates, explain, and the limits on what a memory may hold."""

from pathlib import Path
from typing import Any

import pytest

from servers.scoring_terms import information
from tests.servers.memory.desk import NOON_MS, Desk, open_desk

DAY_MS = 86_400_000


async def fill(desk: Desk, *significances: float, **shared: Any) -> list[str]:
    """Store one memory per significance; the first is the oldest, each a day younger than the one before."""
    ids = []
    for place, significance in enumerate(significances):
        reply = await desk.ask(
            "store",
            text=f"memory {place}",
            id=f"m{place}",
            significance=significance,
            timestamp=NOON_MS - (len(significances) - place) * DAY_MS,
            **shared,
        )
        ids.append(reply["memory_id"])
    return ids


async def test_an_update_changes_only_what_it_names(desk: Desk) -> None:
    """Metadata, times and significance change; id, text, scores and place in the listing stay."""
    await desk.ask("store", text="a", id="a", metadata={"type": "fact"}, expires_at=NOON_MS + DAY_MS)
    await desk.ask("store", text="b", id="b")
    before = (await desk.ask("get", id="a"))["memory"]
    reply = await desk.ask("update", id="a", metadata={"tags": ["x"], "k": 1}, significance=0.9)
    expected = before | {
        "metadata": {"tags": ["x"], "k": 1},
        "tags": ["x"],
        "type": None,
        "significance": 0.9,
    }
    assert reply["memory"] == expected
    assert (await desk.ask("get", id="a"))["memory"] == expected
    assert reply["stats"]["active_memories"] == 1
    assert [memory["id"] for memory in (await desk.ask("list"))["memories"]] == ["b", "a"]
    assert await desk.texts(filter={"k": 1}, min_significance=0.85) == ["a"]


async def test_null_takes_the_expiry_away(desk: Desk) -> None:
    """`expires_at: null` means never, whereas leaving it out keeps it."""
    await desk.ask("store", text="a", id="a", expires_at=NOON_MS + 1000)
    assert (await desk.ask("update", id="a", significance=0.5))["memory"]["expires_at"] is not None
    assert (await desk.ask("update", id="a", expires_at=None))["memory"]["expires_at"] is None
    desk.clock.now_ms += 2000
    assert await desk.texts() == ["a"]


async def test_a_new_text_is_found_and_scored_anew(desk: Desk) -> None:
    """The old words no longer find the memory, the new ones do, and its scores are those of the new text."""
    await desk.ask("store", text="a bird in the hand", id="bird")
    await desk.ask("store", text="old words", id="x")
    reply = await desk.ask("update", id="x", text="a bird in the hand")
    assert reply["memory"]["surprise"] == pytest.approx(0.0, abs=1e-6)
    assert reply["memory"]["duplicate_of"] == "bird"
    assert reply["memory"]["significance"] == pytest.approx(0.4 * information("a bird in the hand"), abs=1e-6)
    again = await desk.ask("update", id="x", text="entirely its own")
    assert again["memory"]["surprise"] > 0.5
    assert again["memory"]["duplicate_of"] is None
    hits = (await desk.ask("retrieve", query="entirely its own", count=2, sort="relevance"))["memories"]
    assert (hits[0]["id"], hits[0]["similarity"]) == ("x", pytest.approx(1.0, abs=1e-6))
    assert len({hit["id"] for hit in hits}) == 2


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"id": "a"}, "name what changes"),
        ({"ids": ["a", "b"], "text": "x"}, "one memory at a time"),
        ({"id": "a", "text": "  "}, "empty"),
        ({"id": "a", "embedding": [1.0]}, "384"),
        ({"significance": 0.5}, "id"),
    ],
)
async def test_an_update_that_makes_no_sense_is_refused(desk: Desk, data: dict[str, Any], told: str) -> None:
    """The text says what is wrong, and nothing changes."""
    await desk.ask("store", items=[{"text": "a", "id": "a"}, {"text": "b", "id": "b"}])
    reply = await desk.ask("update", **data)
    assert reply["code"] == "invalid_request"
    assert told in reply["error"]
    assert sorted(await desk.texts()) == ["a", "b"]


async def test_what_does_not_exist_cannot_be_updated(desk: Desk) -> None:
    """A single unknown id is an error, among several it is listed."""
    await desk.ask("store", text="a", id="a")
    assert (await desk.ask("update", id="zzz", significance=1.0))["code"] == "not_found"
    reply = await desk.ask("update", ids=["zzz", "a"], significance=1.0)
    assert (reply["updated"], reply["missing"]) == (1, ["zzz"])


async def test_forget_is_a_dry_run_a_deletion_and_an_undo(desk: Desk) -> None:
    """The dry run says what would go and changes nothing; the real one hides it; `undo` brings it back."""
    await fill(desk, 0.1, 0.9, 0.2)
    before = await desk.ask("list")
    dry = await desk.ask("forget", below_significance=0.5, dry_run=True)
    assert (dry["forgotten"], dry["would_forget"], dry["count"], dry["ids"]) == (0, 2, 2, ["m0", "m2"])
    assert await desk.ask("list") == before
    reply = await desk.ask("forget", below_significance=0.5)
    assert (reply["forgotten"], reply["ids"], reply["stats"]["total_memories"]) == (2, ["m0", "m2"], 1)
    assert reply["count"] == 2
    assert await desk.texts() == ["memory 1"]
    undone = await desk.ask("restore", undo=reply["undo"])
    assert (undone["restored"], undone["stats"]["total_memories"]) == (2, 3)
    assert await desk.ask("list") == before
    assert (await desk.ask("restore", undo=reply["undo"]))["code"] == "not_found"


@pytest.mark.parametrize(
    ("criteria", "gone"),
    [
        ({"ids": ["m0", "m2", "zzz"]}, {"m0", "m2"}),
        ({"older_than": "36h"}, {"m0", "m1"}),
        ({"older_than": NOON_MS - 2 * DAY_MS}, {"m0"}),
        ({"filter": {"k": 1}}, {"m0", "m1", "m2"}),
        ({"filter": {"k": 1}, "below_significance": 0.2}, {"m0"}),
        ({"keep": 1}, {"m0", "m2"}),
        ({"keep": 0}, {"m0", "m1", "m2"}),
        ({"keep": 3}, set()),
        ({"keep": 2, "namespace": "other"}, set()),
    ],
)
async def test_forget_chooses_by_every_criterion(
    desk: Desk, criteria: dict[str, Any], gone: set[str]
) -> None:
    """Ids, age, instant, filter, significance and the number to keep, alone and together."""
    await fill(desk, 0.1, 0.9, 0.2, metadata={"k": 1})
    await desk.ask("store", text="elsewhere", namespace="far", significance=0.0, timestamp=0)
    reply = await desk.ask("forget", **criteria)
    assert (set(reply["ids"]), reply["forgotten"]) == (gone, len(gone))
    assert (reply["undo"] is None) == (not gone)
    assert await desk.texts(namespace="far") == ["elsewhere"]


async def test_forget_without_a_criterion_is_refused(desk: Desk) -> None:
    """Nobody forgets everything by leaving something out."""
    await fill(desk, 0.1)
    for data in ({}, {"filter": {}}, {"namespace": "default"}, {"dry_run": True}):
        assert (await desk.ask("forget", **data))["code"] == "invalid_request"
    assert len(await desk.texts()) == 1


async def test_purge_waits_for_the_time_of_undo(desk: Desk) -> None:
    """What was deleted lately stays restorable; what was deleted long ago goes, and its id is free."""
    await fill(desk, 0.1, 0.2, 0.3)
    await desk.ask("delete", id="m0")
    desk.clock.now_ms += 31 * DAY_MS
    await desk.ask("delete", id="m1")
    assert (await desk.ask("purge", dry_run=True))["would_purge"] == 1
    assert (await desk.ask("purge"))["purged"] == 1
    assert (await desk.ask("restore", ids=["m0", "m1"]))["missing"] == ["m0"]
    assert (await desk.ask("store", text="another text", id="m0"))["status"] == "success"
    assert sorted(await desk.texts()) == ["another text", "memory 1", "memory 2"]


async def test_purge_by_id_takes_only_what_is_deleted(desk: Desk) -> None:
    """A memory in use is never purged; a deleted one is, at once; ages count from the deletion."""
    await fill(desk, 0.1, 0.2)
    await desk.ask("delete", id="m0")
    assert (await desk.ask("purge", ids=["m0", "m1"]))["purged"] == 1
    assert await desk.texts() == ["memory 1"]
    await desk.ask("delete", id="m1")
    desk.clock.now_ms += 1
    assert (await desk.ask("purge", deleted_before="1s"))["purged"] == 0
    assert (await desk.ask("purge", deleted_before=desk.clock.now_ms))["purged"] == 1
    assert (await desk.ask("stats"))["stats"]["deleted_memories"] == 0


async def test_duplicates_are_reported_with_what_they_repeat(desk: Desk) -> None:
    """Page by page, newest first; an original that is gone is null."""
    await desk.ask("store", text="tea", id="tea")
    await desk.ask("store", items=[{"text": "tea", "id": f"tea{place}"} for place in range(3)])
    await desk.ask("store", text="coffee")
    first = await desk.ask("duplicates", limit=2)
    assert [pair["memory"]["id"] for pair in first["duplicates"]] == ["tea2", "tea1"]
    assert {pair["original"]["id"] for pair in first["duplicates"]} <= {"tea", "tea0", "tea1"}
    rest = await desk.ask("duplicates", limit=2, cursor=first["next_cursor"])
    assert ([pair["memory"]["id"] for pair in rest["duplicates"]], rest["next_cursor"]) == (["tea0"], None)
    await desk.ask("delete", id="tea")
    (pair,) = (await desk.ask("duplicates", limit=1, cursor=first["next_cursor"]))["duplicates"]
    assert (pair["duplicate_of"], pair["original"]) == ("tea", None)


async def test_explain_shows_the_parts_of_the_score(desk: Desk) -> None:
    """The parts times their weights add up to the score."""
    await desk.ask("store", text="words", timestamp=NOON_MS - 15 * DAY_MS)
    (memory,) = (await desk.ask("retrieve", query="other words", explain=True))["memories"]
    parts = memory["explain"]
    total = sum(parts["weights"][name] * parts[name] for name in parts["weights"])
    assert memory["score"] == pytest.approx(total, abs=1e-9)


async def test_large_metadata_is_refused(tmp_path: Path) -> None:
    """Bytes of JSON count, in `store`, in a batch and in `update`; the text names the limit."""
    async with open_desk(tmp_path / "data", max_metadata_bytes=100) as desk:
        good, bad = {"k": "x" * 80}, {"k": "ü" * 60}
        await desk.ask("store", text="a", id="a", metadata=good)
        for reply in (
            await desk.ask("store", text="b", metadata=bad),
            await desk.ask("store", items=[{"text": "b"}, {"text": "c", "metadata": bad}]),
            await desk.ask("update", id="a", metadata=bad),
        ):
            assert reply["code"] == "too_large"
            assert "at most 100 bytes" in reply["error"]
        assert await desk.texts() == ["a"]


async def test_a_full_store_says_so_and_makes_room(tmp_path: Path) -> None:
    """Beyond `max_memories` a batch is refused as a whole; forgetting makes room; repeats need none."""
    async with open_desk(tmp_path / "data", max_memories=3) as desk:
        await fill(desk, 0.1, 0.2)
        refused = await desk.ask("store", items=[{"text": "c"}, {"text": "d"}])
        assert (refused["code"], "max_memories" in refused["error"]) == ("storage_full", True)
        assert len(await desk.texts()) == 2
        assert (await desk.ask("store", text="c"))["status"] == "success"
        assert (await desk.ask("store", text="memory 0", id="m0"))["status"] == "success"
        await desk.ask("forget", keep=1)
        assert (await desk.ask("store", items=[{"text": "e"}, {"text": "f"}]))["status"] == "success"


async def test_namespaces_are_refused_beyond_their_limit(tmp_path: Path) -> None:
    """Beyond `max_namespaces` a new one is refused, after a restart as well; those that exist go on."""
    for _ in range(2):
        async with open_desk(tmp_path / "data", max_namespaces=2) as desk:
            for name in ("one", "two", "one"):
                assert (await desk.ask("store", text="a", namespace=name))["status"] == "success"
            refused = await desk.ask("store", text="a", namespace="three")
            assert (refused["code"], "max_namespaces" in refused["error"]) == ("storage_full", True)


@pytest.mark.parametrize("name", ["", "a\0b", "line\nbreak", "x" * 257, 7])
@pytest.mark.parametrize("field", ["id", "namespace"])
async def test_unusable_names_are_refused(desk: Desk, field: str, name: object) -> None:
    """Ids and namespaces are 1 to 256 characters without control characters."""
    reply = await desk.ask("store", text="a", **{field: name})
    assert reply["code"] == "invalid_request"
    assert field in reply["error"]

"""Search by words: what is found, in which order, in step with every change, and fused with meaning."""

from pathlib import Path
from typing import Any

import pytest

from servers.memory.keywords import KeywordIndex, fuse, in_order
from servers.memory.search import Hit
from tests.servers.memory.desk import Desk, open_desk


def index_of(**texts: str) -> KeywordIndex:
    """An index of these texts, their seqs in the order given from 1 on."""
    index = KeywordIndex()
    index.put(enumerate(texts.values(), start=1))
    return index


def test_any_word_of_the_query_finds() -> None:
    """The rarer and the more of the words, the better; case and accents do not count."""
    index = index_of(a="the cat sat", b="the dog sat near the Café", c="nothing here")
    assert index.search("CAT") == [1]
    assert index.search("cafe dog") == [2]
    assert set(index.search("sat")) == {1, 2}
    assert index.search("sat dog")[0] == 2
    assert index.search("zzz") == []


@pytest.mark.parametrize("query", ['"', "AND OR NOT", "a* (b", "text:x", "-", "", "^", "'; DROP TABLE words"])
def test_no_query_is_an_error(query: str) -> None:
    """Signs that mean something to the full-text engine are only words, or nothing."""
    assert isinstance(index_of(a="text b not").search(query), list)


def test_changes_are_followed() -> None:
    """A text that is put again replaces the old one, a removed one is gone, unknown ones do not matter."""
    index = index_of(a="old words", b="other")
    index.put([(1, "new words")])
    assert (index.search("old"), index.search("new")) == ([], [1])
    index.remove([1, 99])
    assert index.search("new") == []


def hit(seq: int) -> Hit:
    """A hit with that seq."""
    return Hit(seq, 0.0, 0.5, 0.5, 1.0)


def test_fusion_favours_what_both_rankings_know() -> None:
    """Reciprocal rank fusion: a hit in both rankings beats the first of either; ties go to the lower seq."""
    fused = fuse([hit(1), hit(3)], [hit(2), hit(3)])
    assert [one.seq for one in fused] == [3, 1, 2]
    assert fused[0].score == pytest.approx(2 / 62)
    assert [one.seq for one in in_order([hit(1), hit(2)], [9, 2, 1])] == [2, 1]


async def words(desk: Desk, query: str, **data: Any) -> list[str]:
    """The texts that a search by words answers."""
    return await desk.texts(query=query, match=data.pop("match", "words"), **data)


async def test_words_are_found_through_every_change(tmp_path: Path) -> None:
    """Stored, updated, deleted, restored, forgotten and undone, restarted: the words follow."""
    async with open_desk(tmp_path / "data", keyword_search=True) as desk:
        await desk.ask("store", items=[{"text": "green tea", "id": "a"}, {"text": "black coffee", "id": "b"}])
        assert await words(desk, "tea") == ["green tea"]
        await desk.ask("update", id="a", text="green matcha")
        assert (await words(desk, "tea"), await words(desk, "matcha")) == ([], ["green matcha"])
        await desk.ask("delete", id="a")
        assert await words(desk, "matcha") == []
        await desk.ask("restore", id="a")
        undo = (await desk.ask("forget", ids=["a"]))["undo"]
        assert await words(desk, "matcha") == []
        await desk.ask("restore", undo=undo)
        assert await words(desk, "matcha") == ["green matcha"]
    async with open_desk(tmp_path / "data", keyword_search=True) as desk:
        assert await words(desk, "matcha coffee", count=1) != []
        assert set(await words(desk, "matcha coffee")) == {"green matcha", "black coffee"}


async def test_words_respect_namespaces_filters_and_significance(tmp_path: Path) -> None:
    """A search by words finds only what a search by meaning may find too."""
    async with open_desk(tmp_path / "data", keyword_search=True) as desk:
        await desk.ask("store", text="tea one", metadata={"k": 1}, significance=0.9)
        await desk.ask("store", text="tea two", metadata={"k": 2}, significance=0.1)
        await desk.ask("store", text="tea far", namespace="far")
        assert await words(desk, "tea", filter={"k": 1}) == ["tea one"]
        assert await words(desk, "tea", min_significance=0.5) == ["tea one"]
        assert await words(desk, "tea", namespace="far") == ["tea far"]
        reply = await desk.ask("retrieve", query="tea", match="both", count=1, offset=1, explain=True)
        assert (reply["total"], reply["count"]) == (2, 1)
        assert "similarity" in reply["memories"][0]


async def test_both_find_what_either_finds(tmp_path: Path) -> None:
    """The exact word leads although its vector is far; what lacks the word is there all the same."""
    async with open_desk(tmp_path / "data", keyword_search=True) as desk:
        await desk.ask("store", items=[{"text": f"filler {place}"} for place in range(30)])
        await desk.ask("store", text="error code E1234 in the pump")
        texts = await words(desk, "E1234", match="both", count=31)
        assert texts[0] == "error code E1234 in the pump"
        assert len(texts) == 31


async def test_words_must_be_indexed_and_asked_for(desk: Desk) -> None:
    """Without the option the reply names it; without a query, or with another order, words make no sense."""
    reply = await desk.ask("retrieve", query="x", match="words")
    assert (reply["code"], "keyword_search" in reply["error"]) == ("invalid_request", True)
    for data in ({"match": "both"}, {"match": "words", "query": "x", "sort": "recent"}, {"match": "else"}):
        assert (await desk.ask("retrieve", **data))["code"] == "invalid_request"

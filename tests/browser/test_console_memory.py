"""The memory tab: store, search, browse, delete with undo, and take everything along."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import OpenConsole
from tests.browser.server_processes import Pair

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def enter_namespace(page: Page, name: str) -> None:
    """Goes to the memory tab and works in a namespace of its own."""
    await page.click("#tab-memory")
    await page.fill("#namespace", name)


async def test_a_stored_memory_is_found_with_its_score_explained(open_console: OpenConsole) -> None:
    """Store with type and tags, search, and read the score as the sum that it is."""
    page = await open_console()
    await enter_namespace(page, "explained")
    await page.fill("#store-text", "The kettle is blue")
    await page.fill("#store-type", "note")
    await page.fill("#store-tags", "kitchen, blue")
    await page.get_by_role("button", name="Store", exact=True).click()
    await expect(page.locator("#store-note")).to_contain_text("Stored and on disk")
    await page.fill("#query", "The kettle is blue")
    await page.get_by_role("button", name="Search", exact=True).click()
    found = page.locator("#found li")
    await expect(found).to_have_count(1)
    for shown in ("The kettle is blue", "similarity 1.000", "note", "#kitchen", "#blue"):
        await expect(found).to_contain_text(shown)
    total, *terms = [
        float(number) for number in re.findall(r"\d\.\d+", await found.locator(".explain").inner_text())
    ]
    weighed = sum(weight * value for weight, value in zip(terms[::2], terms[1::2], strict=True))
    assert len(terms) == 6
    assert total == pytest.approx(weighed, abs=0.002)


async def test_storing_and_searching_tell_where_their_time_went(open_console: OpenConsole) -> None:
    """The server's stages, the rest of its work, and the way there and back."""
    page = await open_console()
    await enter_namespace(page, "timed")
    split = r"\d+(\.\d)? ms \(embed \d.* ms, {} \d.* ms, server \d.* ms, transport \d.* ms\)"
    await page.fill("#store-text", "The kettle is blue")
    await page.get_by_role("button", name="Store", exact=True).click()
    await expect(page.locator("#store-note")).to_have_text(re.compile(split.format("commit")))
    await page.fill("#query", "kettle")
    await page.get_by_role("button", name="Search", exact=True).click()
    await expect(page.locator("#search-note")).to_have_text(re.compile(split.format("search")))


async def test_what_significance_hides_is_counted_and_can_be_shown(
    open_console: OpenConsole, pair: Pair
) -> None:
    """A search that seems to miss something says so."""
    for significance in (0.2, 0.3, 0.9):
        data = {"text": f"worth {significance}", "significance": significance, "namespace": "hidden"}
        pair.memory.ask({"type": "store", "data": data})
    page = await open_console()
    await enter_namespace(page, "hidden")
    await page.fill("#min-significance", "0.7")
    await page.get_by_role("button", name="Search", exact=True).click()
    await expect(page.locator("#hidden-note")).to_contain_text("2 more hidden")
    await page.get_by_role("button", name="Show them").click()
    await expect(page.locator("#found li")).to_have_count(3)
    await expect(page.locator("#hidden-note")).to_be_empty()


async def test_a_deleted_memory_comes_back_by_undo(open_console: OpenConsole, pair: Pair) -> None:
    """Delete turns the row into its own undo, and the focus stays with it."""
    stored = {"text": "do not lose me", "namespace": "undo"}
    memory_id = pair.memory.ask({"type": "store", "data": stored})["id"]
    page = await open_console()
    await enter_namespace(page, "undo")
    await page.click("#browse")
    await page.get_by_role("button", name=re.compile("^Delete: ")).click()
    undo = page.get_by_role("button", name="Undo: do not lose me")
    await expect(undo).to_be_focused()
    listing = {"type": "list", "data": {"namespace": "undo"}}
    assert pair.memory.ask(listing)["memories"] == []
    await undo.click()
    await expect(page.get_by_role("button", name=re.compile("^Delete: "))).to_be_focused()
    assert [memory["id"] for memory in pair.memory.ask(listing)["memories"]] == [memory_id]


async def test_deleted_memories_can_be_looked_up_and_restored(open_console: OpenConsole, pair: Pair) -> None:
    """The undo is still there after the page was closed."""
    stored = {"text": "thrown away", "namespace": "restore"}
    memory_id = pair.memory.ask({"type": "store", "data": stored})["id"]
    pair.memory.ask({"type": "delete", "data": {"id": memory_id}})
    page = await open_console()
    await enter_namespace(page, "restore")
    await page.check("#deleted")
    await page.click("#browse")
    await page.get_by_role("button", name=re.compile("^Restore: ")).click()
    await expect(page.get_by_role("button", name=re.compile("^Delete: "))).to_be_visible()
    assert pair.memory.ask({"type": "list", "data": {"namespace": "restore"}})["count"] == 1


async def test_browsing_pages_through_everything_and_downloads_it(
    open_console: OpenConsole, pair: Pair, tmp_path: Path
) -> None:
    """Twenty at a time by cursor; the file has every memory with its vector; the server can write one too."""
    items = [{"text": f"memory number {number}"} for number in range(45)]
    pair.memory.ask({"type": "store", "data": {"items": items, "namespace": "paged"}})
    page = await open_console()
    await enter_namespace(page, "paged")
    await page.click("#browse")
    for count in (20, 40):
        await expect(page.locator("#browsed li")).to_have_count(count)
        await page.click("#more")
    await expect(page.locator("#browsed li")).to_have_count(45)
    await expect(page.locator("#more")).to_be_hidden()
    async with page.expect_download() as coming:
        await page.click("#download")
    file = tmp_path / "memories.jsonl"
    await (await coming.value).save_as(file)
    memories = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert {memory["text"] for memory in memories} == {item["text"] for item in items}
    assert all(len(memory["embedding"]) == 384 for memory in memories)
    await page.click("#export")
    await expect(page.locator("#browse-note")).to_contain_text("45 memories written on the server")

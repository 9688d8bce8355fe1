"""The test page: all green on two good servers, and the real reason where one is not."""

from __future__ import annotations

import asyncio
import signal

import pytest
from playwright.async_api import expect

from tests.browser.conftest import MakePair
from tests.browser.server_processes import Pair
from tests.browser.watched_pages import Opener

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MEMORY_CHECKS = [
    "ready", "connect", "stats", "store", "retrieve", "delete", "bad JSON", "unknown type", "reconnect",
]  # fmt: skip
INFERENCE_CHECKS = [
    "ready", "connect", "stats", "embeddings", "process", "bad JSON", "unknown type", "reconnect",
]  # fmt: skip


@pytest.mark.parametrize("width", [1280, 390])
async def test_every_check_passes_with_a_tick_and_a_time(open_page: Opener, pair: Pair, width: int) -> None:
    """Both servers, every check of the seed's page and more, again when asked, on a narrow screen too."""
    hosts = frozenset({f"localhost:{pair.inference.port}"})
    page = await open_page(f"{pair.memory.http}/test", hosts=hosts, width=width)
    await expect(page.locator("#summary")).to_contain_text("✓ 17 of 17 checks passed in")
    await expect(page).to_have_title("✓ 17/17 Lucid test")
    for server, checks in (("memory", MEMORY_CHECKS), ("inference", INFERENCE_CHECKS)):
        rows = page.get_by_role("region", name=server).locator("tbody tr")
        assert await rows.locator("th").all_inner_texts() == checks
        for row in await rows.all():
            await expect(row.get_by_role("img", name="passed")).to_have_text("✓")
            await expect(row.locator(".number")).to_contain_text("ms")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    await page.get_by_role("button", name="Run again").click()
    await expect(page.locator("#summary")).to_contain_text("✓ 17 of 17 checks passed in")


async def test_its_memories_stay_out_of_the_way(open_page: Opener, pair: Pair) -> None:
    """What the checks store is gone afterwards and was never among the user's."""
    before = pair.memory.ask({"type": "list", "data": {"limit": 1000}})["count"]
    page = await open_page(f"{pair.memory.http}/test", hosts=frozenset({f"localhost:{pair.inference.port}"}))
    await expect(page.locator("#summary")).to_contain_text("✓ 17 of 17")
    assert pair.memory.ask({"type": "list", "data": {"limit": 1000}})["count"] == before
    assert pair.memory.ask({"type": "list", "data": {"namespace": "lucid-check"}})["count"] == 0


async def test_a_server_that_is_down_is_reported_with_the_reason(
    open_page: Opener, new_pair: MakePair
) -> None:
    """Not a bare error event: where nothing answers and what to do; what depends on it was not run."""
    pair = new_pair()
    await asyncio.to_thread(pair.memory.start)
    hosts = frozenset({f"localhost:{pair.inference.port}"})
    page = await open_page(f"{pair.memory.http}/test", hosts=hosts, is_faultless=False)
    await expect(page.locator("#summary")).to_contain_text("✗ 9 of 17 checks passed, 2 failed, 6 not run")
    inference = page.get_by_role("region", name="inference")
    for check in ("ready", "connect"):
        row = inference.locator(f"[data-check={check}]")
        await expect(row.get_by_role("img", name="failed")).to_have_text("✗")
        await expect(row).to_contain_text(f"nothing answers at localhost:{pair.inference.port}")
        await expect(row).to_contain_text('start it with "lucid-launch up"')
    await expect(inference.locator("[data-check=stats]")).to_contain_text("not run: there is no connection")
    await page.get_by_role("button", name="Copy report").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert "✗ inference: connect" in await page.evaluate("navigator.clipboard.readText()")


async def test_a_server_that_hangs_is_told_from_one_that_is_down(
    open_page: Opener, new_pair: MakePair
) -> None:
    """It takes connections and never answers: neither check waits for ever, and both say so."""
    pair = new_pair()
    await asyncio.to_thread(pair.start)
    assert pair.inference.process is not None
    pair.inference.process.send_signal(signal.SIGSTOP)
    hosts = frozenset({f"localhost:{pair.inference.port}"})
    page = await open_page(f"{pair.memory.http}/test", hosts=hosts, is_faultless=False)
    await expect(page.locator("#summary")).to_contain_text("✗ 9 of 17 checks passed, 2 failed, 6 not run")
    for check in ("ready", "connect"):
        row = page.get_by_role("region", name="inference").locator(f"[data-check={check}]")
        await expect(row).to_contain_text("takes connections but does not answer")


async def test_programs_are_told_that_it_is_a_page(pair: Pair, open_page: Opener) -> None:
    """Without text/html in Accept there is no page at /test, but a sentence."""
    page = await open_page()
    response = await page.request.get(f"{pair.memory.http}/test", headers={"accept": "application/json"})
    assert response.status == 404
    assert "a page for browsers" in (await response.json())["message"]

"""The tabs that tell what happened: requests, log lines, and vectors kept aside to compare with."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from websockets.asyncio.client import connect

from tests.browser.conftest import MakePair, OpenConsole
from tests.browser.server_processes import Pair, ServerProcess
from tests.browser.watched_pages import Opener
from tests.integration.stack import free_ports

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PROBE = Path(__file__).parents[1] / "servers" / "probe_server.py"


async def test_answers_and_failures_are_listed_without_what_was_asked(
    open_console: OpenConsole, pair: Pair
) -> None:
    """Of both servers, the newest first; the failed ones alone if wanted."""
    async with connect(pair.memory.ws, proxy=None) as socket:
        for request in ({"type": "store", "text": "a secret"}, {"type": "get", "id": "nobody"}):
            await socket.send(json.dumps(request))
            await socket.recv()
    pair.inference.ask({"type": "embeddings", "data": {"text": "another secret"}})
    page = await open_console("#activity")
    rows = page.locator("#answered tr")
    await expect(rows.nth(0)).to_contain_text(re.compile(r"embeddings.*✓ ok.*ms.*inference"))
    await expect(rows.nth(1)).to_contain_text(re.compile(r"get.*✗ not_found.*memory"))
    await expect(rows.nth(2)).to_contain_text(re.compile(r"store.*✓ ok.*memory"))
    assert "secret" not in await page.locator("#activity").inner_text()
    await page.get_by_label("failed ones only").check()
    await expect(rows.filter(has_text="✓ ok")).to_have_count(0)
    await expect(rows.first).to_contain_text("✗")


async def test_what_takes_long_is_shown_while_it_does(open_page: Opener, tmp_path: Path) -> None:
    """A request without an answer stands there with its age, and goes when it is answered."""
    port, nobody = free_ports(2)
    server = ServerProcess("memory", port, tmp_path, command=(str(PROBE),), environ={"PROBE_NAME": "memory"})
    try:
        await asyncio.to_thread(server.start)
        hosts = frozenset({f"localhost:{nobody}"})
        url = f"{server.http}/#inference=ws://localhost:{nobody}/"
        page = await open_page(url, hosts=hosts, is_faultless=False)
        await page.click("#tab-activity")
        await expect(page.locator("#nothing-in-flight")).to_be_visible()
        async with connect(server.ws, proxy=None) as socket:
            await socket.send(json.dumps({"type": "hold"}))
            waiting = page.locator("#in-flight tr")
            await expect(waiting).to_contain_text(re.compile(r"hold.*memory.*for .* m?s.*16 bytes"))
            server.ask({"type": "release"})
            await expect(waiting).to_have_count(0)
        await expect(page.locator("#answered")).to_contain_text(re.compile(r"hold.*✓ ok"))
    finally:
        server.kill()


async def log_texts(page: Page) -> list[str]:
    """The lines of the Logs tab."""
    return await page.locator("#lines li").all_inner_texts()


async def test_lines_of_both_servers_are_merged_and_filtered(open_console: OpenConsole) -> None:
    """By a regular expression that minds case only with a capital in it; the address holds the filter."""
    page = await open_console("#logs")
    lines = page.locator("#lines li")
    await expect(lines.filter(has_text="memory INFO lucid: the memory server: ready")).to_have_count(1)
    await expect(lines.filter(has_text="inference INFO lucid: the inference server: ready")).to_have_count(1)
    times = [text[:12] for text in await log_texts(page)]
    assert times == sorted(times)
    await page.get_by_label("Filter").fill("the (memory|nothing) SERVER")
    await expect(lines).to_have_count(0)
    await page.get_by_label("Filter").fill("the (memory|nothing) server: r")
    await expect(lines).to_have_count(1)
    await expect(page.locator("#lines-count")).to_contain_text("1 of ")
    await page.get_by_label("Level").select_option("ERROR")
    await expect(lines).to_have_count(0)
    assert "level=ERROR" in page.url
    await page.reload()
    await expect(page.get_by_label("Filter")).to_have_value("the (memory|nothing) server: r")
    await expect(page.get_by_label("Level")).to_have_value("ERROR")
    await page.get_by_label("Level").select_option("DEBUG")
    await expect(lines).to_have_count(1)


async def test_half_a_pattern_is_looked_for_as_it_stands(open_console: OpenConsole) -> None:
    """While somebody types `(127`, the lines that hold it stay; the field says that it is no pattern yet."""
    page = await open_console("#logs")
    await page.get_by_label("Filter").fill("(127")
    await expect(page.get_by_label("Filter")).to_have_attribute("aria-invalid", "true")
    await expect(page.locator("#lines li")).to_have_count(2)


async def test_lines_before_and_after_a_restart_are_both_there(open_page: Opener, new_pair: MakePair) -> None:
    """What a process said before it was killed is worth reading, and the next one's lines follow."""
    pair = new_pair()
    await asyncio.to_thread(pair.start)
    hosts = frozenset({f"localhost:{pair.inference.port}"})
    page = await open_page(f"{pair.memory.http}/#logs", hosts=hosts, is_faultless=False)
    ready = page.locator("#lines li", has_text="the inference server: ready")
    await expect(ready).to_have_count(1)
    pair.inference.kill()
    await expect(page.locator("#lines-note")).to_contain_text("inference: nothing answers at")
    await asyncio.to_thread(pair.inference.start)
    await expect(ready).to_have_count(2)
    await expect(page.locator("#lines-note")).to_be_empty()


async def test_vectors_kept_aside_are_compared_with_later_ones(open_console: OpenConsole) -> None:
    """Kept over a reload, by text; another text was not kept; forgetting them ends it."""
    page = await open_console("#inference")
    await page.fill("#texts", "tea\ncoffee")
    await page.click("#embed")
    await page.get_by_role("button", name="Keep for comparison").click()
    cells = page.get_by_role("region", name="Vectors").locator("tbody tr td:nth-child(6)")
    assert await cells.all_inner_texts() == ["1.000000", "1.000000"]
    await page.reload()
    await page.fill("#texts", "coffee\nmilk")
    await page.click("#embed")
    await expect(page.locator("#embed-result")).to_contain_text("Compared with the vectors kept at")
    assert await cells.all_inner_texts() == ["1.000000", "not kept"]
    await page.get_by_role("button", name="Forget the kept ones").click()
    await expect(page.locator("#embed-result")).not_to_contain_text("cosine to kept")

"""Takes the pictures of the page's try-outs with a real Chromium, both servers and the real model.

    python -m docs.generate.page_pictures

Writes docs/images/console-inference.png, console-phone.png, console-memory.png and console-raw.png. Look at them before
they are kept: figures and times are those of the machine.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.conftest import CHROMIUM, FLAGS
from tests.browser.server_processes import Pair, ServerProcess
from tests.integration.stack import free_ports

__all__ = ["IMAGES"]

IMAGES = Path(__file__).parents[1] / "images"
PATIENCE_MS = 120_000
TEXTS = """\
The kettle is blue
A blue pot for boiling water
Trains are late today
The 7:40 to the city is delayed
Delete the oldest backup"""
MEMORIES = (
    ("Anna's train leaves at 7:40 from platform 3 on Mondays", "fact", "anna, travel"),
    ("The kettle in the kitchen is blue and whistles when the water boils", "note", "kitchen"),
    ("The backup runs every night at 02:00 and keeps seven copies", "ops", "backup"),
    ("Anna is away", "note", "anna"),
)


async def opened(browser: Browser, pair: Pair, tab: str, *, width: int = 1100, dark: bool = False) -> Page:
    """The console at one of its tabs, once it has found both servers."""
    context = await browser.new_context(
        viewport={"width": width, "height": 844},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        device_scale_factor=1,
    )
    page = await context.new_page()
    await page.goto(f"{pair.memory.http}/#{tab}")
    await expect(page.locator("#summary")).to_have_text("2 of 2 servers ready", timeout=PATIENCE_MS)
    return page


async def inference(browser: Browser, pair: Pair, name: str, *, width: int = 1100) -> None:
    """Texts, where the time went, vectors, and how alike they are; the second time, when all is warm."""
    page = await opened(browser, pair, "inference", width=width)
    await page.fill("#texts", TEXTS)
    for _ in range(2):
        await page.click("#embed")
        await expect(page.locator("#embed-note")).to_have_text("")
        await expect(page.locator(".matrix")).to_be_visible()
    await page.screenshot(path=IMAGES / name, full_page=True)


async def memory(browser: Browser, pair: Pair, name: str) -> None:
    """What was stored, a search whose scores are explained, and where its time went."""
    page = await opened(browser, pair, "memory", dark=True)
    await page.fill("#namespace", "home")
    for text, kind, tags in MEMORIES:
        await page.fill("#store-text", text)
        await page.fill("#store-type", kind)
        await page.fill("#store-tags", tags)
        await page.click("#store-form button.main")
        await expect(page.locator("#store-text")).to_have_value("")
    await page.fill("#query", "When does Anna leave?")
    await page.fill("#count", "3")
    await page.fill("#min-significance", "0.6")
    await page.click("#search-form button.main")
    await expect(page.locator("#search-note")).to_contain_text("matches")
    await page.screenshot(path=IMAGES / name, full_page=True)


async def raw(browser: Browser, pair: Pair, name: str) -> None:
    """A frame that is refused, and below it a template with its answer, which tells where the time went."""
    page = await opened(browser, pair, "raw")
    await page.select_option("#target", "inference")
    await page.select_option("#template", label="embeddings")
    await page.click("#send")
    await expect(page.locator("#raw-note")).to_contain_text("transport")
    request = await page.input_value("#request")
    await page.fill("#request", "{not json")
    await page.click("#send")
    await expect(page.locator("#raw-note.error")).to_contain_text("invalid_json")
    await page.fill("#request", request)
    await page.click("#send")
    await expect(page.locator("#raw-note")).to_contain_text("transport")
    await page.screenshot(path=IMAGES / name, full_page=True)


async def take() -> None:
    """Every picture, from one pair of servers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ports = dict(zip(("memory", "inference"), free_ports(2), strict=True))
        store = ("--path", str(folder / "store"))
        pair = Pair(*(
            ServerProcess(kind, port, folder, ports, store if kind == "memory" else (), command=("-m", f"servers.{kind}"))
            for kind, port in ports.items()
        ))  # fmt: skip
        try:
            await asyncio.to_thread(pair.start)
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
                await inference(browser, pair, "console-inference.png")
                await inference(browser, pair, "console-phone.png", width=390)
                await memory(browser, pair, "console-memory.png")
                await raw(browser, pair, "console-raw.png")
                await browser.close()
        finally:
            pair.kill()


if __name__ == "__main__":
    asyncio.run(take())

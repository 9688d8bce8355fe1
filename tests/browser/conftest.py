"""One real browser and one real pair of servers for all browser tests; skipped where there is no Chromium."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.server_processes import Pair, make_pair
from tests.browser.watched_pages import Opener
from tests.integration.stack import free_ports

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox",  # a browser that runs as root has no other choice
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    # The name of a hostile page that leads to this machine, as a DNS rebinding makes it.
    "--host-resolver-rules=MAP evil.example 127.0.0.1",
    # The servers themselves are to refuse hostile pages; the browser's own check would hide whether they do.
    "--disable-features=LocalNetworkAccessChecks",
)
EXPECT_TIMEOUT_MS = 20_000

MakePair = Callable[..., Pair]
OpenConsole = Callable[..., Awaitable[Page]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium without a window, driven by Playwright."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here (Debian, Ubuntu: apt-get install chromium)")
    expect.set_options(timeout=EXPECT_TIMEOUT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser) -> AsyncIterator[Opener]:
    """Opens pages that are watched; see `Opener`."""
    opener = Opener(browser)
    yield opener
    await opener.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pair(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    """Both servers, ready; shared by all tests, none of which may stop them."""
    first, second = free_ports(2)
    made = make_pair(tmp_path_factory.mktemp("pair"), (first, second))
    try:
        yield await asyncio.to_thread(made.start)
    finally:
        made.kill()


@pytest.fixture
def new_pair(browser: Browser, tmp_path: Path) -> Iterator[MakePair]:
    """Makes a stopped pair for one test, with the options given; killed at its end."""
    made: list[Pair] = []

    def make(*options: str) -> Pair:
        first, second = free_ports(2)
        made.append(make_pair(tmp_path, (first, second), *options))
        return made[-1]

    yield make
    for each in made:
        each.kill()


@pytest.fixture
def open_console(open_page: Opener, pair: Pair) -> OpenConsole:
    """Opens the console of the shared pair's memory server and waits until it shows both servers ready."""

    async def open_ready(fragment: str = "", *, width: int = 1280, color_scheme: str = "light") -> Page:
        hosts = frozenset({f"localhost:{pair.inference.port}"})
        url = f"{pair.memory.http}/{fragment}"
        page = await open_page(url, hosts=hosts, width=width, color_scheme=color_scheme)
        await expect(page.locator("#summary")).to_have_text("2 of 2 servers ready")
        return page

    return open_ready

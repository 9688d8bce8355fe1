"""The console of a supervised stack: peers by the launcher's word, restarts on sockets that it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.watched_pages import Opener
from tests.integration.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.asyncio(loop_scope="session")]


@pytest.fixture
def stack(browser: Browser, tmp_path: Path) -> Iterator[Stack]:
    """A stopped stack on free ports; stopped again afterwards."""
    made = Stack(tmp_path)
    yield made
    made.close()


async def test_the_page_follows_a_restart_by_the_launcher(stack: Stack, open_page: Opener) -> None:
    """Both servers are found without being told, and the restarted one is another process a moment later."""
    await asyncio.to_thread(stack.run, "up", "-d", "--wait")
    hosts = frozenset({f"localhost:{stack.inference_port}"})
    page = await open_page(f"http://localhost:{stack.memory_port}/", hosts=hosts, is_faultless=False)
    summary, card = page.locator("#summary"), page.locator("[data-server=inference]")
    await expect(summary).to_have_text("2 of 2 servers ready")
    before = stack.child("inference")["pid"]
    await expect(card).to_contain_text(f"pid {before}")
    await asyncio.to_thread(stack.run, "restart", "inference")
    after = stack.child("inference")["pid"]
    assert after != before
    await expect(card).to_contain_text(f"pid {after}")
    await expect(summary).to_have_text("2 of 2 servers ready")

"""What the console says while a server loads, is away, comes back, wants a token, or is somewhere else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.conftest import MakePair
from tests.browser.server_processes import ServerProcess
from tests.browser.watched_pages import Opener
from tests.integration.stack import free_ports

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PROBE = Path(__file__).parents[1] / "servers" / "probe_server.py"
TOKEN = "s3cret-token-of-a-test"


async def test_it_reconnects_across_a_crash_and_says_meanwhile_why_not(
    open_page: Opener, new_pair: MakePair
) -> None:
    """The card and the page's own requests name what is wrong, and both work again without a reload."""
    pair = new_pair()
    await asyncio.to_thread(pair.start)
    hosts = frozenset({f"localhost:{pair.inference.port}"})
    page = await open_page(f"{pair.memory.http}/", hosts=hosts, is_faultless=False)
    summary, state = page.locator("#summary"), page.locator("[data-server=inference] .state")
    await expect(summary).to_have_text("2 of 2 servers ready")
    pair.inference.kill()
    await expect(state).to_contain_text(f"nothing answers at localhost:{pair.inference.port}")
    await expect(summary).to_have_text("1 of 2 servers ready")
    await page.click("#tab-inference")
    await page.click("#embed")
    await expect(page.locator("#embed-note.error")).to_contain_text("nothing answers at")
    await asyncio.to_thread(pair.inference.start)
    await expect(summary).to_have_text("2 of 2 servers ready")
    await page.click("#embed")
    await expect(page.locator(".matrix")).to_be_visible()


async def test_the_page_outlives_the_server_that_sent_it(open_page: Opener, new_pair: MakePair) -> None:
    """Its own server may restart too."""
    pair = new_pair()
    await asyncio.to_thread(pair.start)
    hosts = frozenset({f"localhost:{pair.memory.port}"})
    page = await open_page(f"{pair.inference.http}/", hosts=hosts, is_faultless=False)
    await expect(page.locator("#summary")).to_have_text("2 of 2 servers ready")
    pair.inference.kill()
    await expect(page.locator("#summary")).to_have_text("1 of 2 servers ready")
    await asyncio.to_thread(pair.inference.start)
    await expect(page.locator("#summary")).to_have_text("2 of 2 servers ready")


async def test_a_loading_server_is_shown_with_phase_and_progress(open_page: Opener, tmp_path: Path) -> None:
    """Not ready, and how far it is, in words and as a bar."""
    port, nobody = free_ports(2)
    environ = {"PROBE_NAME": "memory", "PROBE_LOADS_FOREVER": "1"}
    server = ServerProcess("memory", port, tmp_path, command=(str(PROBE),), environ=environ)
    try:
        await asyncio.to_thread(server.start, b"X_LUCID_PHASE=load-model")
        url = f"{server.http}/#inference=ws://localhost:{nobody}/"
        page = await open_page(url, hosts=frozenset({f"localhost:{nobody}"}), is_faultless=False)
        card = page.locator("[data-server=memory]")
        await expect(card.locator(".state")).to_have_text("◐ starting – load-model 62 %: 56/91 MB")
        await expect(card.get_by_role("progressbar")).to_have_attribute("value", "0.62")
    finally:
        server.kill()


async def test_another_address_can_be_given_for_a_tunnel(open_page: Opener, new_pair: MakePair) -> None:
    """By the fragment, which leaves the address bar, or by hand; either holds over a reload."""
    pair = new_pair()
    await asyncio.to_thread(pair.start)
    (nobody, _) = free_ports(2)
    hosts = frozenset({f"localhost:{pair.inference.port}", f"localhost:{nobody}"})
    url = f"{pair.memory.http}/#inference=ws://localhost:{nobody}/"
    page = await open_page(url, hosts=hosts, is_faultless=False)
    state = page.locator("[data-server=inference] .state")
    await expect(state).to_contain_text(f"nothing answers at localhost:{nobody}")
    assert "#" not in page.url
    await page.reload()
    await expect(state).to_contain_text(f"nothing answers at localhost:{nobody}")
    await page.click("#tab-connect")
    form = page.get_by_role("region", name="Connect to inference")
    await form.get_by_role("textbox").fill(pair.inference.ws)
    await form.get_by_role("button", name="Use").click()
    await expect(page.locator("#summary")).to_have_text("2 of 2 servers ready")


@pytest.mark.parametrize("token", [TOKEN, "of+base64/with=="])
async def test_the_token_of_the_fragment_opens_both_servers_and_is_not_needed_again(
    open_page: Opener, new_pair: MakePair, token: str
) -> None:
    """It leaves the address bar, and the next visit works by the cookies it was traded for."""
    pair = new_pair("--set", f'token="{token}"')
    await asyncio.to_thread(pair.start)
    hosts = frozenset({f"localhost:{pair.inference.port}"})
    page = await open_page(f"{pair.memory.http}/#token={token}", hosts=hosts, is_faultless=False)
    await expect(page.locator("#summary")).to_have_text("2 of 2 servers ready")
    assert token not in page.url
    await page.reload()
    await expect(page.locator("#summary")).to_have_text("2 of 2 servers ready")
    assert token not in await page.evaluate("document.cookie")


async def test_without_its_token_the_page_asks_for_it(open_page: Opener, new_pair: MakePair) -> None:
    """A form instead of a mystery; a wrong token leaves it there, the right one opens both servers."""
    pair = new_pair("--set", f'token="{TOKEN}"')
    await asyncio.to_thread(pair.start)
    hosts = frozenset({f"localhost:{pair.inference.port}"})
    page = await open_page(
        f"{pair.memory.http}/#inference={pair.inference.ws}", hosts=hosts, is_faultless=False
    )
    await expect(page.locator("[data-server=memory] .state")).to_contain_text("needs the access token")
    await page.get_by_label("A server needs its access token").fill("a-wrong-token")
    await page.get_by_role("button", name="Use token").click()
    await expect(page.locator("[data-server=memory] .state")).to_contain_text("needs the access token")
    await page.get_by_label("A server needs its access token").fill(TOKEN)
    await page.get_by_role("button", name="Use token").click()
    await expect(page.locator("#summary")).to_have_text("2 of 2 servers ready")
    await expect(page.locator("#token-form")).to_be_hidden()

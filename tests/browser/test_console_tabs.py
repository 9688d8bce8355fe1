"""The console as a whole and its smaller tabs, on real servers; no page may complain or stray."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import OpenConsole
from tests.browser.server_processes import Pair
from tests.browser.watched_pages import Opener

TABS = ("overview", "inference", "memory", "raw", "activity", "logs", "metrics", "connect")

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_the_overview_shows_both_servers_with_their_figures(
    open_console: OpenConsole, pair: Pair
) -> None:
    """A card each: the state in words, the address, the device, what is stored."""
    page = await open_console()
    memory, inference = page.locator("[data-server=memory]"), page.locator("[data-server=inference]")
    await expect(memory.locator(".state")).to_have_text("● ready")
    await expect(memory).to_contain_text(pair.memory.ws)
    await expect(memory).to_contain_text("memories")
    await expect(inference).to_contain_text(pair.inference.ws)
    await expect(inference).to_contain_text("384 dimensions")


async def test_the_other_servers_console_shows_the_same_stack(open_page: Opener, pair: Pair) -> None:
    """The page is the same at either address."""
    hosts = frozenset({f"localhost:{pair.memory.port}"})
    page = await open_page(f"{pair.inference.http}/", hosts=hosts)
    await expect(page.locator("#summary")).to_have_text("2 of 2 servers ready")


async def test_raw_frames_are_sent_as_typed_and_logged_both_ways(open_console: OpenConsole) -> None:
    """A template answers at once, with its times; what is no JSON goes out too and is refused."""
    page = await open_console("#raw")
    await page.select_option("#target", "inference")
    await page.select_option("#template", label="embeddings")
    await page.click("#send")
    await expect(page.locator("#raw-note")).to_contain_text(
        re.compile(r"success in .*\(queue .*infer .*transport")
    )
    frames = page.locator("#frames li")
    await expect(frames).to_have_count(2)
    await expect(frames.nth(0)).to_contain_text(
        re.compile(r"\d\d:\d\d:\d\d\.\d{3} ← inference success.*384 numbers")
    )
    await expect(frames.nth(1)).to_contain_text(re.compile(r"→ inference \d+ characters"))
    await page.fill("#request", "{not json")
    await page.click("#send")
    await expect(page.locator("#raw-note.error")).to_contain_text("error (invalid_json) in")
    await page.click("#clear-frames")
    await expect(frames).to_have_count(0)


@pytest.mark.parametrize("server", ["memory", "inference"])
async def test_every_template_is_understood(open_console: OpenConsole, server: str) -> None:
    """No template is refused for its shape, and each asks for times; an id or a file that is not there is
    another matter.
    """
    page = await open_console("#raw")
    await page.select_option("#target", server)
    await expect(page.locator("#template option", has_text="stats")).to_be_attached()
    for name in await page.locator("#template option").all_inner_texts():
        await page.select_option("#template", label=name)
        await page.click("#send")
        latest = page.locator("#frames li").first
        await expect(latest).to_contain_text(f'"type":"{name}"')
        await expect(latest).to_contain_text(f"← {server}")
        reply = await latest.inner_text()
        assert "invalid_request" not in reply or "does not exist" in reply
        if '"status":"success"' in reply and name != "cancel":
            assert '"total_ms":' in reply
        await page.click("#clear-frames")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_it_works_by_every_name_of_this_machine(open_page: Opener, pair: Pair, host: str) -> None:
    """The policy lets the page reach both servers by whichever name it was reached itself."""
    ports = (pair.memory.port, pair.inference.port)
    hosts = frozenset(f"{name}:{port}" for port in ports for name in (host, "localhost"))
    page = await open_page(f"http://{host}:{pair.memory.port}/", hosts=hosts)
    await expect(page.locator("#summary")).to_have_text("2 of 2 servers ready")


async def test_metrics_are_plotted_from_live_statistics(open_console: OpenConsole) -> None:
    """Each server has its plots, which say in words what they show."""
    page = await open_console("#metrics")
    memory = page.get_by_role("region", name="Plots of memory")
    await expect(
        memory.get_by_role("img", name=re.compile("Memories in stored: now memories \\d+"))
    ).to_be_visible()
    inference = page.get_by_role("region", name="Plots of inference")
    await expect(inference.get_by_role("img", name=re.compile("Latency in ms: now p50"))).to_be_visible()


async def test_connect_gives_addresses_and_code(open_console: OpenConsole, pair: Pair) -> None:
    """The base URLs of both servers, and an address that is none is not taken."""
    page = await open_console("#connect")
    memory = page.get_by_role("region", name="Connect to memory")
    inference = page.get_by_role("region", name="Connect to inference")
    await expect(memory).to_contain_text(pair.memory.ws)
    await expect(inference).to_contain_text(f"{pair.inference.http}/v1")
    await expect(inference.get_by_role("region", name="OpenAI client code")).to_contain_text("from openai")
    await memory.get_by_role("textbox").fill("localhost")
    await memory.get_by_role("button", name="Use").click()
    await expect(memory.get_by_role("status")).to_contain_text("Write an address such as")


async def test_tabs_answer_to_the_keyboard_and_are_remembered_in_the_address(
    open_console: OpenConsole,
) -> None:
    """Arrows, Home and End move, only the chosen tab is in the tab order, a reload stays where it was."""
    page = await open_console()
    await page.focus("#tab-overview")
    for key, chosen in (("ArrowRight", "inference"), ("ArrowLeft", "overview"), ("ArrowLeft", "connect"),
                        ("Home", "overview"), ("End", "connect")):  # fmt: skip
        await page.keyboard.press(key)
        tab = page.locator(f"#tab-{chosen}")
        await expect(tab).to_be_focused()
        await expect(tab).to_have_attribute("aria-selected", "true")
        await expect(page.locator(f"#{chosen}")).to_be_visible()
    assert await page.locator('[role=tab][tabindex="0"]').count() == 1
    await page.reload()
    await expect(page.locator("#connect")).to_be_visible()
    await expect(page.locator("#overview")).to_be_hidden()


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
async def test_a_narrow_screen_never_scrolls_sideways(open_console: OpenConsole, color_scheme: str) -> None:
    """Every tab with content in it fits 390 pixels, in both colour schemes."""
    page = await open_console(width=390, color_scheme=color_scheme)
    await page.click("#tab-inference")
    await page.fill("#texts", "x" * 300 + "\nshort\nthird")
    await page.click("#embed")
    await expect(page.locator(".matrix")).to_be_visible()
    await page.click("#tab-memory")
    await page.fill("#namespace", "narrow")
    await page.fill("#store-text", "y" * 300)
    await page.get_by_role("button", name="Store", exact=True).click()
    await expect(page.locator("#store-note")).to_contain_text("Stored")
    await page.click("#browse")
    await expect(page.locator("#browsed li").first).to_be_visible()
    for tab in TABS:
        await page.click(f"#tab-{tab}")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390, tab
    background = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 384) is (color_scheme == "dark")


async def test_every_control_has_a_name(open_console: OpenConsole) -> None:
    """Nothing that can be operated is nameless to a screen reader."""
    page = await open_console()
    for tab in TABS:
        await page.click(f"#tab-{tab}")
        panel = page.locator(f"#{tab}")
        for role in ("button", "textbox", "combobox", "checkbox", "spinbutton", "searchbox"):
            for control in await panel.get_by_role(role).all():  # type: ignore[arg-type]  # role names
                name = await control.evaluate(
                    "(e) => e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent"
                )
                assert name.strip(), (tab, await control.evaluate("(e) => e.outerHTML"))

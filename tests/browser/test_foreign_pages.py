"""Pages that are not ours: those from a file are served as promised, hostile ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.conftest import OpenConsole
from tests.browser.server_processes import Pair
from tests.browser.watched_pages import Opener

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MARKUP = '<img src=x onerror="document.title=\'owned\'"><script>document.title="owned"</script>'

UPSTREAM_PAGE = """<!doctype html><title>Server test</title><pre id="log"></pre><script>
function log(text) { document.getElementById('log').textContent += text + '\\n'; }
for (const [name, port] of [['Memory', MEMORY_PORT], ['Inference', INFERENCE_PORT]]) {
  const ws = new WebSocket('ws://localhost:' + port);
  ws.onopen = () => { log(name + ' connected'); ws.send(JSON.stringify({type: 'stats'})); };
  ws.onmessage = (event) => {
    const reply = JSON.parse(event.data);
    log(name + ' ' + reply.status + ' ' + (reply.code || ''));
    if (reply.status === 'success') ws.send(JSON.stringify({type: FURTHER, data: {text: 'x', query: 'x'}}));
  };
  ws.onerror = (error) => log(name + ' error ' + error.message);
}
</script>"""


def sockets_to(url: str) -> str:
    """A script that opens a WebSocket and says how that went."""
    return f"""() => new Promise((done) => {{
        const socket = new WebSocket({url!r});
        socket.onopen = () => done("open");
        socket.onclose = (event) => done("closed " + event.code);
    }})"""


@pytest.mark.parametrize("further", ["store", "embeddings"])
async def test_a_page_from_a_file_gets_its_stats_and_nothing_else(
    open_page: Opener, pair: Pair, tmp_path: Path, further: str
) -> None:
    """The unmodified style of client prints both success lines; a hostile frame looks alike, so no more."""
    ports = (("MEMORY_PORT", pair.memory.port), ("INFERENCE_PORT", pair.inference.port))
    text = UPSTREAM_PAGE.replace("FURTHER", repr(further))
    for name, port in ports:
        text = text.replace(name, str(port))
    file = tmp_path / "test.html"
    file.write_text(text, "utf-8")
    hosts = frozenset(f"localhost:{port}" for _, port in ports)
    page = await open_page(file.as_uri(), hosts=hosts)
    for line in ("connected", "success", "error origin_null"):
        for name in ("Memory", "Inference"):
            await expect(page.locator("#log")).to_contain_text(f"{name} {line}")


async def go_to_hostile(page: Page) -> None:
    """Shows a page of a foreign origin without any network."""

    async def answer(route: Route) -> None:
        await route.fulfill(body="<title>hostile</title>", content_type="text/html")

    await page.route("http://hostile.example/**", answer)
    await page.goto("http://hostile.example/")


@pytest.mark.parametrize("path", ["", "ws"])
async def test_a_hostile_page_gets_no_websocket(open_page: Opener, pair: Pair, path: str) -> None:
    """Neither server, on no path: the handshake itself is answered 403."""
    hosts = {f"localhost:{pair.memory.port}", f"localhost:{pair.inference.port}", "hostile.example"}
    page = await open_page(hosts=frozenset(hosts), is_faultless=False)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    await go_to_hostile(page)
    for server in (pair.memory, pair.inference):
        assert await page.evaluate(sockets_to(server.ws + path)) == "closed 1006"
    assert len([text for text in said if "Unexpected response code: 403" in text]) == 2


async def test_a_hostile_page_reads_and_writes_nothing_over_http(open_page: Opener, pair: Pair) -> None:
    """A plain POST, which needs no preflight, does not reach the model, and no answer can be read."""
    hosts = frozenset({f"localhost:{pair.inference.port}", "hostile.example"})
    page = await open_page(hosts=hosts, is_faultless=False)
    await go_to_hostile(page)
    before = pair.inference.ask({"type": "stats"})["stats"]["texts"]
    post = """(url) => fetch(url, {method: "POST", body: JSON.stringify({model: "x", input: "x"})})
        .then(() => "read", () => "refused")"""
    assert await page.evaluate(post, f"{pair.inference.http}/v1/embeddings") == "refused"
    assert pair.inference.ask({"type": "stats"})["stats"]["texts"] == before


async def test_a_rebound_name_is_misdirected(open_page: Opener, pair: Pair) -> None:
    """A foreign name that resolves to this machine is not our name: 421, and no page."""
    page = await open_page(hosts=frozenset({f"evil.example:{pair.memory.port}"}), is_faultless=False)
    response = await page.goto(f"http://evil.example:{pair.memory.port}/")
    assert response is not None
    assert response.status == 421
    assert "Lucid console" not in await page.content()


async def test_markup_in_a_memory_is_shown_as_characters(open_console: OpenConsole, pair: Pair) -> None:
    """Found, browsed, in the frames and as a text to embed: it runs nowhere."""
    pair.memory.ask({"type": "store", "data": {"text": MARKUP, "metadata": {"type": MARKUP, "tags": [MARKUP]},
                                               "namespace": "markup"}})  # fmt: skip
    page = await open_console("#memory")
    await page.fill("#namespace", "markup")
    await page.get_by_role("button", name="Search", exact=True).click()
    await page.click("#browse")
    for place in ("#found li", "#browsed li"):
        await expect(page.locator(place).locator(".text")).to_have_text(MARKUP)
        await expect(page.locator(place).locator(".tag").first).to_have_text(MARKUP)
    await page.click("#tab-inference")
    await page.fill("#texts", MARKUP)
    await page.click("#embed")
    await expect(page.locator("#embed-result tbody th")).to_have_text(f"1. {MARKUP}")
    await page.click("#tab-raw")
    await expect(page.locator("#frames")).to_contain_text("onerror")
    assert await page.locator("img, body script").count() == 0
    assert await page.title() == "Lucid console"

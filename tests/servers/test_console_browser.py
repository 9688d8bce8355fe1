"""The console page in a real browser, over the DevTools protocol; skipped where there is no Chromium."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.servers.conftest import Running, Serve
from tests.servers.probe_server import build_service

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

TOKEN = "s3cret-token-of-a-test"
MARKUP = "<img src=x onerror=\"document.title='owned'\">"


class Page:
    """One tab; events that come between replies are kept."""

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self.socket, self.session = socket, session
        self.events: list[dict[str, Any]] = []
        self.number = 100

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Calls one DevTools method and returns its result."""
        self.number += 1
        request = {"id": self.number, "method": method, "params": params, "sessionId": self.session}
        await self.socket.send(json.dumps(request))
        while (message := json.loads(await self.socket.recv())).get("id") != self.number:
            self.events.append(message)
        assert "error" not in message, message
        return dict(message["result"])

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited when it is a promise."""
        found = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, condition: str) -> None:
        """Waits until a condition on the document holds, by its changes and not by the clock."""
        await self.evaluate(
            "new Promise((done) => { const look = () => { if (" + condition + ") done(true); }; look();"
            "new MutationObserver(look).observe(document, {subtree: true, childList: true,"
            "characterData: true, attributes: true}); })"
        )

    def faults(self) -> list[dict[str, Any]]:
        """Exceptions, and everything that the policy refused."""
        return [
            event
            for event in self.events
            if event.get("method") == "Runtime.exceptionThrown"
            or "Content Security Policy" in json.dumps(event)
        ]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A fresh browser without a window."""
    assert CHROMIUM is not None
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    process = subprocess.Popen(
        [CHROMIUM, *flags, f"--user-data-dir={tmp_path}", "--remote-debugging-port=0", "about:blank"],
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
async def page(browser: subprocess.Popen[str]) -> AsyncIterator[Page]:
    """A tab of 390 by 800 pixels."""
    address = await asyncio.to_thread(_address_of, browser)
    async with connect(address, max_size=None) as socket:
        control = Page(socket, await _attach(socket))
        for domain in ("Runtime", "Log", "Page"):
            await control.call(f"{domain}.enable")
        await control.call(
            "Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True
        )
        yield control


def _address_of(browser: subprocess.Popen[str]) -> str:
    assert browser.stderr is not None
    for line in browser.stderr:
        if "DevTools listening on " in line:
            return line.split("DevTools listening on ")[1].strip()
    raise AssertionError("the browser did not start")


async def _attach(socket: ClientConnection) -> str:
    async def call(number: int, method: str, **params: Any) -> dict[str, Any]:
        await socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (message := json.loads(await socket.recv())).get("id") != number:
            continue
        return dict(message["result"])

    target = await call(1, "Target.createTarget", url="about:blank")
    attached = await call(2, "Target.attachToTarget", targetId=target["targetId"], flatten=True)
    return str(attached["sessionId"])


async def pair(serve: Serve, **options: object) -> tuple[Running, Running]:
    """A memory and an inference server that know each other."""
    inference = await serve(build_service(name="inference"), **options)
    service = build_service(name="memory")
    service.telemetry.peers["inference"] = f"ws://localhost:{inference.port}"
    return await serve(service, **options), inference


async def test_both_servers_show_ready_on_a_narrow_screen_without_a_fault(serve: Serve, page: Page) -> None:
    """Two cards, no sideways scrolling at 390 pixels, nothing refused by the policy."""
    memory, _ = await pair(serve)
    await page.call("Page.navigate", url=memory.http + "/")
    await page.until("document.getElementById('summary')?.textContent === '2 of 2 servers ready'")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    assert await page.evaluate("document.querySelectorAll('.card').length") == 2
    assert page.faults() == []


async def test_a_raw_request_shows_its_reply_as_text(serve: Serve, page: Page) -> None:
    """Markup that comes back from a server is characters, not elements."""
    memory, _ = await pair(serve)
    await page.call("Page.navigate", url=memory.http + "/")
    await page.until("document.getElementById('summary')?.textContent === '2 of 2 servers ready'")
    request = json.dumps({"type": "echo", "text": MARKUP})
    await page.evaluate(f"document.getElementById('request').value = {json.dumps(request)}")
    await page.evaluate("document.getElementById('raw-form').requestSubmit()")
    await page.until("document.querySelector('#frames li')")
    assert await page.evaluate("document.querySelector('#frames li').className") == "ok"
    assert "onerror" in await page.evaluate("document.querySelector('#frames').textContent")
    assert await page.evaluate("document.querySelectorAll('#frames img').length") == 0
    assert await page.evaluate("document.title") == "Lucid console"


async def test_a_server_that_is_loading_is_shown_with_its_phase(serve: Serve, page: Page) -> None:
    """Not ready, and why."""
    running = await serve(build_service(name="memory", load_forever=True))
    await page.call("Page.navigate", url=running.http + "/")
    await page.until("document.querySelector('.card .state')?.textContent === '◐ load-model 62 %'")


async def test_the_token_of_the_fragment_opens_both_servers_and_leaves_the_address(
    serve: Serve, page: Page
) -> None:
    """The page takes it, keeps it out of the URL, and both WebSockets are let in."""
    memory, _ = await pair(serve, token=TOKEN)
    await page.call("Page.navigate", url=f"{memory.http}/#token={TOKEN}")
    await page.until("document.getElementById('summary')?.textContent === '2 of 2 servers ready'")
    assert TOKEN not in await page.evaluate("location.href")


async def test_without_the_token_the_page_asks_for_it(serve: Serve, page: Page) -> None:
    """A form instead of a mystery; the typed token works."""
    memory, _ = await pair(serve, token=TOKEN)
    await page.call("Page.navigate", url=memory.http + "/")
    await page.until("document.getElementById('token-form')?.hidden === false")
    await page.evaluate(f"document.getElementById('token').value = '{TOKEN}'")
    await page.evaluate("document.getElementById('token-form').requestSubmit()")
    await page.until("document.querySelector('.card[data-state=ready]')")

"""Pages of a real browser that remember everything they should not have done."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, WebSocket

LOCAL_SCHEMES = {"data", "blob", "file"}


@dataclass(eq=False)
class Watched:
    """What one browser context has complained about and where its requests and sockets went."""

    hosts: frozenset[str]
    faults: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Notes the console's errors and warnings, exceptions, dialogs, and addresses outside of `hosts`."""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", self._requested)
        page.on("websocket", self._opened)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def _requested(self, request: Request) -> None:
        self._went_to(request.url)

    def _opened(self, socket: WebSocket) -> None:
        self._went_to(socket.url)

    def _went_to(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in LOCAL_SCHEMES and parts.netloc not in self.hosts:
            self.strangers.append(url)


class Opener:
    """Opens pages in fresh contexts and closes them all."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[tuple[BrowserContext, Watched, bool]] = []

    async def __call__(
        self,
        url: str | None = None,
        *,
        hosts: frozenset[str] = frozenset(),
        is_faultless: bool = True,
        width: int = 1280,
        color_scheme: str = "light",
    ) -> Page:
        """A page at `url`, whose own host and `hosts` are all it may talk to.

        With `is_faultless` it must not have complained about anything by the time it is closed.
        """
        context = await self._browser.new_context(
            viewport={"width": width, "height": 844},
            color_scheme="dark" if color_scheme == "dark" else "light",
            reduced_motion="reduce",
            permissions=["clipboard-read", "clipboard-write"],
            accept_downloads=True,
        )
        own = {urlsplit(url).netloc} if url else set()
        watched = Watched(frozenset(own | hosts))
        self._contexts.append((context, watched, is_faultless))
        page = await context.new_page()
        watched.watch(page)
        if url is not None:
            await page.goto(url)
        return page

    async def close(self) -> None:
        """Closes every page, then judges what they did."""
        for context, _, _ in self._contexts:
            await context.close()
        for _, watched, is_faultless in self._contexts:
            assert watched.strangers == [], watched.strangers
            assert not is_faultless or watched.faults == [], watched.faults

"""The console's and the test page's files and the headers they are sent with; static, without a build step.

Does not know the protocol: the pages themselves speak it from the browser.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["ASSETS", "PAGES", "STATIC", "page_headers"]

STATIC = Path(__file__).with_name("static")

PAGES = {"/": STATIC / "index.html", "/test": STATIC / "test.html"}
"""The pages by their path: the console, and the checks of both servers."""

_MEDIA_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}

ASSETS = {
    path.name: _MEDIA_TYPES[path.suffix] for path in sorted(STATIC.iterdir()) if path.suffix in _MEDIA_TYPES
}
"""The scripts and styles beside the pages and their media types; nothing else is served from the folder."""


def page_headers(host: str) -> dict[str, str]:
    """The headers of a page for a browser that reached us as `host` (a Host field that was already judged).

    Scripts and styles come from this server only, nothing inline; sockets and requests go to the machine that
    sent the page, where the other server is on another port, and to loopback, for a tunnel to it.
    """
    reached = "" if host.startswith("[") else host.partition(":")[0]  # a policy cannot name IPv6 addresses
    names = dict.fromkeys(("localhost", "127.0.0.1", *filter(None, [reached])))
    sources = " ".join(f"{scheme}://{name}:*" for scheme in ("ws", "http") for name in names)
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": f"'self' {sources}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cache-control": "no-cache",
        "vary": "Accept",
    }

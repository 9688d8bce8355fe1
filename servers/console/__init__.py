"""The console page's files and the headers they are sent with; static, without a build step.

Does not know the protocol: the page itself speaks it from the browser.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["ASSETS", "PAGE", "page_headers"]

PAGE = Path(__file__).with_name("static") / "index.html"

ASSETS = {
    "console.js": "text/javascript; charset=utf-8",
    "connection.js": "text/javascript; charset=utf-8",
    "console.css": "text/css; charset=utf-8",
}
"""The files beside the page and their media types; nothing else is served from the folder."""


def page_headers(host: str) -> dict[str, str]:
    """The headers of the page for a browser that reached us as `host` (a Host field that was already judged).

    Scripts and styles come from this server only, nothing inline; sockets and requests go to this server
    and to loopback, where the other server is, also behind an SSH tunnel.
    """
    names = ("localhost", "127.0.0.1")
    loopback = " ".join(f"{scheme}://{name}:*" for scheme in ("ws", "http") for name in names)
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": f"'self' ws://{host} {loopback}",
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
    }

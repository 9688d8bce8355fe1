"""Who may come through the doors: the Host, Origin and token rules of protocol.md §2.

Pure: judges header values, reads and sends nothing.  The rules stop three different attacks: a foreign page
that opens our WebSocket (Origin), a foreign name that resolves to loopback (Host), and other users of the
machine or the network (token).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from http.cookies import CookieError, SimpleCookie

__all__ = ["AccessRules", "Credentials", "OriginVerdict"]

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
SUBPROTOCOL = "lucid.v1"
_BEARER_PREFIX = "bearer."
_LOOPBACK_ORIGIN = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?", re.IGNORECASE)


class OriginVerdict(Enum):
    """What the Origin header allows."""

    ALLOWED = auto()
    NULL = auto()
    """A page without an origin: `stats` over WebSocket, nothing else."""
    FOREIGN = auto()


@dataclass(frozen=True)
class Credentials:
    """Everything in one request that may carry the token."""

    authorization: str | None = None
    subprotocols: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True)
class AccessRules:
    """The rules of one server.

    `hosts` are the names and addresses it was bound to and `allowed_hosts`; IPv6 addresses stand in brackets.
    `origins` are lower-case origins or "null".  `cookie_name` is the console's cookie.
    """

    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    token: str | None = None
    cookie_name: str = "lucid_console"

    def is_host_allowed(self, hosts: Sequence[str], local_address: str | None = None) -> bool:
        """Whether the Host fields (all of them) name this server; exactly one must be there.

        `local_address` is the address that the peer connected to: an address cannot be rebound by DNS.
        """
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None:
            return False
        name = match[1].lower()
        reached = _bracketed(local_address) if local_address else None
        return name in LOOPBACK_NAMES or name in self.hosts or name == reached

    def judge_origin(self, origins: Sequence[str]) -> OriginVerdict:
        """What the Origin fields (all of them) allow; none is allowed, since only browsers send one."""
        if not origins:
            return OriginVerdict.ALLOWED
        origin = origins[0]
        if len(origins) > 1:
            return OriginVerdict.FOREIGN
        if _LOOPBACK_ORIGIN.fullmatch(origin) or origin.lower() in self.origins:
            return OriginVerdict.ALLOWED
        return OriginVerdict.NULL if origin == "null" else OriginVerdict.FOREIGN

    def is_authorized(self, credentials: Credentials) -> bool:
        """Whether any of the credentials carries the token; always when none is configured."""
        if self.token is None:
            return True
        scheme, _, value = (credentials.authorization or "").partition(" ")
        offered = [value.strip()] if scheme.lower() == "bearer" else []
        offered += [
            name.removeprefix(_BEARER_PREFIX) for name in credentials.subprotocols if _is_bearer(name)
        ]
        # No short cut: how long this takes must not tell which credential came close.
        verdicts = [_same(value, self.token) for value in offered]
        verdicts += [_same(value, self.cookie_value()) for value in self._cookies(credentials.cookies)]
        return any(verdicts)

    def choose_subprotocol(self, offered: Iterable[str]) -> str | None:
        """The subprotocol to answer: ours, else the bearer that proved the token, else none.

        A browser drops a connection whose offer was not taken up, so the bearer is echoed when it is all
        there is; RFC 6455 §4.2.2 allows only what was offered.
        """
        names = tuple(offered)
        if SUBPROTOCOL in names:
            return SUBPROTOCOL
        for name in names:
            if _is_bearer(name) and self.is_authorized(Credentials(subprotocols=(name,))):
                return name
        return None

    def cookie_value(self) -> str:
        """What the console's cookie holds: derived from the token, so that the cookie does not reveal it."""
        return hmac.new((self.token or "").encode(), b"lucid console cookie", hashlib.sha256).hexdigest()

    def _cookies(self, headers: Sequence[str]) -> list[str]:
        found = []
        for header in headers:
            try:
                jar = SimpleCookie(header)
            except CookieError:
                continue
            if self.cookie_name in jar:
                found.append(jar[self.cookie_name].value)
        return found


def _is_bearer(subprotocol: str) -> bool:
    return subprotocol.startswith(_BEARER_PREFIX)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _same(offered: str, expected: str) -> bool:
    return hmac.compare_digest(offered.encode("utf-8", "surrogateescape"), expected.encode())

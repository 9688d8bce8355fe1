"""Datagrams to the supervisor: the published sd_notify protocol and our X_LUCID_ keys (launcher.md §6).

Decides what a change of readiness looks like on the notify socket.  Does not know who listens; systemd
ignores the keys that it does not know.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import MutableMapping

from servers.readiness import Readiness

__all__ = ["Notifier"]

logger = logging.getLogger("lucid.notify")

EXTENSION_S = 120
"""How much longer a phase or a progress report lets the start take."""

_SEND_TIMEOUT_S = 0.5


class Notifier:
    """The sending end; without NOTIFY_SOCKET it does nothing.

    A supervisor that is gone or does not read must never stop the server, so a datagram that cannot be sent
    is logged once and dropped.
    """

    def __init__(self, address: str | None) -> None:
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self._socket: socket.socket | None = None
        self._has_failed = False
        self._was_ready = False
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(_SEND_TIMEOUT_S)

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Takes NOTIFY_SOCKET out of the environment, so that no child of ours speaks for us."""
        return cls(environ.pop("NOTIFY_SOCKET", None))

    def send(self, **fields: object) -> None:
        """Sends one datagram of `KEY=value` lines; None values are left out, line breaks become spaces."""
        if self._socket is None or self._address is None:
            return
        lines = [f"{key}={_one_line(value)}" for key, value in fields.items() if value is not None]
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            if not self._has_failed:
                logger.warning("the supervisor does not take status reports: %s", error)
            self._has_failed = True

    def on_change(self, readiness: Readiness) -> None:
        """Reports a change of readiness; subscribe it to the service's Readiness."""
        if readiness.is_draining:
            self.send(STOPPING=1, STATUS="draining")
            return
        first_ready = readiness.is_ready and not self._was_ready
        self._was_ready = readiness.is_ready
        waiting = not readiness.is_ready and readiness.failure is None
        self.send(
            STATUS=_status(readiness),
            X_LUCID_PHASE=readiness.phase,
            X_LUCID_PROGRESS=readiness.progress,
            X_LUCID_DETAIL=readiness.detail,
            X_LUCID_DEVICE=readiness.device,
            EXTEND_TIMEOUT_USEC=EXTENSION_S * 1_000_000 if waiting else None,
            READY=1 if first_ready else None,
        )

    def close(self) -> None:
        """Closes the socket; idempotent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _status(readiness: Readiness) -> str:
    if readiness.failure is not None:
        return f"failed: {readiness.failure}"
    percent = "" if readiness.progress is None else f" {readiness.progress:.0%}"
    about = "" if readiness.detail is None else f": {readiness.detail}"
    return f"{readiness.phase}{percent}{about}"


def _one_line(value: object) -> str:
    return " ".join(str(value).split())

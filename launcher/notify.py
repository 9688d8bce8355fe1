"""The sd_notify side of the supervisor: one datagram socket per child, its sender checked.

Decides what a datagram means and whom it is believed from: a process of the child's own session. Malformed
lines are ignored, a datagram never harms. Source: sd_notify(3), launcher.md section 6.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Notification", "NotifySocket", "parse_notification"]

_CREDENTIALS = struct.Struct("3i")
_LONGEST_DATAGRAM = 16 * 1024
_LONGEST_TEXT = 200
_MOST_PER_WAKEUP = 64
_LONGEST_EXTENSION_S = 24 * 3600.0


@dataclass(frozen=True)
class Notification:
    """What one datagram said; None where it said nothing. `progress` is 0 to 1, `extend_s` seconds."""

    is_ready: bool = False
    is_stopping: bool = False
    is_watchdog: bool = False
    status: str | None = None
    phase: str | None = None
    progress: float | None = None
    device: str | None = None
    extend_s: float | None = None


def parse_notification(datagram: bytes) -> Notification:
    """Return what a datagram says; unknown keys, bad numbers and broken text are left out."""
    fields: dict[str, str] = {}
    for line in datagram.decode("utf-8", "replace").splitlines():
        key, equals, value = line.partition("=")
        if equals:
            fields[key] = value
    extend_us = _number(fields.get("EXTEND_TIMEOUT_USEC"))
    progress = _number(fields.get("X_LUCID_PROGRESS"))
    return Notification(
        is_ready=fields.get("READY") == "1",
        is_stopping=fields.get("STOPPING") == "1",
        is_watchdog=fields.get("WATCHDOG") == "1",
        status=_text(fields.get("STATUS")),
        phase=_text(fields.get("X_LUCID_PHASE")),
        progress=None if progress is None else min(1.0, max(0.0, progress)),
        device=_text(fields.get("X_LUCID_DEVICE")),
        extend_s=None if extend_us is None else min(_LONGEST_EXTENSION_S, max(0.0, extend_us / 1e6)),
    )


class NotifySocket:
    """The socket that one child's NOTIFY_SOCKET names, from construction until `close`."""

    def __init__(
        self,
        address: Path,
        on_notification: Callable[[Notification], None],
        before_reading: Callable[[], None] = lambda: None,
        remember: Callable[[], None] = lambda: None,
        held: socket.socket | None = None,
    ) -> None:
        """Bind `address`, replacing what a dead supervisor left there, or go on with `held`, which is bound.

        An address that begins with `@` is an abstract one (unix(7)): it can be reached by other users too.
        `before_reading` may tell of new senders. `remember` is called when a child has said that it is ready,
        before its datagram is taken: nobody says that twice, and whoever has the socket next hears it again
        otherwise. Raises OSError when it cannot be bound.
        """
        self.address = str(address)
        self.session: int | None = None
        """The session whose processes are believed: the child's pid; None believes nobody."""
        self._on_notification = on_notification
        self._before_reading = before_reading
        self._remember = remember
        self._path = address
        self._socket = self._bind() if held is None else held
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._receive)

    def _bind(self) -> socket.socket:
        is_abstract = self.address.startswith("@")
        if not is_abstract:
            self._path.unlink(missing_ok=True)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        bound.bind(f"\0{self.address[1:]}" if is_abstract else self.address)
        return bound

    def fileno(self) -> int:
        """The descriptor, for whoever keeps a duplicate."""
        return self._socket.fileno()

    def close(self) -> None:
        """Receive no more and remove the address."""
        self._loop.remove_reader(self._socket)
        self._socket.close()
        if not self.address.startswith("@"):
            self._path.unlink(missing_ok=True)

    def _receive(self) -> None:
        """Read what is there, a bounded number at a time so that a flood cannot hold the loop."""
        self._before_reading()
        for _ in range(_MOST_PER_WAKEUP):
            try:
                datagram, ancillary, _, _ = self._socket.recvmsg(
                    _LONGEST_DATAGRAM,
                    socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(64),
                    socket.MSG_PEEK,
                )
            except BlockingIOError:
                return
            sender = _take_sender(ancillary)
            if sender is not None and self._is_believed(sender):
                said = parse_notification(datagram)
                self._on_notification(said)
                if said.is_ready:
                    self._remember()
            self._socket.recv(1)  # the rest of it, and descriptors that came along, go with it

    def _is_believed(self, sender: int) -> bool:
        if self.session is None:
            return False
        if sender == self.session:
            return True
        with suppress(ProcessLookupError, PermissionError):
            return os.getsid(sender) == self.session
        return False


def _take_sender(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The sender's pid; descriptors that came along are closed, as nobody here wants them (FDSTORE)."""
    sender = None
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            sender = int(_CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0])
        elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            for (fd,) in struct.iter_unpack("i", data[: len(data) - len(data) % 4]):
                os.close(fd)
    return sender


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _text(value: str | None) -> str | None:
    if value is None:
        return None
    return (
        "".join(letter if letter.isprintable() else " " for letter in value[:_LONGEST_TEXT]).strip() or None
    )

"""Messages with descriptors between the guardian, the supervisor and its planner: one JSON object a packet.

Decides the form (a SOCK_SEQPACKET pair, descriptors as SCM_RIGHTS, an object too large for a packet in a
memfd) and that whoever receives owns what it received. Knows nothing of what the messages mean. Standard
library only, since the guardian imports it. Source: unix(7), memfd_create(2).
"""

from __future__ import annotations

import array
import errno
import json
import os
import socket
from collections.abc import Sequence

TYPE_CHECKING = False
"""As `typing` says it, which the guardian has no use for: half a MiB for as long as a stack runs."""
if TYPE_CHECKING:
    from typing import Any

    Message = dict[str, Any]
else:
    Message = dict

__all__ = ["LostDescriptors", "Message", "channel_pair", "close_fds", "receive", "send"]

_INLINE_BYTES = 32 * 1024
_MOST_FDS = 250  # SCM_MAX_FD is 253, unix(7)
_INLINE, _SPILLED = b"i", b"m"


class LostDescriptors(OSError):
    """A message has come without all its descriptors: this process has too many open files."""

    def __init__(self, message: Message) -> None:
        """`message` is what it says; empty when it was in one of those descriptors."""
        super().__init__(errno.EMFILE, os.strerror(errno.EMFILE))
        self.message = message


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected ends; neither is inherited by what is executed."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(channel: socket.socket, message: Message, fds: Sequence[int] = (), *, wait: bool = True) -> None:
    """Send one message; the receiver gets duplicates of `fds`, at most 249.

    Raises BlockingIOError when the channel is full and nobody wants to `wait` (nothing was sent then), and
    OSError when the other end is gone.
    """
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) <= _INLINE_BYTES:
        _send_packet(channel, _INLINE + data, fds, wait)
        return
    spilled = os.memfd_create("message", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(spilled), "wb") as file:
            file.write(data)
        # First, so that it comes even where others are lost.
        _send_packet(channel, _SPILLED, [spilled, *fds], wait)
    finally:
        os.close(spilled)


def receive(channel: socket.socket, *, wait: bool = True) -> tuple[Message, list[int]] | None:
    """Return the next message and its descriptors (close-on-exec), or None when the other end is gone.

    Raises BlockingIOError when nothing is there and nobody wants to `wait`, and LostDescriptors when this
    process cannot have so many.
    """
    room = socket.CMSG_SPACE(_MOST_FDS * array.array("i").itemsize)
    flags = socket.MSG_CMSG_CLOEXEC | (0 if wait else socket.MSG_DONTWAIT)
    try:
        data, ancillary, notes, _ = channel.recvmsg(_INLINE_BYTES + 1, room, flags)
    except ConnectionResetError:
        return None
    fds = _fds_of(ancillary)
    if not data:
        return None
    is_truncated = bool(notes & socket.MSG_CTRUNC)
    if data[:1] == _SPILLED:
        if not fds:
            raise LostDescriptors({})
        with os.fdopen(fds.pop(0), "rb") as file:
            file.seek(0)
            data = _INLINE + file.read()
    message: Message = json.loads(data[1:])
    if is_truncated:
        close_fds(fds)
        raise LostDescriptors(message)
    return message, fds


def close_fds(fds: Sequence[int]) -> None:
    """Close descriptors that were received and are not wanted."""
    for fd in fds:
        os.close(fd)


def _send_packet(channel: socket.socket, data: bytes, fds: Sequence[int], wait: bool) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    channel.sendmsg([data], rights, socket.MSG_NOSIGNAL | (0 if wait else socket.MSG_DONTWAIT))


def _fds_of(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return fds.tolist()

"""Bind and hold listening sockets, and find out who has a port that we cannot have.

Decides how a host name becomes addresses to bind (`localhost` is 127.0.0.1 *and* ::1, since clients resolve
it to either) and that a port is ours only when every one of them is. Knows nothing of services.
"""

import errno
import ipaddress
import os
import socket
from collections.abc import Collection, Iterable
from datetime import datetime

import psutil

from launcher.errors import Holder

__all__ = [
    "PortUnavailable",
    "bind_service",
    "close_all",
    "find_holder",
    "has_ipv6_loopback",
    "relisten",
]

BACKLOG = 1024
_AUTO_TRIES = 16
_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_REASONS = {errno.EADDRINUSE: "in use", errno.EACCES: "ports below 1024 need root, or a higher number"}
_GUARDS = {"launcher.guardian", "launcher.supervisor"}
Address = tuple[socket.AddressFamily, str]


class PortUnavailable(Exception):
    """A port could not be bound; `is_taken`: another process has it, else `reason` says why not."""

    def __init__(self, host: str, port: int, reason: str, *, is_taken: bool) -> None:
        super().__init__(f"cannot bind {host}:{port}: {reason}")
        self.host = host
        self.port = port
        self.reason = reason
        self.is_taken = is_taken


def bind_service(host: str, port: int) -> tuple[socket.socket, ...]:
    """Bind and listen on `port` at every address of `host`; 0 picks a port that is free at all of them.

    The sockets are not inheritable and queue up to BACKLOG connections. An address family that this machine
    lacks is left out as long as one remains. Raises PortUnavailable; then nothing stays bound.
    """
    addresses = _addresses(host, port)
    if port != 0:
        return _bind_all(host, port, addresses)
    for attempt in range(_AUTO_TRIES):
        first = _bind_all(host, 0, addresses[:1])
        if len(addresses) == 1:
            return first
        try:
            rest = _bind_all(host, first[0].getsockname()[1], addresses[1:], may_be_empty=True)
        except PortUnavailable:
            close_all(first)
            if attempt == _AUTO_TRIES - 1:
                raise
            continue
        return (*first, *rest)
    raise AssertionError("the loop returns or raises")


def relisten(host: str, port: int, held: tuple[socket.socket, ...]) -> tuple[socket.socket, ...]:
    """Listen on `port` at every address of `host`, going on with those of `held`, which listen there already.

    `held` itself when it is just that. Those of it that are at other addresses are left as they are, for
    their owner to close. Raises PortUnavailable; then nothing new stays bound.
    """
    addresses = _addresses(host, port)
    ours = {(one.family, str(one.getsockname()[0])): one for one in held}
    missing = [address for address in addresses if address not in ours]
    # An address and the wildcard clash even when both are ours, unless both say that they share.
    _share(held, True)
    try:
        fresh = _bind_all(host, port, missing, may_be_empty=len(missing) < len(addresses), shares=True)
    finally:
        _share(held, False)
    _share(fresh, False)
    ours |= {(one.family, str(one.getsockname()[0])): one for one in fresh}
    found = tuple(ours[address] for address in addresses if address in ours)
    return held if set(found) == set(held) else found


def _share(sockets: Iterable[socket.socket], shares: bool) -> None:
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))


def _addresses(host: str, port: int) -> list[Address]:
    if host == "localhost":
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _resolved(host, port)
    return [(socket.AF_INET if address.version == 4 else socket.AF_INET6, str(address))]


def _resolved(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise PortUnavailable(
            host, port, f"the host name is unknown ({error.strerror})", is_taken=False
        ) from None
    return list(dict.fromkeys((family, str(where[0])) for family, _, _, _, where in found))


def _bind_all(
    host: str, port: int, addresses: list[Address], *, may_be_empty: bool = False, shares: bool = False
) -> tuple[socket.socket, ...]:
    bound: list[socket.socket] = []
    reason = "this machine has no such address"
    for family, address in addresses:
        try:
            bound.append(_bind_one(family, address, port, shares=shares))
        except OSError as error:
            if error.errno in _ABSENT:
                continue
            close_all(bound)
            reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
            raise PortUnavailable(host, port, reason, is_taken=error.errno == errno.EADDRINUSE) from None
    if not bound and not may_be_empty:
        raise PortUnavailable(host, port, reason, is_taken=False)
    return tuple(bound)


def _bind_one(
    family: socket.AddressFamily, address: str, port: int, *, shares: bool = False
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        _share([sock], shares)
        # A socket in TIME_WAIT from the last run must not block this one; a listener still does.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Close every socket; closing one twice is harmless."""
    for sock in sockets:
        sock.close()


def has_ipv6_loopback() -> bool:
    """Whether ::1 can be bound on this machine."""
    try:
        _bind_one(socket.AF_INET6, "::1", 0).close()
    except OSError:
        return False
    return True


def find_holder(port: int, but_at: Collection[str] = ()) -> Holder | None:
    """The process that listens on `port` on any local address, those in `but_at` left out.

    None when nobody listens (any more). A holder with pid None is a process of another user: the system
    then shows the port but not the process. Reads all of /proc, so it is for error messages only.
    """
    try:
        found = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return Holder(None)
    listening = [
        c
        for c in found
        if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port and c.laddr.ip not in but_at
    ]
    if not listening:
        return None
    pids = sorted({connection.pid for connection in listening if connection.pid is not None})
    return _describe(_oldest(pids)) if pids else Holder(None)


def _oldest(pids: list[int]) -> int:
    """Of several processes that share a socket, the one that was there first and handed it on."""
    started: list[tuple[float, int]] = []
    for pid in pids:
        try:
            started.append((psutil.Process(pid).create_time(), pid))
        except psutil.Error:
            continue
    return min(started)[1] if started else pids[0]


def _describe(pid: int) -> Holder:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            started = datetime.fromtimestamp(process.create_time()).astimezone()
            return Holder(
                pid,
                command=_command(process),
                user=process.username(),
                started_at=started.isoformat(timespec="seconds"),
                cwd=_cwd(process),
                stack=_stack_of(process),
            )
    except psutil.Error:
        return Holder(pid)


def _command(process: psutil.Process) -> str:
    words = process.cmdline()
    line = " ".join([os.path.basename(words[0]), *words[1:]]) if words else process.name()
    return line if len(line) <= 120 else f"{line[:117]}..."


def _stack_of(process: psutil.Process) -> str | None:
    """The config file that the launcher above this process, or it itself, was started for."""
    try:
        lines = [each.cmdline() for each in (process, *process.parents())]
    except psutil.Error:
        return None
    ours = (words for words in lines if _GUARDS & set(words) and "--config" in words[:-1])
    return next((words[words.index("--config") + 1] for words in ours), None)


def _cwd(process: psutil.Process) -> str | None:
    try:
        return process.cwd() or None
    except psutil.AccessDenied:
        return None

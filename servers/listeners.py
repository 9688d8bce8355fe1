"""The listening sockets: inherited from the launcher, or bound here by the rules of protocol.md §1.

Decides which port is taken and says who holds it.  Does not know what is served on them.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass

import psutil

from servers.errors import BadSettings, PortTaken
from servers.settings import is_loopback

__all__ = ["Listeners", "bind", "describe_holder", "inherit", "raise_file_limit"]

FIRST_FD = 3
BACKLOG = 1024
PRIVATE_SUFFIX = ".private"
_EPHEMERAL_TRIES = 16

Address = tuple[socket.AddressFamily, str]


@dataclass(frozen=True)
class Listeners:
    """Bound, listening, non-blocking sockets of one port; `note` says so when it is not the first choice.

    `private` is where this process is asked alone; the `sockets` are then shared with other processes, each
    of which accepts on them.
    """

    sockets: tuple[socket.socket, ...]
    note: str | None = None
    private: tuple[socket.socket, ...] = ()

    @property
    def port(self) -> int:
        """The port that all of them share."""
        return int(self.sockets[0].getsockname()[1])

    @property
    def addresses(self) -> tuple[str, ...]:
        """The bound addresses, such as 127.0.0.1 and ::1."""
        return tuple(str(sock.getsockname()[0]) for sock in self.sockets)

    @property
    def are_loopback(self) -> bool:
        """Whether nothing outside this machine can reach them."""
        return all(is_loopback(address) for address in self.addresses)

    def close(self) -> None:
        """Closes this process's copies; the launcher's stay open."""
        for sock in (*self.sockets, *self.private):
            sock.close()


def inherit(environ: MutableMapping[str, str], pid: int, first_fd: int = FIRST_FD) -> Listeners | None:
    """The sockets handed over from fd 3 on (sd_listen_fds(3)), or None when none were.

    LISTEN_PID is honoured when set.  A socket whose name in LISTEN_FDNAMES ends in `.private` is this
    process's alone.  The variables are removed, so that no child of ours takes them as meant for it.  Raises
    BadSettings when a descriptor is not a listening TCP socket, or none is for clients.
    """
    count, owner = environ.pop("LISTEN_FDS", ""), environ.pop("LISTEN_PID", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if not count or (owner and owner != str(pid)):
        return None
    if not count.isdigit() or not 0 < int(count) <= 64:
        raise BadSettings(f"LISTEN_FDS={count!r} is not a number from 1 to 64", where="the environment")
    private = {place for place, name in enumerate(names) if name.endswith(PRIVATE_SUFFIX)}
    adopted = [_adopt(first_fd + offset) for offset in range(int(count))]
    clients = tuple(one for place, one in enumerate(adopted) if place not in private)
    if not clients:
        Listeners((), private=tuple(adopted)).close()
        raise BadSettings("no descriptor is for clients", where="LISTEN_FDNAMES")
    return Listeners(clients, private=tuple(one for place, one in enumerate(adopted) if place in private))


def bind(host: str, ports: Iterable[int]) -> Listeners:
    """Binds `host` on the first free port of `ports`; localhost means 127.0.0.1 and ::1 (if there is IPv6).

    A port counts as taken when any of the addresses is.  Raises PortTaken that names every holder, and
    BadSettings when the host cannot be bound at all.
    """
    addresses = _resolve(host)
    holders: list[str] = []
    for port in ports:
        sockets = _bind_all(addresses, port)
        if sockets is not None:
            note = f"{'; '.join(holders)}. Listening on port {sockets[0].getsockname()[1]} instead"
            return Listeners(sockets, note if holders else None)
        holders.append(describe_holder(port))
    raise PortTaken(
        "; ".join(holders),
        where=f"{host}, nothing was started",
        mend="stop that process, or choose another port with --port or `port:` in config.yaml",
    )


def describe_holder(port: int) -> str:
    """A clause that names who listens on `port`: pid, command and user as far as this user may see them."""
    for connection in psutil.net_connections(kind="tcp"):
        is_listening = connection.status == psutil.CONN_LISTEN
        if is_listening and getattr(connection.laddr, "port", None) == port and connection.pid:
            try:
                process = psutil.Process(connection.pid)
                command = " ".join(process.cmdline())[:120] or process.name()
                return f"port {port} is held by pid {process.pid} ({command}), user {process.username()}"
            except psutil.Error:
                return f"port {port} is held by pid {connection.pid}"
    return f"port {port} is held by another user's process (see it with: sudo ss -ltnp 'sport = :{port}')"


def raise_file_limit(wanted: int) -> None:
    """Lets this process hold as many sockets as it may accept; the usual soft limit of 1,024 is fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _resolve(host: str) -> list[Address]:
    if host.lower() == "localhost":
        return [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise BadSettings(f"host {host!r} has no address: {error.strerror}", where="host") from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _bind_all(addresses: Sequence[Address], port: int) -> tuple[socket.socket, ...] | None:
    """All addresses on one port, or None when the port is taken on any of them."""
    # An ephemeral port is chosen by the first address and may be taken on the second: draw again.
    for _ in range(1 if port else _EPHEMERAL_TRIES):
        bound = _bind_each(addresses, port)
        if bound is not None:
            return bound
    return None


def _bind_each(addresses: Sequence[Address], port: int) -> tuple[socket.socket, ...] | None:
    bound: list[socket.socket] = []
    for family, address in addresses:
        try:
            bound.append(_bind_one(family, address, bound[0].getsockname()[1] if bound else port))
        except OSError as error:
            if _is_absent(error) and (bound or (family, address) != addresses[-1]):
                continue
            for sock in bound:
                sock.close()
            if error.errno == errno.EADDRINUSE:
                return None
            raise BadSettings(
                f"cannot bind {address} port {port}: {error.strerror}", where="host and port"
            ) from error
    return tuple(bound)


def _bind_one(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _send_at_once(sock)
        sock.bind((address, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _send_at_once(sock: socket.socket) -> None:
    # Accepted sockets inherit it on Linux. asyncio sets it only on sockets that know their protocol, which
    # those of `socket(family, type)` do not: an HTTP answer, head and body, then waited 40 ms for an ACK.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _is_absent(error: OSError) -> bool:
    """Whether the machine simply lacks this address family or address, as many containers lack ::1."""
    return error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def _adopt(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise BadSettings(
            f"descriptor {fd} is not a socket: {os.strerror(error.errno or 0)}", where="LISTEN_FDS"
        ) from error
    if not listening or sock.family not in (socket.AF_INET, socket.AF_INET6):
        sock.close()
        raise BadSettings(f"descriptor {fd} is not a listening TCP socket", where="LISTEN_FDS")
    _send_at_once(sock)
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock

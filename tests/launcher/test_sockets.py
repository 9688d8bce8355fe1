"""Real sockets: both loopback names, held for certain, and the holder named."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from launcher import sockets
from launcher.errors import Holder
from launcher.sockets import (
    PortUnavailable,
    bind_service,
    close_all,
    find_holder,
    has_ipv6_loopback,
    relisten,
)

needs_ipv6 = pytest.mark.skipif(not has_ipv6_loopback(), reason="this machine has no ::1")


@pytest.fixture
def bound() -> Iterator[tuple[socket.socket, ...]]:
    """A free port, held on localhost."""
    held = bind_service("localhost", 0)
    yield held
    close_all(held)


def port_of(held: tuple[socket.socket, ...]) -> int:
    """The one port of all of them."""
    (port,) = {sock.getsockname()[1] for sock in held}
    return int(port)


@needs_ipv6
def test_localhost_is_both_loopback_addresses(bound: tuple[socket.socket, ...]) -> None:
    """On the same port, since a client may resolve the name to either."""
    assert [sock.getsockname()[0] for sock in bound] == ["127.0.0.1", "::1"]
    assert port_of(bound) > 0


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_a_client_waits_in_the_backlog(bound: tuple[socket.socket, ...], address: str) -> None:
    """The port listens before any server runs: a connection is neither refused nor answered."""
    with socket.create_connection((address, port_of(bound)), timeout=5) as client:
        client.sendall(b"hello")


def test_sockets_are_not_inherited_by_accident(bound: tuple[socket.socket, ...]) -> None:
    """Only the spawn that means to hands them down; and no accept can block the loop."""
    assert not any(sock.get_inheritable() for sock in bound)
    assert not any(sock.getblocking() for sock in bound)


def test_a_taken_port_is_refused_and_nothing_stays_bound(bound: tuple[socket.socket, ...]) -> None:
    """Although both sides set SO_REUSEADDR."""
    before = psutil.Process().num_fds()
    with pytest.raises(PortUnavailable) as caught:
        bind_service("localhost", port_of(bound))
    assert caught.value.is_taken
    assert psutil.Process().num_fds() == before


@needs_ipv6
def test_a_port_taken_on_one_loopback_address_only_is_taken() -> None:
    """Half a port would serve half of the clients."""
    (other,) = bind_service("::1", 0)
    with other, pytest.raises(PortUnavailable) as caught:
        bind_service("localhost", other.getsockname()[1])
    assert caught.value.is_taken


def test_a_machine_without_ipv6_serves_the_other_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """::1 is left out where it does not exist."""
    real = sockets._bind_one

    def without_ipv6(
        family: socket.AddressFamily, address: str, port: int, *, shares: bool = False
    ) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return real(family, address, port, shares=shares)

    monkeypatch.setattr(sockets, "_bind_one", without_ipv6)
    held = bind_service("localhost", 0)
    close_all(held)
    assert [sock.family for sock in held] == [socket.AF_INET]
    assert not has_ipv6_loopback()


@pytest.mark.parametrize(
    ("host", "words"),
    [("203.0.113.7", "no such address"), ("no-such-host.invalid", "host name is unknown")],
)
def test_an_address_that_is_not_ours(host: str, words: str) -> None:
    """Is no conflict with anybody, and says what is wrong."""
    with pytest.raises(PortUnavailable, match=words) as caught:
        bind_service(host, 0)
    assert not caught.value.is_taken


def test_the_holder_of_a_port_is_named(bound: tuple[socket.socket, ...]) -> None:
    """Pid, command, user, start and folder: here all our own."""
    holder = find_holder(port_of(bound))
    assert holder is not None
    assert holder.pid == os.getpid()
    assert holder.user == psutil.Process().username()
    assert holder.cwd == os.getcwd()
    assert holder.command
    assert holder.started_at is not None
    assert holder.started_at.startswith("20")


def test_a_holder_that_a_launcher_keeps_alive_is_known_by_its_stack() -> None:
    """Also below a program of the service's own; whoever only mentions one is no part of it."""
    hold = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', 0));"
        "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    below = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    for words, stack in (
        (["launcher.guardian", "--config", "/srv/my stack.yaml"], "/srv/my stack.yaml"),
        (["tail", "launcher.guardian.txt", "--config", "/srv/other.yaml"], None),
        (["launcher.guardian", "--config"], None),
    ):
        argv = [sys.executable, "-c", below, hold, *words]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as launcher:
            assert launcher.stdout is not None
            holder = find_holder(int(launcher.stdout.readline()))
            launcher.communicate()
        assert holder is not None
        assert (holder.stack, holder.pid == launcher.pid) == (stack, False)


def test_a_free_port_has_no_holder(bound: tuple[socket.socket, ...]) -> None:
    """None, and no guess."""
    port = port_of(bound)
    close_all(bound)
    assert find_holder(port) is None


def test_a_hidden_holder_is_said_to_be_hidden(
    monkeypatch: pytest.MonkeyPatch, bound: tuple[socket.socket, ...]
) -> None:
    """Another user's process shows its port but not itself."""
    real = psutil.net_connections

    def hidden(kind: str = "inet") -> list[object]:
        return [connection._replace(pid=None) for connection in real(kind)]

    monkeypatch.setattr(psutil, "net_connections", hidden)
    assert find_holder(port_of(bound)) == Holder(None)


def names(held: tuple[socket.socket, ...]) -> list[str]:
    """The addresses of all of them."""
    return [str(one.getsockname()[0]) for one in held]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0.0.0.0"])
def test_the_same_host_keeps_the_same_sockets(host: str) -> None:
    """Nothing is opened or closed when nothing has changed."""
    held = bind_service(host, 0)
    before = psutil.Process().num_fds()
    assert relisten(host, port_of(held), held) is held
    assert psutil.Process().num_fds() == before
    close_all(held)


@needs_ipv6
def test_addresses_come_and_go_one_by_one() -> None:
    """What is wanted before and after is the very same socket, so that its clients lose nothing."""
    held = bind_service("127.0.0.1", 0)
    both = relisten("localhost", port_of(held), held)
    assert names(both) == ["127.0.0.1", "::1"]
    assert both[0] is held[0]
    (alone,) = relisten("::1", port_of(held), both)
    assert alone is both[1]
    assert both[0].fileno() >= 0
    close_all(both)


@pytest.mark.parametrize(("before", "after"), [("localhost", "0.0.0.0"), ("0.0.0.0", "127.0.0.1")])
def test_wildcards_and_addresses_of_the_same_port(before: str, after: str) -> None:
    """The next ones listen while those before still do; a client finds them when those are closed."""
    held = bind_service(before, 0)
    port = port_of(held)
    fresh = relisten(after, port, held)
    assert names(fresh) == [after]
    assert not set(fresh) & set(held)
    assert [one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) for one in (*held, *fresh)].count(1) == 0
    close_all(held)
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        fresh[0].setblocking(True)
        fresh[0].accept()[0].close()
    with pytest.raises(PortUnavailable):
        bind_service(after, port)
    close_all(fresh)


def test_what_another_has_is_not_shared() -> None:
    """A stranger's socket stays in the way, and what is held goes on as it was."""
    held = bind_service("127.0.0.1", 0)
    stranger = socket.create_server(("127.0.0.2", port_of(held)))
    before = psutil.Process().num_fds()
    with pytest.raises(PortUnavailable) as caught:
        relisten("0.0.0.0", port_of(held), held)
    assert caught.value.is_taken
    assert psutil.Process().num_fds() == before
    assert find_holder(port_of(held), but_at=names(held)) is not None
    assert find_holder(port_of(held), but_at=[*names(held), "127.0.0.2"]) is None
    assert relisten("127.0.0.1", port_of(held), held) is held
    close_all((*held, stranger))

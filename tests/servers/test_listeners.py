"""Binding, inheriting, and naming who is in the way."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator

import pytest

from servers.errors import BadSettings, PortTaken
from servers.listeners import Listeners, bind, describe_holder, inherit


@pytest.fixture
def held() -> Iterator[socket.socket]:
    """A listener in the way."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def port_of(sock: socket.socket) -> int:
    """Its port."""
    return int(sock.getsockname()[1])


def test_localhost_is_both_loopback_addresses_on_one_port() -> None:
    """`localhost` may resolve to either."""
    listeners = bind("localhost", (0,))
    try:
        assert listeners.addresses[0] == "127.0.0.1"
        assert set(listeners.addresses) <= {"127.0.0.1", "::1"}
        assert {port_of(sock) for sock in listeners.sockets} == {listeners.port}
        assert listeners.are_loopback
        assert listeners.note is None
        for sock in listeners.sockets:
            socket.create_connection(sock.getsockname()[:2], timeout=5).close()
    finally:
        listeners.close()


def test_accepted_connections_send_at_once() -> None:
    """A small answer does not wait for the client's delayed acknowledgement (40 ms)."""
    listeners = bind("127.0.0.1", (0,))
    try:
        with socket.create_connection(listeners.sockets[0].getsockname(), timeout=5):
            listeners.sockets[0].settimeout(5)
            accepted, _ = listeners.sockets[0].accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        listeners.close()


def test_the_first_free_port_of_a_range_is_taken_and_said(held: socket.socket) -> None:
    """A fallback is never silent."""
    listeners = bind("localhost", (port_of(held), 0))
    try:
        assert listeners.port != port_of(held)
        assert listeners.note is not None
        assert f"port {port_of(held)} is held by pid {os.getpid()}" in listeners.note
    finally:
        listeners.close()


def test_a_port_that_is_taken_on_either_address_is_taken() -> None:
    """Half a server would be worse than none."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    with socket.socket(socket.AF_INET6) as six:
        six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            six.bind(("::1", 0))
        except OSError:
            pytest.skip("no ::1 on this machine")
        six.listen()
        with pytest.raises(PortTaken):
            bind("localhost", (port_of(six),))
        with socket.socket() as four:
            four.bind(("127.0.0.1", port_of(six)))  # nothing of ours was left behind


def test_no_free_port_names_every_holder(held: socket.socket) -> None:
    """All of them, with pid, command and user, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports = (port_of(held), port_of(other))
        with pytest.raises(PortTaken) as raised:
            bind("localhost", ports)
    text = str(raised.value)
    for port in ports:
        assert f"port {port} is held by pid {os.getpid()}" in text
    assert "user " in text
    assert raised.value.exit_code == 5


def test_a_hidden_holder_is_explained() -> None:
    """Without a pid to show, the command that would show it."""
    assert "ss -ltnp" in describe_holder(1)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.77"])
def test_an_address_that_is_not_ours_is_a_settings_error(host: str) -> None:
    """Retrying would not help."""
    with pytest.raises(BadSettings):
        bind(host, (0,))


def test_inherited_sockets_are_served_and_the_variables_taken_away(held: socket.socket) -> None:
    """No child of the server takes them as meant for it."""
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "ws", "OTHER": "x"}
    copy = os.dup(held.fileno())
    listeners = inherit(environ, os.getpid(), first_fd=copy)
    assert listeners is not None
    try:
        assert environ == {"OTHER": "x"}
        assert listeners.port == port_of(held)
        assert not listeners.sockets[0].get_inheritable()
        assert not listeners.sockets[0].getblocking()
    finally:
        listeners.close()


def test_a_private_socket_is_told_from_those_of_clients(held: socket.socket) -> None:
    """By its name, wherever it stands; the port is that of the others."""
    with socket.create_server(("127.0.0.1", 0)) as own:
        first = fcntl.fcntl(held.fileno(), fcntl.F_DUPFD, 500)
        assert fcntl.fcntl(own.fileno(), fcntl.F_DUPFD, first + 1) == first + 1
        environ = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "probe:probe.private"}
        listeners = inherit(environ, os.getpid(), first_fd=first)
        assert listeners is not None
        assert (listeners.port, len(listeners.sockets)) == (port_of(held), 1)
        assert [port_of(one) for one in listeners.private] == [port_of(own)]
        listeners.close()


def test_a_process_without_a_socket_for_clients_is_refused(held: socket.socket) -> None:
    """It could never be of use."""
    with pytest.raises(BadSettings, match="for clients"):
        inherit({"LISTEN_FDS": "1", "LISTEN_FDNAMES": "a.private"}, os.getpid(), os.dup(held.fileno()))


@pytest.mark.parametrize("environ", [{}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": ""}])
def test_sockets_meant_for_nobody_or_another_process_are_left(environ: dict[str, str]) -> None:
    """LISTEN_PID is honoured when it is set."""
    assert inherit(environ, os.getpid()) is None


@pytest.mark.parametrize("count", ["x", "0", "-1", "1000"])
def test_a_bad_count_is_refused(count: str) -> None:
    """Guessing would serve on somebody's file."""
    with pytest.raises(BadSettings, match="LISTEN_FDS"):
        inherit({"LISTEN_FDS": count}, os.getpid())


def test_what_is_not_a_listening_tcp_socket_is_refused() -> None:
    """A file, an unbound and a Unix socket."""
    with open(os.devnull) as file, socket.socket() as idle, socket.socket(socket.AF_UNIX) as unix:
        for number in (file.fileno(), idle.fileno(), unix.fileno()):
            with pytest.raises(BadSettings):
                inherit({"LISTEN_FDS": "1"}, os.getpid(), first_fd=os.dup(number))


def test_reachable_addresses_are_known() -> None:
    """One address off loopback is enough."""
    with socket.create_server(("0.0.0.0", 0)) as wide:  # the case itself
        assert not Listeners((wide,)).are_loopback

"""One port for several replicas, with real sockets: copies of one, a private one each, and what is kept."""

import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from launcher.config import Config, load_config
from launcher.errors import PortInUse
from launcher.planning.preflight import Prepared, prepare
from launcher.planning.prepared import PreparedChild
from launcher.sockets import bind_service, close_all

Held = dict[str, tuple[socket.socket, ...]]
Make = Callable[[str], Config]


@pytest.fixture
def config(tmp_path: Path) -> Make:
    """Makes a Config of one service `a` with these keys."""

    def make(keys: str) -> Config:
        path = tmp_path / "config.yaml"
        command = f"command: [{sys.executable}], gpu: none, inherit_sockets: true"
        path.write_text(f"services:\n  a: {{{command}, {keys}}}\n", encoding="utf-8")
        return load_config(path, {})

    return make


def run(config: Config, held: Held | None = None) -> Prepared:
    """`prepare` in this environment."""
    return prepare(config, held=held, environ=dict(os.environ))


def inode(one: socket.socket) -> int:
    """Which socket a descriptor is a copy of."""
    return os.fstat(one.fileno()).st_ino


def held_by(prepared: Prepared) -> Held:
    """The sockets by child, as a supervisor holds them."""
    return {name: child.sockets for name, child in prepared.children.items()}


def private_of(child: PreparedChild) -> socket.socket:
    """The one socket that is the child's alone."""
    (private,) = [one for one in child.sockets if one not in child.client_sockets]
    return private


def test_each_replica_has_a_copy_and_a_private_socket(config: Make) -> None:
    """One socket at each address, in as many descriptors as there are replicas; the private ones differ."""
    prepared = run(config("port: auto, port_mode: shared, replicas: 3"))
    children = list(prepared.children.values())
    assert len({child.port for child in children}) == 1
    assert len({tuple(map(inode, child.client_sockets)) for child in children}) == 1
    assert len({one.fileno() for child in children for one in child.client_sockets}) >= 3
    private = [private_of(child).getsockname() for child in children]
    assert private == [("127.0.0.1", child.private_port) for child in children]
    assert len({child.port for child in children} | {child.private_port for child in children}) == 4
    assert {child.url for child in children} == {f"http://localhost:{children[0].port}"}
    prepared.close()


def open_sockets() -> set[str]:
    """The sockets of this process by inode; those of earlier tests may be collected at any time."""
    links = set()
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            links.add(os.readlink(f"/proc/self/fd/{fd}"))
    return {link for link in links if link.startswith("socket:")}


def test_all_of_it_is_given_back(config: Make) -> None:
    """A plan that is given up, and one that another service's conflict stops, leave no descriptor behind."""
    before = open_sockets()
    run(config("port: auto, port_mode: shared, replicas: 2")).close()
    assert open_sockets() <= before
    in_the_way = bind_service("127.0.0.1", 0)
    taken = in_the_way[0].getsockname()[1]
    other = f"}}\n  b: {{command: [{sys.executable}], host: 127.0.0.1, port: {taken}"
    before = open_sockets()
    with pytest.raises(PortInUse):
        run(config(f"port: auto, port_mode: shared, replicas: 2{other}"))
    assert open_sockets() <= before
    close_all(in_the_way)


def test_more_and_fewer_replicas_keep_what_they_have(config: Make) -> None:
    """The very same sockets for those that run, copies of theirs for those that come."""
    two = run(config("port: auto, port_mode: shared, replicas: 2"))
    four = run(config("port: auto, port_mode: shared, replicas: 4"), held_by(two))
    for name in ("a.0", "a.1"):
        assert four.children[name].sockets == two.children[name].sockets
    shared = [inode(one) for one in two.children["a.0"].client_sockets]
    assert [inode(one) for one in four.children["a.3"].client_sockets] == shared
    one = run(config("port: auto, port_mode: shared"), {"a": two.children["a.0"].sockets})
    assert one.children["a"].sockets == two.children["a.0"].sockets
    two.close()
    four.close()


@pytest.mark.parametrize("wanted", ["auto", "fixed"])
def test_from_a_port_each_to_one(config: Make, wanted: str) -> None:
    """The port of the first that has an allowed one goes on; the others give theirs up."""
    each = run(config("port: auto, replicas: 2"))
    ports = [child.port for child in each.children.values()]
    kept = 0 if wanted == "auto" else 1
    port = "auto" if wanted == "auto" else ports[1]
    shared = run(config(f"port: {port}, port_mode: shared, replicas: 2"), held_by(each))
    assert {child.port for child in shared.children.values()} == {ports[kept]}
    went_on = [inode(one) for one in each.children[f"a.{kept}"].sockets]
    for child in shared.children.values():
        assert [inode(one) for one in child.client_sockets] == went_on
    each.close()
    shared.close()


def test_from_one_port_to_one_each(config: Make) -> None:
    """The first replica goes on with the port, without its private socket; the other finds one of its own."""
    shared = run(config("port: auto, port_mode: shared, replicas: 2"))
    each = run(config("port: auto, replicas: 2"), held_by(shared))
    first, second = each.children.values()
    assert first.sockets == shared.children["a.0"].client_sockets
    assert (first.port, first.private_port) == (shared.children["a.0"].port, None)
    assert second.port != first.port
    assert not set(map(inode, second.sockets)) & set(map(inode, first.sockets))
    shared.close()
    each.close()


def test_another_host_is_listened_on_once_for_all(config: Make) -> None:
    """The addresses that stay are the same sockets, those that come are shared too, and it is said once."""
    narrow = run(config("port: auto, port_mode: shared, replicas: 2, host: 127.0.0.1"))
    port = narrow.children["a.0"].port
    wide = run(config(f"port: {port}, port_mode: shared, replicas: 2, host: 0.0.0.0"), held_by(narrow))
    first, second = wide.children.values()
    assert [one.getsockname() for one in first.client_sockets] == [("0.0.0.0", port)]
    assert list(map(inode, first.client_sockets)) == list(map(inode, second.client_sockets))
    assert private_of(first) is private_of(narrow.children["a.0"])
    assert wide.notes == ["a listens at 0.0.0.0 now, and no more at 127.0.0.1"]
    narrow.close()
    wide.close()


def test_a_fallback_is_noted_once(config: Make) -> None:
    """Two replicas on one port are one thing that clients have to know."""
    in_the_way = bind_service("localhost", 0)
    first = in_the_way[0].getsockname()[1]
    prepared = run(config(f"port: {first}-{first + 9}, port_mode: shared, replicas: 2"))
    (note,) = prepared.notes
    assert note.startswith("a listens on port ")
    assert all(child.fallback_port for child in prepared.children.values())
    prepared.close()
    close_all(in_the_way)

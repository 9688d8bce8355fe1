"""Several processes of one service on one held port: whoever is free accepts; one's end refuses nobody."""

import json
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest
from websockets.sync.client import connect

Spawn = Callable[..., subprocess.Popen[str]]
Replicas = tuple[socket.socket, list[subprocess.Popen[str]]]


@pytest.fixture
def replicas(spawn_probe: Spawn) -> Iterator[Replicas]:
    """A held socket and two processes that have inherited it, both ready."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        processes = []
        for number in range(2):
            environ = {"LISTEN_FDS": "1", "LUCID_CHILD": f"probe.{number}"}
            processes.append(spawn_probe(environ=environ, held=held))
        for process in processes:
            assert process.stderr is not None
            assert any("ready on" in line for line in process.stderr)
        yield held, processes


def who_answers(held: socket.socket) -> int:
    """The pid behind a new connection to the shared port."""
    port = held.getsockname()[1]
    with connect(f"ws://127.0.0.1:{port}") as client:
        client.send(json.dumps({"type": "stats"}))
        return int(json.loads(client.recv(timeout=20))["stats"]["pid"])


def test_each_replica_serves_the_port_that_they_share(replicas: Replicas) -> None:
    """While one is held up, the other accepts; the same port, the other way round."""
    held, (one, two) = replicas
    for busy, free in ((one, two), (two, one)):
        busy.send_signal(signal.SIGSTOP)
        assert {who_answers(held) for _ in range(5)} == {free.pid}
        busy.send_signal(signal.SIGCONT)


def test_the_end_of_one_is_no_refusal_for_anybody(replicas: Replicas) -> None:
    """A client that comes after a sudden death meets the other replica."""
    held, (one, two) = replicas
    one.kill()
    one.wait()
    assert {who_answers(held) for _ in range(5)} == {two.pid}

"""Another `host` for a held port: the next generation gets the right sockets, and nobody is refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.supervised_stack import SupervisedStack, hostile
from tests.integration.test_deaths import Client

pytestmark = pytest.mark.stack


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()


def serving(host: str) -> str:
    """A service that answers HTTP on held sockets at `host`."""
    return (
        f"  a: {{command: {hostile('--serve')}, port: auto, inherit_sockets: true, host: {host},"
        " health: {http: /, period: 200ms}}\n"
    )


def listening(port: int) -> set[str]:
    """The IPv4 addresses at which anybody listens on `port`, as the kernel tells."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = [row[1].split(":") for row in rows if row[3] == "0A"]
    return {socket.inet_ntoa(bytes.fromhex(host)[::-1]) for host, number in local if int(number, 16) == port}


def test_a_wider_and_a_narrower_host(stack: SupervisedStack) -> None:
    """From one address to all and back: the same port, a restart with its reason, nobody refused."""
    stack.write(serving("127.0.0.1"))
    port = stack.start()["plan"][0]["port"]
    stack.wait_state("a", "ready")
    assert listening(port) == {"127.0.0.1"}
    with Client(port) as client:
        for generation, (host, gone) in enumerate(
            [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0")], start=2
        ):
            stack.write(serving(host))
            reply = stack.ask("up")
            assert [(each["action"], each["reason"]) for each in reply["actions"]] == [
                ("restart", "host changed")
            ]
            assert f"a listens at {host} now, and no more at {gone}" in reply["notes"]
            after = stack.wait_state("a", "ready", generation)
            assert after["port"] == port
            assert listening(port) == {host}
    assert client.refused == 0
    assert client.answered > 0


def test_a_host_that_cannot_be_had_changes_nothing(stack: SupervisedStack) -> None:
    """Another process has the port elsewhere: its pid is named, and the service goes on as it was."""
    stack.write(serving("127.0.0.1"))
    port = stack.start()["plan"][0]["port"]
    before = stack.wait_state("a", "ready")["pid"]
    with socket.create_server(("127.0.0.2", port)):
        stack.write(serving("0.0.0.0"))
        reply = stack.ask("up")
        assert reply["code"] == "E_PORT_IN_USE"
        assert "a cannot listen on 0.0.0.0:auto" in reply["message"]
        assert f"kill {os.getpid()} " in reply["message"]
    assert stack.child("a")["pid"] == before
    assert listening(port) == {"127.0.0.1"}

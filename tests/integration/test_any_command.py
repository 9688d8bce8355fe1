"""Any command as a service: programs that know nothing of us, from the standard library and from Debian."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.stack import free_ports
from tests.integration.supervised_stack import WAIT_S, SupervisedStack, wait_gone

REDIS = shutil.which("redis-server")
FAST = "restart: {backoff: {initial: 10ms}}"
needs_redis = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed (apt-get install)")


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SupervisedStack]:
    """A stack in a folder of its own, ended after the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    stack = SupervisedStack(tmp_path)
    yield stack
    stack.close()


def fetch(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of one GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def web(stack: SupervisedStack, port: str) -> str:
    """A web server of the standard library over the folder `site`."""
    (stack.folder / "site").mkdir(exist_ok=True)
    (stack.folder / "site" / "hello.txt").write_text("hello from here\n")
    command = f'[{sys.executable}, -m, http.server, "${{PORT}}", --bind, "${{HOST}}"]'
    health = "health: {http: /hello.txt, period: 100ms, failures: 2}"
    return f"  web: {{command: {command}, cwd: site, host: 127.0.0.1, port: {port}, {health}, {FAST}}}\n"


def test_a_web_server_of_the_standard_library(stack: SupervisedStack) -> None:
    """It is ready when it answers, serves its folder, comes back when killed, and its log is kept."""
    (port,) = free_ports(1)
    stack.write(web(stack, str(port)))
    stack.start()
    pid = stack.wait_state("web", "ready")["pid"]
    assert fetch(port, "/hello.txt") == (200, b"hello from here\n")
    os.kill(pid, signal.SIGKILL)
    again = stack.wait_state("web", "ready", generation=2)
    assert (again["restarts"], again["last_exit"]["reason"], again["last_exit"]["signal"]) == (1, "killed", 9)
    assert fetch(port, "/hello.txt")[0] == 200
    assert any('"GET /hello.txt HTTP/1.1" 200' in line for line in stack.log("web"))


def test_a_web_server_whose_page_goes_is_unhealthy(stack: SupervisedStack) -> None:
    """An answer that is not 2xx counts as a failure; the restart does not help until the page is back."""
    stack.write(web(stack, "auto"))
    stack.start()
    stack.wait_state("web", "ready")
    (stack.folder / "site" / "hello.txt").rename(stack.folder / "gone.txt")
    stack.wait_for("web", lambda child: child["generation"] == 2 and child["state"] == "starting")
    assert stack.child("web")["last_exit"]["reason"] == "unhealthy"
    (stack.folder / "gone.txt").rename(stack.folder / "site" / "hello.txt")
    stack.wait_state("web", "ready", generation=2)


def test_a_range_gives_the_next_port_and_says_so(stack: SupervisedStack) -> None:
    """The first is taken by a stranger, who is named and left alone."""
    first, second = free_ports(2)
    with socket.create_server(("127.0.0.1", first)):
        stack.write(web(stack, f"{first}-{second}"))
        report = stack.start()
        assert report["plan"][0]["port"] == second
        assert any(f"pid {os.getpid()}" in note for note in report["notes"])
        stack.wait_state("web", "ready")
        assert fetch(second, "/hello.txt")[0] == 200


@needs_redis
def test_a_daemon_from_debian(stack: SupervisedStack) -> None:
    """redis-server: ready by TCP, does its work, keeps its data over a stop that it is asked for politely."""
    command = f'[{REDIS}, --port, "${{PORT}}", --bind, 127.0.0.1, --dir, ., --save, "3600 1"]'
    keys = f"command: {command}, host: 127.0.0.1, port: auto, health: {{tcp: true, period: 100ms}}"
    stack.write(f"  redis: {{{keys}, stop: {{signal: TERM, grace: 10s}}, {FAST}}}\n")
    port = stack.start()["plan"][0]["port"]
    stack.wait_state("redis", "ready")
    assert redis(port, "SET answer 42") == b"+OK"
    stack.ask("restart", services=["redis"])
    stack.wait_state("redis", "ready", generation=2)
    assert stack.child("redis")["last_exit"]["code"] == 0
    assert redis(port, "GET answer") == b"$2\r\n42"
    assert any("User requested shutdown" in line for line in stack.log("redis"))
    assert any(line.endswith("bye bye...") for line in stack.log("redis"))


@needs_redis
def test_a_daemon_from_debian_with_a_probe_that_is_a_program(stack: SupervisedStack) -> None:
    """redis-cli ping: a server that is stopped in the middle of everything is found, ended and replaced."""
    ping = '[redis-cli, -p, "${PORT}", ping]'
    health = f"health: {{exec: {ping}, period: 100ms, timeout: 500ms, failures: 2}}"
    command = f'[{REDIS}, --port, "${{PORT}}", --bind, 127.0.0.1, --save, ""]'
    stack.write(f"  redis: {{command: {command}, host: 127.0.0.1, port: auto, {health}, {FAST}}}\n")
    stack.start()
    pid = stack.wait_state("redis", "ready")["pid"]
    os.kill(pid, signal.SIGSTOP)
    stack.wait_state("redis", "ready", generation=2)
    wait_gone(pid)
    ended = stack.child("redis")["last_exit"]
    assert ended["reason"] == "unhealthy"
    assert "redis-server" in Path(ended["diagnosis"]).read_text()


def redis(port: int, command: str) -> bytes:
    """One inline command and its reply, without the last line break."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as connection:
        connection.sendall(f"{command}\r\nQUIT\r\n".encode())
        return b"".join(iter(lambda: connection.recv(4096), b"")).rpartition(b"\r\n+OK")[0]

"""The life of a real process: start, phases, signals, drain, exit code."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from servers.errors import BadSettings
from servers.listeners import Listeners
from servers.readiness import Readiness
from servers.serve import COLLECTOR_THRESHOLDS, access_rules, is_supervised, spare_the_collector
from servers.settings import ServerSettings
from tests.servers.conftest import Serve
from tests.servers.probe_server import build_service

Spawn = Callable[..., subprocess.Popen[str]]
NOTE = re.compile(r"listens on port (\d+)")


async def port_of(process: subprocess.Popen[str]) -> int:
    """Reads stderr until the process says where it listens."""
    assert process.stderr is not None
    for _ in range(50):
        line = await asyncio.to_thread(process.stderr.readline)
        if match := NOTE.search(line):
            return int(match[1])
    raise AssertionError("the process never listened")


async def exit_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code and the rest of stderr."""
    _, stderr = await asyncio.to_thread(process.communicate, timeout=20)
    return process.returncode, stderr


@pytest.mark.parametrize(
    ("environ", "close_code", "number"),
    [({}, 1001, signal.SIGINT), ({"LUCID_CHILD": "probe"}, 1012, signal.SIGTERM)],
)
async def test_a_stop_answers_accepted_requests_refuses_new_ones_closes_and_exits_0(
    spawn_probe: Spawn, environ: dict[str, str], close_code: int, number: int
) -> None:
    """The order of a drain, seen by a client that is in the middle of things."""
    process = spawn_probe(environ=environ)
    port = await port_of(process)
    async with connect(f"ws://localhost:{port}/") as busy, connect(f"ws://localhost:{port}/") as idle:
        await busy.send('{"type":"hold","id":1,"timeout_ms":1500}')
        await busy.send('{"type":"echo","id":2,"text":"accepted before the signal"}')
        await busy.send('{"type":"stats","id":3}')
        await (await busy.ping())
        process.send_signal(number)
        with pytest.raises(ConnectionClosed) as closed:
            await idle.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == close_code
        await busy.send('{"type":"echo","id":4,"text":"too late"}')
        replies = [json.loads(await busy.recv()) for _ in range(4)]
        assert [reply["id"] for reply in replies] == [1, 2, 3, 4]
        assert [reply.get("code", "ok") for reply in replies] == [
            "deadline_exceeded",
            "ok",
            "ok",
            "shutting_down",
        ]
        with pytest.raises(ConnectionClosed) as closed:
            await busy.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == close_code
    code, stderr = await exit_of(process)
    assert code == 0
    assert "Traceback" not in stderr


async def test_work_beyond_the_drain_time_is_told_so(spawn_probe: Spawn) -> None:
    """A request that cannot end is answered `shutting_down` when the time is over."""
    process = spawn_probe("--set", "drain_s=0.2")
    async with connect(f"ws://localhost:{await port_of(process)}/") as client:
        await client.send('{"type":"hold","id":1}')
        await (await client.ping())
        process.terminate()
        assert json.loads(await client.recv())["code"] == "shutting_down"
    assert (await exit_of(process))[0] == 0


async def test_a_second_signal_is_fast(spawn_probe: Spawn) -> None:
    """Whoever asks twice does not wait for the drain time."""
    process = spawn_probe("--set", "drain_s=3000")
    async with connect(f"ws://localhost:{await port_of(process)}/") as client:
        await client.send('{"type":"hold","id":1}')
        await (await client.ping())
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)  # another one, since two pending ones of a kind are one
        assert json.loads(await client.recv())["code"] == "shutting_down"
    assert (await exit_of(process))[0] == 0


async def test_a_stop_while_loading_is_clean(spawn_probe: Spawn) -> None:
    """The load is given up, and the exit code is still 0."""
    process = spawn_probe(environ={"PROBE_LOADS_FOREVER": "1"})
    port = await port_of(process)
    async with httpx.AsyncClient(base_url=f"http://localhost:{port}") as client:
        assert (await client.get("/healthz")).status_code == 200
    process.terminate()
    code, stderr = await exit_of(process)
    assert (code, "Traceback" in stderr) == (0, False)


async def test_a_start_that_can_never_succeed_exits_78(spawn_probe: Spawn) -> None:
    """The launcher must not retry, and a person reads what to do."""
    code, stderr = await exit_of(spawn_probe(environ={"PROBE_MODEL_MISSING": "1"}))
    assert code == 78
    assert "E_MODEL_MISSING" in stderr
    assert "copy it" in stderr
    assert "Traceback" not in stderr


async def test_a_start_that_crashes_exits_1_with_the_traceback(serve: Serve) -> None:
    """A bug is not a configuration error."""
    running = await serve(build_service(start_error=ZeroDivisionError("a bug")))
    assert await running.task == 1


async def test_a_taken_port_names_its_holder_and_exits_5(spawn_probe: Spawn) -> None:
    """pid, command and the mend; nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        code, stderr = await exit_of(spawn_probe("--port", str(port)))
    assert code == 5
    assert f"port {port} is held by pid {os.getpid()}" in stderr
    assert "fix:" in stderr


async def test_off_loopback_without_a_token_is_refused(spawn_probe: Spawn) -> None:
    """0.0.0.0 needs a token, and the process says how to give one."""
    code, stderr = await exit_of(spawn_probe("--host", "0.0.0.0"))  # refused before it is bound
    assert code == 78
    assert "token" in stderr


async def test_held_sockets_are_inherited_and_clients_wait_in_the_backlog(spawn_probe: Spawn) -> None:
    """A client that came before the process existed is served by it, on the socket from fd 3."""
    with (
        socket.create_server(("127.0.0.1", 0)) as held,
        socket.create_connection(held.getsockname()) as early,
    ):
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        process = spawn_probe(environ={"LISTEN_FDS": "1", "LUCID_CHILD": "probe"}, held=(held,))
        early.settimeout(20)
        assert (await asyncio.to_thread(early.recv, 64)).startswith(b"HTTP/1.1 200")
        process.terminate()
        assert (await exit_of(process))[0] == 0
        # The listener belongs to the parent: it still takes clients after the child has gone.
        socket.create_connection(held.getsockname()).close()


async def test_phases_ready_and_stopping_reach_the_notify_socket(spawn_probe: Spawn, tmp_path: Path) -> None:
    """Phase, progress, extension, device and READY=1, then STOPPING=1 on the way out."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(path))
        supervisor.settimeout(20)
        process = spawn_probe(environ={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "100000"})
        seen = ""
        while "READY=1" not in seen or "WATCHDOG=1" not in seen:
            seen += (await asyncio.to_thread(supervisor.recv, 4096)).decode() + "\n"
        process.terminate()
        while "STOPPING=1" not in seen:
            seen += (await asyncio.to_thread(supervisor.recv, 4096)).decode() + "\n"
        assert (await exit_of(process))[0] == 0
    lines = set(seen.splitlines())
    assert {"X_LUCID_PHASE=load-model", "X_LUCID_PROGRESS=0.62", "STATUS=load-model 62%: 56/91 MB"} <= lines
    assert {"X_LUCID_DEVICE=cpu", "EXTEND_TIMEOUT_USEC=120000000"} <= lines


async def test_sigusr1_dumps_the_stacks_and_the_process_lives(spawn_probe: Spawn) -> None:
    """What a hung process does is written to stderr before it is killed."""
    process = spawn_probe()
    port = await port_of(process)
    process.send_signal(signal.SIGUSR1)
    async with httpx.AsyncClient(base_url=f"http://localhost:{port}") as client:
        assert (await client.get("/healthz")).status_code == 200
    process.terminate()
    code, stderr = await exit_of(process)
    assert code == 0
    assert "most recent call first" in stderr


async def test_peers_and_port_are_in_the_stats(spawn_probe: Spawn) -> None:
    """A client of one server finds the other, wherever it really listens."""
    process = spawn_probe(environ={"LUCID_PEERS": '{"inference": "ws://localhost:5006"}'})
    port = await port_of(process)
    async with connect(f"ws://localhost:{port}/") as client:
        await client.send('{"type":"stats"}')
        stats = json.loads(await client.recv())["stats"]
    assert stats["peers"] == {"inference": "ws://localhost:5006"}
    assert stats["port"] == port


def test_rules_name_what_was_bound_and_refuse_reachable_addresses_without_a_token() -> None:
    """Inherited sockets are judged as well as bound ones."""
    with socket.create_server(("0.0.0.0", 0)) as wide:  # the case that is refused
        listeners = Listeners((wide,))
        with pytest.raises(BadSettings, match="token"):
            access_rules(build_service(), ServerSettings(), listeners)
        rules = access_rules(
            build_service(), ServerSettings(insecure=True, allowed_hosts=("Box.lan",)), listeners
        )
    assert rules.is_host_allowed(["box.lan:1"])
    assert not rules.is_host_allowed(["0.0.0.0:1"])  # no address that a client may name


@pytest.mark.parametrize(
    ("environ", "expected"), [({}, False), ({"LUCID_CHILD": "memory"}, True), ({"NOTIFY_SOCKET": "/x"}, True)]
)
def test_supervised_is_known_from_the_environment(environ: dict[str, str], expected: bool) -> None:
    """A restart is likely only when somebody is there to restart."""
    assert is_supervised(environ) is expected


def test_what_is_loaded_is_kept_from_the_collector_once_ready_and_not_before() -> None:
    """Objects of the load are frozen when the service is ready; a phase alone freezes nothing."""
    readiness = Readiness()
    readiness.subscribe(spare_the_collector)
    before, thresholds = gc.get_freeze_count(), gc.get_threshold()
    try:
        readiness.enter("load-model")
        assert gc.get_freeze_count() == before
        readiness.ready("cpu")
        assert gc.get_freeze_count() > before
        assert gc.get_threshold() == COLLECTOR_THRESHOLDS
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)

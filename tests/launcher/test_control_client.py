"""The client's side of the control socket: silence, nonsense, and the start of a supervisor by a real
process.
"""

import asyncio
import os
import select
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import control_client
from launcher.control_client import connect, fetch_status, start_supervisor
from launcher.errors import LauncherError, NotRunning, SupervisorFailed
from launcher.runtime_dir import OwnerLock, create_runtime_dir, runtime_dir
from tests.launcher.control_double import ControlDouble, all_ready, two_services


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config file with a runtime folder of its own."""
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    path = tmp_path / "config.yaml"
    path.write_text("project: lucid\n")
    return path


@pytest.fixture
def control(config: Path) -> Iterator[ControlDouble]:
    """A supervisor's control socket."""
    double = ControlDouble(config, two_services())
    yield double
    double.close()


def test_status_over_plain_http(config: Path, control: ControlDouble) -> None:
    """The document arrives whole."""
    assert fetch_status(config) == two_services()


def test_a_socket_file_without_a_listener_is_not_running(config: Path) -> None:
    """What a dead supervisor left behind is no error of its own."""
    path = create_runtime_dir(config).control_socket
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NotRunning):
        fetch_status(config)


def test_a_silent_supervisor_is_reported_in_time(config: Path) -> None:
    """One that accepts and never answers costs no more than the limit; without the lock it is none at all."""
    paths = create_runtime_dir(config)
    lock = OwnerLock(paths, config)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(paths.control_socket))
        silent.listen()
        with pytest.raises(SupervisorFailed, match="did not answer"):
            fetch_status(config, timeout_s=0.05)
        lock.release()
        with pytest.raises(NotRunning):
            fetch_status(config, timeout_s=0.05)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"", b"nonsense"])
def test_a_wrong_answer_is_an_error(config: Path, answer: bytes) -> None:
    """Anything but a 200 is said, not guessed at."""
    path = create_runtime_dir(config).control_socket

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(SupervisorFailed):
            fetch_status(config)
        thread.join()


async def test_frames_before_a_reply_are_kept(config: Path, control: ControlDouble) -> None:
    """A snapshot that overtakes a reply is handed out afterwards, in order."""
    async with connect(config) as client:
        await client.request("subscribe", events=True)
        await asyncio.to_thread(control.wait_for_command, "subscribe")
        await asyncio.to_thread(control.publish, all_ready())
        assert (await client.request("events"))["events"] == []
        frames = client.frames()
        documents = [(await anext(frames))["snapshot"], (await anext(frames))["snapshot"]]
        await frames.aclose()
    assert documents == [two_services(), all_ready()]


async def test_a_goodbye_ends_the_frames(config: Path, control: ControlDouble) -> None:
    """An orderly end of the supervisor ends the stream without an error."""
    async with connect(config) as client:
        await client.request("subscribe", events=True)
        await asyncio.to_thread(control.wait_for_command, "subscribe")
        await asyncio.to_thread(control.drop_clients)
        assert [frame["type"] async for frame in client.frames()] == ["snapshot"]


def event(revision: int) -> dict[str, object]:
    """A change of which only its number is of interest."""
    return {"revision": revision, "child": "memory", "to": "ready"}


async def test_the_next_supervisor_is_followed(config: Path, control: ControlDouble) -> None:
    """When one takes over, the frames go on: subscribed as before, each event once, none left out."""
    async with connect(config) as client:
        await client.request("subscribe", events=True)
        await asyncio.to_thread(control.wait_for_command, "subscribe")
        frames = client.frames()
        assert (await anext(frames))["type"] == "snapshot"
        await asyncio.to_thread(control.emit, event(50))
        assert (await anext(frames))["event"]["revision"] == 50
        control.events += [event(51), event(52)]
        await asyncio.to_thread(control.drop_clients, 1012)
        assert [(await anext(frames))["event"]["revision"] for _ in range(2)] == [51, 52]
        assert await asyncio.to_thread(control.wait_for_command, "events") == {"since": 50}
        assert control.commands[-2] == ("subscribe", {"events": True})
        assert (await anext(frames))["type"] == "snapshot"
        await asyncio.to_thread(control.emit, event(52))
        await asyncio.to_thread(control.emit, event(53))
        assert (await anext(frames))["event"]["revision"] == 53
        await frames.aclose()


async def test_a_supervisor_that_vanishes_for_good_is_an_error(config: Path, control: ControlDouble) -> None:
    """There is nobody to follow: the frames end with what happened."""
    async with connect(config) as client:
        await client.request("subscribe")
        await asyncio.to_thread(control.wait_for_command, "subscribe")
        (runtime_dir(config) / "control.sock").unlink()
        await asyncio.to_thread(control.drop_clients, 1012)
        with pytest.raises(SupervisorFailed, match="closed the control connection"):
            assert [frame["type"] async for frame in client.frames()] == ["snapshot"]


async def test_an_error_reply_is_raised_as_it_was_sent(config: Path, control: ControlDouble) -> None:
    """Code, exit code, sentence and hint survive the way."""
    control.answers["up"] = lambda data: {
        "status": "error",
        "code": "E_X",
        "exit_code": 5,
        "message": "no",
        "hint": "do",
    }
    async with connect(config) as client:
        with pytest.raises(LauncherError) as raised:
            await client.request("up")
    assert (raised.value.code, raised.value.exit_code, str(raised.value), raised.value.hint) == (
        "E_X",
        5,
        "no",
        "do",
    )


def supervise_with(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let a small program stand in for the supervisor; `fd` is the report pipe."""

    def argv(config_path: Path, only: object, strict_ports: bool, report_fd: int) -> list[str]:
        return [sys.executable, "-c", f"import os, sys; fd = {report_fd}\n{script}"]

    monkeypatch.setattr(control_client, "_supervisor_argv", argv)


def test_the_report_of_a_good_start(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report is returned; the process is in a session of its own and its output is in the log."""
    supervise_with(
        monkeypatch,
        "print('a word', flush=True)\n"
        'os.write(fd, b\'{"ok": true, "pid": %d, "leads": %s}\\n\''
        " % (os.getpid(), b'true' if os.getsid(0) == os.getpid() else b'false'))",
    )
    report = start_supervisor(config, [], False, 20)
    assert report["leads"] is True
    os.waitpid(report["pid"], 0)
    assert (config.parent / "logs" / "supervisor.log").read_text() == "a word\n"


def test_a_reported_error_is_raised(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the supervisor could not do is the outcome of the start."""
    supervise_with(
        monkeypatch,
        'os.write(fd, b\'{"error": {"code": "E_PORT_IN_USE", "exit_code": 5, "message": "taken"}}\\n\')',
    )
    with pytest.raises(LauncherError, match="taken") as raised:
        start_supervisor(config, [], False, 20)
    assert raised.value.exit_code == 5


def test_a_death_before_the_report_shows_the_log(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that dies at once leaves its last words in the error, and no older ones."""
    (config.parent / "logs").mkdir()
    (config.parent / "logs" / "supervisor.log").write_text("an older word\n")
    supervise_with(monkeypatch, "sys.exit('no such file')")
    with pytest.raises(SupervisorFailed, match="no such file") as raised:
        start_supervisor(config, [], False, 20)
    assert "an older word" not in str(raised.value)


def test_silence_before_the_report_is_bounded(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that never reports is given up after the limit."""
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    supervise_with(monkeypatch, f"os.read({reader}, 1)")
    try:
        with pytest.raises(SupervisorFailed, match="said nothing"):
            start_supervisor(config, [], False, 0.3)
    finally:
        os.close(writer)
        os.close(reader)


def test_the_real_command_line_of_the_guardian(config: Path) -> None:
    """Names, strict ports and the report pipe reach the guardian's module."""
    argv = control_client._supervisor_argv(config, ["a", "b"], True, 7)
    assert argv[1:] == [
        *("-m", "launcher.guardian", "--config", str(config)),
        *("--only", "a", "b", "--strict-ports", "--report-fd", "7"),
    ]


def test_an_interrupted_start_leaves_nothing(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before the report ends the process that nobody has heard of yet."""
    spawned = []
    original = control_client._spawn_detached

    def spawn(argv: list[str], log_fd: int, report_fd: int) -> int:
        spawned.append(os.pidfd_open(pid := original(argv, log_fd, report_fd)))
        return pid

    def interrupted(fd: int, timeout_s: float) -> bytes:
        raise KeyboardInterrupt

    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    supervise_with(monkeypatch, f"os.read({reader}, 1)")
    monkeypatch.setattr(control_client, "_spawn_detached", spawn)
    monkeypatch.setattr(control_client, "_read_line", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            start_supervisor(config, [], False, 20)
        assert select.select(spawned, [], [], 10)[0] == spawned
    finally:
        for descriptor in (*spawned, reader, writer):
            os.close(descriptor)

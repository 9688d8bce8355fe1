"""Errors of a stack that runs, does not run, or does not come up."""

import os
import re
import signal
import socket

import pytest

from launcher.runtime_dir import runtime_paths
from tests.integration.stack import Stack, free_ports
from tests.integration.supervised_stack import hostile
from tests.launcher.commands.error_catalogue.catalogue import provokes, said, services


@provokes("E_RUNNING")
def test_a_second_supervisor_of_one_file(stack: Stack) -> None:
    """What starts it beside the first is refused with the pid of the owner; the first is left alone."""
    from launcher.control_client import start_supervisor
    from launcher.errors import LauncherError

    stack.run("up", "-d")
    before = stack.status()["supervisor"]["pid"]
    os.environ["XDG_RUNTIME_DIR"], old = stack.environ["XDG_RUNTIME_DIR"], os.environ.get("XDG_RUNTIME_DIR")
    try:
        with pytest.raises(LauncherError) as refusal:
            start_supervisor(stack.config, (), False, 30)
    finally:
        os.environ.pop("XDG_RUNTIME_DIR") if old is None else os.environ.update(XDG_RUNTIME_DIR=old)
    first, hint = refusal.value.render().splitlines()
    assert re.fullmatch(r"error\[E_RUNNING\]: another supervisor \(pid \d+\) already runs \S+", first)
    assert hint == "  hint: see it with  lucid-launch status , stop it with  lucid-launch down"
    assert refusal.value.exit_code == 5
    assert stack.status()["supervisor"]["pid"] == before


@provokes("E_NOT_RUNNING")
def test_nothing_runs(stack: Stack) -> None:
    """Whatever asks a stack that is not there is told how to start it; `down` has nothing to complain of."""
    for verb in (["status"], ["dashboard"], ["logs", "-f"], ["events"], ["wait"], ["restart", "job"]):
        assert said(stack, *verb, code=3) == [
            "error[E_NOT_RUNNING]: nothing runs for <folder>/config.yaml",
            "  hint: start it with  lucid-launch up",
        ]
    assert said(stack, "down", code=0) == ["nothing runs for <folder>/config.yaml; nothing to stop"]


@provokes("E_NO_SUCH_SERVICE")
def test_a_misspelt_service(stack: Stack) -> None:
    """The nearest name, and all there are, whichever verb it is for."""
    stack.run("up", "-d")
    for verb in ("restart", "stop", "start", "status", "wait", "logs", "call", "selftest"):
        words = [verb, "jobb", "stats"][: 3 if verb == "call" else 2]
        assert said(stack, *words, code=4) == [
            "error[E_NO_SUCH_SERVICE]: there is no service 'jobb'; did you mean 'job'?",
            "  hint: services here: job",
        ]


@provokes("E_TIMEOUT")
def test_not_ready_in_time(stack: Stack) -> None:
    """Who is not there yet, and that it goes on."""
    port = free_ports(1)[0]
    services(
        stack, f"job: {{command: {hostile()}, port: {port}, inherit_sockets: true, health: {{http: /}}}}"
    )
    stack.run("up", "-d")
    assert said(stack, "wait", "--timeout", "200ms", code=124)[-2:] == [
        "error[E_TIMEOUT]: job did not get there within 0.2 s",
        "  hint: it goes on in the background; see  lucid-launch status",
    ]


@provokes("E_ACTION_FAILED")
def test_a_crash_loop(stack: Stack) -> None:
    """How often, the last words, the two commands that help; `status` says the same and exits 1."""
    crash = hostile("--complain", "opening the store", "--complain", "database is locked", "--exit", "1")
    policy = "{max_failures: 3, backoff: {initial: 10ms, max: 20ms, jitter: 0}}"
    services(stack, f"job: {{command: {crash}, restart: {policy}}}")
    told = said(stack, "up", "--wait", code=1)
    reasons = told[next(at for at, line in enumerate(told) if line.startswith("error[")) :]
    assert reasons == [
        "error[E_ACTION_FAILED]: job  failed: gave up: it ended 3 times in a row (exit code 1)",
        "  │ opening the store",
        "  │ database is locked",
        "  hint: full log with  lucid-launch logs job ; try again with  lucid-launch restart job",
    ]
    status = stack.run("status", check=1).stdout.splitlines()
    assert "✖ failed" in status[1]
    assert status[-4:] == ["job  failed: gave up: it ended 3 times in a row (exit code 1)", *reasons[1:]]


@provokes("E_SUPERVISOR")
def test_something_else_answers_on_the_socket(stack: Stack) -> None:
    """A listener that is no supervisor is said to be none, without waiting for ever."""
    os.environ["XDG_RUNTIME_DIR"], old = stack.environ["XDG_RUNTIME_DIR"], os.environ.get("XDG_RUNTIME_DIR")
    try:
        path = runtime_paths(stack.config).control_socket
    finally:
        os.environ.pop("XDG_RUNTIME_DIR") if old is None else os.environ.update(XDG_RUNTIME_DIR=old)
    path.parent.mkdir(parents=True, mode=0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        pid = os.fork()
        if pid == 0:
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.sendall(b"220 mail.example ready\r\n\r\n")
            connection.close()
            os._exit(0)
        try:
            lines = said(stack, "status", code=1)
        finally:
            os.waitpid(pid, 0)
    path.unlink()
    assert lines == ["error[E_SUPERVISOR]: the supervisor answered '220 mail.example ready'"]


def test_a_stale_socket_is_no_error(stack: Stack) -> None:
    """What a supervisor that was killed left behind is in nobody's way: `up` works and says what it did."""
    stack.run("up", "-d")
    supervisor = stack.status()["supervisor"]
    for pid in filter(None, (supervisor["guardian_pid"], supervisor["pid"])):
        stack.kill(pid, signal.SIGKILL)
    assert stack.wait_gone(stack.processes(), 10) == []
    stack.run("status", check=3)
    stack.run("up", "-d")
    assert stack.status()["services"]["job"]["state"] in ("starting", "ready")

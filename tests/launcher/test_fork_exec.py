"""launcher.fork_exec: each key of an order, as the started program itself sees it, and each way to fail."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from launcher.fork_exec import Order, fork_exec

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
WAIT_S = 30.0
NOBODY = 65534
WITNESS = """
import json, os, resource, sys
status = dict(line.rstrip().partition(":")[::2] for line in open("/proc/self/status"))
fds = [fd for fd in sorted(map(int, os.listdir("/proc/self/fd"))) if os.path.exists(f"/proc/self/fd/{fd}")]
os.write(1, json.dumps({
    "pid": os.getpid(), "parent": os.getppid(), "session": os.getsid(0), "group": os.getpgrp(),
    "cwd": os.getcwd(), "argv": sys.argv[1:], "environ": dict(os.environ),
    "fds": {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in fds},
    "core": resource.getrlimit(resource.RLIMIT_CORE), "files": resource.getrlimit(resource.RLIMIT_NOFILE),
    "cpus": sorted(os.sched_getaffinity(0)), "uids": os.getresuid(), "gids": os.getresgid(),
    "groups": os.getgroups(), "ignored": int(status["SigIgn"], 16), "blocked": int(status["SigBlk"], 16),
}).encode())
"""


def order(*argv: str, **changes: Any) -> Order:
    """An order for a program that outlives nothing, with these keys besides."""
    return {"argv": list(argv), "environ": {"PATH": os.environ["PATH"]}, "cwd": "/"} | changes


def start(wanted: Order, others: Sequence[int] = ()) -> tuple[int, int, int]:
    """Start it with `others` from descriptor 3 on; returns its pid, its output and its status."""
    null = os.open(os.devnull, os.O_RDONLY)
    output, status = os.pipe(), os.pipe()
    try:
        pid = fork_exec(wanted, [null, output[1], output[1], *others], status[1])
    finally:
        for fd in (null, output[1], status[1]):
            os.close(fd)
    return pid, output[0], status[0]


def read_all(fd: int) -> bytes:
    """Read a pipe to its end."""
    with os.fdopen(fd, "rb") as pipe:
        return pipe.read()


def is_inheritable(fd: int) -> bool:
    """Whether a program would get this descriptor; one that is gone is not."""
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


def end_of(pid: int) -> int:
    """Reap it; returns its exit code, or the signal as a negative number."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def witness(others: Sequence[int] = (), **changes: Any) -> dict[str, Any]:
    """What a program says of itself that was started so."""
    wanted = order(sys.executable, "-S", "-E", "-c", WITNESS, "a b", "ü", **changes)
    pid, output, status = start(wanted, others)
    said = read_all(output)
    assert read_all(status) == b""
    assert end_of(pid) == 0, said.decode()
    found: dict[str, Any] = json.loads(said)
    assert found["pid"] == pid
    return found


def failure(wanted: Order, others: Sequence[int] = ()) -> str:
    """What is said of a program that could not be; it ends with 127 and has written nothing else."""
    pid, output, status = start(wanted, others)
    text = read_all(status).decode()
    assert read_all(output) == b""
    assert end_of(pid) == 127
    return text


# --- what the program gets ----------------------------------------------------------------------------------


def test_command_environment_and_folder(tmp_path: Path) -> None:
    """They are exactly those of the order: nothing of ours comes along."""
    environ = {"A": "b c", "PATH": "/usr/bin:/bin"}
    seen = witness(environ=environ, cwd=str(tmp_path))
    assert (seen["argv"], seen["cwd"], seen["parent"]) == (["a b", "ü"], str(tmp_path), os.getpid())
    # What the interpreter itself adds to its own where no locale is set.
    assert {name: value for name, value in seen["environ"].items() if name != "LC_CTYPE"} == environ


def test_session_or_group_of_its_own() -> None:
    """A program leads its own session unless it shall stay in ours, where it leads a group."""
    seen = witness()
    assert (seen["session"], seen["group"]) == (seen["pid"], seen["pid"])
    seen = witness(session=False)
    assert (seen["session"], seen["group"]) == (os.getsid(0), seen["pid"])


def test_signals_are_as_if_nobody_had_touched_them() -> None:
    """What we ignore, handle or block is neither ignored nor blocked there, and stays so here."""
    handler = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        seen = witness()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask | {signal.SIGUSR1}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR2, handler)
    # Python itself ignores two.
    own = (1 << (signal.SIGPIPE - 1)) | (1 << (signal.SIGXFSZ - 1))
    assert (seen["ignored"] & ~own, seen["blocked"]) == (0, 0)


def test_descriptors_stand_in_their_order_and_no_other_is_open() -> None:
    """Even where the number that one gets is that of another which is still to be placed."""
    pipes = [os.pipe() for _ in range(3)]
    wanted = [pipes[2][1], pipes[0][0], 2, 1, 0, pipes[0][0]]
    # Whoever runs the tests may have left some open for everybody.
    public = {name for name in os.listdir("/proc/self/fd") if is_inheritable(int(name))}
    seen = witness(wanted)
    expected = {str(3 + place): os.readlink(f"/proc/self/fd/{fd}") for place, fd in enumerate(wanted)}
    placed = {fd: link for fd, link in seen["fds"].items() if int(fd) > 2 and fd not in public - {*expected}}
    assert placed == expected
    assert (seen["fds"]["0"], seen["fds"]["1"]) == ("/dev/null", seen["fds"]["2"])
    for fd in sum(pipes, ()):
        os.close(fd)


def test_listen_pid_is_the_programs_own() -> None:
    """Only where sockets are handed over; whoever reads LISTEN_PID takes them for its own."""
    assert "LISTEN_PID" not in witness(listen_fds=0)["environ"]
    seen = witness([0], listen_fds=1)
    assert seen["environ"]["LISTEN_PID"] == str(seen["pid"])


def test_limits() -> None:
    """No core files ever; open files and processors as the order says, the hard limit too."""
    ours = list(resource.getrlimit(resource.RLIMIT_NOFILE))
    seen = witness()
    assert (seen["core"], seen["files"]) == ([0, 0], ours)
    assert seen["cpus"] == sorted(os.sched_getaffinity(0))
    one = max(os.sched_getaffinity(0))
    seen = witness(open_files=512, cpus=[one])
    assert (seen["files"], seen["cpus"]) == ([512, 512], [one])


@AS_ROOT
def test_another_user() -> None:
    """All three ids, and only the groups of the order; the way back is closed."""
    who = {"uid": NOBODY, "gid": NOBODY, "groups": [NOBODY, 7]}
    pid, output, status = start(order("cat", "/proc/self/status", **who))
    lines = dict(line.split(":\t", 1) for line in read_all(output).decode().splitlines() if ":\t" in line)
    assert (read_all(status), end_of(pid)) == (b"", 0)
    assert lines["Uid"].split() == lines["Gid"].split() == [str(NOBODY)] * 4
    assert sorted(map(int, lines["Groups"].split())) == [7, NOBODY]


# --- whose death it dies ------------------------------------------------------------------------------------


def survivor(**changes: Any) -> tuple[int, bool]:
    """Start a program in a process that dies then; returns its pid and whether it has died of that."""
    told, go = os.pipe(), os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            pid = fork_exec(order("sleep", "1000", **changes), [go[0], 1, 2])
            os.write(told[1], str(pid).encode())
            os.read(go[0], 1)
        finally:
            os._exit(0)
    pid = int(os.read(told[0], 20))
    pidfd = os.pidfd_open(pid)
    wait_for_program(pid)
    os.write(go[1], b"x")
    os.waitpid(parent, 0)
    is_armed = changes.get("dies_with_parent", True)
    has_died = bool(select.select([pidfd], [], [], WAIT_S if is_armed else 0)[0])
    for fd in (*told, *go, pidfd):
        os.close(fd)
    return pid, has_died


def wait_for_program(pid: int) -> None:
    """Return when the program runs that the process was forked for."""
    while Path(f"/proc/{pid}/comm").read_text() != "sleep\n":
        os.sched_yield()


@pytest.mark.parametrize(
    "user", [{}, pytest.param({"uid": NOBODY, "gid": NOBODY, "groups": []}, marks=AS_ROOT)]
)
def test_it_dies_with_its_parent(user: dict[str, Any]) -> None:
    """Also when it runs as another user, which clears what was armed before."""
    _, has_died = survivor(**user)
    assert has_died


def test_it_outlives_its_parent_where_it_shall() -> None:
    """So the sentinel does, and a supervisor."""
    pid, has_died = survivor(dies_with_parent=False)
    assert not has_died
    os.kill(pid, signal.SIGKILL)


def test_a_parent_that_has_died_meanwhile_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the fork and the arming nobody would end the program, so it never runs."""
    with monkeypatch.context() as patched:
        # For the child it is as if its parent were not the one who forked it.
        patched.setattr(os, "getpid", lambda: -1)
        pid, output, status = start(order("echo", "I run"))
    assert (read_all(output), read_all(status), end_of(pid)) == (b"", b"", 0)


# --- what goes wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"argv": ["/no/such/program"]}, "cannot start /no/such/program: No such file or directory"),
        ({"argv": ["no-such-program"]}, "cannot start no-such-program: No such file or directory"),
        ({"argv": ["/etc/passwd"]}, "cannot start /etc/passwd: Permission denied"),
        ({"argv": ["/tmp"]}, "cannot start /tmp: Permission denied"),
        ({"cwd": "/no/such/folder"}, "cannot start /no/such/folder: No such file or directory"),
        ({"cwd": "/etc/passwd"}, "cannot start /etc/passwd: Not a directory"),
        ({"argv": ["true", "a\0b"]}, "cannot start true: embedded null byte"),
        ({"environ": {"A": "a\0b", "PATH": "/bin"}}, "cannot start true: embedded null byte"),
        ({"environ": {"A=B": "c", "PATH": "/bin"}}, "cannot start true: illegal environment variable name"),
        ({"cpus": [4095]}, "cannot start true: Invalid argument"),
    ],
)
def test_what_goes_wrong_is_said(changes: dict[str, Any], text: str) -> None:
    """One line that names the program, or the folder where that is at fault."""
    assert failure(order("true") | changes) == text


def test_a_name_that_is_no_text_is_said_too() -> None:
    """What cannot be encoded is shown as it is written in code."""
    assert failure(order("/no/\udcff")) == "cannot start /no/\\udcff: No such file or directory"


def test_without_a_status_pipe_the_end_says_it() -> None:
    """127 is what a shell says of a program that it cannot find."""
    assert end_of(fork_exec(order("/no/such/program"), [0, 1, 2])) == 127


def test_where_there_can_be_no_process_the_caller_hears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And its signals are as before."""

    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(BlockingIOError):
        fork_exec(order("true"), [0, 1, 2])
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before

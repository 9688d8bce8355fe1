"""Starting a program as the leader of its own session, with exactly the descriptors it is meant to have.

Decides how a process comes to be: posix_spawn from the calling (main) thread through `spawn_shim`, listening
sockets from fd 3 on, output by pipes, nothing else inherited. Does not know services, policies or how to stop
it. Every descriptor of this process must be close-on-exec, which is what Python makes (PEP 446).
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import pwd
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["SpawnError", "SpawnRequest", "Started", "start_process"]

_SHIM = str(Path(__file__).with_name("spawn_shim.py"))
_FIRST_PARKED_FD = 200
_RESET_SIGNALS = [signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]
_LIMIT_NAMES = {
    errno.EAGAIN: "the limit on processes is reached (ulimit -u, or the pids limit of the cgroup)",
    errno.EMFILE: "the supervisor has too many open files (ulimit -n)",
    errno.ENFILE: "the system has too many open files (fs.file-max)",
    errno.ENOMEM: "there is not enough memory",
}


class SpawnError(Exception):
    """No process came to be; the text says why."""


@dataclass(frozen=True)
class SpawnRequest:
    """A program to start; `environ` is the child's whole environment, `cpus` the processors it may use."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: Path
    socket_fds: tuple[int, ...] = ()
    user: str | None = None
    cpus: tuple[int, ...] | None = None
    open_files: int | None = None


@dataclass(frozen=True)
class Started:
    """A running program: its pid, a pidfd, and the read ends of its output; the caller owns the
    descriptors.
    """

    pid: int
    pidfd: int
    stdout_fd: int
    stderr_fd: int


async def start_process(request: SpawnRequest, on_born: Callable[[int], None]) -> Started:
    """Start the program and return once it has replaced the shim; `on_born` gets the pid at once.

    Call it from the thread whose death is to end the child (the death signal follows the thread). Raises
    SpawnError when it cannot be started; nothing is left behind then, nor when it is cancelled.
    """
    pipes: list[int] = []
    try:
        for _ in range(3):
            pipes.extend(os.pipe2(os.O_CLOEXEC))
        pid = _spawn(request, pipes[1], pipes[3], pipes[5])
        on_born(pid)
    except OSError as error:
        _close(pipes)
        raise SpawnError(_explain(request, error)) from error
    except LookupError as error:
        _close(pipes)
        raise SpawnError(str(error)) from error
    _close(pipes[1::2])
    stdout_fd, stderr_fd, status_fd = pipes[::2]
    pidfd = -1
    try:
        pidfd = os.pidfd_open(pid)
        failure = await _read_to_end(status_fd)
    except BaseException as error:
        _discard(pid, [stdout_fd, stderr_fd, status_fd, pidfd])
        if isinstance(error, OSError):
            raise SpawnError(_explain(request, error)) from error
        raise
    if failure:
        _discard(pid, [stdout_fd, stderr_fd, status_fd, pidfd])
        raise SpawnError(failure.decode("utf-8", "replace"))
    os.close(status_fd)
    return Started(pid, pidfd, stdout_fd, stderr_fd)


def _spawn(request: SpawnRequest, stdout_fd: int, stderr_fd: int, status_fd: int) -> int:
    """Fork and exec the shim; the descriptors are parked high first, so that none is overwritten by
    another.
    """
    child_status_fd = 3 + len(request.socket_fds)
    parked: list[int] = []
    try:
        for fd in (stdout_fd, stderr_fd, *request.socket_fds, status_fd):
            parked.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_PARKED_FD))  # noqa: PERF401 - closed if one fails
        actions: list[Any] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, fd, place) for place, fd in enumerate(parked, start=1)]
        order = json.dumps(_order(request, child_status_fd))
        argv = [sys.executable, "-IS", _SHIM, order, *request.argv]
        return os.posix_spawn(
            sys.executable,
            argv,
            dict(request.environ),
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=_RESET_SIGNALS,
        )
    finally:
        _close(parked)


def _order(request: SpawnRequest, status_fd: int) -> dict[str, object]:
    order: dict[str, object] = {
        "parent": os.getpid(),
        "status_fd": status_fd,
        "listen_fds": len(request.socket_fds),
        "cwd": str(request.cwd),
        "cpus": None if request.cpus is None else list(request.cpus),
        "open_files": request.open_files,
        "uid": None,
    }
    if request.user is not None:
        account = _find_account(request.user)
        groups = os.getgrouplist(account.pw_name, account.pw_gid)
        order |= {"uid": account.pw_uid, "gid": account.pw_gid, "groups": groups}
    return order


def _find_account(user: str) -> pwd.struct_passwd:
    """The account of a name or, where there is no such name, of a number."""
    with suppress(KeyError):
        return pwd.getpwnam(user)
    with suppress(KeyError, ValueError):
        return pwd.getpwuid(int(user))
    raise LookupError(f"there is no user {user!r} on this machine")


async def _read_to_end(fd: int) -> bytes:
    """Read a pipe until its other end is closed, without blocking the loop."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    received = bytearray()

    def read() -> None:
        chunk = os.read(fd, 4096)
        received.extend(chunk)
        if not chunk and not done.done():
            loop.remove_reader(fd)
            done.set_result(None)

    loop.add_reader(fd, read)
    try:
        await done
    finally:
        loop.remove_reader(fd)
    return bytes(received)


def _discard(pid: int, descriptors: list[int]) -> None:
    """End and reap a process that nobody else knows of yet, and close its descriptors."""
    try:
        os.kill(pid, signal.SIGKILL)
    finally:
        os.waitpid(pid, 0)
        _close([fd for fd in descriptors if fd >= 0])


def _close(descriptors: list[int]) -> None:
    for fd in descriptors:
        os.close(fd)


def _explain(request: SpawnRequest, error: OSError) -> str:
    limit = _LIMIT_NAMES.get(error.errno or 0)
    return f"cannot start {request.argv[0]}: {limit or error.strerror or error}"

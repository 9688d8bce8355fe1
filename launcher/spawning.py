"""What a program needs to be started, and why one could not be: the words for the guardian, who does it.

Decides how a request becomes an order of `fork_exec` (users looked up, paths as text) and which limit is
named when there can be no process. Does not know services, policies or how to stop anything.
"""

from __future__ import annotations

import asyncio
import errno
import os
import pwd
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["SpawnError", "SpawnRequest", "StopRule", "explain_refusal", "make_order", "read_to_end"]

_LIMIT_NAMES = {
    errno.EAGAIN: "the limit on processes is reached (ulimit -u, or the pids limit of the cgroup)",
    errno.EMFILE: "the guardian has too many open files (ulimit -n)",
    errno.ENFILE: "the system has too many open files (fs.file-max)",
    errno.ENOMEM: "there is not enough memory",
}


class SpawnError(Exception):
    """No process came to be; the text says why."""


@dataclass(frozen=True)
class StopRule:
    """How the guardian stops a program when no supervisor is left to ask: higher ranks first."""

    signal: int = signal.SIGTERM
    grace_s: float = 0.0
    rank: int = 0


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
    stop: StopRule = field(default_factory=StopRule)


def make_order(request: SpawnRequest) -> dict[str, Any]:
    """Return the request as an order of `fork_exec`; raises SpawnError for a user that does not exist."""
    order: dict[str, Any] = {
        "argv": list(request.argv),
        "environ": dict(request.environ),
        "cwd": str(request.cwd),
        "cpus": None if request.cpus is None else list(request.cpus),
        "open_files": request.open_files,
    }
    if request.user is not None:
        account = _find_account(request.user)
        groups = os.getgrouplist(account.pw_name, account.pw_gid)
        order |= {"uid": account.pw_uid, "gid": account.pw_gid, "groups": groups}
        theirs = {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}
        # What was only inherited speaks of us; what the file sets is meant.
        inherited = {name for name in theirs if order["environ"].get(name) == os.environ.get(name)}
        order["environ"] |= {name: theirs[name] for name in inherited}
    return order


def _find_account(user: str) -> pwd.struct_passwd:
    """The account of a name or, where there is no such name, of a number."""
    try:
        return pwd.getpwnam(user)
    except KeyError:
        pass
    try:
        return pwd.getpwuid(int(user))
    except (KeyError, ValueError):
        raise SpawnError(f"there is no user {user!r} on this machine") from None


def explain_refusal(program: str, number: int | None, text: str) -> str:
    """Return why there can be no process, from the error number and text of the system call."""
    return f"cannot start {program}: {_LIMIT_NAMES.get(number or 0, text)}"


async def read_to_end(fd: int) -> bytes:
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

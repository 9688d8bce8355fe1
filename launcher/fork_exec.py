"""Between fork and exec: how a process of one thread becomes the parent of a program, in plain Python.

Decides the order of the steps of the new process: signals, session, descriptors, limits, user,
folder, death signal, program. A change of user clears the death signal, so that is armed after it, and
the parent is looked at again then, as it may have died in between (prctl(2)). Safe only in a process with one
thread: after a fork nobody else exists who could hold a lock. Standard library only.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
from collections.abc import Callable, Sequence

TYPE_CHECKING = False
"""As `typing` says it, which the guardian has no use for: half a MiB for as long as a stack runs."""
if TYPE_CHECKING:
    from typing import Any

    Order = dict[str, Any]
else:
    Order = dict

__all__ = ["Order", "become_subreaper", "fork_exec"]


_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_FIRST_PARKED_FD = 200
_ALL_SIGNALS = signal.valid_signals()
_RESET = [number for number in _ALL_SIGNALS if number not in (signal.SIGKILL, signal.SIGSTOP)]
_LIBC = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make this process the new parent of every orphan below it; raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def fork_exec(order: Order, fds: Sequence[int], status_fd: int | None = None) -> int:
    """Start a program with `fds` as its descriptors 0, 1, 2 and so on, and return its pid.

    The order says argv, environ and cwd, and may say session, dies_with_parent, listen_fds, uid, gid, groups,
    cpus and open_files.

    What goes wrong after the fork is written to `status_fd` as one line of text, and the process ends with
    127; end of file there without a line means that the program runs. Every other descriptor of this process
    must be close-on-exec. Raises OSError when there can be no process.
    """
    parent = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _become(order, fds, status_fd, parent)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _become(order: Order, fds: Sequence[int], status_fd: int | None, parent: int) -> None:
    """Be the program; never returns."""
    try:
        try:
            if status_fd is not None:
                status_fd = fcntl.fcntl(status_fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_PARKED_FD)
            _prepare(order, fds, parent)
            # The last moment: until here a signal must not end half a child that nobody hears of.
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execvpe(order["argv"][0], order["argv"], order["environ"])
        except (OSError, ValueError, TypeError) as error:
            if status_fd is not None:
                os.write(status_fd, _explain(order, error).encode("utf-8", "backslashreplace"))
    finally:
        os._exit(127)


def _prepare(order: Order, fds: Sequence[int], parent: int) -> None:
    signal.set_wakeup_fd(-1)
    for number in _RESET:
        if signal.getsignal(number) is not signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
    if order.get("session", True):
        os.setsid()
    else:
        os.setpgid(0, 0)
    _place(fds)
    _limit(order)
    if order.get("uid") is not None:
        os.setgroups(order["groups"])
        os.setresgid(order["gid"], order["gid"], order["gid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])
    os.chdir(order["cwd"])
    if order.get("dies_with_parent", True):
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
    if order.get("listen_fds"):
        order["environ"]["LISTEN_PID"] = str(os.getpid())


def _place(fds: Sequence[int]) -> None:
    """Give each descriptor its number; they are parked high first, so that none overwrites another."""
    parked = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_PARKED_FD) for fd in fds]
    for number, fd in enumerate(parked):
        os.dup2(fd, number, inheritable=True)


def _limit(order: Order) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    wanted = order.get("open_files")
    if wanted is not None:
        # The hard limit too, or a program that knows how to raise the soft one would have none.
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    if order.get("cpus"):
        os.sched_setaffinity(0, order["cpus"])


def _explain(order: Order, error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    place = order["cwd"] if getattr(error, "filename", None) == order["cwd"] else order["argv"][0]
    return f"cannot start {place}: {text}"


def _prctl(option: int, value: int) -> None:
    prctl: Callable[..., int] = _LIBC.prctl
    if prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
